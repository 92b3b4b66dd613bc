//! The rules that look at one moment, or at two in a row, and need no longer memory.

use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Report};
use crate::encryption_config::{EncryptionConfiguration, Provider};
use crate::key::Mode;
use crate::view::{View, is_key, providers, same_data};

pub(super) fn read_before_write(report: &mut Report<'_>) {
    let view = report.view;
    for gr in &view.resources {
        for writer in &view.pods {
            let writes = &providers(writer.config.as_ref(), gr)[0];
            for reader in view.pods.iter().filter(|_| is_key(writes)) {
                if !providers(reader.config.as_ref(), gr)
                    .iter()
                    .any(|reads| same_data(reads, writes))
                {
                    let text = format!(
                        "{} writes {gr} with {}, which {} cannot read",
                        writer.node,
                        writes.label(),
                        reader.node
                    );
                    report.broken(Invariant::ReadBeforeWrite, text);
                }
            }
        }
    }
}

/// Number of the key behind a provider.
fn number(provider: &Provider) -> Option<u64> {
    provider
        .label()
        .rsplit_once(':')
        .and_then(|(_, number)| number.parse().ok())
}

pub(super) fn kept_until_migrated(before: &View, report: &mut Report<'_>) {
    let view = report.view;
    let (Some(old), Some(new)) = (&before.target, &view.target) else {
        return;
    };
    for gr in &view.resources {
        let (had, has) = (providers(Some(old), gr), providers(Some(new), gr));
        let numbers =
            |list: &[Provider]| -> BTreeSet<u64> { list.iter().filter_map(number).collect() };
        let (had_numbers, has_numbers) = (numbers(had), numbers(has));
        let gone = had_numbers
            .difference(&has_numbers)
            .filter(|number| view.keys.contains_key(*number));
        for gone in gone {
            let newer = has_numbers
                .iter()
                .rev()
                .find(|number| *number > gone)
                .and_then(|number| view.keys.get(number));
            if !newer.is_some_and(|key| view.resources.iter().all(|gr| key.migrated.contains(gr))) {
                let text = format!(
                    "key {gone} left the config of {gr} before all was migrated to a newer one"
                );
                report.broken(Invariant::KeptUntilMigrated, text);
            } else if has_numbers
                .iter()
                .filter(|number| view.keys.contains_key(*number))
                .count()
                < 2
            {
                let text = format!("key {gone} left the config of {gr}, and no older key stayed");
                report.broken(Invariant::KeptUntilMigrated, text);
            }
        }
    }
}

pub(super) fn migrates_when_stable(before: &View, report: &mut Report<'_>) {
    let view = report.view;
    let resources =
        |config: Option<&EncryptionConfiguration>| config.map(|config| config.resources.clone());
    let target = resources(view.target.as_ref());
    let running = view.converged().map(|pod| resources(pod.config.as_ref()));
    for (gr, migration) in &view.migrations {
        let begun = before
            .migrations
            .get(gr)
            .is_none_or(|old| old.write_key != migration.write_key);
        match &running {
            None if begun => {
                report.broken(
                    Invariant::MigratesWhenStable,
                    format!("migration of {gr} begins while pods differ"),
                );
            }
            // A finished one does no harm.
            Some(running)
                if *running != target && view.target.is_some() && !migration.succeeded =>
            {
                let text =
                    format!("migration of {gr} stands beside a config that does not run yet");
                report.broken(Invariant::MigratesWhenStable, text);
            }
            _ => {}
        }
    }
}

pub(super) fn same_keys(report: &mut Report<'_>) {
    let Some(target) = &report.view.target else {
        return;
    };
    let labels = |providers: &[Provider]| -> BTreeSet<String> {
        providers
            .iter()
            .filter(|provider| is_key(provider))
            .map(Provider::label)
            .collect()
    };
    let sets: BTreeSet<BTreeSet<String>> = target
        .resources
        .iter()
        .map(|entry| labels(&entry.providers))
        .collect();
    if sets.len() > 1 {
        report.broken(
            Invariant::SameKeys,
            format!("read keys differ between resources: {sets:?}"),
        );
    }
    let writers = target
        .resources
        .iter()
        .filter_map(|entry| entry.providers.first());
    let writers: BTreeSet<String> = writers
        .filter(|provider| is_key(provider))
        .map(Provider::label)
        .collect();
    if writers.len() > 1 {
        report.broken(
            Invariant::SameKeys,
            format!("several keys write: {writers:?}"),
        );
    }
}

pub(super) fn one_at_a_time(before: &View, report: &mut Report<'_>) {
    let view = report.view;
    let Some((last, key)) = before.keys.last_key_value() else {
        return;
    };
    let new = view
        .numbers
        .keys()
        .any(|number| number > last && !before.numbers.contains_key(number));
    // What was lost in between cannot be waited for.
    let through = before.resources.iter().all(|gr| key.migrated.contains(gr))
        || view
            .keys
            .get(last)
            .is_none_or(|key| view.resources.iter().all(|gr| key.migrated.contains(gr)));
    if new && !through {
        report.broken(
            Invariant::OneAtATime,
            format!("a key after key {last}, to which not all is migrated"),
        );
    }
}

pub(super) fn own_socket(report: &mut Report<'_>) {
    let Some(target) = &report.view.target else {
        return;
    };
    let mut sockets: BTreeMap<&str, BTreeSet<Option<u64>>> = BTreeMap::new();
    for provider in target.resources.iter().flat_map(|entry| &entry.providers) {
        if let Provider::Kms(kms) = provider {
            let number = kms
                .name
                .split('_')
                .next()
                .and_then(|number| number.parse().ok());
            sockets.entry(&kms.endpoint).or_default().insert(number);
        }
    }
    for (socket, keys) in sockets {
        if keys.len() > 1 {
            report.broken(
                Invariant::OwnSocket,
                format!("{} keys at {socket}", keys.len()),
            );
        }
    }
}

pub(super) fn no_plain_text(report: &mut Report<'_>) {
    let view = report.view;
    let Some((number, key)) = view
        .keys
        .last_key_value()
        .filter(|(_, key)| key.mode != Mode::Identity)
    else {
        return;
    };
    for gr in view.resources.iter().filter(|gr| key.migrated.contains(gr)) {
        for pod in &view.pods {
            if matches!(providers(pod.config.as_ref(), gr)[0], Provider::Identity(_)) {
                let text = format!(
                    "{} writes {gr} in plain text, though all of it is under key {number}",
                    pod.node
                );
                report.broken(Invariant::NoPlainText, text);
            }
        }
    }
}

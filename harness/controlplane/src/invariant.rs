//! What must hold in every cluster at every moment, whatever the operators do: pure judges over two moments in a row.
//!
//! Real operators break some of them when somebody takes their objects away by force; [`crate::generation::Quirks`]
//! names the ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::cluster::Cluster;
use crate::encryption_config::{EncryptionConfiguration, Provider};
use crate::generation::Generation;
use crate::key::Mode;
use crate::resource::GroupResource;
use crate::view::{View, is_key, providers, same_data};

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// No pod writes with a key before every pod can read it.
    ReadBeforeWrite,
    /// A key that has its secret stays in the target config until all is migrated to a newer one, and one older key
    /// stays beyond that.
    KeptUntilMigrated,
    /// A migration begins only while every pod runs the target config, and none is left when they differ.
    MigratesWhenStable,
    /// All resources have the same keys, and one of them at most writes.
    SameKeys,
    /// Key numbers only grow.
    NumbersGrow,
    /// A new key waits until all is migrated to the one before.
    OneAtATime,
    /// Two keys never share a socket (not before v2, where there is only one).
    OwnSocket,
    /// Nothing is written in plain text once all is encrypted and nobody asked for plain text.
    NoPlainText,
    /// Whatever is stored can be read on every ready pod.
    Readable,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Where.
    pub component: String,
    /// How.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} in {}: {}",
            self.invariant, self.component, self.text
        )
    }
}

/// Looks at a cluster again and again, best after its controllers have settled.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    before: BTreeMap<String, View>,
    highest: BTreeMap<String, u64>,
    stored: BTreeMap<(String, GroupResource), Vec<Provider>>,
    /// What a pod was started with: it keeps that, whatever becomes of the secret.
    started: BTreeMap<(String, String, String), EncryptionConfiguration>,
}

/// Collects what is wrong with one component.
struct Report<'a> {
    view: &'a View,
    violations: Vec<Violation>,
}

impl Report<'_> {
    fn broken(&mut self, invariant: Invariant, text: String) {
        let component = self.view.name.clone();
        let violation = Violation {
            invariant,
            component,
            text,
        };
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }
}

impl Judge {
    /// Judges this moment and the step to it; gives the broken rules.
    pub fn look(&mut self, cluster: &Cluster) -> Vec<Violation> {
        let mut all = Vec::new();
        let wants_plain = matches!(cluster.spec.mode.as_str(), "" | "identity");
        for mut view in View::of(cluster) {
            self.remember(&mut view);
            let before = self.before.remove(&view.name);
            self.store(before.as_ref(), &view);
            let mut report = Report {
                view: &view,
                violations: Vec::new(),
            };
            read_before_write(&mut report);
            same_keys(&mut report);
            if !wants_plain {
                no_plain_text(&mut report);
            }
            self.readable(&mut report);
            if cluster.generation == Generation::V2 {
                own_socket(&mut report);
            }
            if let Some(before) = &before {
                kept_until_migrated(before, &mut report);
                one_at_a_time(before, &mut report);
                migrates_when_stable(before, &mut report);
            }
            self.numbers_grow(before.as_ref(), &mut report);
            all.append(&mut report.violations);
            self.before.insert(view.name.clone(), view);
        }
        all
    }

    fn remember(&mut self, view: &mut View) {
        for pod in &mut view.pods {
            let id = (view.name.clone(), pod.node.clone(), pod.revision.clone());
            match &pod.config {
                Some(config) => drop(self.started.insert(id, config.clone())),
                None => pod.config = self.started.get(&id).cloned(),
            }
        }
    }

    /// What may be stored under which provider: every running pod writes, a finished migration leaves only what is
    /// written now. That it is finished shows on its object, or on the key secret if the object is gone already.
    fn store(&mut self, before: Option<&View>, view: &View) {
        for gr in &view.resources {
            let stored = self
                .stored
                .entry((view.name.clone(), gr.clone()))
                .or_default();
            let done = |view: &View, key: &str| {
                view.migrations
                    .get(gr)
                    .is_some_and(|m| m.succeeded && m.write_key == key)
                    || key.parse().is_ok_and(|n: u64| {
                        view.keys.get(&n).is_some_and(|k| k.migrated.contains(gr))
                    })
            };
            let migration = |view: &View| view.migrations.get(gr).map(|m| m.write_key.clone());
            let keys = before
                .and_then(migration)
                .into_iter()
                .chain(migration(view));
            if keys
                .into_iter()
                .any(|key| done(view, &key) && !before.is_some_and(|before| done(before, &key)))
            {
                stored.clear();
            }
            for pod in &view.pods {
                let writes = &providers(pod.config.as_ref(), gr)[0];
                if !stored.iter().any(|other| same_data(other, writes)) {
                    stored.push(writes.clone());
                }
            }
        }
    }

    fn readable(&self, report: &mut Report<'_>) {
        let view = report.view;
        for gr in &view.resources {
            for stored in self
                .stored
                .get(&(view.name.clone(), gr.clone()))
                .into_iter()
                .flatten()
            {
                for pod in view.pods.iter().filter(|pod| pod.ready) {
                    if !providers(pod.config.as_ref(), gr)
                        .iter()
                        .any(|reads| same_data(reads, stored))
                    {
                        let text = format!(
                            "{gr} stored under {} cannot be read on {}",
                            stored.label(),
                            pod.node
                        );
                        report.broken(Invariant::Readable, text);
                    }
                }
            }
        }
    }

    fn numbers_grow(&mut self, before: Option<&View>, report: &mut Report<'_>) {
        let view = report.view;
        let highest = self.highest.entry(view.name.clone()).or_default();
        for (number, uid) in &view.numbers {
            let new = before.is_some_and(|before| before.numbers.get(number) != Some(uid));
            if new && *number <= *highest {
                report.broken(
                    Invariant::NumbersGrow,
                    format!("key {number} after key {highest}"),
                );
            }
        }
        *highest = (*highest).max(view.numbers.keys().last().copied().unwrap_or(0));
    }
}

fn read_before_write(report: &mut Report<'_>) {
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

fn kept_until_migrated(before: &View, report: &mut Report<'_>) {
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

fn migrates_when_stable(before: &View, report: &mut Report<'_>) {
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

fn same_keys(report: &mut Report<'_>) {
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

fn one_at_a_time(before: &View, report: &mut Report<'_>) {
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

fn own_socket(report: &mut Report<'_>) {
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

fn no_plain_text(report: &mut Report<'_>) {
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

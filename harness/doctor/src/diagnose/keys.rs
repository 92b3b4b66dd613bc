//! Key secrets, configurations, and what lies in etcd under them.

use crate::evidence::{Component, Config, Form, KeySecret, Management, Seen, Why};
use crate::finding::Finding;
use crate::sign::Sign;

use super::view::View;

pub(super) fn look(view: &View<'_>, before: &[Finding]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, it) in view.components() {
        let Some(keys) = it.keys.get() else {
            continue;
        };
        let managed = it
            .operator
            .get()
            .is_none_or(|it| it.management == Management::Managed);
        found.extend(doubled(name, it));
        if !managed || before.iter().any(|it| explains_loss(&it.id)) {
            continue;
        }
        if let Some(lost) = lost(view, name, it, keys) {
            found.push(lost);
            continue;
        }
        if !keys.is_empty() && it.target.why() == Some(Why::NotThere) {
            let saw = format!(
                "{name} has {} keys and no configuration that it wants",
                keys.len()
            );
            found.push(Finding::new("OCP-TRAP-02", saw));
            continue;
        }
        found.extend(plain(view, name, it, keys));
    }
    found
}

/// Operators of another generation lose keys for a reason that has its own row.
fn explains_loss(id: &str) -> bool {
    matches!(id, "OCP-TRAP-03" | "OCP-TRAP-09")
}

/// A KMS key that stored data needs, and that its configuration or its operator has no more.
fn lost(view: &View<'_>, name: &str, it: &Component, keys: &[KeySecret]) -> Option<Finding> {
    let target = it.target.get()?;
    let of = |label: &str| {
        let number: u64 = label.strip_prefix("kms:")?.parse().ok()?;
        Some((number, keys.iter().find(|key| key.number == number)))
    };
    // what lies in etcd, and what the configuration has no provider for
    let etcd = view.seen.etcd.get(name).and_then(Seen::get);
    let values = etcd.into_iter().flat_map(|it| &it.values);
    for (resource, counts) in values {
        for (label, count) in counts {
            let Some((number, key)) = of(label) else {
                continue;
            };
            if target.lists(resource, label) {
                continue;
            }
            let saw = format!(
                "{count} {resource} of {name} lie in etcd under {label}, which the configuration does not list"
            );
            let id = match key.map(|key| key.form) {
                None => {
                    return Some(Finding::new(
                        "OCP-FAULT-27",
                        format!("{saw}; key {number} has no Secret"),
                    ));
                }
                Some(Some(Form::Data)) => "OCP-TRAP-10",
                Some(Some(Form::Annotation)) => "OCP-TRAP-09",
                Some(_) => "OCP-TRAP-08",
            };
            return Some(Finding::new(id, saw));
        }
    }
    // a provider whose Secret is gone, and the operator has not yet drawn the consequence
    let labels = target.resources.values().flatten();
    let (number, _) = labels
        .filter_map(|label| of(label))
        .find(|(_, key)| key.is_none())?;
    let dies = view.recent(it.log.get()).contains(&Sign::Panic);
    let id = if dies { "OCP-TRAP-11" } else { "OCP-FAULT-27" };
    let saw = format!("the configuration of {name} lists kms:{number}, which has no Secret");
    Some(Finding::new(id, saw))
}

/// Identity twice in one list.
fn doubled(name: &str, it: &Component) -> Option<Finding> {
    let twice = |config: &Config| {
        let mut all = config.resources.values();
        all.any(|labels| labels.iter().filter(|label| *label == "identity").count() > 1)
    };
    let newest = it.revisions.get().and_then(|all| all.values().last());
    let mut configs = it.target.get().into_iter().chain(newest);
    configs.any(twice).then(|| {
        Finding::new(
            "OCP-TRAP-07",
            format!("a configuration of {name} lists identity twice"),
        )
    })
}

/// Everything counts as rewritten with the newest KMS key, and yet plain text is written or stored.
fn plain(view: &View<'_>, name: &str, it: &Component, keys: &[KeySecret]) -> Option<Finding> {
    let newest = keys
        .last()
        .filter(|key| key.mode == "KMS" && view.mode() == Some("KMS"))?;
    let target = it.target.get()?;
    let all = target.resources.keys();
    if all.clone().count() == 0 || !all.clone().all(|it| newest.migrated.contains(it)) {
        return None;
    }
    let writers = target.writers();
    let plain = writers.iter().find(|(_, label)| **label == "identity");
    if let Some((resource, _)) = plain {
        let saw = format!(
            "{name} writes {resource} as plain text, though key {} counts as done",
            newest.number
        );
        return Some(Finding::new("OCP-TRAP-01", saw));
    }
    if let Some(revision) = missing_revision(view, name, it) {
        let saw = format!("the configuration of revision {revision}, which {name} runs, is gone");
        return Some(Finding::new("OCP-TRAP-01", saw));
    }
    let runs = view
        .seen
        .cluster
        .migrations
        .get()
        .is_none_or(|all| all.iter().any(|it| it.runs));
    let values = &view.seen.etcd.get(name)?.get()?.values;
    let left = values.iter().find_map(|(resource, counts)| {
        let count = counts.get("plain").filter(|count| **count > 0)?;
        target
            .resources
            .contains_key(resource)
            .then_some((resource, count))
    });
    let (resource, count) = left.filter(|_| !runs)?;
    let saw = format!(
        "{count} {resource} of {name} lie in etcd as plain text, and no migration is under way"
    );
    Some(Finding::new("OCP-TRAP-01", saw))
}

/// A revision that pods run and that has no configuration any more.
fn missing_revision(view: &View<'_>, name: &str, it: &Component) -> Option<u32> {
    let revisions = it.revisions.get()?;
    let nodes = view.seen.nodes.values();
    let mut running = nodes.filter_map(|node| node.servers.get(name)?.pod.get()?.revision);
    running.find(|revision| !revisions.contains_key(revision))
}

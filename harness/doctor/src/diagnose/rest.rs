//! What is looked at only where nothing else explains it: data that cannot be read, and migrations that take long.

use std::collections::BTreeSet;

use crate::evidence::Node;
use crate::finding::Finding;
use crate::sign::Sign;

use super::view::View;

/// The operators' own limit for 39,000 objects is 28 minutes; nobody is alarmed before 40, in seconds.
const LONG: i64 = 40 * 60;

pub(super) fn look(view: &View<'_>, before: &[Finding]) -> Vec<Finding> {
    if !before.is_empty() {
        return Vec::new();
    }
    if let Some(finding) = edited(view) {
        return vec![finding];
    }
    if let Some(finding) = foreign(view) {
        return vec![finding];
    }
    if let Some(finding) = damaged(view) {
        return vec![finding];
    }
    if let Some(finding) = unready(view) {
        return vec![finding];
    }
    slow(view).into_iter().collect()
}

/// An API server says that it does not reach its plugin, and nothing else was seen of either.
fn unready(view: &View<'_>) -> Option<Finding> {
    view.seen.nodes.iter().find_map(|(name, node)| {
        let asked = node.plugin.status.get().is_some();
        if asked || node.servers.values().any(|it| it.pod.get().is_some()) {
            return None;
        }
        node.servers.values().find_map(|server| {
            let mut failed = server.readyz.get()?.failed.iter();
            let check = failed.find(|check| check.starts_with("kms-provider"))?;
            let (missing, says) = match server.check.get() {
                Some(it) => (it.signs.contains(&Sign::SocketMissing), it.text.as_str()),
                None => (false, "it does not say why"),
            };
            let id = if missing { "OCP-FAULT-04" } else { "OCP-FAULT-05" };
            let saw = format!("readyz of {name} fails in {check} ({says}), and the plugin itself was not asked (--socket on its node)");
            Some(Finding::new(id, saw))
        })
    })
}

/// A node whose configuration lacks a provider that its operator's revision has.
fn edited(view: &View<'_>) -> Option<Finding> {
    view.seen.nodes.iter().find_map(|(name, node)| {
        node.servers.iter().find_map(|(component, server)| {
            let revision = server.pod.get()?.revision?;
            let revisions = view.seen.cluster.components.get(component)?.revisions.get()?;
            let (wanted, runs) = (revisions.get(&revision)?, server.config.get()?);
            let lacks = wanted.resources.iter().find_map(|(resource, labels)| {
                let lacks = labels.iter().find(|label| !runs.lists(resource, label))?;
                Some((resource, lacks))
            });
            let (resource, label) = lacks?;
            let saw = format!("{component} on {name} lacks {label} for {resource}, which its revision {revision} has");
            Some(Finding::new("OCP-FAULT-25", saw))
        })
    })
}

/// Nodes on which a list meets this sign, and all that were asked.
fn lists<'a>(view: &View<'a>, sign: Sign) -> (Vec<&'a str>, usize) {
    let asked = |node: &&Node| node.servers.values().any(|it| it.lists.get().is_some());
    let meets = |node: &Node| {
        let mut servers = node.servers.values().filter_map(|it| it.lists.get());
        servers.any(|all| all.values().any(|signs| signs.contains(&sign)))
    };
    let nodes = &view.seen.nodes;
    let hit = nodes.iter().filter(|(_, node)| meets(node));
    (
        hit.map(|(name, _)| name.as_str()).collect(),
        nodes.values().filter(asked).count(),
    )
}

/// Values whose provider a server does not know.
fn foreign(view: &View<'_>) -> Option<Finding> {
    let (nodes, asked) = lists(view, Sign::NoMatchingPrefix);
    if nodes.is_empty() {
        return None;
    }
    // all of them: the configuration itself has lost it
    let id = if nodes.len() == asked && asked > 1 {
        "OCP-FAULT-27"
    } else {
        "OCP-FAULT-25"
    };
    let saw = format!(
        "a list through {} meets a value with no matching prefix",
        view.on(&nodes)
    );
    Some(Finding::new(id, saw))
}

/// A value that cannot be decrypted.
fn damaged(view: &View<'_>) -> Option<Finding> {
    let (nodes, _) = lists(view, Sign::Undecryptable);
    let resources: BTreeSet<&str> = view
        .seen
        .nodes
        .values()
        .flat_map(|node| node.servers.values())
        .filter_map(|it| it.lists.get())
        .flatten()
        .filter(|(_, signs)| signs.contains(&Sign::Undecryptable))
        .map(|(resource, _)| resource.as_str())
        .collect();
    if nodes.is_empty() {
        return None;
    }
    // the server tells what its plugin said of the value
    let (id, how) = if lists(view, Sign::TooOld).0.is_empty() {
        ("OCP-FAULT-22", "cannot be decrypted")
    } else {
        ("OCP-FAULT-11", "Vault does not decrypt any more: too old")
    };
    let saw = format!(
        "a list of {} through {} meets a value that {how}",
        resources.into_iter().collect::<Vec<_>>().join(", "),
        view.on(&nodes)
    );
    Some(Finding::new(id, saw))
}

/// A migration that has been running for long.
fn slow(view: &View<'_>) -> Option<Finding> {
    let all = view.seen.cluster.migrations.get()?;
    let now = view.seen.taken;
    let (migration, age) = all
        .iter()
        .filter(|it| it.runs)
        .filter_map(|it| Some((it, now - it.created?)))
        .max_by_key(|(_, age)| *age)?;
    let saw = format!(
        "the migration of {} has been under way for {} min",
        migration.resource,
        age / 60
    );
    (age > LONG).then(|| Finding::new("OCP-FAULT-23", saw))
}

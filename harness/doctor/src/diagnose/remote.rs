//! What plugins meet in Vault, and what Vault says of itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{Key, Node, Outcome, Seen, Try, Why};
use crate::finding::Finding;
use crate::sign::Sign;

use super::view::View;

/// A rotation is noticed by all within this time, in seconds: the upstream advice of three minutes.
const NOTICED: i64 = 180;
/// API servers wait for a plugin this long, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

pub(super) fn look(view: &View<'_>, down: &BTreeSet<&str>) -> Vec<Finding> {
    let mut found = vault(view);
    let mut causes: BTreeMap<Sign, Vec<&str>> = BTreeMap::new();
    let mut texts: BTreeMap<Sign, &str> = BTreeMap::new();
    for (name, node) in &view.seen.nodes {
        if down.contains(name.as_str()) {
            continue;
        }
        if let Some((sign, text)) = cause(view, node) {
            causes.entry(sign).or_default().push(name);
            texts.entry(sign).or_insert(text);
        }
    }
    // a Vault that is sealed says nothing of rights and keys: what a plugin says of them it was told before
    if found.iter().any(|it| it.id == "OCP-FAULT-13") {
        causes.retain(|sign, _| *sign == Sign::Sealed);
    }
    if let Some((finding, behind)) = uneven(view) {
        for sign in [Sign::Slow, Sign::Unreachable] {
            if let Some(nodes) = causes.get_mut(&sign) {
                nodes.retain(|name| !behind.contains(name));
            }
        }
        causes.retain(|_, nodes| !nodes.is_empty());
        found.push(finding);
    }
    for (sign, nodes) in &causes {
        let Some(id) = row(view, *sign, nodes, causes.len()) else {
            continue;
        };
        let text = texts.get(sign).copied().unwrap_or_default();
        found.push(Finding::new(id, format!("{}: {text}", view.on(nodes))));
    }
    found
}

/// Why a node's plugin does not work, and the text that says so. What Status says is so now, to whoever asks or to an API
/// server that tells it; logs are asked where Status is good or not seen, and only while something is wrong on the node.
fn cause<'a>(view: &View<'_>, node: &'a Node) -> Option<(Sign, &'a str)> {
    let status = node.plugin.status.get();
    if let Some(status) = status
        && let Some(sign) = status.signs.iter().find(|sign| is_remote(**sign))
    {
        return Some((*sign, &status.text));
    }
    let mut checks = node.servers.values().filter_map(|it| it.check.get());
    let told = checks.find_map(|it| {
        let sign = it.signs.iter().find(|sign| is_remote(**sign))?;
        Some((*sign, it))
    });
    if let Some((sign, check)) = told.filter(|_| status.is_none()) {
        return Some((sign, &check.text));
    }
    if !view.troubled(node) {
        return None;
    }
    let good = status.is_some_and(|it| matches!(it.outcome, Outcome::Good { .. }));
    let mut logs: Vec<_> = node.plugin.log.get().into_iter().collect();
    logs.extend(node.servers.values().filter_map(|it| it.log.get()));
    logs.into_iter().find_map(|log| {
        let recent = view.recent(Some(log));
        let mut lines = log.lines.iter().rev();
        lines.find_map(|line| {
            let sign = line.signs.iter().find(|sign| {
                let about_data = matches!(
                    sign,
                    Sign::TooOld | Sign::CannotDecrypt | Sign::KeyIdsDiffer
                );
                recent.contains(sign) && (about_data || (!good && is_remote(**sign)))
            })?;
            Some((*sign, line.text.as_str()))
        })
    })
}

fn is_remote(sign: Sign) -> bool {
    matches!(
        sign,
        Sign::Sealed
            | Sign::NoLeader
            | Sign::Quota
            | Sign::NoSuchHost
            | Sign::Certificate
            | Sign::LoginRefused
            | Sign::EncryptDenied
            | Sign::DecryptDenied
            | Sign::KeyReadDenied
            | Sign::KeyMissing
            | Sign::SoftDeleted
            | Sign::TooOld
            | Sign::KeyReplaced
            | Sign::CannotDecrypt
            | Sign::Slow
            | Sign::Unreachable
            | Sign::KeyIdsDiffer
    )
}

fn row(view: &View<'_>, sign: Sign, nodes: &[&str], causes: usize) -> Option<&'static str> {
    let asks = |node: &&Node| node.plugin.status.get().is_some() || node.plugin.log.get().is_some();
    let asked = view.seen.nodes.values().filter(asks).count();
    Some(match sign {
        Sign::Sealed => "OCP-FAULT-13",
        Sign::NoLeader => "OCP-FAULT-14",
        Sign::Quota => "OCP-FAULT-15",
        Sign::NoSuchHost => "OCP-FAULT-17",
        Sign::Certificate => "OCP-FAULT-18",
        Sign::LoginRefused => "OCP-FAULT-09",
        Sign::EncryptDenied => "OCP-FAULT-06",
        Sign::DecryptDenied => "OCP-FAULT-07",
        Sign::SoftDeleted => "OCP-FAULT-12",
        Sign::TooOld => "OCP-FAULT-11",
        Sign::CannotDecrypt | Sign::KeyIdsDiffer => "OCP-FAULT-21",
        Sign::KeyReadDenied if view.used() || view.mode() != Some("KMS") => "OCP-FAULT-08",
        Sign::KeyMissing if view.used() || view.mode() != Some("KMS") => "OCP-FAULT-10",
        Sign::KeyReadDenied | Sign::KeyMissing => "OCP-FAULT-03",
        Sign::KeyReplaced if same_key(view) => "OCP-FAULT-21",
        Sign::KeyReplaced => "OCP-FAULT-28",
        // a node that does not get there, or a Vault that answers nobody in time
        Sign::Slow if nodes.len() == asked && asked > 1 => "OCP-FAULT-16",
        Sign::Slow if asked == 1 => "OCP-FAULT-16",
        Sign::Slow | Sign::Unreachable if causes <= 2 => "OCP-FAULT-19",
        _ => return None,
    })
}

/// The Vault that was looked at has the key that data was written with, as far as times can tell.
fn same_key(view: &View<'_>) -> bool {
    match (first_version(view), first_use(view)) {
        (Some(made), Some(used)) => made <= used,
        _ => false,
    }
}

fn first_version(view: &View<'_>) -> Option<i64> {
    let key = view.seen.vault.key.get()?;
    key.versions.iter().find(|it| it.number == 1)?.created
}

/// When the first KMS key had rewritten everything.
fn first_use(view: &View<'_>) -> Option<i64> {
    let keys = view
        .components()
        .filter_map(|(_, it)| it.keys.get())
        .flatten();
    keys.filter(|key| key.mode == "KMS")
        .filter_map(|key| key.migrated_at)
        .min()
}

/// What Vault says of itself, and what the plugin's own token can do.
fn vault(view: &View<'_>) -> Vec<Finding> {
    let vault = &view.seen.vault;
    let mut found = Vec::new();
    if let Some(health) = vault.health.get() {
        let status = health.status;
        if health.sealed || !health.initialised {
            let what = if health.initialised {
                "sealed"
            } else {
                "not initialised"
            };
            found.push(Finding::new(
                "OCP-FAULT-13",
                format!("sys/health answers {status}: {what}"),
            ));
            return found;
        }
        if health.standby && health.knows_leader == Some(false) {
            let saw = format!("sys/health answers {status}: a standby that knows no leader");
            found.push(Finding::new("OCP-FAULT-14", saw));
        }
    }
    match &vault.key {
        Seen::Seen(key) => found.extend(of_key(view, key)),
        Seen::NotSeen(Why::NotThere) if view.used() || view.mode().is_none() => {
            found.push(Finding::new("OCP-FAULT-10", "Vault has no such key"));
        }
        Seen::NotSeen(Why::NotThere) if view.mode() == Some("KMS") => {
            found.push(Finding::new(
                "OCP-FAULT-03",
                "Vault has no such key, and nothing was encrypted with it",
            ));
        }
        Seen::NotSeen(_) => {}
    }
    if let Some(tries) = vault.plugin.get() {
        found.extend(of_token(tries, &found));
    }
    found
}

fn of_key(view: &View<'_>, key: &Key) -> Vec<Finding> {
    let mut found = Vec::new();
    if key.soft_deleted {
        found.push(Finding::new("OCP-FAULT-12", "the key says soft_deleted"));
    }
    let stored = view.seen.etcd.values().filter_map(Seen::get);
    let ids: BTreeSet<&String> = stored.flat_map(|it| it.key_ids.keys()).collect();
    let open = (key.latest + 1).saturating_sub(key.min_decryption.max(1));
    if key.min_decryption > 1 && ids.len() as u64 > open {
        let saw = format!(
            "values in etcd have {} key_ids, and the key decrypts {open} versions: min_decryption_version is {} of {}",
            ids.len(),
            key.min_decryption,
            key.latest
        );
        found.push(Finding::new("OCP-FAULT-11", saw));
    }
    if let (Some(made), Some(used)) = (first_version(view), first_use(view))
        && made > used
        && !ids.is_empty()
    {
        let saw = "the key's first version was made after data had been written with it";
        found.push(Finding::new("OCP-FAULT-28", saw));
    }
    found
}

/// What the plugin's own token was refused.
fn of_token(tries: &BTreeMap<String, Try>, before: &[Finding]) -> Vec<Finding> {
    let status = |name: &str| tries.get(name).map_or(0, |it| it.status);
    let says = |sign: Sign| tries.values().any(|it| it.signs.contains(&sign));
    let known = |id: &str| before.iter().any(|it| it.id == id);
    let mut found = Vec::new();
    if says(Sign::Sealed) {
        return vec![Finding::new(
            "OCP-FAULT-13",
            "Vault says so to the plugin's token",
        )];
    }
    let names = ["token", "read", "encrypt", "decrypt"];
    let asked: Vec<u16> = names
        .iter()
        .filter_map(|name| tries.get(*name))
        .map(|it| it.status)
        .collect();
    if !asked.is_empty() && asked.iter().all(|status| *status == 403) {
        return vec![Finding::new(
            "OCP-FAULT-09",
            "Vault answers 403 to everything that the plugin's token asks",
        )];
    }
    if says(Sign::SoftDeleted) {
        found.push(Finding::new(
            "OCP-FAULT-12",
            "Vault refuses to use the key: it is soft-deleted",
        ));
    }
    for (name, id) in [
        ("read", "OCP-FAULT-08"),
        ("encrypt", "OCP-FAULT-06"),
        ("decrypt", "OCP-FAULT-07"),
    ] {
        // a policy without create denies what is missing, too
        if status(name) == 403 && !known("OCP-FAULT-10") {
            found.push(Finding::new(
                id,
                format!("Vault answers 403 to the plugin's token: {name}"),
            ));
        }
    }
    if status("read") == 404 && !known("OCP-FAULT-10") {
        found.push(Finding::new("OCP-FAULT-10", "Vault has no such key"));
    }
    if tries.values().any(|it| it.signs.contains(&Sign::Quota)) {
        found.push(Finding::new(
            "OCP-FAULT-15",
            "Vault answers with its rate limit",
        ));
    }
    if let Some((name, it)) = tries.iter().find(|(_, it)| it.took_ms >= PATIENCE_MS) {
        let saw = format!("Vault took {} ms to {name}", it.took_ms);
        found.push(Finding::new("OCP-FAULT-16", saw));
    }
    found
}

/// Nodes that still use an older version of the key, long after a rotation.
fn uneven<'a>(view: &View<'a>) -> Option<(Finding, Vec<&'a str>)> {
    let now = view.seen.taken;
    let newest = view
        .seen
        .vault
        .key
        .get()
        .and_then(|key| key.versions.last()?.created);
    let settled = newest.is_some_and(|at| now - at > NOTICED);
    let mut told: BTreeMap<&str, Vec<(&str, &str, i64)>> = BTreeMap::new();
    for (name, node) in &view.seen.nodes {
        if let Some(Outcome::Good { key_id, .. }) = node.plugin.status.get().map(|it| &it.outcome) {
            told.entry("").or_default().push((name, key_id, now));
        }
        for server in node.servers.values() {
            let status = server.metrics.get().into_iter().flat_map(|it| &it.status);
            for (provider, (hash, at)) in status {
                told.entry(provider).or_default().push((name, hash, *at));
            }
        }
    }
    told.into_values().find_map(|mut told| {
        told.sort_by_key(|(_, _, at)| *at);
        let (_, last, _) = *told.last()?;
        let behind: Vec<&(&str, &str, i64)> =
            told.iter().filter(|(_, hash, _)| *hash != last).collect();
        let late = settled || behind.iter().any(|(_, _, at)| now - at > NOTICED);
        let mut nodes: Vec<&str> = behind.iter().map(|(name, ..)| *name).collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.is_empty() || !late {
            return None;
        }
        let saw = format!(
            "{} used another key_id than the others when last heard of",
            nodes.join(", ")
        );
        Some((Finding::new("OCP-FAULT-20", saw), nodes))
    })
}

//! `[[fault]]`: a kind and its parameters to a [`Fault`].

use std::time::Duration;

use super::file::{FaultTable, NodeChoice, ScenarioFile};
use super::meaning::TimedFault;
use super::problem::{Path, Problem, Source};
use super::time::{Time, TimeRange};
use crate::fault::{Fault, Kind, Providers};
use crate::world::Flavour;

/// The parameters that a kind needs, and those that it may have.
fn parameters(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::VaultHold | Kind::VaultGarbage | Kind::VaultCutBody | Kind::VaultReset => {
            (&[], &["requests"])
        }
        Kind::VaultSlow => (&["latency"], &["requests"]),
        Kind::VaultError => (&["status"], &["requests", "retry-after", "count"]),
        Kind::VaultPolicyRemoved => (&[], &["rights"]),
        Kind::VaultRotate => (&[], &["times"]),
        Kind::VaultMinDecryptionVersion | Kind::VaultTrim => (&[], &["version"]),
        Kind::VaultMinEncryptionVersion => (&["version"], &[]),
        Kind::VaultQuota => (&["rate"], &[]),
        Kind::ClockAdvance => (&["by"], &[]),
        Kind::ClockSkew => (&["by"], &["behind"]),
        Kind::NetPartition | Kind::NetHold | Kind::NetReset => (&["edge"], &[]),
        Kind::NetPartitionOneWay | Kind::NetHalfClose => (&["edge", "direction"], &[]),
        Kind::NetLatency => (&["edge", "latency"], &[]),
        Kind::NetBandwidth | Kind::NetSlowReader => (&["edge", "bytes-per-second"], &[]),
        Kind::RpcDelay => (&["latency"], &["method"]),
        Kind::RpcHold | Kind::RpcCut => (&[], &["method"]),
        Kind::RpcStatus => (&["code"], &["method", "message"]),
        Kind::ApiserverConfig => (&["providers"], &[]),
        Kind::StoreDamage => (&["damage"], &["object"]),
        _ => (&[], &[]),
    }
}

/// The parameters that stand in the table.
fn given(table: &FaultTable) -> Vec<&'static str> {
    [
        ("requests", table.requests.is_some()),
        ("latency", table.latency.is_some()),
        ("status", table.status.is_some()),
        ("retry-after", table.retry_after.is_some()),
        ("count", table.count.is_some()),
        ("rights", table.rights.is_some()),
        ("times", table.times.is_some()),
        ("version", table.version.is_some()),
        ("rate", table.rate.is_some()),
        ("by", table.by.is_some()),
        ("behind", table.behind.is_some()),
        ("edge", table.edge.is_some()),
        ("direction", table.direction.is_some()),
        ("bytes-per-second", table.bytes_per_second.is_some()),
        ("method", table.method.is_some()),
        ("code", table.code.is_some()),
        ("message", table.message.is_some()),
        ("providers", table.providers.is_some()),
        ("damage", table.damage.is_some()),
        ("object", table.object.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect()
}

/// One table to its fault, or to problems.
pub(super) fn typed(
    form: &ScenarioFile,
    index: usize,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) -> Option<TimedFault> {
    let table = form.fault.get(index)?;
    let path = Path::of(&["fault"]).index(index);
    let before = problems.len();
    present(table, &path, source, problems);
    values(form, table, &path, source, problems);
    placed(form, table, &path, source, problems);
    timed(form, index, &path, source, problems);
    if problems.len() > before {
        return None;
    }
    Some(TimedFault {
        id: table.id.clone(),
        fault: fault(table)?,
        at: table.at,
        length: table.r#for,
        node: table.node.unwrap_or(NodeChoice::All),
        hits: table.hits.at_least,
    })
}

fn present(table: &FaultTable, path: &Path, source: &Source<'_>, problems: &mut Vec<Problem>) {
    let (needed, possible) = parameters(table.kind);
    let there = given(table);
    for name in needed {
        if !there.contains(name) {
            problems.push(source.problem(
                &path.key(name),
                format!("{} needs `{name}`", table.kind),
                format!("add {name} = …"),
            ));
        }
    }
    for name in there {
        if !needed.contains(&name) && !possible.contains(&name) {
            let takes = [needed, possible].concat();
            let fix = if takes.is_empty() {
                "remove it".to_owned()
            } else {
                format!("remove it; {} takes {}", table.kind, takes.join(", "))
            };
            problems.push(source.problem(
                &path.key(name),
                format!("{} has no `{name}`", table.kind),
                fix,
            ));
        }
    }
}

fn values(
    form: &ScenarioFile,
    table: &FaultTable,
    path: &Path,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut wrong = |key: &str, message: String, fix: &str| {
        problems.push(source.problem(&path.key(key), message, fix));
    };
    if let Some(status) = table.status
        && !(400..600).contains(&status)
    {
        wrong(
            "status",
            format!("{status} is no error"),
            "write a code from 400 to 599",
        );
    }
    if let Some(retry) = table.retry_after
        && (retry.0.subsec_nanos() != 0 || retry.0 > Duration::from_secs(3600))
    {
        wrong(
            "retry-after",
            format!("{retry} cannot be said in the header"),
            "write whole seconds, at most 1h",
        );
    }
    for (key, number) in [
        ("count", table.count),
        ("times", table.times.map(u64::from)),
        ("version", table.version.map(u64::from)),
        ("rate", table.rate.map(u64::from)),
        ("bytes-per-second", table.bytes_per_second),
    ] {
        if number == Some(0) {
            wrong(key, "0 does nothing".to_owned(), "write at least 1");
        }
    }
    if table.times.is_some_and(|times| times > 1000) {
        wrong(
            "times",
            "that is too often".to_owned(),
            "write at most 1000",
        );
    }
    if let Some(code) = table.code
        && !(1..=16).contains(&code)
    {
        wrong(
            "code",
            format!("{code} is no error code of gRPC"),
            "write 1 to 16, such as 14 for Unavailable",
        );
    }
    if table.rights.as_ref().is_some_and(Vec::is_empty) {
        wrong(
            "rights",
            "no right is taken".to_owned(),
            "name rights, or leave it out for all of them",
        );
    }
    if table.by.is_some_and(|by| by.0.is_zero()) {
        wrong(
            "by",
            "the clock does not move".to_owned(),
            "write by = \"5m\"",
        );
    }
    if let Some(providers) = &table.providers {
        if providers.is_empty() {
            wrong(
                "providers",
                "there is no provider".to_owned(),
                "write providers = [\"kms\", \"identity\"]",
            );
        }
        for (place, provider) in providers.iter().enumerate() {
            if providers[..place].contains(provider) {
                wrong(
                    "providers",
                    format!("{provider:?} stands there twice"),
                    "name each once",
                );
            }
        }
    }
    if table.hits.at_least == 0 {
        let path = path.key("hits").key("at-least");
        problems.push(source.problem(
            &path,
            "a fault that need not touch anything proves nothing",
            "write at-least = 1",
        ));
    }
    let vault = &form.world.vault;
    let mut impossible = |message: &str, fix: &str| {
        problems.push(source.problem(&path.key("kind"), message, fix));
    };
    match table.kind {
        Kind::VaultStepDown | Kind::VaultFreezeLeader | Kind::VaultStandbyLag
            if vault.nodes < 2 =>
        {
            impossible(
                "a Vault of one node has no standby",
                "set world.vault.nodes = 3",
            );
        }
        Kind::VaultRotateAtOnce if vault.flavour != Flavour::Openbao => {
            impossible(
                "only OpenBao uses versions of a key that it does not store",
                "set world.vault.flavour = \"openbao\", or use vault-rotate",
            );
        }
        Kind::VaultSoftDelete if vault.flavour != Flavour::Openbao => {
            impossible(
                "only OpenBao can soft-delete a key",
                "set world.vault.flavour = \"openbao\", or use vault-delete-key",
            );
        }
        _ => {}
    }
    if let Some(object) = table.object
        && object >= form.load.objects
    {
        problems.push(source.problem(
            &path.key("object"),
            format!("there is no object {object}"),
            format!(
                "write 0 to {}, or raise load.objects",
                form.load.objects.saturating_sub(1)
            ),
        ));
    }
}

fn placed(
    form: &ScenarioFile,
    table: &FaultTable,
    path: &Path,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) {
    match table.node {
        Some(_) if !table.kind.on_nodes() => problems.push(source.problem(
            &path.key("node"),
            format!("{} happens to what all nodes share", table.kind),
            "remove node",
        )),
        Some(NodeChoice::One(node)) if node >= form.world.nodes => problems.push(source.problem(
            &path.key("node"),
            format!("there is no node {node}"),
            format!(
                "write 0 to {}, or raise world.nodes",
                form.world.nodes.saturating_sub(1)
            ),
        )),
        _ => {}
    }
}

fn timed(
    form: &ScenarioFile,
    index: usize,
    path: &Path,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) {
    let table = &form.fault[index];
    let phase = form.phases.fault.0;
    if table.at.max >= phase {
        problems.push(source.problem(
            &path.key("at"),
            format!("the fault phase lasts {}", Time(phase)),
            "write an earlier time, or lengthen phases.fault",
        ));
    }
    match table.r#for {
        Some(_) if !table.kind.lasts() => problems.push(source.problem(
            &path.key("for"),
            format!("{} happens once", table.kind),
            "remove for",
        )),
        Some(TimeRange { min, .. }) if min.is_zero() => problems.push(source.problem(
            &path.key("for"),
            "it would be over at once",
            "write for = \"30s\"",
        )),
        Some(TimeRange { max, .. }) if table.at.max < phase && table.at.max + max > phase => {
            problems.push(source.problem(
                &path.key("for"),
                format!("it would outlast the fault phase of {}", Time(phase)),
                "shorten it, lengthen phases.fault, or remove it: then it lasts until heal",
            ));
        }
        _ => {}
    }
    if table.kind == Kind::Restore {
        let backed_up = form
            .fault
            .iter()
            .any(|other| other.kind == Kind::Backup && other.at.max < table.at.min);
        if !backed_up {
            problems.push(source.problem(
                &path.key("kind"),
                "there is no backup to restore",
                "add a fault of kind \"backup\" that is surely earlier",
            ));
        }
    }
}

/// The fault of a table that [`present`] and [`values`] let pass.
fn fault(table: &FaultTable) -> Option<Fault> {
    let requests = table.requests.unwrap_or_default();
    Some(match table.kind {
        Kind::VaultSeal => Fault::VaultSeal,
        Kind::VaultStop => Fault::VaultStop,
        Kind::VaultRestart => Fault::VaultRestart,
        Kind::VaultHold => Fault::VaultHold(requests),
        Kind::VaultSlow => Fault::VaultSlow {
            requests,
            min: table.latency?.min,
            max: table.latency?.max,
        },
        Kind::VaultError => Fault::VaultError {
            requests,
            status: table.status?,
            retry_after: table
                .retry_after
                .and_then(|time| u32::try_from(time.0.as_secs()).ok()),
            count: table.count,
        },
        Kind::VaultGarbage => Fault::VaultGarbage(requests),
        Kind::VaultCutBody => Fault::VaultCutBody(requests),
        Kind::VaultReset => Fault::VaultReset(requests),
        Kind::VaultRevokeTokens => Fault::VaultRevokeTokens,
        Kind::VaultExpireTokens => Fault::VaultExpireTokens,
        Kind::LoginRefused => Fault::LoginRefused,
        Kind::VaultDisableAuth => Fault::VaultDisableAuth,
        Kind::VaultPolicyRemoved => {
            Fault::VaultPolicyRemoved(table.rights.clone().unwrap_or_default())
        }
        Kind::VaultRotate => Fault::VaultRotate(table.times.unwrap_or(1)),
        Kind::VaultDeleteKey => Fault::VaultDeleteKey,
        Kind::VaultRecreateKey => Fault::VaultRecreateKey,
        Kind::VaultSoftDelete => Fault::VaultSoftDelete,
        Kind::VaultMinDecryptionVersion => Fault::VaultMinDecryptionVersion(table.version),
        Kind::VaultMinEncryptionVersion => Fault::VaultMinEncryptionVersion(table.version?),
        Kind::VaultTrim => Fault::VaultTrim(table.version),
        Kind::VaultQuota => Fault::VaultQuota(table.rate?),
        Kind::VaultStepDown => Fault::VaultStepDown,
        Kind::VaultFreezeLeader => Fault::VaultFreezeLeader,
        Kind::VaultRotateAtOnce => Fault::VaultRotateAtOnce,
        Kind::VaultStandbyLag => Fault::VaultStandbyLag,
        Kind::VaultAuditBlocked => Fault::VaultAuditBlocked,
        Kind::VaultStorageFailed => Fault::VaultStorageFailed,
        Kind::ClockAdvance => Fault::ClockAdvance(table.by?.0),
        Kind::NetPartition => Fault::NetPartition(table.edge?),
        Kind::NetPartitionOneWay => Fault::NetPartitionOneWay(table.edge?, table.direction?),
        Kind::NetHold => Fault::NetHold(table.edge?),
        Kind::NetReset => Fault::NetReset(table.edge?),
        Kind::NetHalfClose => Fault::NetHalfClose(table.edge?, table.direction?),
        Kind::NetLatency => Fault::NetLatency {
            edge: table.edge?,
            min: table.latency?.min,
            max: table.latency?.max,
        },
        Kind::NetBandwidth => Fault::NetBandwidth(table.edge?, table.bytes_per_second?),
        Kind::NetSlowReader => Fault::NetSlowReader(table.edge?, table.bytes_per_second?),
        Kind::RpcDelay => Fault::RpcDelay {
            method: table.method,
            min: table.latency?.min,
            max: table.latency?.max,
        },
        Kind::RpcHold => Fault::RpcHold(table.method),
        Kind::RpcStatus => Fault::RpcStatus {
            method: table.method,
            code: table.code?,
            message: table
                .message
                .clone()
                .unwrap_or_else(|| "planned fault".to_owned()),
        },
        Kind::RpcCut => Fault::RpcCut(table.method),
        Kind::RpcSick => Fault::RpcSick,
        Kind::RpcWrongKey => Fault::RpcWrongKey,
        Kind::PluginKill => Fault::PluginKill,
        Kind::PluginRestart => Fault::PluginRestart,
        Kind::PluginStop => Fault::PluginStop,
        Kind::PluginFreeze => Fault::PluginFreeze,
        Kind::PluginStaleSocket => Fault::PluginStaleSocket,
        Kind::CredentialsChanged => Fault::CredentialsChanged,
        Kind::CredentialsRemoved => Fault::CredentialsRemoved,
        Kind::CredentialsDamaged => Fault::CredentialsDamaged,
        Kind::CaChanged => Fault::CaChanged,
        Kind::ApiserverRestart => Fault::ApiserverRestart,
        Kind::ApiserverConfig => Fault::ApiserverConfig(Providers(table.providers.clone()?)),
        Kind::StoreDamage => Fault::StoreDamage {
            damage: table.damage?,
            object: table.object.unwrap_or(0),
        },
        Kind::ClockSkew => Fault::ClockSkew {
            by: table.by?.0,
            behind: table.behind.unwrap_or(false),
        },
        Kind::RewriteAll => Fault::RewriteAll,
        Kind::Backup => Fault::Backup,
        Kind::Restore => Fault::Restore,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::file::HitsTable;

    /// A parameter that no kind takes could never be used; one that `given` forgets would be ignored.
    #[test]
    fn every_parameter_belongs_to_a_kind() {
        let all = toml::from_str::<FaultTable>(
            "id='a'\nkind='backup'\nat='1s'\nrequests='all'\nlatency='1s'\nstatus=500\nretry-after='1s'\ncount=1\n\
             rights=['encrypt']\ntimes=1\nversion=1\nrate=1\nby='1s'\nbehind=true\nedge='vault'\ndirection='answers'\n\
             bytes-per-second=1\nmethod='status'\ncode=1\nmessage='m'\nproviders=['kms']\ndamage='data'\nobject=0",
        )
        .unwrap();
        let mut names = given(&all);
        let mut taken: Vec<_> = Kind::ALL
            .iter()
            .flat_map(|kind| {
                let (needed, possible) = parameters(*kind);
                [needed, possible].concat()
            })
            .collect();
        names.sort_unstable();
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(names, taken);
        for kind in Kind::ALL {
            let (needed, _) = parameters(*kind);
            if needed.is_empty() {
                let table = FaultTable {
                    kind: *kind,
                    hits: HitsTable::default(),
                    ..toml::from_str("id='a'\nkind='backup'\nat='1s'").unwrap()
                };
                assert_eq!(fault(&table).map(|fault| fault.kind()), Some(*kind));
            } else {
                let table = FaultTable {
                    kind: *kind,
                    ..all.clone()
                };
                assert_eq!(fault(&table).map(|fault| fault.kind()), Some(*kind));
            }
        }
    }
}

//! What this arm can run with which parts, and why not: said before a run.

use kms_judge::invariant::Claim;
use kms_scenario::fault::{Edge, Fault, Requests};
use kms_scenario::language::Scenario;
use kms_scenario::language::file::{VaultTable, WorldTable};
use kms_scenario::world::Flavour;

use super::Parts;
use super::subject::{Subject, credential};
use super::vault::make::Make;
use crate::apiserver::choice::Choice;
use crate::subject::file::SubjectFile;
use crate::vault::family::Family;

/// Why a plugin that runs already is not broken.
const NOT_OURS: &str = "the plugin's process is somebody else's";

/// Whether a scenario can run with these parts.
///
/// # Errors
/// Why not.
pub fn applicable(scenario: &Scenario, parts: &Parts) -> Result<(), String> {
    for timed in &scenario.faults {
        if let Some(why) = unable(&timed.fault, parts) {
            return Err(format!("{}: {why}", timed.id));
        }
    }
    let world = &scenario.form.world;
    let no = vault(scenario, &parts.vault)
        .or_else(|| subject(scenario, parts))
        .or_else(|| apiserver(world, &parts.apiserver));
    no.map_or(Ok(()), Err)
}

/// Whether a fault needs a Vault that keeps what it knows over a restart of its own.
#[must_use]
pub fn needs_storage(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::VaultStop | Fault::VaultRestart | Fault::VaultRotateAtOnce
    )
}

/// Why this arm cannot make a fault happen with such parts; nothing if it can.
#[must_use]
pub fn unable(fault: &Fault, parts: &Parts) -> Option<&'static str> {
    let anywhere = match fault {
        Fault::ClockSkew { .. } => Some("processes share the machine's clock"),
        Fault::CaChanged => Some("the Vault of this arm speaks plain HTTP"),
        Fault::NetHalfClose(Edge::Socket, _)
        | Fault::NetPartitionOneWay(Edge::Socket, _)
        | Fault::NetBandwidth(Edge::Socket, _)
        | Fault::NetSlowReader(Edge::Socket, _) => {
            Some("the proxy on the socket knows calls, not bytes")
        }
        _ => None,
    };
    anywhere
        .or_else(|| unable_on_subject(fault, &parts.subject))
        .or_else(|| unable_on_vault(fault, &parts.vault))
}

fn unable_on_vault(fault: &Fault, make: &Make) -> Option<&'static str> {
    let alone = "only the simulated Vault can be made to do that";
    match fault {
        Fault::VaultError { .. }
        | Fault::VaultGarbage(_)
        | Fault::VaultCutBody(_)
        | Fault::VaultReset(_)
        | Fault::VaultExpireTokens
        | Fault::VaultStandbyLag
        | Fault::VaultAuditBlocked
        | Fault::VaultStorageFailed
        | Fault::ClockAdvance(_)
            if !make.simulated() =>
        {
            return Some(alone);
        }
        Fault::VaultHold(requests) | Fault::VaultSlow { requests, .. }
            if !make.simulated() && *requests != Requests::All =>
        {
            return Some("only the simulated Vault can be made to do that to some requests");
        }
        Fault::VaultSoftDelete | Fault::VaultRotateAtOnce
            if matches!(make, Make::Real(Family::Vault, _)) =>
        {
            return Some("only OpenBao does that");
        }
        _ => {}
    }
    match make {
        Make::Theirs { .. } => matches!(
            fault,
            Fault::VaultSeal
                | Fault::VaultStop
                | Fault::VaultRestart
                | Fault::VaultHold(_)
                | Fault::VaultStepDown
                | Fault::VaultFreezeLeader
                | Fault::VaultRotateAtOnce
        )
        .then_some(super::vault::THEIRS),
        #[cfg(feature = "container")]
        Make::Container(_) => needs_storage(fault).then_some("the container's server starts empty"),
        Make::Simulated | Make::Real(..) => None,
    }
}

fn unable_on_subject(fault: &Fault, subject: &Subject) -> Option<&'static str> {
    let process = matches!(
        fault,
        Fault::PluginKill
            | Fault::PluginRestart
            | Fault::PluginStop
            | Fault::PluginFreeze
            | Fault::PluginStaleSocket
    );
    match subject {
        Subject::Own(_) => None,
        Subject::Described(file) => {
            let elsewhere = on_vault(fault) && !file.mentions("vault");
            let own_way = process && file.restart.is_some();
            let own_way = own_way.then_some("it is restarted by a command of its own");
            own_way.or(elsewhere.then_some("its file does not say {vault}"))
        }
        Subject::Socket(_) if process => Some(NOT_OURS),
        Subject::Socket(_) => on_vault(fault).then_some("nobody said where the plugin's Vault is"),
    }
}

/// Whether a fault is made on the plugin's Vault, on its credentials there, or on the way to it.
fn on_vault(fault: &Fault) -> bool {
    fault.kind().name().starts_with("vault-")
        || matches!(
            fault,
            Fault::LoginRefused
                | Fault::ClockAdvance(_)
                | Fault::CredentialsChanged
                | Fault::CredentialsRemoved
                | Fault::CredentialsDamaged
                | Fault::NetPartition(Edge::Vault)
                | Fault::NetPartitionOneWay(Edge::Vault, _)
                | Fault::NetHold(Edge::Vault)
                | Fault::NetReset(Edge::Vault)
                | Fault::NetHalfClose(Edge::Vault, _)
                | Fault::NetLatency {
                    edge: Edge::Vault,
                    ..
                }
                | Fault::NetBandwidth(Edge::Vault, _)
                | Fault::NetSlowReader(Edge::Vault, _)
        )
}

fn vault(scenario: &Scenario, make: &Make) -> Option<String> {
    let table = &scenario.form.world.vault;
    let about_make = !scenario.upstream.is_empty()
        && scenario.faults.iter().any(|timed| {
            matches!(
                timed.fault,
                Fault::VaultFreezeLeader | Fault::VaultRotateAtOnce
            )
        });
    match make {
        Make::Real(family, _) if about_make => {
            let (wanted, name) = match table.flavour {
                Flavour::Openbao => (Family::OpenBao, "OpenBao"),
                Flavour::Vault => (Family::Vault, "HashiCorp Vault"),
            };
            (*family != wanted).then(|| format!("it is about a fault of {name}"))
        }
        Make::Theirs { addresses, .. } if table.nodes as usize > addresses.len() => Some(format!(
            "it wants a Vault of {} nodes, and --vault names {}",
            table.nodes,
            addresses.len()
        )),
        #[cfg(feature = "container")]
        Make::Container(_) if table.nodes > 1 => {
            Some("a container has a Vault of one node".to_owned())
        }
        _ => None,
    }
}

fn subject(scenario: &Scenario, parts: &Parts) -> Option<String> {
    let world = &scenario.form.world;
    let foreign = !matches!(parts.subject, Subject::Own(_));
    if foreign && !world.plugin.is_empty() {
        return Some("it gives flags of vault-kubernetes-kms to the plugin".to_owned());
    }
    match &parts.subject {
        Subject::Own(_) => None,
        Subject::Described(file) => described(scenario, file),
        Subject::Socket(_) => {
            let counted = scenario.expectations.iter().any(|it| {
                matches!(
                    it.claim,
                    Claim::VaultLoginsAtMost { .. } | Claim::VaultRequestsAtMost { .. }
                )
            });
            if world.nodes > 1 {
                Some("it wants more nodes than the one socket".to_owned())
            } else if world.vault != VaultTable::default() {
                Some("it wants a Vault that is set up for it".to_owned())
            } else {
                counted.then(|| "it counts requests to Vault, which nobody sees here".to_owned())
            }
        }
    }
}

fn described(scenario: &Scenario, file: &SubjectFile) -> Option<String> {
    let world = &scenario.form.world;
    let own = credential(world.vault.auth);
    if world.nodes > 1 && !file.several {
        return Some("it wants several plugins; the subject's file does not say `several`".into());
    }
    if world.vault.nodes > 1 {
        return Some("a subject's file has one address of Vault, {vault}".to_owned());
    }
    (file.mentions("vault") && !file.mentions(own)).then(|| {
        format!(
            "its plugins log in by {}; the subject's file has no {{{own}}}",
            match own {
                "secret_id_file" => "AppRole",
                "password_file" => "userpass",
                _ => "a token",
            }
        )
    })
}

fn apiserver(world: &WorldTable, choice: &Choice) -> Option<String> {
    let simulated = matches!(choice, Choice::Simulated);
    let any = WorldTable::default().server_version;
    (!simulated && world.server_version != any)
        .then(|| format!("it wants an API server of version {}", world.server_version))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kms_scenario::language::read;

    use super::*;

    const FILE: &str = r#"name = "acme"
command = ["acme", "--listen={socket}", "--vault={vault}", "--token-file={token_file}"]"#;

    fn parts(subject: Subject) -> Parts {
        Parts {
            vault: Make::Simulated,
            subject,
            apiserver: Choice::Simulated,
        }
    }

    fn why(world: &str, fault: &str, subject: &Subject) -> String {
        let text = format!(
            "id = 'a'\ntitle = 'T.'\nproves = ['KMS2-RT-01']\narms = ['process']\n{world}\n\
             [[fault]]\nid = 'f'\nat = '1s'\n{fault}\n[[expect]]\nsometimes = 'status-ok'\n"
        );
        let scenario = read(&text, None).unwrap_or_else(|problems| panic!("{problems:?}"));
        let no = applicable(&scenario, &parts(subject.clone()));
        no.err().unwrap_or_default()
    }

    /// What a subject cannot do is a reason, and what it can do has none.
    #[test]
    fn a_subject_is_not_asked_for_what_it_cannot_do() {
        let token = "[world.vault]\nauth = 'token'";
        let acme = Subject::Described(Box::new(SubjectFile::parse(FILE).unwrap()));
        let kill = "kind = 'plugin-restart'";
        assert_eq!(why(token, kill, &acme), "");
        assert!(why("", kill, &acme).contains("{secret_id_file}"));
        let two = format!("[world]\nnodes = 2\n{token}");
        assert!(why(&two, kill, &acme).contains("several"));
        let flags = "[world.plugin]\nstatus-ttl = '5s'";
        assert!(why(flags, kill, &acme).contains("flags"));
        let own_way = format!("{FILE}\n[restart]\ncommand = ['acmectl']");
        let own_way = Subject::Described(Box::new(SubjectFile::parse(&own_way).unwrap()));
        assert!(why(token, kill, &own_way).contains("command of its own"));

        let alone = FILE.replace(
            "\"--vault={vault}\", \"--token-file={token_file}\"",
            "\"--local\"",
        );
        let alone = Subject::Described(Box::new(SubjectFile::parse(&alone).unwrap()));
        assert_eq!(why("", kill, &alone), "");
        assert!(why("", "kind = 'vault-seal'", &alone).contains("{vault}"));

        let socket = Subject::Socket(PathBuf::from("/run/kms.sock"));
        let cut = "kind = 'net-partition'\nedge = 'socket'";
        assert_eq!(why("", cut, &socket), "");
        assert!(why(token, cut, &socket).contains("set up"));
        assert!(why("", kill, &socket).contains("somebody else's"));
        assert!(why("", "kind = 'vault-seal'", &socket).contains("Vault is"));
        let parted = "kind = 'net-partition'\nedge = 'vault'";
        assert!(why("", parted, &socket).contains("Vault is"));
    }
}

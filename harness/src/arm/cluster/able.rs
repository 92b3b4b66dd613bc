//! What this cluster can be made to do, and why not: said before a run.

use kms_judge::invariant::Claim;
use kms_scenario::fault::{Edge, Fault, Maker, Requests};
use kms_scenario::language::Scenario;
use kms_scenario::language::file::{NodeChoice, VaultTable, WorldTable};
use kms_scenario::plan::seen_through_an_address;

use super::Parts;

const NO_LINK: &str = "no relay stands between the plugin and Vault (kms-harness relay, --relay)";
const NO_SOCKET: &str = "no relay stands on the plugin's socket (kms-harness relay, --relay)";
const NO_PODS: &str = "name its labels by --plugin-pods NAMESPACE/NAME=VALUE";
const NO_NODE: &str = "no API reaches the process of a static pod, and no relay breaks it here: start the one on its node with --plugin-executable and --allow-node-faults";
const NOT_ALLOWED: &str =
    "it happens to the plugin's process on its node; --allow-node-faults allows it";
const NODE: &str = "only the node itself could do that";

/// Whether a scenario can run on this cluster.
///
/// # Errors
/// Why not.
pub fn applicable(scenario: &Scenario, parts: &Parts) -> Result<(), String> {
    for timed in &scenario.faults {
        if let Some(why) = unable(&timed.fault, parts) {
            return Err(format!("{}: {why}", timed.id));
        }
        let several = scenario.form.world.nodes > 1;
        if several && !matches!(timed.node, NodeChoice::All) && timed.fault.kind().on_nodes() {
            return Err(format!(
                "{}: it happens on one of several nodes, and the cluster is seen through one address",
                timed.id
            ));
        }
    }
    world(&scenario.form.world).map_or(Ok(()), Err)?;
    for expectation in scenario.expectations.iter().chain(&scenario.upstream) {
        let name = expectation.claim.name();
        if !seen_through_an_address(&expectation.claim) {
            return Err(format!("nobody sees {name} through a cluster's address"));
        }
        if expectation.node.is_some_and(|node| node > 0) {
            return Err(format!(
                "it expects {name} of one node, and the cluster is seen through one address"
            ));
        }
        let counted = matches!(
            expectation.claim,
            Claim::VaultLoginsAtMost { .. } | Claim::VaultRequestsAtMost { .. }
        );
        if counted && !parts.counts() {
            return Err(format!(
                "{name}: no relay counts the requests to Vault here"
            ));
        }
    }
    Ok(())
}

fn world(world: &WorldTable) -> Option<String> {
    let (plain, vault) = (WorldTable::default(), VaultTable::default());
    let asked = [
        (
            "a version of its own",
            world.server_version != plain.server_version,
        ),
        (
            "an encryption configuration of its own",
            world.providers != plain.providers,
        ),
        ("flags of the plugin", !world.plugin.is_empty()),
        ("a Vault of several nodes", world.vault.nodes > 1),
        ("batch tokens", world.vault.batch),
        (
            "secret-ids that end",
            world.vault.secret_id_uses > 0 || world.vault.secret_id_ttl.is_some(),
        ),
        ("rights that are left out", !world.vault.without.is_empty()),
        (
            "a key of another type",
            world.vault.key_type != vault.key_type,
        ),
    ];
    let wanted = asked.into_iter().find(|(_, wanted)| *wanted);
    wanted.map(|(what, _)| format!("it wants {what}, and this cluster is as it is"))
}

/// Why this cluster cannot be made to do this; nothing if it can.
#[must_use]
pub fn unable(fault: &Fault, parts: &Parts) -> Option<String> {
    let (link, socket) = (
        parts.on_links().next().is_some(),
        parts.on_sockets().next().is_some(),
    );
    let pods = parts.pods.is_some();
    let without = |there: bool, why: &str| (!there).then(|| why.to_owned());
    match fault {
        Fault::VaultHold(Requests::All)
        | Fault::VaultSlow {
            requests: Requests::All,
            ..
        } => without(link, NO_LINK),
        Fault::NetPartition(Edge::Vault) | Fault::NetHold(Edge::Vault) => {
            without(link || pods, NO_LINK)
        }
        Fault::NetPartitionOneWay(Edge::Vault, _)
        | Fault::NetLatency {
            edge: Edge::Vault, ..
        }
        | Fault::NetBandwidth(Edge::Vault, _)
        | Fault::NetSlowReader(Edge::Vault, _)
        | Fault::NetHalfClose(Edge::Vault, _)
        | Fault::NetReset(Edge::Vault) => without(link, NO_LINK),
        Fault::NetReset(Edge::Socket)
        | Fault::NetPartition(Edge::Socket)
        | Fault::NetHold(Edge::Socket)
        | Fault::NetLatency {
            edge: Edge::Socket, ..
        }
        | Fault::RpcDelay { .. }
        | Fault::RpcHold(_)
        | Fault::RpcStatus { .. }
        | Fault::RpcCut(_)
        | Fault::RpcSick
        | Fault::RpcWrongKey => without(socket, NO_SOCKET),
        Fault::NetPartitionOneWay(Edge::Socket, _)
        | Fault::NetBandwidth(Edge::Socket, _)
        | Fault::NetSlowReader(Edge::Socket, _)
        | Fault::NetHalfClose(Edge::Socket, _) => {
            Some("the relay on the socket knows calls, not bytes".to_owned())
        }
        Fault::PluginRestart | Fault::PluginStop if pods => None,
        Fault::PluginRestart | Fault::PluginStop => {
            let on_node = on_node(parts);
            on_node.map(|why| format!("{why}. Or, if it is an ordinary pod, {NO_PODS}"))
        }
        Fault::PluginKill | Fault::PluginFreeze | Fault::PluginStaleSocket => on_node(parts),
        Fault::CredentialsChanged
        | Fault::CredentialsRemoved
        | Fault::CredentialsDamaged
        | Fault::CaChanged
        | Fault::ClockSkew { .. } => Some(NODE.to_owned()),
        Fault::RewriteAll => None,
        other if other.maker() == Maker::Engine => Some(
            "the API server and its store are not touched: a kubeconfig gives no way to them"
                .to_owned(),
        ),
        other => in_vault(other, parts),
    }
}

/// Why nobody breaks the plugin's process on its node.
fn on_node(parts: &Parts) -> Option<String> {
    let there = parts.on_nodes().next().is_some();
    let why = match (there, parts.node_faults) {
        (true, true) => return None,
        (true, false) => NOT_ALLOWED,
        (false, _) => NO_NODE,
    };
    Some(why.to_owned())
}

fn in_vault(fault: &Fault, parts: &Parts) -> Option<String> {
    let Some(vault) = &parts.vault else {
        return Some("nobody said where the plugin's Vault is (--vault)".to_owned());
    };
    let lost = matches!(
        fault,
        Fault::VaultDeleteKey | Fault::VaultRecreateKey | Fault::VaultTrim(_) | Fault::VaultSeal
    );
    if lost && !parts.irreversible {
        return Some(
            "it cannot be undone by this harness alone; --allow-irreversible allows it".to_owned(),
        );
    }
    match fault {
        Fault::VaultRotate(_)
        | Fault::VaultDeleteKey
        | Fault::VaultRecreateKey
        | Fault::VaultTrim(_)
        | Fault::VaultMinDecryptionVersion(_)
        | Fault::VaultMinEncryptionVersion(_) => None,
        Fault::VaultSoftDelete => {
            (vault.product == "vault").then(|| "only OpenBao does that".to_owned())
        }
        Fault::VaultQuota(_) => vault.mount_alone.clone().err(),
        Fault::VaultRevokeTokens | Fault::VaultPolicyRemoved(_) => vault.policy.clone().err(),
        Fault::VaultDisableAuth => vault.role.clone().err(),
        Fault::LoginRefused => match &vault.role {
            Ok(role) if role.approle => None,
            Ok(_) => Some("only an AppRole's logins can be refused and accepted again".to_owned()),
            Err(why) => Some(why.clone()),
        },
        Fault::VaultSeal if vault.unseal_key.is_none() => {
            Some("nobody said which key unseals it (--staging-vault-unseal-key-path)".to_owned())
        }
        Fault::VaultSeal => None,
        _ => Some("somebody else's Vault cannot be made to do that".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kms_scenario::language::read;
    use kube::config::Kubeconfig;
    use zeroize::Zeroizing;

    use super::*;
    use crate::arm::cluster::staging::{Policy, Role, Staging};
    use crate::arm::cluster::{Halt, PluginPods};
    use crate::vault::admin::Admin;

    fn bare() -> Parts {
        Parts {
            name: "staging".to_owned(),
            kubeconfig: Box::new(Kubeconfig::default()),
            context: "staging".to_owned(),
            vault: None,
            relays: Vec::new(),
            pods: None,
            watched: None,
            etcd: None,
            irreversible: false,
            node_faults: false,
            undo: PathBuf::new(),
            halt: Halt::default(),
        }
    }

    fn vault() -> Staging {
        let address = "http://127.0.0.1:1";
        Staging {
            admin: Admin::new(address, None, Zeroizing::default()).unwrap(),
            address: address.to_owned(),
            product: "openbao".to_owned(),
            mount: "transit".to_owned(),
            key: "k".to_owned(),
            policy: Ok(Policy {
                name: "p".to_owned(),
                text: String::new(),
            }),
            mount_alone: Ok(()),
            role: Ok(Role {
                mount: "auth/approle".to_owned(),
                path: "auth/approle/role/r".to_owned(),
                approle: true,
            }),
            unseal_key: None,
        }
    }

    fn why(fault: &str, more: &str, parts: &Parts) -> String {
        let text = format!(
            "id = 'a'\ntitle = 'T.'\nproves = ['KMS2-RT-01']\narms = ['cluster']\n{more}\n\
             [[fault]]\nid = 'f'\nat = '1s'\n{fault}\n[[expect]]\nsometimes = 'status-ok'\n"
        );
        let scenario = read(&text, None).unwrap_or_else(|problems| panic!("{problems:?}"));
        applicable(&scenario, parts).err().unwrap_or_default()
    }

    /// Who names nothing but a cluster breaks nothing, and is told what to name.
    #[test]
    fn nothing_is_broken_that_was_not_named() {
        for (fault, told) in [
            ("kind = 'vault-rotate'", "--vault"),
            ("kind = 'vault-seal'", "--vault"),
            ("kind = 'net-partition'\nedge = 'vault'", "--relay"),
            ("kind = 'rpc-hold'", "--relay"),
            ("kind = 'plugin-restart'", "--plugin-pods"),
            ("kind = 'plugin-restart'", "--allow-node-faults"),
            ("kind = 'plugin-freeze'", "--plugin-executable"),
            ("kind = 'ca-changed'", "node"),
            ("kind = 'apiserver-restart'", "kubeconfig"),
            ("kind = 'vault-error'\nstatus = 500", "--vault"),
        ] {
            let why = why(fault, "", &bare());
            assert!(why.contains(told), "{fault}: {why:?}");
        }
        assert_eq!(why("kind = 'rewrite-all'", "", &bare()), "");
    }

    /// What others share, what nobody can undo, and what is seen by nobody.
    #[test]
    fn what_is_shared_or_final_or_unseen_has_a_reason() {
        let mut parts = Parts {
            vault: Some(vault()),
            ..bare()
        };
        for fault in [
            "kind = 'vault-rotate'",
            "kind = 'vault-quota'\nrate = 1",
            "kind = 'vault-revoke-tokens'",
        ] {
            assert_eq!(why(fault, "", &parts), "", "{fault}");
        }
        let seal = "kind = 'vault-seal'";
        assert!(why(seal, "", &parts).contains("--allow-irreversible"));
        parts.irreversible = true;
        assert!(why(seal, "", &parts).contains("unseal"));
        assert_eq!(why("kind = 'vault-delete-key'", "", &parts), "");
        if let Some(vault) = &mut parts.vault {
            vault.mount_alone = Err("another key".to_owned());
            vault.policy = Err("grants more".to_owned());
            vault.role = Err("shared".to_owned());
        }
        for (fault, told) in [
            ("kind = 'vault-quota'\nrate = 1", "another key"),
            ("kind = 'vault-policy-removed'", "grants more"),
            ("kind = 'vault-disable-auth'", "shared"),
            ("kind = 'login-refused'", "shared"),
        ] {
            assert!(why(fault, "", &parts).contains(told), "{fault}");
        }
        let rotate = "kind = 'vault-rotate'";
        for (more, told) in [
            ("[world]\nvault = { nodes = 3 }", "several nodes"),
            ("[world]\nplugin = { status-ttl = '5s' }", "flags"),
        ] {
            assert!(why(rotate, more, &parts).contains(told), "{more}");
        }
        parts.pods = Some(PluginPods {
            namespace: "kms".to_owned(),
            selector: "app=kms".to_owned(),
        });
        assert_eq!(
            why("kind = 'net-partition'\nedge = 'vault'", "", &parts),
            ""
        );
        let one = why(
            "kind = 'net-partition'\nedge = 'vault'\nnode = 1",
            "[world]\nnodes = 2",
            &parts,
        );
        assert!(one.contains("one address"), "{one}");
    }
}

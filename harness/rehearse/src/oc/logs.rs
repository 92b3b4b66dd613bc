//! Logs: of the operators, of the API servers, of the plugins.

use kms_controlplane::plane::{COMPONENTS, What};

use super::shell::{grep, tail};
use super::shortened;
use crate::world::World;
use crate::world::clock::klog;

/// Names of the operators' Deployments, by component.
const DEPLOYMENTS: [&str; 3] = [
    "kube-apiserver-operator",
    "openshift-apiserver-operator",
    "authentication-operator",
];

/// How a controller is called in its operator's log.
fn controller(by: &str) -> &'static str {
    match by {
        "key" => "EncryptionKeyController",
        "state" => "EncryptionStateController",
        "prune" => "EncryptionPruneController",
        "migration" => "EncryptionMigrationController",
        "condition" => "EncryptionConditionController",
        "preflight" => "EncryptionKMSPreflightController",
        "sync" => "ResourceSyncController",
        _ => "InstallerController",
    }
}

/// The whole log of an operator, as far as it is about encryption and roll-outs.
pub fn operator(world: &World, component: usize) -> String {
    let name = DEPLOYMENTS[component];
    let mine = world.plane.log.iter();
    let mine = mine.filter(|entry| entry.component == COMPONENTS[component].0);
    mine.map(|entry| {
        let by = controller(entry.by);
        match &entry.what {
            What::Event(event) => {
                let kind = if event.warning { "Warning" } else { "Normal" };
                format!(
                    "{}       1 event.go:377] Event(v1.ObjectReference{{Kind:\"Deployment\", Namespace:\"openshift-{name}\", Name:\"{name}\", UID:\"\", APIVersion:\"apps/v1\", ResourceVersion:\"\", FieldPath:\"\"}}): type: '{kind}' reason: '{}' {}\n",
                    klog('I', entry.at),
                    event.reason,
                    event.text
                )
            }
            What::Error(text) => format!(
                "{}       1 base_controller.go:279] \"Unhandled Error\" err=\"{by} reconciliation failed: {text}\"\n",
                klog('E', entry.at)
            ),
            What::Panic(text) => format!(
                "{}       1 panic.go:262] \"Observed a panic\" controller=\"{by}\" panic=\"{text}\"\n",
                klog('E', entry.at)
            ),
        }
    })
    .collect()
}

/// `oc logs -n openshift-kube-apiserver-operator deploy/kube-apiserver-operator | grep -i PATTERN`
pub fn operator_grep(world: &World, pattern: &str) -> String {
    shortened(&grep(&operator(world, 0), pattern))
}

/// `oc logs -n openshift-kube-apiserver -l apiserver=true --tail=N | grep -i PATTERN`: N lines of each pod.
pub fn servers_grep(world: &World, lines: usize, pattern: &str) -> String {
    shortened(&grep(&servers(world, lines), pattern))
}

/// The last lines of each kube-apiserver.
pub fn servers(world: &World, lines: usize) -> String {
    let mine = world.servers.iter().filter(|server| server.component == 0);
    let texts = mine.map(|server| tail(&server.log.text(), lines));
    texts.collect::<Vec<_>>().join("\n")
}

/// The log of a node's plugin, the lines that fit.
pub fn plugin_grep(world: &World, node: usize, pattern: &str) -> String {
    shortened(&grep(&world.plugins[node].log.text(), pattern))
}

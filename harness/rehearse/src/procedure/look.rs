//! `monitor`, `troubleshoot` and `collect`: what the procedure looks at, every day and when something is wrong.

use std::sync::Arc;
use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_controlplane::plane::COMPONENTS;
use serde_json::Value;

use super::{enable, stage};
use crate::fault::Kind;
use crate::oc::{self, logs, shell};
use crate::options::{Category, Options, Procedure};
use crate::report::Part;
use crate::scenario::{ROWS, Row};
use crate::stage::Stage;
use crate::world::node_name;

/// Plays `monitor`.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn monitor(mut stage: Stage) -> Result<Part, Trouble> {
    stage.begin("operator-log", "The operator's log").await?;
    let shown = logs::operator_grep(&stage.world, "kms");
    stage.command(
        "oc logs -n openshift-kube-apiserver-operator deploy/kube-apiserver-operator | grep -i kms",
        shown.clone(),
    );
    if shown.is_empty() {
        stage.note("the operator writes of keys and revisions, not of KMS: grep -i encryption finds what it did");
        let all = logs::operator_grep(&stage.world, "encryption");
        stage.command(
            "oc logs -n openshift-kube-apiserver-operator deploy/kube-apiserver-operator | grep -i encryption",
            all,
        );
    }
    let operator = logs::operator(&stage.world, 0);
    let errors = shell::grep(&operator, "unhandled error\\|panic").len();
    stage.expect("no errors in it", errors == 0, format!("{errors}"));

    stage.begin("server-log", "The API servers' logs").await?;
    let shown = logs::servers_grep(&stage.world, 100, "kms");
    stage.command(
        "oc logs -n openshift-kube-apiserver -l apiserver=true --tail=100 | grep -i kms",
        shown,
    );
    let ready = stage.world.ready(0);
    stage.expect(
        "every kube-apiserver is ready, its kms-providers check with it",
        ready == stage.world.plan.nodes,
        format!("{ready} of {}", stage.world.plan.nodes),
    );

    stage.begin("configuration", "The configuration").await?;
    stage.command(
        "oc get apiserver cluster -o jsonpath='{.spec.encryption}' | jq",
        oc::encryption(&stage.world),
    );
    let mode = oc::encryption_type(&stage.world);
    stage.expect("the type is KMS", mode == "KMS", mode);
    stage.end("").await
}

/// Plays the diagnosis of a category: once for each of its rows, or for the one that is asked for.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn troubleshoot(options: &Options) -> Result<Vec<Part>, Trouble> {
    let category = options.category.unwrap_or(Category::Degraded);
    let mut parts = Vec::new();
    for row in ROWS.iter().filter(|row| row.category() == category) {
        let asked = options.fault.as_ref().map(|(row, _)| row.id());
        if asked.is_some_and(|id| id != row.id()) {
            continue;
        }
        parts.push(diagnose(options, row).await?);
    }
    Ok(parts)
}

/// What the cluster was doing when it went wrong.
fn before(row: &Row) -> &'static str {
    match row.procedure() {
        Procedure::Enable => "",
        Procedure::MigrateFromLocal => "aescbc",
        _ => "KMS",
    }
}

async fn diagnose(options: &Options, row: &Arc<Row>) -> Result<Part, Trouble> {
    let options = Options {
        fault: Some((Arc::clone(row), "diagnosis")),
        mode: row.mode(),
        nodes: row.nodes().unwrap_or(options.nodes),
        ..options.clone()
    };
    let mut stage = stage(&options, before(row)).await?;
    if before(row) != "KMS" {
        stage.world.deploy()?;
        stage.world.pass(Duration::from_secs(60)).await;
    }
    match row.procedure() {
        Procedure::Rotate => drop(oc::vault_rotate(&stage.world)),
        Procedure::Disable => stage.world.settled_in("identity").await?,
        _ => {}
    }
    if row.fault() == Kind::MinDecryptionVersionRaised {
        stage.world.pass(Duration::from_secs(300)).await;
    }
    stage.begin("diagnosis", row.title()).await?;
    let under_way = match row.procedure() {
        Procedure::Enable | Procedure::MigrateFromLocal => Some("KMS"),
        Procedure::BackToLocal => Some("aescbc"),
        _ => None,
    };
    if let Some(mode) = under_way {
        if stage.world.refuses.is_some() {
            enable::edit(&mut stage, mode, "");
        } else {
            stage.world.set_type(mode);
        }
    }
    stage.world.pass(row.diagnose_after()).await;
    show(&mut stage, row);
    stage.end(&format!("{}: {}", row.id(), row.title())).await
}

/// The procedure's diagnosis of a category.
fn show(stage: &mut Stage, row: &Row) {
    let node = node_name(0);
    let operator =
        "oc logs -n openshift-kube-apiserver-operator deploy/kube-apiserver-operator | grep -i";
    let world = &stage.world;
    let listing: Vec<String> = (0..world.plan.nodes)
        .map(|node| oc::socket(world, node))
        .collect();
    let unit = format!("oc debug node/{node} -- chroot /host journalctl -u kms-plugin");
    match row.category() {
        Category::InvalidConfig => {
            let shown = logs::operator_grep(world, "kms\\|validation\\|error");
            stage.command(format!("{operator} \"kms\\|validation\\|error\""), shown);
            for (node, line) in listing.into_iter().enumerate() {
                stage.command(enable::socket_command(node), line);
            }
            let name = node_name(0);
            let shown = logs::plugin_grep(&stage.world, 0, "error\\|warn");
            stage.command(
                format!(
                    "oc logs -n kube-system vault-kms-plugin-{name} | grep -i \"error\\|warn\""
                ),
                shown,
            );
        }
        Category::Permissions => {
            let shown = logs::operator_grep(world, "kms\\|permission\\|access denied");
            stage.command(
                format!("{operator} \"kms\\|permission\\|access denied\""),
                shown,
            );
            journal(stage, &unit, None);
        }
        Category::Key => {
            let shown = logs::servers_grep(world, 500, "decrypt\\|kms.*error");
            stage.command(
                "oc logs -n openshift-kube-apiserver -l apiserver=true | grep -i \"decrypt\\|kms.*error\"",
                shown,
            );
            journal(
                stage,
                &format!("{unit} | grep -i \"key\\|error\""),
                Some("key\\|error"),
            );
        }
        Category::Degraded => {
            let (operator, shown) = (
                oc::cluster_operator(world),
                logs::servers_grep(world, 200, "kms"),
            );
            stage.command("oc get clusteroperator kube-apiserver", operator);
            stage.command(
                "oc logs -n openshift-kube-apiserver -l apiserver=true --tail=200 | grep -i kms",
                shown,
            );
            let unit = format!("oc debug node/{node} -- chroot /host systemctl status kms-plugin");
            stage.command(unit, "Unit kms-plugin.service could not be found.");
            stage.note("the plugin is a static pod, not a unit: its state is in the pod list");
            stage.command(enable::PODS, oc::plugin_pods(&stage.world));
        }
        Category::Migration => {
            let (status, shown) = (
                oc::cluster_operator(world),
                logs::operator_grep(world, "migration"),
            );
            stage.command("oc get clusteroperator kube-apiserver", status);
            stage.command(format!("{operator} migration"), shown);
            let shown = oc::migrations(&stage.world);
            stage.command("oc get storageversionmigrations", shown);
        }
    }
}

/// The journal of a unit that there is not, and where the same lines are.
fn journal(stage: &mut Stage, command: &str, pattern: Option<&str>) {
    let text = if pattern.is_some() {
        ""
    } else {
        "-- No entries --"
    };
    stage.command(command, text);
    stage.note("the plugin is a static pod, not a unit: the same lines are in its container's log");
    let name = format!("vault-kms-plugin-{}", node_name(0));
    let command = match pattern {
        Some(pattern) => format!("oc logs -n kube-system {name} | grep -i \"{pattern}\""),
        None => format!("oc logs -n kube-system {name}"),
    };
    let shown = logs::plugin_grep(&stage.world, 0, pattern.unwrap_or(""));
    stage.command(command, shown);
}

/// Plays `collect`.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn collect(mut stage: Stage) -> Result<Part, Trouble> {
    stage.begin("cluster", "The cluster's own evidence").await?;
    let world = &stage.world;
    let files = [
        (
            "oc get apiserver cluster -o yaml > apiserver.yaml",
            oc::apiserver_yaml(world),
        ),
        (
            "oc logs -n openshift-kube-apiserver-operator deploy/kube-apiserver-operator > kube-apiserver-operator.log",
            logs::operator(world, 0),
        ),
        (
            "oc logs -n openshift-kube-apiserver -l apiserver=true --tail=500 > kube-apiserver.log",
            logs::servers(world, 500),
        ),
    ];
    stage.command("oc adm must-gather", "");
    stage.note("must-gather has no script for encryption: key secrets' metadata, provider order and the plugin's logs come from what follows");
    for (command, text) in &files {
        stage.command(*command, "");
        let lines = text.lines().count();
        stage.note(format!("{lines} lines"));
        stage.expect("the file is not empty", lines > 0, "");
    }

    stage
        .begin("provider", "The KMS provider's evidence")
        .await?;
    let mut texts: Vec<String> = files.into_iter().map(|(_, text)| text).collect();
    for node in 0..stage.world.plan.nodes {
        let text = stage.world.plugins[node].log.text();
        let name = node_name(node);
        stage.command(
            format!("oc logs -n kube-system vault-kms-plugin-{name} > vault-kms-plugin-{node}.log"),
            "",
        );
        stage.note(format!("{} lines", text.lines().count()));
        texts.push(text);
    }
    let audit = stage
        .world
        .vault
        .sim
        .log()
        .iter()
        .map(|call| call.path.clone())
        .collect::<Vec<_>>();
    stage.note(format!(
        "Vault's audit log has {} requests of the plugins",
        audit.len()
    ));
    let policy = stage
        .world
        .vault
        .admin("GET", "sys/policies/acl/kms-plugin", &Value::Null)
        .1;
    let policy = policy["data"]["policy"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    stage.command("vault policy read kms-plugin", policy);
    let (key, _) = oc::vault_key(&stage.world);
    stage.command("vault read transit/keys/kms-key", key);
    for (component, (name, ..)) in COMPONENTS.iter().enumerate() {
        let pods = oc::server_pods(&stage.world, component);
        stage.command(format!("oc get pods -n {name} -l apiserver=true"), pods);
    }

    stage
        .begin("redaction", "What must not leave the house")
        .await?;
    let secret = stage.world.vault.flags().password;
    let held = texts.iter().all(|text| !text.contains(secret.as_str()));
    stage.expect("the plugin's password is in none of the files", held, "");
    let tokens = texts.iter().any(|text| text.contains("hvs."));
    stage.expect("neither is a Vault token", !tokens, "");
    stage.note("the static pod's manifest on the nodes has the password on its command line: it does not belong into a bundle");
    stage.end("").await
}

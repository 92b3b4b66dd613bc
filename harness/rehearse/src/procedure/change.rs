//! `migrate-from-local`, `back-to-local` and `disable`: from one way of encrypting to another.

use kms_apiserver_api::{Target, Trouble};
use kms_controlplane::object::Status;

use super::{backup, enable, rollout, verify};
use crate::oc;
use crate::report::Part;
use crate::stage::Stage;
use crate::world::state::providers;

/// A change.
#[derive(Clone, Copy)]
pub struct Change {
    from: &'static str,
    to: &'static str,
    /// The reason that the conditions end with.
    reason: &'static str,
    prefix: &'static str,
}

/// Local encryption to KMS.
pub const TO_KMS: Change = Change {
    from: "aescbc",
    to: "KMS",
    reason: "EncryptionCompleted",
    prefix: "k8s:enc:kms:v2:",
};

/// KMS to local encryption.
pub const TO_LOCAL: Change = Change {
    from: "KMS",
    to: "aescbc",
    reason: "EncryptionCompleted",
    prefix: "k8s:enc:aescbc:v1:",
};

/// KMS to no encryption.
pub const TO_NOTHING: Change = Change {
    from: "KMS",
    to: "identity",
    reason: "DecryptionCompleted",
    prefix: "k8s",
};

/// The providers of kube-apiserver's last resource, in the order of the configuration: those of KMS by their names.
pub const PROVIDER_NAMES: &str = "oc get secret encryption-config-openshift-kube-apiserver -n openshift-config-managed -o jsonpath='{.data.encryption-config}' | base64 -d | jq -c '[.resources[-1].providers[] | .kms.name // keys[0]]'";

/// The reason of each operator's condition, as the procedure asks for it.
const REASONS: [&str; 3] = [
    r#"oc get openshiftapiserver -o=jsonpath='{range .items[0].status.conditions[?(@.type=="Encrypted")]}{.reason}{"\n"}{end}'"#,
    r#"oc get kubeapiserver -o=jsonpath='{range .items[0].status.conditions[?(@.type=="Encrypted")]}{.reason}{"\n"}{end}'"#,
    r#"oc get authentication.operator.openshift.io -o=jsonpath='{range .items[0].status.conditions[?(@.type=="Encrypted")]}{.reason}{"\n"}{end}'"#,
];

/// Whose they are.
const WHOSE: [usize; 3] = [1, 0, 2];

/// Plays it.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn play(mut stage: Stage, change: Change) -> Result<Part, Trouble> {
    stage
        .begin("backup", "An etcd backup, before anything changes")
        .await?;
    backup::etcd(&mut stage).await?;

    stage
        .begin("save", "The present configuration is saved")
        .await?;
    stage.command(
        "oc get apiserver cluster -o yaml > apiserver-backup.yaml",
        "",
    );
    let saved = oc::apiserver_yaml(&stage.world);
    stage.command("cat apiserver-backup.yaml", saved.clone());
    let wanted = format!("type: {}", change.from);
    stage.expect(
        &format!("the cluster is encrypted with {}", change.from),
        saved.contains(&wanted),
        "",
    );

    if change.to == "KMS" {
        // a prerequisite of the procedure: the plugin is on all nodes already
        stage.world.deploy()?;
        stage.world.pass(std::time::Duration::from_secs(60)).await;
        stage.command(enable::PODS, oc::plugin_pods(&stage.world));
    }

    stage
        .begin("edit", "The encryption type is changed")
        .await?;
    enable::edit(&mut stage, change.to, change.from);
    if change.to != "identity" {
        let early = oc::reason(&stage.world, 0);
        stage.note(format!(
            "Encrypted says {early:?} now, before anything has been rewritten: from one real mode to another it never says anything else"
        ));
    }

    stage
        .begin(
            "rollout",
            "Operators roll it out and rewrite what is stored",
        )
        .await?;
    let rolled = rollout::watch(&mut stage).await?;
    rollout::judge(&mut stage, &rolled);

    stage
        .begin("conditions", "The conditions of all three operators")
        .await?;
    for (command, component) in REASONS.into_iter().zip(WHOSE) {
        let reason = oc::reason(&stage.world, component);
        stage.command(command, reason.clone());
        stage.expect(
            &format!("the output is {}", change.reason),
            reason == change.reason,
            reason,
        );
    }

    verify::completion(&mut stage).await?;

    stage.begin("etcd", "What lies in etcd").await?;
    let target = Target::secret("default", "secret-00000");
    let command = format!(
        "oc exec -n openshift-etcd {} -- etcdctl get /kubernetes.io/secrets/default/secret-00000 --print-value-only | hexdump -C | head -1",
        oc::etcd_pod_name()
    );
    let line = oc::etcd_value(&stage.world, 0, &target).await?;
    stage.command(command, line);
    let stored = stage.world.stored(0, &target).await?;
    let prefix = stored.map_or_else(String::new, |value| {
        let shown = String::from_utf8_lossy(value.prefix()).into_owned();
        shown.trim_end_matches('\0').to_owned()
    });
    let right = match change.to {
        "identity" => prefix == change.prefix,
        _ => prefix.starts_with(change.prefix),
    };
    stage.expect(
        &format!("the value begins with {}", change.prefix),
        right,
        prefix,
    );

    if change.from == "KMS" {
        plugin(&mut stage).await?;
    }
    stage.end("").await
}

/// After KMS was left: whether the plugin may go.
async fn plugin(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin("plugin", "Whether the plugin may go").await?;
    let listed = providers(stage.world.target(0).as_ref());
    stage.command(PROVIDER_NAMES, oc::provider_names(&stage.world));
    let kept = listed.contains("kms:");
    if kept {
        stage.note("a kms provider is still listed as a read key, and is probed: the plugin must stay on every node until a later key has pushed it out");
    }
    stage.world.pass(std::time::Duration::from_secs(60)).await;
    let ready = stage.world.ready(0) == stage.world.plan.nodes;
    stage.expect("every kube-apiserver is ready", ready, "");
    let condition = stage
        .world
        .condition(0, "EncryptionMigrationControllerProgressing");
    stage.expect(
        "no migration is under way",
        condition.status != Status::True,
        "",
    );
    Ok(())
}

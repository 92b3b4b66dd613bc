//! `verify`: whether everything is encrypted, by the procedure's means and by those that cannot be green too early.

use std::collections::BTreeMap;

use kms_apiserver_api::Trouble;
use kms_controlplane::plane::COMPONENTS;

use super::rollout::REVISIONS;
use crate::oc;
use crate::report::Part;
use crate::stage::Stage;
use crate::world::World;
use crate::world::servers::STORAGE;

/// Plays it on a cluster that is encrypted.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn alone(mut stage: Stage) -> Result<Part, Trouble> {
    steps(&mut stage, "KMS").await?;
    stage.end("").await
}

/// The steps of the verification.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn steps(stage: &mut Stage, mode: &str) -> Result<(), Trouble> {
    stage.begin("type", "The encryption type").await?;
    let shown = oc::encryption_type(&stage.world);
    stage.command(
        "oc get apiserver cluster -o jsonpath='{.spec.encryption.type}'",
        shown.clone(),
    );
    stage.expect(&format!("the output is {mode}"), shown == mode, "");

    stage.begin("revisions", "The rollout is complete").await?;
    stage.command(REVISIONS, oc::revisions(&stage.world));
    let nodes = &stage.world.plane.operands[0].nodes;
    let same = nodes
        .iter()
        .all(|node| node.target == 0 && node.current == nodes[0].current);
    stage.expect(
        "all nodes show the same current revision, and target is 0",
        same,
        "",
    );

    stage.begin("condition", "The condition Encrypted").await?;
    let command = r#"oc get kubeapiserver cluster -o jsonpath='{.status.conditions[?(@.type=="Encrypted")]}' | jq ."#;
    stage.command(command, oc::encrypted(&stage.world));
    let reason = oc::reason(&stage.world, 0);
    stage.expect(
        "the reason is EncryptionCompleted",
        reason == "EncryptionCompleted",
        reason,
    );

    completion(stage).await?;

    stage.begin("secret", "A Secret to look at").await?;
    let (output, created) = oc::create_test_secret(&mut stage.world).await;
    stage.command(
        "oc create secret generic test-secret --from-literal=key=value -n default",
        output,
    );
    stage.expect("the Secret is created", created, "");

    stage.begin("etcd-pod", "An etcd pod").await?;
    stage.command(
        "oc get pods -n openshift-etcd -l app=etcd -o name | head -1",
        oc::etcd_pod(),
    );

    stage.begin("etcd", "What lies in etcd").await?;
    let command = format!(
        "oc exec -n openshift-etcd {} -- etcdctl get /kubernetes.io/secrets/default/test-secret --print-value-only | hexdump -C | head -1",
        oc::etcd_pod_name()
    );
    let line = oc::etcd_value(&stage.world, 0, &oc::test_secret()).await?;
    stage.command(command, line);
    let stored = stage.world.stored(0, &oc::test_secret()).await?;
    let prefix = stored.map_or_else(String::new, |value| {
        String::from_utf8_lossy(value.prefix()).into_owned()
    });
    stage.expect(
        "the value begins with k8s:enc:kms:v2:",
        prefix.starts_with("k8s:enc:kms:v2:"),
        prefix,
    );

    stage.begin("clean-up", "The Secret goes again").await?;
    let (output, deleted) = oc::delete_test_secret(&mut stage.world).await;
    stage.command("oc delete secret test-secret -n default", output);
    stage.expect("the Secret is deleted", deleted, "");
    Ok(())
}

/// Completion by key secrets and by what lies in etcd: the condition alone is green too early for every change but the
/// first.
///
/// # Errors
/// A store does not answer.
pub async fn completion(stage: &mut Stage) -> Result<(), Trouble> {
    stage
        .begin("completion", "Completion by key secrets and etcd prefixes")
        .await?;
    for (component, (name, ..)) in COMPONENTS.iter().enumerate() {
        let keys = key_table(&stage.world, component);
        let command = format!(
            "oc get secret -n openshift-config-managed -l encryption.apiserver.operator.openshift.io/component={name} -o custom-columns={COLUMNS}"
        );
        stage.command(command, keys);
        let done = stage.world.done(component);
        stage.expect(
            &format!("everything of {name} is migrated to the newest key"),
            done,
            "",
        );
    }
    let foreign = foreign(&stage.world).await?;
    let found: Vec<String> = foreign
        .iter()
        .map(|(prefix, count)| format!("{count} under {prefix}"))
        .collect();
    stage.expect(
        "every value in etcd lies under the newest key",
        foreign.is_empty(),
        found.join(", "),
    );
    Ok(())
}

/// What shows how far a key has come: its mode, and what is migrated to it.
const COLUMNS: &str = r"NAME:.metadata.name,MODE:.metadata.annotations.encryption\.apiserver\.operator\.openshift\.io/mode,MIGRATED:.metadata.annotations.encryption\.apiserver\.operator\.openshift\.io/migrated-resources";

fn key_table(world: &World, component: usize) -> String {
    let mut rows = vec![["NAME", "MODE", "MIGRATED"].map(str::to_owned).to_vec()];
    rows.extend(world.keys(component).into_iter().map(|key| {
        let migrated = key.migrated.iter().map(|gr| {
            let (group, resource) = (gr.group(), gr.resource());
            format!("{{\"Group\":\"{group}\",\"Resource\":\"{resource}\"}}")
        });
        let migrated: Vec<String> = migrated.collect();
        let shown = match migrated.as_slice() {
            [] => "<none>".to_owned(),
            all => format!("{{\"resources\":[{}]}}", all.join(",")),
        };
        let name = format!("encryption-key-{}-{}", COMPONENTS[component].0, key.name);
        vec![name, key.mode.as_str().to_owned(), shown]
    }));
    oc::table(&rows)
}

/// Values that do not lie under the newest key of their component, by prefix.
///
/// # Errors
/// A store does not answer.
pub async fn foreign(world: &World) -> Result<BTreeMap<String, u64>, Trouble> {
    let mut found = BTreeMap::new();
    for (component, storage) in STORAGE.iter().enumerate() {
        let wanted = world
            .keys(component)
            .last()
            .map(|key| match key.mode.as_str() {
                "identity" => "plain".to_owned(),
                "KMS" => format!("k8s:enc:kms:v2:{}_", key.name),
                mode => format!("k8s:enc:{mode}:v1:{}:", key.name),
            });
        let wanted = wanted.unwrap_or_else(|| "plain".to_owned());
        for place in 0..storage.resources.len() {
            for (prefix, count) in world.prefixes(component, place).await? {
                if !prefix.starts_with(&wanted) {
                    *found.entry(prefix).or_default() += count;
                }
            }
        }
    }
    Ok(found)
}

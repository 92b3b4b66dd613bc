//! `backup`: what must be saved, and that it must be of one moment.

use kms_apiserver_api::Trouble;

use crate::oc;
use crate::report::Part;
use crate::stage::Stage;
use crate::world::servers::everything;
use crate::world::{World, node_name};

/// Plays it.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn play(mut stage: Stage) -> Result<Part, Trouble> {
    stage.begin("etcd", "A snapshot of etcd").await?;
    etcd(&mut stage).await?;
    let taken = manifest(&stage.world).await?;
    let migrating = stage.world.plane.migrator.at_hand().is_some();
    stage.expect(
        "no migration is under way: a snapshot of its middle needs two keys",
        !migrating,
        "",
    );

    stage
        .begin(
            "configuration",
            "The encryption configuration of the same moment",
        )
        .await?;
    stage.command(
        "oc get apiserver cluster -o yaml > apiserver-backup.yaml",
        "",
    );
    stage.note("this saves the wish, not the keys: what decrypts is in the secrets of openshift-config-managed");
    let command = "oc get secret -n openshift-config-managed -o name | grep encryption";
    let mut names = Vec::new();
    for (component, (name, ..)) in kms_controlplane::plane::COMPONENTS.iter().enumerate() {
        names.push(format!("secret/encryption-config-{name}"));
        let keys = stage.world.keys(component);
        names.extend(
            keys.iter()
                .map(|key| format!("secret/encryption-key-{name}-{}", key.name)),
        );
    }
    stage.command(command, names.join("\n"));
    stage.expect(
        "there is a configuration and a key secret for each component",
        names.len() >= 6,
        "",
    );

    stage
        .begin("vault", "The Transit key: what its versions are")
        .await?;
    let (shown, version) = oc::vault_key(&stage.world);
    stage.command("vault read transit/keys/kms-key", shown);
    stage.expect("the key can be read", version.is_some(), "");
    stage.note("the key itself stays in Vault: its own snapshot, or a Transit backup made while allow_plaintext_backup is set, must be of a moment no earlier than this one");

    stage.begin("manifest", "What belongs together").await?;
    let manifest = manifest(&stage.world).await?;
    stage.note(manifest.clone());
    stage.expect(
        "providers, counts and key versions are still those of the snapshot",
        manifest == taken,
        "",
    );
    stage.end("").await
}

/// `cluster-backup.sh`, and what the snapshot holds.
///
/// # Errors
/// A store does not answer.
pub async fn etcd(stage: &mut Stage) -> Result<(), Trouble> {
    let command = format!(
        "oc debug node/{} -- chroot /host /usr/local/bin/cluster-backup.sh /home/core/assets/backup",
        node_name(0)
    );
    let mut values = 0;
    for store in &stage.world.ground.stores {
        values += everything(store).await?.len();
    }
    let stamp = stage.world.clock.now().strftime("%Y-%m-%d_%H%M%S");
    let output = format!(
        "snapshot db and kube resources are successfully saved to /home/core/assets/backup: snapshot_{stamp}.db ({values} values)"
    );
    stage.command(command, output);
    Ok(())
}

/// What a backup's manifest says: providers, their counts, the key's versions.
async fn manifest(world: &World) -> Result<String, Trouble> {
    let mut parts = Vec::new();
    for (component, storage) in crate::world::servers::STORAGE.iter().enumerate() {
        for (place, (name, ..)) in storage.resources.iter().enumerate() {
            for (prefix, count) in world.prefixes(component, place).await? {
                parts.push(format!("{count} {name} under {prefix}"));
            }
        }
    }
    let versions = world.vault.key().map_or_else(
        || "no Transit key".to_owned(),
        |key| {
            format!(
                "Transit key kms-key, versions {} to {}",
                key["min_decryption_version"], key["latest_version"]
            )
        },
    );
    Ok(format!("{}; {versions}", parts.join("; ")))
}

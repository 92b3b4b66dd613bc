//! `restore`: an etcd backup is put back, with everything that can have changed since. Before each restore the backup is
//! looked at against the configuration and the Transit key of now, and it is said whether it will be readable.

use std::collections::BTreeSet;
use std::time::Duration;

use kms_apiserver_api::{StoredValue, Trouble};
use kms_controlplane::encryption_config::{EncryptionConfiguration, Provider};

use super::plan;
use crate::fault::make::no_kms;
use crate::oc;
use crate::options::Options;
use crate::report::Part;
use crate::stage::Stage;
use crate::world::World;
use crate::world::servers::everything;
use crate::world::state::providers;
use crate::world::vault::{KEY, MOUNT};

/// What has changed between the backup and its restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// Nothing: backup and configuration are of one moment, in the middle of a migration.
    Nothing,
    /// The Transit key was rotated, its old version kept.
    Rotated,
    /// The configuration was saved later, after the older key had been taken out.
    OlderKeyGone,
    /// The configuration was saved earlier, before the newer key was put in.
    NewerKeyMissing,
    /// There is no configuration at all.
    NoConfiguration,
    /// The Transit key was deleted and made again under its name.
    Recreated,
    /// The Transit key's old version may not decrypt any more.
    Retired,
    /// The plugin looks for the key at another mount.
    OtherMount,
}

const CASES: [(Since, &str, bool); 8] = [
    (
        Since::Nothing,
        "backup and configuration of one moment, in the middle of a migration",
        true,
    ),
    (Since::Rotated, "the Transit key was rotated since", true),
    (
        Since::OlderKeyGone,
        "the configuration was saved after the older key had gone (BUG-129)",
        false,
    ),
    (
        Since::NewerKeyMissing,
        "the configuration was saved before the newer key was there (BUG-129)",
        false,
    ),
    (
        Since::NoConfiguration,
        "there is no encryption configuration (BUG-131)",
        false,
    ),
    (
        Since::Recreated,
        "the Transit key was deleted and made again under the same name (BUG-131)",
        false,
    ),
    (
        Since::Retired,
        "min_decryption_version has passed what the backup was written with",
        false,
    ),
    (
        Since::OtherMount,
        "the plugin looks at another mount (BUG-131)",
        false,
    ),
];

/// Plays all of them, each on a cluster of its own.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn play(options: &Options) -> Result<Vec<Part>, Trouble> {
    let mut parts = Vec::new();
    for (since, title, readable) in CASES {
        parts.push(case(options, since, title, readable).await?);
    }
    Ok(parts)
}

async fn case(
    options: &Options,
    since: Since,
    title: &str,
    readable: bool,
) -> Result<Part, Trouble> {
    let mut world = World::start(plan(options, None)).await?;
    world.settled_in("aescbc").await?;
    world.deploy()?;
    world.set_type("KMS");
    // a few objects a second, so that the backup is of the migration's middle
    world.rate = 2;
    let half = world
        .until(Duration::from_secs(6 * 3600), |world| {
            let secrets = world.plane.migrator.at_hand();
            let secrets = secrets.is_some_and(|(gr, _)| gr.to_string() == "secrets");
            secrets && world.work.written > 3
        })
        .await;
    if !half {
        return Err(Trouble::new("the migration did not begin within six hours"));
    }
    let backup = everything(&world.ground.stores[0]).await?;
    let config = world
        .target(0)
        .ok_or_else(|| Trouble::new("there is no configuration in a migration"))?;
    let key = world.vault.key();
    world.rate = 23;
    world
        .until(Duration::from_secs(6 * 3600), World::all_done)
        .await;
    let config = change(&mut world, since, config)?;
    world.pass(Duration::from_secs(60)).await;

    let mut stage = Stage::new(world, None);
    stage
        .begin(
            "scan",
            "The backup is looked at before anything is put back",
        )
        .await?;
    let missing = missing(&stage.world, &backup, config.as_ref(), key.as_ref());
    stage.note(format!(
        "the backup has values under {}; the configuration to be used has {}",
        under(&backup).into_iter().collect::<Vec<_>>().join(", "),
        providers(config.as_ref())
    ));
    let (shown, _) = oc::vault_key(&stage.world);
    stage.command("vault read transit/keys/kms-key", shown);
    for text in &missing {
        stage.note(format!("will not be readable: {text}"));
    }
    if missing.is_empty() {
        stage.note("everything in the backup will be readable");
    }
    stage.expect(
        if readable {
            "the scan lets the restore through"
        } else {
            "the scan warns of it"
        },
        missing.is_empty() == readable,
        missing.join("; "),
    );

    stage
        .begin(
            "restore",
            "The backup is put back all the same, to see who was right",
        )
        .await?;
    stage.command(
        "sudo -E /usr/local/bin/cluster-restore.sh /home/core/assets/backup",
        format!("{} values put back", backup.len()),
    );
    super::put_back(&mut stage.world, 0, &backup).await?;
    stage.world.edit(0, None, config.as_ref());
    stage.world.pass(Duration::from_secs(180)).await;

    stage.begin("read", "What can be read").await?;
    let unreadable = unreadable(&mut stage.world, &backup).await?;
    let passing = stage
        .world
        .servers
        .iter()
        .filter(|server| server.component == 0 && server.passes);
    let passing = passing.count();
    stage.note(format!(
        "{passing} of {} kube-apiservers pass readyz; {unreadable} of {} values cannot be read",
        stage.world.plan.nodes,
        backup.len()
    ));
    stage.expect(
        "it is as the scan said",
        (unreadable == 0) == missing.is_empty(),
        format!("{unreadable} unreadable"),
    );
    let mut part = stage.end(title).await?;
    // what is broken here was broken on purpose, and is judged above
    part.broken.clear();
    Ok(part)
}

/// Makes the change, and gives the configuration that the restore will be used with.
fn change(
    world: &mut World,
    since: Since,
    config: EncryptionConfiguration,
) -> Result<Option<EncryptionConfiguration>, Trouble> {
    match since {
        Since::Nothing => {}
        Since::Rotated => drop(world.vault.sim.rotate(MOUNT, KEY)),
        Since::OlderKeyGone => {
            return Ok(Some(without(config, |it| {
                matches!(it, Provider::Aescbc(_))
            })));
        }
        Since::NewerKeyMissing => return Ok(Some(no_kms(config))),
        Since::NoConfiguration => return Ok(None),
        Since::Recreated => {
            world.vault.sim.delete_key(MOUNT, KEY);
            world.vault.sim.create_key(MOUNT, KEY, "aes256-gcm96");
        }
        Since::Retired => {
            world.vault.sim.rotate(MOUNT, KEY);
            let floor = serde_json::json!({"min_decryption_version": 2});
            crate::fault::make::key_config(world, &floor)?;
        }
        Since::OtherMount => {
            world.vault.sim.create_key("transit-2", KEY, "aes256-gcm96");
            let policy = crate::world::vault::POLICY.replace("transit/", "transit-2/");
            let written = world
                .vault
                .sim
                .put_policy(crate::world::vault::USER, &policy);
            written.map_err(Trouble::new)?;
            let mut flags = world.vault.flags();
            "transit-2".clone_into(&mut flags.mount);
            for plugin in &mut world.plugins {
                plugin.start(&flags)?;
            }
        }
    }
    Ok(Some(config))
}

fn without(
    mut config: EncryptionConfiguration,
    drop: impl Fn(&Provider) -> bool,
) -> EncryptionConfiguration {
    for entry in &mut config.resources {
        entry.providers.retain(|provider| !drop(provider));
    }
    config
}

/// What a provider's values begin with.
fn prefix(provider: &Provider) -> String {
    match provider {
        Provider::Kms(kms) => format!("k8s:enc:kms:v2:{}:", kms.name),
        Provider::Aescbc(keys) => local("aescbc", keys),
        Provider::Aesgcm(keys) => local("aesgcm", keys),
        Provider::Secretbox(keys) => local("secretbox", keys),
        Provider::Identity(_) | Provider::Other(_) => String::new(),
    }
}

fn local(kind: &str, keys: &kms_controlplane::encryption_config::Keys) -> String {
    let name = keys.keys.first().map_or("", |key| key.name.as_str());
    format!("k8s:enc:{kind}:v1:{name}:")
}

fn prefix_of(bytes: &[u8]) -> String {
    let value = StoredValue {
        bytes: bytes.to_vec(),
        mod_revision: 0,
    };
    let prefix = value.prefix();
    if prefix.starts_with(b"k8s:enc:") {
        String::from_utf8_lossy(prefix).into_owned()
    } else {
        String::new()
    }
}

/// The prefixes in a backup.
fn under(backup: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let all = backup.iter().map(|(_, bytes)| prefix_of(bytes));
    all.filter(|prefix| !prefix.is_empty()).collect()
}

/// What a backup needs and configuration or Vault do not have. Only prefixes, versions of wrapped seeds and the key's
/// document are looked at: nothing is decrypted.
fn missing(
    world: &World,
    backup: &[(String, Vec<u8>)],
    config: Option<&EncryptionConfiguration>,
    key_then: Option<&serde_json::Value>,
) -> Vec<String> {
    let known: BTreeSet<String> = config
        .iter()
        .flat_map(|config| &config.resources)
        .flat_map(|entry| &entry.providers)
        .map(prefix)
        .collect();
    let mut missing: Vec<String> = under(backup)
        .into_iter()
        .filter(|prefix| !known.contains(prefix))
        .map(|prefix| format!("{prefix} has no provider in the configuration"))
        .collect();
    let kms = under(backup)
        .iter()
        .any(|prefix| prefix.starts_with("k8s:enc:kms:"));
    if kms && let Some(text) = key_trouble(world, backup, key_then) {
        missing.push(text);
    }
    missing
}

fn key_trouble(
    world: &World,
    backup: &[(String, Vec<u8>)],
    key_then: Option<&serde_json::Value>,
) -> Option<String> {
    if world.mount_in_use() != MOUNT {
        return Some(format!(
            "the plugin looks at mount {}, the backup was written at {MOUNT}",
            world.mount_in_use()
        ));
    }
    let Some(now) = world.vault.key() else {
        return Some(format!("there is no Transit key {KEY}"));
    };
    let floor = now["min_decryption_version"].as_u64().unwrap_or(1);
    let wrapped = backup.iter();
    let oldest = wrapped
        .filter_map(|(_, bytes)| wrapped_version(bytes))
        .min();
    if let Some(oldest) = oldest.filter(|oldest| *oldest < floor) {
        return Some(format!(
            "seeds are wrapped with version {oldest}, and min_decryption_version is {floor}"
        ));
    }
    // below the floor Vault does not show when a version was made
    let shown = format!("{}", oldest.unwrap_or(floor).max(floor));
    let made = |key: &serde_json::Value| key["keys"][&shown].clone();
    let then = made(key_then?);
    (then != made(&now)).then(|| {
        format!(
            "key material differs: version {shown} was made at {then} then, at {} now",
            made(&now)
        )
    })
}

/// The version of the Transit key that a value's seed is wrapped with.
fn wrapped_version(bytes: &[u8]) -> Option<u64> {
    let prefix = prefix_of(bytes);
    if !prefix.starts_with("k8s:enc:kms:v2:") {
        return None;
    }
    let at = bytes.windows(7).position(|window| window == b"vault:v")? + 7;
    let digits: String = bytes[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .map(|byte| char::from(*byte))
        .collect();
    digits.parse().ok()
}

/// How many values of a backup no kube-apiserver can read now.
async fn unreadable(world: &mut World, backup: &[(String, Vec<u8>)]) -> Result<usize, Trouble> {
    use kms_apiserver_api::{Resource, Target};
    let mut count = 0;
    let place = world.place(0, 0);
    for (key, bytes) in backup {
        let mut parts = key.trim_start_matches('/').split('/').skip(1);
        let (Some(plural), Some(namespace), Some(name)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let Some(resource) = Resource::ALL.into_iter().find(|it| it.plural() == plural) else {
            continue;
        };
        if prefix_of(bytes).is_empty() {
            continue;
        }
        let target = Target {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let answer = world.servers[place].api().get(&target).await;
        count += usize::from(!answer.is_ok_and(|answer| answer.ok()));
    }
    Ok(count)
}

//! Every EncryptionConfiguration that the model of OpenShift's operators writes, on a real kube-apiserver: it takes the
//! text, reads what was written under the one before, and writes under the provider that stands first.
//!
//! A chain is a cluster's life: its operators, and the types that its administrator asks for one after the other. Only the
//! sockets' folder is another one than in the model's text.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use jiff::Timestamp;
use kms_apiserver_api::{ApiServer, Call, ListOptions, Method, Resource, Target};
use kms_controlplane::cluster::target_config_name;
use kms_controlplane::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use kms_controlplane::generation::Generation;
use kms_controlplane::object::{COMPONENT_LABEL, MANAGED_NAMESPACE};
use kms_controlplane::plane::{COMPONENTS, Plane};
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::launched::{Launched, Program};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::world::{Keeper, Parts, READY, settings, sim};

/// The folder of the sockets in what operators write.
const SOCKETS: &str = "unix:///var/run/kmsplugin/";
/// Longest time that a change takes in the model.
const CHANGE: Duration = Duration::from_secs(12 * 3600);
/// A cluster's life.
#[derive(Clone, Copy)]
pub struct Chain {
    /// What the test is called.
    pub name: &'static str,
    generation: Generation,
    types: &'static [&'static str],
    /// The configurations that it must come to, by the kinds and numbers of their providers.
    expected: &'static [&'static str],
}

/// Each path in each generation that has it: identity → KMS, aescbc → KMS, KMS → KMS, KMS → identity.
pub const CHAINS: [Chain; 4] = [
    Chain {
        name: "seed_local_to_kms_to_nothing",
        generation: Generation::V1,
        types: &["aescbc", "KMS", "identity"],
        expected: &[
            "identity,aescbc:1",
            "aescbc:1,identity",
            "aescbc:1,kms:2,identity",
            "kms:2,aescbc:1,identity",
            "kms:2,aescbc:1,identity,aesgcm-null:3",
            "identity,kms:2,aescbc:1,aesgcm-null:3",
            "identity,kms:2,aesgcm-null:3",
        ],
    },
    Chain {
        name: "seed_nothing_to_kms",
        generation: Generation::V1,
        types: &["KMS"],
        expected: &["identity,kms:1", "kms:1,identity"],
    },
    Chain {
        name: "v2_nothing_to_kms_to_kms_to_nothing",
        generation: Generation::V2,
        types: &["KMS", "KMS", "identity"],
        expected: &[
            "identity,kms:1",
            "kms:1,identity",
            "kms:1,kms:2,identity",
            "kms:2,kms:1,identity",
            "kms:2,kms:1,identity,aesgcm-null:3",
            "identity,kms:2,kms:1,aesgcm-null:3",
            "identity,kms:2,aesgcm-null:3",
        ],
    },
    Chain {
        name: "v2_local_to_kms",
        generation: Generation::V2,
        types: &["aescbc", "KMS"],
        expected: &[
            "identity,aescbc:1",
            "aescbc:1,identity",
            "aescbc:1,kms:2,identity",
            "kms:2,aescbc:1,identity",
        ],
    },
];

/// A configuration as the model writes it, and whether everything is rewritten while it runs.
struct State {
    text: String,
    rewrites: bool,
}

impl State {
    /// The providers of Secrets.
    fn providers(&self) -> Result<Vec<Provider>> {
        let config: EncryptionConfiguration = serde_json::from_str(&self.text)?;
        let mut entries = config.resources.into_iter();
        let entry = entries.find(|entry| entry.resources.iter().any(|it| it == "secrets"));
        Ok(entry.context("no entry for Secrets")?.providers)
    }

    fn label(&self) -> Result<String> {
        let labels: Vec<String> = self.providers()?.iter().map(Provider::label).collect();
        Ok(labels.join(","))
    }

    /// What the stored value of a Secret begins with that is written under it.
    fn prefix(&self) -> Result<String> {
        let providers = self.providers()?;
        let first = providers.first().context("no provider")?;
        Ok(match first {
            Provider::Identity(_) => "k8s\0".to_owned(),
            Provider::Kms(kms) => format!("k8s:enc:kms:v2:{}:", kms.name),
            other => {
                let label = other.label();
                let (kind, number) = label.split_once(':').context("a local key has a number")?;
                format!("k8s:enc:{kind}:v1:{number}:")
            }
        })
    }
}

/// What the model writes for kube-apiserver, in order.
fn states(chain: &Chain) -> Result<Vec<State>> {
    let start: Timestamp = "2026-03-01T12:00:00Z".parse()?;
    let mut plane = Plane::new(chain.generation, 3, BTreeMap::new(), 1, start);
    if chain.generation == Generation::V2 {
        kms_rehearse::world::give_references(&mut plane).map_err(|it| anyhow!("{it}"))?;
    }
    let mut states: Vec<State> = Vec::new();
    for (place, mode) in chain.types.iter().enumerate() {
        plane.cluster.spec.mode = (*mode).to_owned();
        if chain.generation == Generation::V2 {
            let mut spec = kms_rehearse::world::plugin_spec();
            if chain.types[..place].contains(&"KMS") {
                "transit/keys/another".clone_into(&mut spec.vault.vault_key_path);
            }
            plane.cluster.spec.kms = (*mode == "KMS").then_some(spec);
        }
        let end = plane.now() + CHANGE;
        plane.run_until(end, |plane| {
            note(plane, &mut states);
            false
        });
        let last = states.last().context("nothing was written")?;
        ensure!(states.iter().any(|it| it.rewrites), "{mode}: {}", last.text);
    }
    Ok(states)
}

/// Notes what is new at a moment.
fn note(plane: &Plane, states: &mut Vec<State>) {
    let component = COMPONENTS[0].0;
    let api = &plane.cluster.api;
    let target = api.cached_secret(MANAGED_NAMESPACE, &target_config_name(component));
    let text = target.and_then(|secret| secret.data.get(CONFIG_KEY));
    let Some(text) = text.map(|text| String::from_utf8_lossy(text).into_owned()) else {
        return;
    };
    if states.last().is_none_or(|last| last.text != text) {
        states.push(State {
            text,
            rewrites: false,
        });
    }
    let keys = api.cached_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, component);
    let newest = keys.max_by_key(|secret| kms_controlplane::key::key_number(&secret.name));
    let migrated = newest.and_then(|secret| secret.note("migrated-resources"));
    let whole = migrated.is_some_and(|it| it.contains("secrets") && it.contains("configmaps"));
    if let Some(last) = states.last_mut() {
        last.rewrites |= whole;
    }
}

/// Plugins behind the sockets that a chain's configurations name: one for each, with a key of its own.
async fn plugins(parts: &Parts, states: &[State], folder: &Path) -> Result<Vec<Keeper>> {
    let mut names: Vec<String> = Vec::new();
    for state in states {
        for provider in state.providers()? {
            let Provider::Kms(kms) = provider else {
                continue;
            };
            let name = kms.endpoint.strip_prefix(SOCKETS);
            let name = name.with_context(|| format!("{} is elsewhere", kms.endpoint))?;
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    let mut keepers = Vec::new();
    for (seed, name) in (1..).zip(&names) {
        let home = folder.join(format!("plugin-{seed}"));
        std::fs::create_dir(&home)?;
        let keeper = Keeper::start(parts, sim(seed).await?, &home).await?;
        std::os::unix::fs::symlink(keeper.plugin.socket(), folder.join(name))?;
        keepers.push(keeper);
    }
    Ok(keepers)
}

/// Plays a chain.
pub async fn accepted_and_readable(chain: Chain, parts: Parts) -> Result<()> {
    let states = states(&chain)?;
    let labels = states
        .iter()
        .map(State::label)
        .collect::<Result<Vec<_>>>()?;
    ensure!(labels == chain.expected, "{labels:#?}");

    let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
    let _plugins = plugins(&parts, &states, folder.path()).await?;
    let etcd = Etcd::start(&parts.server.etcd, folder.path()).await?;
    let mut settings = settings(&etcd, Some(here(&states[0], folder.path())));
    settings.reload = false;
    let program = Program::real(&parts.server.kube_apiserver);
    let server = Launched::start(&program, &settings, &folder.path().join("server")).await?;
    let mut written: BTreeMap<Target, Value> = BTreeMap::new();
    for (number, state) in states.iter().enumerate() {
        let about = || format!("{} (state {})", labels[number], number + 1);
        if number > 0 {
            let text = here(state, folder.path());
            server.write_config(&text).await?;
            server.crash_and_start().await.with_context(about)?;
        }
        works(&server, number).await.with_context(about)?;
        readable(&server, &written).await.with_context(about)?;
        write(&server, state, number, &mut written)
            .await
            .with_context(about)?;
        if state.rewrites {
            rewrite(&server, state, &written)
                .await
                .with_context(about)?;
        }
    }
    Ok(())
}

/// The model's text with the sockets' folder of this test.
fn here(state: &State, folder: &Path) -> String {
    state
        .text
        .replace(SOCKETS, &format!("unix://{}/", folder.display()))
}

/// Waits until every provider of the configuration is well, and the namespace is there.
async fn works(server: &Launched, number: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        let health = server
            .call(Call::new(Method::Get, "/healthz/kms-providers"))
            .await;
        let namespace = server
            .call(Call::new(Method::Get, "/api/v1/namespaces/default"))
            .await;
        match (&health, &namespace) {
            // a configuration without any KMS provider has no such check
            (Ok(health), Ok(namespace))
                if (health.ok() || health.code == 404) && namespace.ok() =>
            {
                return Ok(());
            }
            _ => ensure!(
                start.elapsed() < READY,
                "not ready for state {}: {health:?} {namespace:?}",
                number + 1
            ),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Everything reads as it was written: each by itself, and all of a kind at once.
async fn readable(server: &Launched, written: &BTreeMap<Target, Value>) -> Result<()> {
    for (target, body) in written {
        let answer = server.get(target).await?;
        ensure!(answer.ok(), "{target}: {answer:?}");
        ensure!(
            answer.json()["data"] == body["data"],
            "{target} reads as something else"
        );
    }
    for resource in [Resource::Secrets, Resource::ConfigMaps] {
        let listed = server.list(resource, ListOptions::default()).await?;
        let wanted = written.keys().filter(|target| target.resource == resource);
        ensure!(listed.ok(), "list {resource:?}: {listed:?}");
        ensure!(
            listed.items().len() >= wanted.count(),
            "list {resource:?} leaves some out"
        );
    }
    Ok(())
}

async fn write(
    server: &Launched,
    state: &State,
    number: usize,
    written: &mut BTreeMap<Target, Value>,
) -> Result<()> {
    for resource in [Resource::Secrets, Resource::ConfigMaps] {
        let target = Target {
            resource,
            namespace: "default".to_owned(),
            name: format!("state-{}", number + 1),
        };
        let body = json!({"data": {"key": "dmFsdWU="}});
        let made = server.create(&target, body.clone()).await?;
        ensure!(made.ok(), "{target}: {made:?}");
        written.insert(target, body);
    }
    lies_under(
        server,
        state,
        &Target::secret("default", &format!("state-{}", number + 1)),
    )
    .await
}

/// What the migrator does: reads and writes every object as it is.
async fn rewrite(
    server: &Launched,
    state: &State,
    written: &BTreeMap<Target, Value>,
) -> Result<()> {
    for target in written.keys() {
        let read = server.get(target).await?;
        let put = server.update(target, read.json().clone()).await?;
        ensure!(put.ok(), "{target}: {put:?}");
        if target.resource == Resource::Secrets {
            lies_under(server, state, target).await?;
        }
    }
    Ok(())
}

async fn lies_under(server: &Launched, state: &State, target: &Target) -> Result<()> {
    let value = server.stored(target).await?;
    let value = value.with_context(|| format!("{target} is not in the store"))?;
    let prefix = state.prefix()?;
    ensure!(
        value.bytes.starts_with(prefix.as_bytes()),
        "{target} lies under {:?}, not under {prefix:?}",
        String::from_utf8_lossy(value.prefix())
    );
    Ok(())
}

//! `chaos --arm cluster`: what is asked of a cluster before anything happens to it, the plan, and cleaning up.
//!
//! In this order: the context is the one that was called staging, the cluster answers, this user may do what a run does,
//! nothing is left of an earlier run, the key is there and marked. Then the plan is printed, and only then something is
//! done.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kube::config::Kubeconfig;
use zeroize::Zeroizing;

use super::runs::{self, Job};
use super::show::{self, quoted};
use crate::apiserver::etcd::{At, Store};
use crate::arm::cluster::api::Api;
use crate::arm::cluster::staging::{self, Staging};
use crate::arm::cluster::undo::{Hands, Undo};
use crate::arm::cluster::world::{carry_out, nothing_left};
use crate::arm::cluster::{
    Halt, NAMESPACE, Parts, Placed, PluginPods, Why, journal, lease, pods_labels, rights,
};
use crate::cli::{ChaosArgs, ClusterArgs, Format};
use crate::commands::choice::read_admin_token;
use crate::console;
use crate::exit::{self, Failure, OrUsage};
use crate::relay::client::Relay;
use crate::vault::admin::Admin;

/// Looks at everything that was named. Nothing is changed.
pub fn place(args: &ChaosArgs) -> Result<Parts, Failure> {
    block_on(async {
        let (mut parts, api) = reached(args).await?;
        let missing = rights::missing(&api, parts.pods.as_ref(), parts.watched.as_ref()).await?;
        if !missing.is_empty() {
            return Err(Failure::Harness(anyhow!(
                "the user of {} may not {}: apply what `kms-harness rbac` prints, and use that service account",
                parts.name,
                missing.join(", ")
            )));
        }
        nothing_left(&parts, &api.identity().await?)?;
        if let Some(other) = lease::holder(&api).await? {
            return Err(busy(&other));
        }
        if let Some(place) = vault(args).or_usage()? {
            // One that does not answer is nobody's wrong usage.
            let admin = Admin::new(&place.address, place.ca.as_deref(), place.token.clone());
            admin.or_usage()?.read("sys/seal-status").await?;
            parts.vault = Some(Staging::look(&place).await.or_usage()?);
        }
        if let Some(at) = &parts.etcd {
            let looked = Store::reach(at).or_usage()?.get("kms-harness").await;
            looked.map_err(|trouble| anyhow!("--etcd {}: {trouble}", at.address))?;
        }
        for control in &args.cluster.relay {
            let token = args.cluster.relay_token_path.as_deref();
            let token = token
                .context("--relay needs --relay-token-path")
                .or_usage()?;
            let relay = Relay::reach(control, token).or_usage()?;
            let state = relay.state().await?;
            parts.relays.push(Placed { relay, state });
        }
        Ok(parts)
    })
}

fn busy(other: &str) -> Failure {
    Failure::Harness(anyhow!(
        "another run works on this cluster: {other}; wait until it has ended"
    ))
}

/// The cluster of the current context, which is the one that was called staging.
async fn reached(args: &ChaosArgs) -> Result<(Parts, Api), Failure> {
    let elsewhere = [
        ("--plugin", args.plugin.is_some()),
        ("--subject", args.subject.is_some()),
        ("--socket", args.socket.is_some()),
        ("--apiserver", args.apiserver.is_some()),
        ("--vault-image", args.vault_image.is_some()),
        ("--jobs", args.jobs.is_some()),
    ];
    if let Some((option, _)) = elsewhere.into_iter().find(|(_, given)| *given) {
        let why = anyhow!("{option} has no meaning with --arm cluster: the cluster has its own");
        return Err(why).or_usage();
    }
    let parts = named(args).or_usage()?;
    let api = Api::connect(&parts.kubeconfig).await.or_usage()?;
    let about = || format!("reach the cluster of {}", parts.name);
    api.identity().await.with_context(about)?;
    Ok((parts, api))
}

fn named(args: &ChaosArgs) -> Result<Parts> {
    let cluster = &args.cluster;
    let file = cluster.kubeconfig.as_deref();
    let file = file.context("--arm cluster needs --kubeconfig FILE")?;
    let name = file.display().to_string();
    let kubeconfig = Kubeconfig::read_from(file).with_context(|| format!("--kubeconfig {name}"))?;
    let current = kubeconfig.current_context.clone().unwrap_or_default();
    let staging = cluster.staging.as_deref().with_context(|| {
        format!(
            "nothing is done to a cluster that nobody called a staging cluster: the current context of {name} is \
             {current:?}; if that is one, write --staging {current}"
        )
    })?;
    ensure!(
        current == staging,
        "--staging {staging}: the current context of {name} is {current:?}; nothing was done. If {staging} is meant, \
         `kubectl config use-context {staging}`"
    );
    Ok(Parts {
        name,
        kubeconfig: Box::new(kubeconfig),
        context: current,
        vault: None,
        relays: Vec::new(),
        pods: pods("--plugin-pods", cluster.plugin_pods.as_deref())?,
        watched: pods("--plugin-logs", cluster.plugin_logs.as_deref())?,
        etcd: etcd(cluster)?,
        node_faults: cluster.allow_node_faults,
        irreversible: cluster.allow_irreversible,
        undo: undo_folder(cluster.undo.as_deref())?,
        halt: Halt::default(),
    })
}

fn pods(option: &str, word: Option<&str>) -> Result<Option<PluginPods>> {
    let Some(word) = word else { return Ok(None) };
    let (namespace, selector) = word.split_once('/').with_context(|| {
        format!(
            "{option} {word}: it is NAMESPACE/NAME=VALUE, several labels with commas between them"
        )
    })?;
    pods_labels(selector).with_context(|| format!("{option} {word}"))?;
    Ok(Some(PluginPods {
        namespace: namespace.to_owned(),
        selector: selector.to_owned(),
    }))
}

fn etcd(args: &ClusterArgs) -> Result<Option<At>> {
    let Some(address) = args.etcd.clone() else {
        return Ok(None);
    };
    ensure!(
        address.starts_with("http://") || address.starts_with("https://"),
        "--etcd {address}: it is one endpoint of the cluster's etcd, http[s]://HOST:PORT"
    );
    Ok(Some(At {
        address,
        ca: args.etcd_ca.clone(),
        identity: args.etcd_cert.clone().zip(args.etcd_key.clone()),
    }))
}

fn undo_folder(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = given {
        return Ok(folder.to_owned());
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let state = state.or_else(home);
    let state = state.context("no folder for undo files: name one by --undo, or set HOME")?;
    Ok(state.join("kms-harness/undo"))
}

fn vault(args: &ChaosArgs) -> Result<Option<staging::Place>> {
    let cluster = &args.cluster;
    let Some(address) = args.vault.clone() else {
        let alone = [
            ("--staging-vault-key", cluster.staging_vault_key.is_some()),
            ("--staging-vault-role", cluster.staging_vault_role.is_some()),
            (
                "--staging-vault-unseal-key-path",
                cluster.staging_vault_unseal_key_path.is_some(),
            ),
        ];
        return match alone.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => bail!("{option} needs --vault ADDRESS"),
            None => Ok(None),
        };
    };
    ensure!(
        address.starts_with("http://") || address.starts_with("https://"),
        "--vault {address}: with --arm cluster it is the staging Vault's address, http[s]://HOST:PORT"
    );
    let key = cluster.staging_vault_key.clone();
    Ok(Some(staging::Place {
        ca: std::env::var_os("VAULT_CACERT").map(PathBuf::from),
        token: read_admin_token(args.vault_token_path.as_deref())?,
        key: key.with_context(|| {
            format!("--vault {address}: say which key of it may be broken by --staging-vault-key [MOUNT/]KEY")
        })?,
        role: cluster.staging_vault_role.clone(),
        unseal_key: cluster.staging_vault_unseal_key_path.clone(),
        address,
    }))
}

/// Prints the plan, and carries it out unless it is a dry run.
pub fn chaos(
    jobs: &[Job],
    parts: &Parts,
    args: &ChaosArgs,
    out: Option<&Path>,
) -> Result<u8, Failure> {
    let plan = plan(jobs, parts);
    if args.cluster.dry_run {
        let text = match args.format {
            Format::Text => plan,
            Format::Json => {
                let lines: Vec<&str> = plan.lines().collect();
                serde_json::json!({"plan": lines}).to_string() + "\n"
            }
        };
        console::result(&text).context("print the plan")?;
        return Ok(exit::HELD);
    }
    for line in plan.lines() {
        console::tell(line);
    }
    let ran = runs::all(jobs, Some(1), |ran| super::keep(out, ran))?;
    let code = show::finish(&ran, args.format, out)?;
    match parts.halt.why() {
        Some(Why::Interrupted) => Err(Failure::Interrupted),
        Some(Why::Stopped(why)) => Err(Failure::Harness(anyhow!(why))),
        None => Ok(code),
    }
}

/// What would be done, in words.
fn plan(jobs: &[Job], parts: &Parts) -> String {
    let mut text = format!(
        "cluster: {} (context {}); load in the namespace {NAMESPACE}; undo files in {}\n",
        parts.name,
        parts.context,
        parts.undo.display()
    );
    match &parts.vault {
        Some(vault) => {
            let _ = writeln!(
                text,
                "Vault: {}, the key {} and no other; it is marked",
                vault.address,
                vault.path()
            );
        }
        None => text.push_str("Vault: not named, so nothing happens to it\n"),
    }
    for placed in &parts.relays {
        let places = [
            ("on the way to Vault", placed.state.vault),
            ("on the socket", placed.state.socket),
            (
                "beside the plugin's process, which may be broken",
                placed.state.node_faults && parts.node_faults,
            ),
            (
                "beside the plugin's process, which is left alone without --allow-node-faults",
                placed.state.node_faults && !parts.node_faults,
            ),
        ];
        let places: Vec<&str> = places
            .into_iter()
            .filter(|(_, there)| *there)
            .map(|(place, _)| place)
            .collect();
        let _ = writeln!(
            text,
            "relay {}: {}",
            placed.relay.control,
            places.join(" and ")
        );
    }
    if let Some(etcd) = &parts.etcd {
        let _ = writeln!(
            text,
            "etcd: {}, the Secrets of {NAMESPACE} and no others are read there",
            etcd.address
        );
    }
    for job in jobs {
        let id = job.script.id();
        let Some(scenario) = job.script.plugins() else {
            let _ = writeln!(text, "{id}: not applicable: {}", runs::OPERATORS);
            continue;
        };
        if let Err(why) = runs::applicable(scenario, &job.place) {
            let _ = writeln!(text, "{id} seed {}: not applicable: {why}", job.seed);
            continue;
        }
        let plan = runs::plan(scenario, job.place.arm(), job.seed);
        let _ = writeln!(
            text,
            "{id} seed {}: {} s",
            job.seed,
            plan.phases.total().as_secs()
        );
        let before = plan.phases.settle + plan.phases.baseline;
        for fault in &plan.faults {
            let length = match fault.length {
                Some(length) => format!(", for {} s", length.as_secs()),
                None if fault.fault.lasts() => ", until heal".to_owned(),
                None => ", once".to_owned(),
            };
            let at = (before + fault.at).as_secs();
            let _ = writeln!(text, "  after {at} s: {}{length}", fault.words());
        }
    }
    text
}

/// Undoes everything that earlier runs left, the newest first.
pub fn cleanup(args: &ChaosArgs) -> Result<u8, Failure> {
    block_on(async {
        let (parts, api) = reached(args).await?;
        let left = journal::left(&parts.undo, &api.identity().await?)?;
        let vault = match &args.vault {
            Some(address) => {
                let token = read_admin_token(args.vault_token_path.as_deref()).or_usage()?;
                let ca = std::env::var_os("VAULT_CACERT").map(PathBuf::from);
                let token = Zeroizing::new(token.to_string());
                let admin = Admin::new(address, ca.as_deref(), token).or_usage()?;
                Some((address.clone(), admin))
            }
            None => None,
        };
        let hands = Hands {
            api: api.clone(),
            vault,
        };
        let mut done = Ok(());
        for kept in &left {
            let carried = carry_out(kept, &hands).await;
            if carried.is_ok() {
                console::tell(&format!("done: {}", kept.entry.what));
            }
            done = done.and(carried);
        }
        done?;
        // A run whose undo files are elsewhere, or lost: its objects and its lease go, if it does not run.
        let other = lease::holder(&api).await?;
        if let Some(other) = other {
            return Err(busy(&other));
        }
        let rest = Undo::Clear {
            holder: String::new(),
        };
        rest.carry_out(&hands).await?;
        let told = format!(
            "{} undone; nothing of a run is left in {}\n",
            left.len(),
            parts.name
        );
        console::result(&told).context("print the result")?;
        Ok(exit::HELD)
    })
}

/// The options that choose the same cluster again.
pub fn words(args: &ChaosArgs) -> String {
    let cluster = &args.cluster;
    let mut words = String::new();
    let mut add = |option: &str, value: &str| {
        let _ = write!(words, " {option} {}", quoted(Path::new(value)));
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let given = [
        ("--kubeconfig", path(&cluster.kubeconfig)),
        ("--staging", cluster.staging.clone()),
        ("--vault", args.vault.clone()),
        ("--vault-token-path", path(&args.vault_token_path)),
        ("--staging-vault-key", cluster.staging_vault_key.clone()),
        ("--staging-vault-role", cluster.staging_vault_role.clone()),
        (
            "--staging-vault-unseal-key-path",
            path(&cluster.staging_vault_unseal_key_path),
        ),
        ("--plugin-pods", cluster.plugin_pods.clone()),
        ("--plugin-logs", cluster.plugin_logs.clone()),
        ("--etcd", cluster.etcd.clone()),
        ("--etcd-ca", path(&cluster.etcd_ca)),
        ("--etcd-cert", path(&cluster.etcd_cert)),
        ("--etcd-key", path(&cluster.etcd_key)),
        ("--relay-token-path", path(&cluster.relay_token_path)),
        ("--undo", path(&cluster.undo)),
    ];
    for (option, value) in &given {
        if let Some(value) = value {
            add(option, value);
        }
    }
    for relay in &cluster.relay {
        add("--relay", relay);
    }
    if cluster.allow_node_faults {
        words.push_str(" --allow-node-faults");
    }
    if cluster.allow_irreversible {
        words.push_str(" --allow-irreversible");
    }
    words
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(work)
}

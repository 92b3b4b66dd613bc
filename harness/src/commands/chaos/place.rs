//! What the options say of the parts of a run: which Vault, which plugin, which API server.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::runs::Place;
use super::show::quoted;
use crate::apiserver::choice::Choice;
use crate::arm::process::Parts;
use crate::arm::process::subject::Subject;
use crate::arm::process::vault::make::Make;
use crate::child::find_program;
use crate::cli::{Arm, ChaosArgs, ClusterArgs};
use crate::commands::choice::read_admin_token;
use crate::console;
use crate::exit::{Failure, OrUsage};
use crate::socket;
use crate::subject::file::SubjectFile;
use crate::subject::own;
use crate::vault::family::Family;

/// Where the runs are made; the parts of the process arm are found or built.
pub fn place(args: &ChaosArgs) -> Result<Place, Failure> {
    if args.arm == Arm::Cluster {
        return cluster(args);
    }
    let given = of_cluster(&args.cluster);
    if let Some(option) = given {
        return Err(anyhow!("{option} belongs to --arm cluster")).or_usage();
    }
    if args.arm == Arm::Sim {
        let given = [
            ("--vault", args.vault.is_some()),
            ("--vault-image", args.vault_image.is_some()),
            ("--vault-token-path", args.vault_token_path.is_some()),
            ("--plugin", args.plugin.is_some()),
            ("--subject", args.subject.is_some()),
            ("--socket", args.socket.is_some()),
            ("--apiserver", args.apiserver.is_some()),
        ];
        let idle = given.into_iter().find(|(_, given)| *given);
        let told = |(option, _): (&str, bool)| {
            anyhow!("{option} belongs to --arm process: the simulation has its own")
        };
        return idle.map_or(Ok(Place::Sim), |idle| Err(told(idle)).or_usage());
    }
    let vault = vault(args).or_usage()?;
    let apiserver = apiserver(args).or_usage()?;
    let subject = subject(args)?;
    Ok(Place::Process(Arc::new(Parts {
        vault,
        subject,
        apiserver,
    })))
}

/// An option of the cluster arm that was given.
fn of_cluster(args: &ClusterArgs) -> Option<&'static str> {
    let given = [
        ("--kubeconfig", args.kubeconfig.is_some()),
        ("--staging", args.staging.is_some()),
        ("--staging-vault-key", args.staging_vault_key.is_some()),
        ("--staging-vault-role", args.staging_vault_role.is_some()),
        (
            "--staging-vault-unseal-key-path",
            args.staging_vault_unseal_key_path.is_some(),
        ),
        ("--relay", !args.relay.is_empty()),
        ("--plugin-pods", args.plugin_pods.is_some()),
        ("--plugin-logs", args.plugin_logs.is_some()),
        ("--etcd", args.etcd.is_some()),
        ("--allow-node-faults", args.allow_node_faults),
        ("--allow-irreversible", args.allow_irreversible),
        ("--dry-run", args.dry_run),
        ("--cleanup", args.cleanup),
        ("--undo", args.undo.is_some()),
    ];
    let given = given.into_iter().find(|(_, given)| *given);
    given.map(|(option, _)| option)
}

#[cfg(feature = "kube")]
fn cluster(args: &ChaosArgs) -> Result<Place, Failure> {
    super::cluster::place(args).map(|parts| Place::Cluster(Arc::new(parts)))
}

#[cfg(not(feature = "kube"))]
fn cluster(_: &ChaosArgs) -> Result<Place, Failure> {
    Err(anyhow!(WITHOUT)).or_usage()
}

/// Undoes what a killed run on a cluster left behind.
#[cfg(feature = "kube")]
pub fn cleanup(args: &ChaosArgs) -> Result<u8, Failure> {
    if args.arm != Arm::Cluster {
        return Err(anyhow!("--cleanup belongs to --arm cluster")).or_usage();
    }
    super::cluster::cleanup(args)
}

/// The same in a build that cannot.
#[cfg(not(feature = "kube"))]
pub fn cleanup(_: &ChaosArgs) -> Result<u8, Failure> {
    Err(anyhow!(WITHOUT)).or_usage()
}

#[cfg(not(feature = "kube"))]
const WITHOUT: &str = "--arm cluster: build kms-harness with `--features kube`";

fn vault(args: &ChaosArgs) -> Result<Make> {
    let word = args.vault.as_deref().unwrap_or("sim");
    let address = word.contains("://");
    ensure!(
        args.socket.is_none() || args.vault.is_none(),
        "--vault has no meaning with --socket: that plugin has a Vault already"
    );
    ensure!(
        args.vault_token_path.is_none() || address,
        "--vault-token-path belongs to --vault ADDRESS"
    );
    ensure!(
        args.vault_image.is_none() || word == "container",
        "--vault-image belongs to --vault container"
    );
    Ok(match word {
        "sim" => Make::Simulated,
        "openbao" => real(Family::OpenBao)?,
        "vault" => real(Family::Vault)?,
        "container" => container(args)?,
        _ if address => {
            let addresses: Vec<String> = word.split(',').map(str::to_owned).collect();
            let http = |one: &String| one.starts_with("http://") || one.starts_with("https://");
            ensure!(
                addresses.iter().all(http),
                "--vault {word}: an address is http[s]://HOST:PORT"
            );
            Make::Theirs {
                addresses,
                ca: std::env::var_os("VAULT_CACERT").map(PathBuf::from),
                token: read_admin_token(args.vault_token_path.as_deref())?,
            }
        }
        other => bail!(
            "--vault {other}: it is sim, openbao, vault, container, or addresses http[s]://HOST:PORT"
        ),
    })
}

fn real(family: Family) -> Result<Make> {
    Ok(Make::Real(family, family.part().find()?))
}

#[cfg(feature = "container")]
fn container(args: &ChaosArgs) -> Result<Make> {
    let image = args.vault_image.clone();
    image
        .map(Make::Container)
        .context("--vault container needs --vault-image NAME:TAG, such as openbao/openbao:2")
}

#[cfg(not(feature = "container"))]
fn container(_: &ChaosArgs) -> Result<Make> {
    bail!("--vault container: build kms-harness with `--features container`")
}

fn apiserver(args: &ChaosArgs) -> Result<Choice> {
    let word = args.apiserver.as_deref().unwrap_or("sim");
    let choice = Choice::read(word)?;
    #[cfg(feature = "kube")]
    ensure!(
        !matches!(choice, Choice::Cluster(_)),
        "--apiserver {word}: scenarios restart their API servers and damage what is stored, so a cluster is not for them; write sim, real, or the path of a kube-apiserver"
    );
    Ok(choice)
}

fn subject(args: &ChaosArgs) -> Result<Subject, Failure> {
    if let Some(url) = &args.socket {
        return socket::parse(url).map(Subject::Socket).or_usage();
    }
    if let Some(file) = &args.subject {
        let subject = SubjectFile::read(file).or_usage()?;
        return Ok(Subject::Described(Box::new(subject)));
    }
    let binary = match (&args.plugin, own::workspace()) {
        (Some(path), _) => find_program(path)
            .with_context(|| format!("--plugin {}: no executable file", path.display()))
            .or_usage()?,
        (None, Some(workspace)) => {
            console::tell("building the plugin alone");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("make a runtime")?;
            runtime.block_on(own::build(&workspace))?
        }
        (None, None) => {
            return Err(anyhow!(
                "outside of the checkout a plugin has to be named: --plugin PATH, --subject FILE or --socket URL"
            ))
            .or_usage();
        }
    };
    Ok(Subject::Own(binary))
}

/// The options that choose the same parts again.
pub fn words(args: &ChaosArgs, parts: &Parts) -> String {
    let mut words = String::new();
    let mut add = |option: &str, value: &str| words.push_str(&format!(" {option} {value}"));
    match &args.socket {
        Some(url) => add("--socket", url),
        None => add("--vault", &parts.vault.word()),
    }
    let files = [
        ("--vault-token-path", &args.vault_token_path),
        ("--plugin", &args.plugin),
        ("--subject", &args.subject),
    ];
    for (option, file) in files {
        if let Some(file) = file {
            add(option, &quoted(file));
        }
    }
    if let Some(apiserver) = &args.apiserver {
        add("--apiserver", apiserver);
    }
    words
}

//! `run`: the main job. A plugin on a Vault, checked, and a bundle that says how it went.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kms_conformance::{BoxFuture, Hook, Target};
use kms_report::model::{
    Artifact, ArtifactDigest, ArtifactKind, Launch, LaunchKind, Origin, Subject,
};
use kms_report::redact;
use tempfile::TempDir;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::session::{Judged, LOG, Session};
use crate::bundle::sha256;
use crate::child::find_program;
use crate::cli::RunArgs;
use crate::exit::{Failure, OrUsage};
use crate::interrupt::Interrupt;
use crate::plan::Planned;
use crate::subject::file::{SubjectFile, Values};
use crate::subject::own::{self, Vocabulary};
use crate::subject::running::Running;
use crate::subject::values;
use crate::vault::VaultBackend;
use crate::vault::admin::Admin;
use crate::vault::external::{External, RIGHTS};
use crate::vault::openbao::{self, OpenBao};
use crate::vault::provision::{Access, Wanted};
use crate::vault::sim::Sim;
use crate::{console, environment};

/// Starts a plugin on a Vault and judges it.
pub async fn run(args: &RunArgs, mut plan: Planned, interrupt: Interrupt) -> Result<u8, Failure> {
    let vault = Chosen::vault(args, &mut plan).or_usage()?;
    let plugin = Plugin::choose(args, &mut plan, own::workspace()).or_usage()?;
    let session = Session::start(&args.suite, &args.output, plan, plugin.name())?;

    let plugin = interrupt.or(plugin.ready()).await??;
    let world = interrupt
        .or(World::start(
            vault,
            plugin,
            session.bundle().path(LOG),
            args.suite.seed,
        ))
        .await??;
    let judged = world.judged()?;
    let sent = session.send(&world.target(), &judged, &interrupt).await?;
    world.stop().await?;
    session.finish(sent, judged)
}

/// Which Vault.
enum Chosen {
    Sim,
    OpenBao(PathBuf),
    External {
        addresses: Vec<String>,
        ca: Option<PathBuf>,
        token: Zeroizing<String>,
    },
}

impl Chosen {
    fn vault(args: &RunArgs, plan: &mut Planned) -> Result<Self> {
        let words: Vec<&str> = args.vault.iter().map(String::as_str).collect();
        let shown: Vec<String> = words
            .iter()
            .map(|word| {
                if word.contains("://") {
                    redact::url(word)
                } else {
                    (*word).to_owned()
                }
            })
            .collect();
        plan.option("vault", shown.join(","));
        ensure!(
            args.vault_token_path.is_none() || words.iter().any(|word| word.contains("://")),
            "--vault-token-path belongs to --vault ADDRESS"
        );
        match words[..] {
            ["sim"] => Ok(Self::Sim),
            ["openbao"] => {
                let binary = openbao::find()?;
                let origin = if std::env::var_os("BAO").is_some() {
                    Origin::Env
                } else {
                    Origin::Default
                };
                plan.set(
                    "openbao",
                    redact::path(&binary.display().to_string()),
                    origin,
                );
                Ok(Self::OpenBao(binary))
            }
            _ if words
                .iter()
                .all(|word| word.starts_with("http://") || word.starts_with("https://")) =>
            {
                let token = admin_token(args.vault_token_path.as_deref(), plan)?;
                let ca = std::env::var_os("VAULT_CACERT").map(PathBuf::from);
                if let Some(ca) = &ca {
                    plan.set(
                        "vault-ca",
                        redact::path(&ca.display().to_string()),
                        Origin::Env,
                    );
                }
                Ok(Self::External {
                    addresses: args.vault.clone(),
                    ca,
                    token,
                })
            }
            _ => bail!(
                "--vault {}: it is sim, openbao, or addresses http[s]://HOST:PORT",
                words.join(" ")
            ),
        }
    }
}

fn admin_token(path: Option<&Path>, plan: &mut Planned) -> Result<Zeroizing<String>> {
    let token = match path {
        Some(path) => {
            plan.set(
                "vault-token-path",
                redact::path(&path.display().to_string()),
                Origin::Flag,
            );
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read --vault-token-path {}", path.display()))?;
            let text = Zeroizing::new(text);
            Zeroizing::new(text.trim().to_owned())
        }
        None => {
            plan.set("vault-token", "given", Origin::Env);
            Zeroizing::new(std::env::var("VAULT_TOKEN").unwrap_or_default())
        }
    };
    ensure!(
        !token.is_empty(),
        "--vault ADDRESS needs an administrator's token, in the file --vault-token-path or in VAULT_TOKEN; it needs {RIGHTS}"
    );
    Ok(token)
}

/// Which plugin.
enum Plugin {
    /// Ours, still to be built from this checkout.
    Checkout(PathBuf),
    /// Ours, as a binary.
    Binary(PathBuf),
    /// Any other.
    Described(Box<SubjectFile>),
}

impl Plugin {
    fn choose(args: &RunArgs, plan: &mut Planned, workspace: Option<PathBuf>) -> Result<Self> {
        let chosen = match (&args.plugin, &args.subject) {
            (Some(path), _) => {
                plan.set(
                    "plugin",
                    redact::path(&path.display().to_string()),
                    Origin::Flag,
                );
                let found = find_program(path)
                    .with_context(|| format!("--plugin {}: no executable file", path.display()))?;
                Self::Binary(std::path::absolute(found)?)
            }
            (None, Some(file)) => {
                let subject = SubjectFile::read(file)?;
                plan.set(
                    "subject",
                    redact::path(&file.display().to_string()),
                    Origin::Flag,
                );
                plan.set("subject.command", sources(&subject), Origin::File);
                Self::Described(Box::new(subject))
            }
            (None, None) => {
                let workspace = workspace.context(
                    "there is no checkout here to build the plugin from: name a binary by --plugin PATH, or a plugin of your own by --subject FILE",
                )?;
                plan.set("plugin", "built alone from the checkout", Origin::Default);
                Self::Checkout(workspace)
            }
        };
        if let Some(binary) = chosen.program() {
            ensure!(
                !is_this_program(&binary),
                "{} is the harness itself: it never starts itself as the plugin",
                binary.display()
            );
        }
        Ok(chosen)
    }

    fn name(&self) -> &str {
        match self {
            Self::Checkout(_) | Self::Binary(_) => own::PACKAGE,
            Self::Described(subject) => &subject.name,
        }
    }

    /// The file that would be started, if that is known now.
    fn program(&self) -> Option<PathBuf> {
        match self {
            Self::Checkout(_) => None,
            Self::Binary(path) => Some(path.clone()),
            Self::Described(subject) => find_program(Path::new(subject.command[0].source())),
        }
    }

    /// Builds what has to be built.
    async fn ready(self) -> Result<Self> {
        match self {
            Self::Checkout(workspace) => {
                console::tell("building the plugin alone");
                own::build(&workspace).await.map(Self::Binary)
            }
            ready => Ok(ready),
        }
    }

    fn describe(self, values: &Values) -> Result<SubjectFile> {
        match self {
            Self::Binary(path) => Ok(own::without_listeners(own::describe(
                &path,
                Vocabulary::Sidecar,
                values,
            ))),
            Self::Described(subject) => Ok(*subject),
            Self::Checkout(_) => Err(anyhow!("the plugin was not built")),
        }
    }
}

fn is_this_program(path: &Path) -> bool {
    let itself = std::env::current_exe().and_then(std::fs::canonicalize).ok();
    itself.is_some() && itself == std::fs::canonicalize(path).ok()
}

fn sources(subject: &SubjectFile) -> String {
    let words: Vec<&str> = subject.command.iter().map(|word| word.source()).collect();
    words.join(" ")
}

/// A plugin on a Vault. Fields are dropped in this order: the plugin, its Vault, the files.
struct World {
    plugin: Arc<Mutex<Running>>,
    vault: Box<dyn VaultBackend>,
    access: Access,
    borrowed: bool,
    on_this_vault: bool,
    subject: Subject,
    socket: PathBuf,
    log: PathBuf,
    _folder: TempDir,
}

impl World {
    async fn start(chosen: Chosen, plugin: Plugin, log: PathBuf, seed: u64) -> Result<Self> {
        // A short path: a socket's may have 107 bytes.
        let folder = tempfile::Builder::new()
            .prefix("kms-")
            .tempdir()
            .context("make a folder for the run")?;
        let borrowed = matches!(chosen, Chosen::External { .. });
        let vault: Box<dyn VaultBackend> = match chosen {
            Chosen::Sim => Box::new(Sim::start(seed).await.context("start the built-in Vault")?),
            Chosen::OpenBao(binary) => Box::new(
                OpenBao::dev(&binary, folder.path())
                    .await
                    .context("start OpenBao")?,
            ),
            Chosen::External {
                addresses,
                ca,
                token,
            } => Box::new(External::connect(&addresses, ca, token).await?),
        };
        let wanted = if borrowed {
            Wanted::aside()
        } else {
            Wanted::default()
        };
        let access = wanted.create(&vault.admin(), folder.path()).await?;
        let values = values(vault.as_ref(), &access, folder.path());
        let description = plugin.describe(&values)?;
        let subject = subject(&description, &values)?;
        // A plugin that was not told where this Vault is has its key elsewhere.
        let on_this_vault = description.mentions("vault");
        let socket = PathBuf::from(&values["socket"]);
        console::tell(&format!(
            "starting {} on {} {}",
            description.name,
            vault.product().name,
            vault.product().version
        ));
        let plugin = Running::start(description, values, log.clone()).await?;
        Ok(Self {
            plugin: Arc::new(Mutex::new(plugin)),
            vault,
            access,
            borrowed,
            on_this_vault,
            subject,
            socket,
            log,
            _folder: folder,
        })
    }

    fn target(&self) -> Target {
        let mut target = Target::unix(&self.socket);
        target.restart = Some(Arc::new(RestartPlugin(Arc::clone(&self.plugin))));
        if self.on_this_vault {
            target.rotate = Some(Arc::new(RotateKey {
                admin: self.vault.admin(),
                path: format!("{}/keys/{}/rotate", self.access.mount, self.access.key),
            }));
        }
        target.logs = Some(self.log.clone());
        target
    }

    fn judged(&self) -> Result<Judged> {
        Ok(Judged {
            subject: self.subject.clone(),
            environment: environment::environment(Some(self.vault.as_ref())),
            secrets: self.access.secrets().map(str::to_owned).to_vec(),
        })
    }

    /// Stops the plugin, so that its log is whole, and gives a borrowed Vault back as it was.
    async fn stop(self) -> Result<()> {
        self.plugin.lock().await.stop().await?;
        if self.borrowed {
            self.access.remove(&self.vault.admin()).await?;
        }
        Ok(())
    }
}

fn subject(description: &SubjectFile, values: &Values) -> Result<Subject> {
    let program = PathBuf::from(description.command[0].fill(values)?);
    let program =
        find_program(&program).with_context(|| format!("no program {}", program.display()))?;
    let bytes = std::fs::read(&program).with_context(|| format!("read {}", program.display()))?;
    let name = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(Subject {
        organization: description.organization.clone(),
        project: description.name.clone(),
        url: description.url.clone(),
        version: description.version.clone(),
        config_digest: Some(format!(
            "sha256:{}",
            sha256(sources(description).as_bytes())
        )),
        artifacts: vec![Artifact {
            kind: ArtifactKind::Binary,
            name,
            digest: ArtifactDigest {
                sha256: sha256(&bytes),
            },
        }],
        launch: Some(Launch {
            how: LaunchKind::Spawned,
            endpoint: redact::endpoint(&format!("unix://{}", values["socket"])),
        }),
        ..Subject::default()
    })
}

struct RestartPlugin(Arc<Mutex<Running>>);

impl Hook for RestartPlugin {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            self.0
                .lock()
                .await
                .restart()
                .await
                .map_err(|error| format!("{error:#}"))
        })
    }
}

struct RotateKey {
    admin: Admin,
    path: String,
}

impl Hook for RotateKey {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let rotated = self.admin.write(&self.path, serde_json::Value::Null).await;
            rotated.map(drop).map_err(|error| format!("{error:#}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    /// Outside of a checkout there is nothing to build: the message says what to name instead.
    #[test]
    fn without_a_checkout_a_plugin_has_to_be_named() {
        let cli = Cli::try_parse_from(["kms-harness", "run"]).unwrap();
        let Command::Run(args) = cli.command else {
            panic!("{cli:?}")
        };
        let error = Plugin::choose(&args, &mut Planned::default(), None)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("--plugin PATH") && error.contains("--subject FILE"),
            "{error}"
        );
    }
}

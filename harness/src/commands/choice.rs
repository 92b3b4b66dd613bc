//! What the options of `run` mean: which Vault, which plugin. Wrong usage is found here, before
//! anything is started.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use kms_report::model::Origin;
use kms_report::redact;
use sim_vault::Flavour;
use zeroize::Zeroizing;

use crate::child::find_program;
use crate::cli::RunArgs;
use crate::console;
use crate::plan::Planned;
use crate::subject::file::{SubjectFile, Values};
use crate::subject::own::{self, Vocabulary};
use crate::vault::VaultBackend;
#[cfg(feature = "container")]
use crate::vault::container::Container;
use crate::vault::external::{External, RIGHTS};
use crate::vault::family::Family;
use crate::vault::image::Image;
use crate::vault::server::Server;
use crate::vault::sim::{Front, Sim};

/// Which Vault.
pub enum Vault {
    Sim(Front),
    Server(Family, PathBuf),
    #[cfg(feature = "container")]
    Container(Image),
    External {
        addresses: Vec<String>,
        ca: Option<PathBuf>,
        token: Zeroizing<String>,
    },
}

impl Vault {
    /// What `--vault` means.
    pub fn choose(args: &RunArgs, plan: &mut Planned) -> Result<Self> {
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
        ensure!(
            args.vault_image.is_none() || words == ["container"],
            "--vault-image belongs to --vault container"
        );
        match words[..] {
            ["sim"] => Ok(Self::Sim(Front::Own)),
            ["wiremock"] => Ok(Self::Sim(Front::Wiremock)),
            ["openbao"] => Self::server(Family::OpenBao, plan),
            ["vault"] => Self::server(Family::Vault, plan),
            ["container"] => {
                let image = args.vault_image.clone().context(
                    "--vault container needs --vault-image NAME:TAG, such as openbao/openbao:2 or hashicorp/vault:1.19",
                )?;
                plan.option("vault-image", &image);
                Self::container(image)
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
                "--vault {}: it is sim, wiremock, openbao, vault, container, or addresses http[s]://HOST:PORT",
                words.join(" ")
            ),
        }
    }

    #[cfg(feature = "container")]
    fn container(image: Image) -> Result<Self> {
        Ok(Self::Container(image))
    }

    #[cfg(not(feature = "container"))]
    fn container(image: Image) -> Result<Self> {
        bail!(
            "--vault container: this kms-harness cannot run {image}: build it with `--features container`"
        )
    }

    fn server(family: Family, plan: &mut Planned) -> Result<Self> {
        let binary = family.part().find()?;
        let origin = if std::env::var_os(family.part().variable).is_some() {
            Origin::Env
        } else {
            Origin::Default
        };
        let shown = redact::path(&binary.display().to_string());
        plan.set("vault-binary", shown, origin);
        Ok(Self::Server(family, binary))
    }

    /// Starts or reaches it.
    pub async fn start(self, folder: &Path, seed: u64) -> Result<Box<dyn VaultBackend>> {
        Ok(match self {
            Self::Sim(front) => Box::new(
                Sim::start(seed, Flavour::OpenBao, front)
                    .await
                    .context("start the built-in Vault")?,
            ),
            Self::Server(family, binary) => Box::new(Server::dev(family, &binary, folder).await?),
            #[cfg(feature = "container")]
            Self::Container(image) => {
                console::tell(&format!(
                    "starting {image}, which is pulled if it is not here"
                ));
                Box::new(Box::pin(Container::dev(&image)).await?)
            }
            Self::External {
                addresses,
                ca,
                token,
            } => Box::new(External::connect(&addresses, ca, token).await?),
        })
    }
}

fn admin_token(path: Option<&Path>, plan: &mut Planned) -> Result<Zeroizing<String>> {
    match path {
        Some(path) => {
            plan.set(
                "vault-token-path",
                redact::path(&path.display().to_string()),
                Origin::Flag,
            );
        }
        None => plan.set("vault-token", "given", Origin::Env),
    }
    read_admin_token(path)
}

/// The administrator's token of `--vault ADDRESS`, from this file or `VAULT_TOKEN`.
pub(super) fn read_admin_token(path: Option<&Path>) -> Result<Zeroizing<String>> {
    let token = match path {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read --vault-token-path {}", path.display()))?;
            let text = Zeroizing::new(text);
            Zeroizing::new(text.trim().to_owned())
        }
        None => Zeroizing::new(std::env::var("VAULT_TOKEN").unwrap_or_default()),
    };
    ensure!(
        !token.is_empty(),
        "--vault ADDRESS needs an administrator's token, in the file --vault-token-path or in VAULT_TOKEN; it needs {RIGHTS}"
    );
    Ok(token)
}

/// Which plugin.
#[derive(Clone, Debug)]
pub enum Plugin {
    /// Ours, still to be built from this checkout.
    Checkout(PathBuf),
    /// Ours, as a binary, and the version that it gives once it is ready.
    Binary(PathBuf, Option<String>),
    /// Any other.
    Described(Box<SubjectFile>),
}

impl Plugin {
    /// What `--plugin` and `--subject` mean, and what stands for neither.
    pub fn choose(args: &RunArgs, plan: &mut Planned, workspace: Option<PathBuf>) -> Result<Self> {
        let chosen = match (&args.plugin, &args.subject) {
            (Some(path), _) => {
                plan.set(
                    "plugin",
                    redact::path(&path.display().to_string()),
                    Origin::Flag,
                );
                let found = find_program(path)
                    .with_context(|| format!("--plugin {}: no executable file", path.display()))?;
                Self::Binary(std::path::absolute(found)?, None)
            }
            (None, Some(file)) => {
                let subject = SubjectFile::read(file)?;
                plan.set(
                    "subject",
                    redact::path(&file.display().to_string()),
                    Origin::Flag,
                );
                plan.set("subject.command", subject.shown(), Origin::File);
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

    /// What the report calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Checkout(_) | Self::Binary(..) => own::PACKAGE,
            Self::Described(subject) => &subject.name,
        }
    }

    /// Our binary, once there is one.
    pub fn binary(&self) -> Option<&Path> {
        match self {
            Self::Binary(path, _) => Some(path),
            Self::Checkout(_) | Self::Described(_) => None,
        }
    }

    /// The file that would be started, if that is known now.
    fn program(&self) -> Option<PathBuf> {
        match self {
            Self::Checkout(_) => None,
            Self::Binary(path, _) => Some(path.clone()),
            Self::Described(subject) => find_program(Path::new(subject.command[0].source())),
        }
    }

    /// Builds what has to be built.
    pub async fn ready(self) -> Result<Self> {
        let binary = match self {
            Self::Checkout(workspace) => {
                console::tell("building the plugin alone");
                own::build(&workspace).await?
            }
            Self::Binary(path, _) => path,
            Self::Described(subject) => return Ok(Self::Described(subject)),
        };
        let version = own::version(&binary).await;
        Ok(Self::Binary(binary, version))
    }

    /// How it is started with these values.
    pub fn describe(&self, values: &Values) -> Result<SubjectFile> {
        match self {
            Self::Binary(path, version) => {
                let subject = own::describe(path, Vocabulary::Sidecar, values);
                Ok(SubjectFile {
                    version: version.clone(),
                    ..own::with_metrics(subject)
                })
            }
            Self::Described(subject) => Ok(SubjectFile::clone(subject)),
            Self::Checkout(_) => Err(anyhow!("the plugin was not built")),
        }
    }
}

fn is_this_program(path: &Path) -> bool {
    let itself = std::env::current_exe().and_then(std::fs::canonicalize).ok();
    itself.is_some() && itself == std::fs::canonicalize(path).ok()
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

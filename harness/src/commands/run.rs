//! `run`: the main job. A plugin on a Vault, checked, and a bundle that says how it went.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use kms_conformance::{BoxFuture, Hook, HttpMetrics, Target, UnixSocket};
use kms_report::model::{Artifact, ArtifactDigest, ArtifactKind, Launch, LaunchKind, Subject};
use kms_report::redact;
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::check;
use super::choice::{Plugin, Vault};
use super::front;
use super::library::{Library, Seen};
use super::session::{Judged, LOG, OTHER_LOG, SPARES_LOG, Session};
use crate::bundle::{Bundle, sha256};
use crate::child::find_program;
use crate::cli::{RunArgs, Suite};
use crate::exit::{Failure, OrUsage};
use crate::interrupt::Interrupt;
use crate::plan::Planned;
use crate::subject::beside::Beside;
use crate::subject::file::{SubjectFile, Values};
use crate::subject::own::{self};
use crate::subject::running::Running;
use crate::subject::{place, values};
use crate::vault::admin::Admin;
use crate::vault::provision::{Access, Wanted};
use crate::vault::{Product, VaultBackend};
use crate::{console, environment};

/// Starts a plugin on a Vault and judges it.
pub async fn run(args: RunArgs, mut plan: Planned, interrupt: Interrupt) -> Result<u8, Failure> {
    let vault = Vault::choose(&args, &mut plan).or_usage()?;
    let plugin = Plugin::choose(&args, &mut plan, own::workspace()).or_usage()?;
    let front = front::choose(&args, &mut plan).or_usage()?;
    let Suite { profile, seed, .. } = args.suite;
    let image = check::image(args.image.as_deref(), &mut plan)?;
    let library = Library::choose(&args.scenarios, profile, seed, &plugin, &vault, &mut plan)?;
    let mut session = Session::start(&args.suite, &args.output, plan, plugin.name())?;
    library.announce();

    let plugin = interrupt.or(plugin.ready()).await??;
    let binary = plugin.binary().map(Path::to_owned);
    let world = World::start(vault, plugin, session.bundle(), args.suite.seed, &interrupt).await?;
    let mut judged = world.judged()?;
    if let Some(image) = image {
        // What was started is the program that starts containers, and nobody's subject.
        if let Err(error) = image.serves(&world.socket).await {
            world.stop().await?;
            return Err(error.into());
        }
        judged.subject.artifacts = vec![image.artifact()];
    }
    let target = world.target();
    let mut standing = None;
    if let Some(front) = front {
        let place = world.folder.path().join("front");
        match front.stand(&world.socket, &place, &interrupt).await {
            Ok(stands) => {
                session.at_last(stands.passage(&target));
                judged.environment.kubernetes = stands.kubernetes();
                standing = Some(stands);
            }
            Err(failure) => {
                world.stop().await?;
                return Err(failure);
            }
        }
    }
    let sent = session.send(&target, &judged, &interrupt).await;
    judged.secrets.extend(world.beside.secrets());
    // What was made in somebody else's cluster or Vault goes again, whatever came of the run. The cluster's API server may
    // need the plugin for that.
    let cleared = match &standing {
        Some(standing) => standing.clear().await,
        None => Ok(()),
    };
    world.stop().await?;
    let mut sent = sent?;
    let mut seen = Seen::default();
    if !sent.interrupted() {
        match library
            .run(binary.as_deref(), session.bundle(), &interrupt)
            .await
        {
            Ok(all) => seen = all,
            Err(Failure::Interrupted) => sent.interrupt(),
            Err(failure) => return Err(failure),
        }
    }
    let code = session.finish(sent, judged, seen)?;
    cleared?;
    Ok(code)
}

/// A plugin on a Vault. Fields are dropped in this order: the plugin, its Vault, the files.
struct World {
    plugin: Arc<Mutex<Running>>,
    other_node: Option<Running>,
    beside: Arc<Beside>,
    metrics: Option<HttpMetrics>,
    vault: Box<dyn VaultBackend>,
    wanted: Wanted,
    access: Access,
    borrowed: bool,
    on_this_vault: bool,
    subject: Subject,
    socket: PathBuf,
    log: PathBuf,
    folder: TempDir,
}

impl World {
    async fn start(
        chosen: Vault,
        plugin: Plugin,
        bundle: &Bundle,
        seed: u64,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        // A short path: a socket's may have 107 bytes.
        let folder = tempfile::Builder::new()
            .prefix("kms-")
            .tempdir()
            .context("make a folder for the run")?;
        let borrowed = matches!(chosen, Vault::External { .. });
        let vault = interrupt.or(chosen.start(folder.path(), seed)).await??;
        let wanted = if borrowed {
            Wanted::aside()
        } else {
            Wanted::default()
        };
        // Not to be interrupted half-way: what it makes in somebody else's Vault has to go again.
        let access = wanted.create(&vault.admin(), folder.path()).await?;
        let mut values = values(vault.as_ref(), &access, folder.path());
        place(&mut values, folder.path())?;
        let log = bundle.path(LOG);
        let beside = Arc::new(Beside::new(
            {
                let plugin = plugin.clone();
                Box::new(move |values: &Values| plugin.describe(values))
            },
            &values,
            vault.as_ref(),
            folder.path(),
            bundle.path(SPARES_LOG),
        ));
        let started = async {
            let description = plugin.describe(&values)?;
            let metrics = description.metrics.as_ref();
            let metrics = metrics.map(|place| place.at(&values)).transpose()?;
            let subject = subject(&description, &values)?;
            // A plugin that was not told where this Vault is has its key elsewhere.
            let on_this_vault = description.mentions("vault");
            let Product { name, version } = vault.product();
            console::tell(&format!(
                "starting {} on {name} {version}",
                description.name
            ));
            let plugin = Running::start(description, values.clone(), log.clone()).await?;
            let other_node = beside.other_node(bundle.path(OTHER_LOG)).await?;
            Ok::<_, anyhow::Error>((plugin, other_node, metrics, subject, on_this_vault))
        };
        let started = interrupt
            .or(started)
            .await
            .and_then(|started| started.map_err(Failure::from));
        if started.is_err() && borrowed {
            wanted.remove(&vault.admin()).await?;
        }
        let (plugin, other_node, metrics, subject, on_this_vault) = started?;
        Ok(Self {
            plugin: Arc::new(Mutex::new(plugin)),
            other_node,
            beside,
            metrics,
            vault,
            wanted,
            access,
            borrowed,
            on_this_vault,
            subject,
            socket: PathBuf::from(&values["socket"]),
            log,
            folder,
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
        if let Some(metrics) = &self.metrics {
            target.metrics = Some(Arc::new(metrics.clone()));
        }
        if let Some(other) = &self.other_node {
            target.other_node = Some(Arc::new(UnixSocket(other.socket().to_owned())));
        }
        target.spares = Some(self.beside.clone());
        let secrets = self.access.secrets().map(|secret| secret.to_owned().into());
        target.secrets = Arc::from(secrets);
        target
    }

    fn judged(&self) -> Result<Judged> {
        let admin = self.vault.admin();
        let secrets = self.access.secrets().into_iter().chain([admin.token()]);
        let secrets = secrets.map(str::to_owned).collect();
        Ok(Judged {
            subject: self.subject.clone(),
            environment: environment::environment(Some(self.vault.as_ref())),
            secrets,
        })
    }

    /// Stops the plugin, so that its log is whole, and gives a borrowed Vault back as it was.
    async fn stop(self) -> Result<()> {
        self.plugin.lock().await.stop().await?;
        if let Some(mut other) = self.other_node {
            other.stop().await?;
        }
        if self.borrowed {
            let cleaned = self.beside.clean_up().await;
            self.wanted.remove(&self.vault.admin()).await?;
            cleaned?;
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
            sha256(description.source().as_bytes())
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

//! `check`: judge a plugin that is already running.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use kms_conformance::{BoxFuture, Hook, HttpMetrics, Target, UnixSocket};
use kms_report::model::{Artifact, Launch, LaunchKind, Subject};
use kms_report::redact;

use super::library::{self, Seen};
use super::run;
use super::session::{Judged, Session};
use crate::cli::{CheckArgs, RunArgs};
use crate::exit::{Failure, OrUsage};
use crate::interrupt::Interrupt;
use crate::plan::Planned;
use crate::subject::image::ImageArchive;
use crate::subject::running::run_hook;
use crate::{environment, socket};

/// Limit for a restart command.
const RESTARTS: Duration = Duration::from_secs(120);

/// Judges the plugin behind a socket, or one that is started.
pub async fn check(args: CheckArgs, plan: Planned, interrupt: Interrupt) -> Result<u8, Failure> {
    match args.socket.clone() {
        Some(socket) => behind(&socket, args, plan, interrupt).await,
        None => {
            let args = RunArgs {
                vault: vec!["sim".to_owned()],
                vault_image: None,
                vault_token_path: None,
                plugin: None,
                subject: args.subject,
                image: args.image,
                apiserver: None,
                socket: None,
                scenarios: vec![library::NONE.into()],
                suite: args.suite,
                output: args.output,
            };
            run::run(args, plan, interrupt).await
        }
    }
}

async fn behind(
    url: &str,
    args: CheckArgs,
    mut plan: Planned,
    interrupt: Interrupt,
) -> Result<u8, Failure> {
    let path = socket::parse(url).or_usage()?;
    let image = image(args.image.as_deref(), &mut plan)?;
    let mut target = Target::unix(&path);
    plan.option("socket", redact::endpoint(url));
    // The command itself may hold anything.
    let given = |is: bool| if is { "given" } else { "none" };
    plan.option("restart-command", given(args.restart_command.is_some()));
    if let Some(url) = &args.metrics_url {
        let metrics = HttpMetrics::parse(url)
            .map_err(|error| anyhow!("--metrics-url: {error}"))
            .or_usage()?;
        target.metrics = Some(Arc::new(metrics));
        plan.option("metrics-url", redact::endpoint(url));
    }
    if let Some(url) = &args.other_socket {
        target.other_node = Some(Arc::new(UnixSocket(
            socket::parse(url).context("--other-socket").or_usage()?,
        )));
        plan.option("other-socket", redact::endpoint(url));
    }

    if let Some(image) = &image {
        image.serves(&path).await?;
    }
    let mut session = Session::start(&args.suite, &args.output, plan, "plugin")?;
    if let Some(command) = args.restart_command {
        target.restart = Some(Arc::new(RestartCommand {
            command,
            log: session.bundle().path("restart.log"),
        }));
    }
    let subject = Subject {
        project: "plugin".to_owned(),
        artifacts: image.iter().map(ImageArchive::artifact).collect(),
        launch: Some(Launch {
            how: LaunchKind::ExternalSocket,
            endpoint: redact::endpoint(url),
        }),
        ..Subject::default()
    };
    let judged = Judged {
        subject,
        environment: environment::environment(None),
        secrets: Vec::new(),
    };
    let sent = session.send(&target, &judged, &interrupt).await?;
    session.finish(sent, judged, Seen::default())
}

/// What `--image` names.
pub(super) fn image(
    path: Option<&Path>,
    plan: &mut Planned,
) -> Result<Option<ImageArchive>, Failure> {
    let image = path.map(ImageArchive::read).transpose().or_usage()?;
    if let Some(image) = &image {
        let Artifact { name, digest, .. } = image.artifact();
        plan.option("image", format!("{name}@sha256:{}", digest.sha256));
    }
    Ok(image)
}

/// `--restart-command`: a line for the shell.
struct RestartCommand {
    command: String,
    log: PathBuf,
}

impl Hook for RestartCommand {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let args = ["-c".to_owned(), self.command.clone()];
            run_hook(Path::new("sh"), &args, RESTARTS, &self.log)
                .await
                .map_err(|error| format!("{error:#}"))
        })
    }
}

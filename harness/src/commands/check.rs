//! `check`: judge a plugin that is already running.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kms_conformance::{BoxFuture, Hook, Target};
use kms_report::model::{Launch, LaunchKind, Subject};
use kms_report::redact;

use super::session::{Judged, Session};
use crate::cli::CheckArgs;
use crate::exit::{Failure, OrUsage};
use crate::interrupt::Interrupt;
use crate::plan::Planned;
use crate::subject::running::run_hook;
use crate::{environment, socket};

/// Limit for a restart command.
const RESTARTS: Duration = Duration::from_secs(120);

/// Judges the plugin behind a socket.
pub async fn check(
    args: &CheckArgs,
    mut plan: Planned,
    interrupt: Interrupt,
) -> Result<u8, Failure> {
    let path = socket::parse(&args.socket).or_usage()?;
    plan.option("socket", redact::endpoint(&args.socket));
    // The command itself may hold anything.
    plan.option(
        "restart-command",
        if args.restart_command.is_some() {
            "given"
        } else {
            "none"
        },
    );

    let session = Session::start(&args.suite, &args.output, plan, "plugin")?;
    let mut target = Target::unix(&path);
    if let Some(command) = &args.restart_command {
        target.restart = Some(Arc::new(RestartCommand {
            command: command.clone(),
            log: session.bundle().path("restart.log"),
        }));
    }
    let subject = Subject {
        project: "plugin".to_owned(),
        launch: Some(Launch {
            how: LaunchKind::ExternalSocket,
            endpoint: redact::endpoint(&args.socket),
        }),
        ..Subject::default()
    };
    let judged = Judged {
        subject,
        environment: environment::environment(None),
        secrets: Vec::new(),
    };
    let sent = session.send(&target, &judged, &interrupt).await?;
    session.finish(sent, judged)
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

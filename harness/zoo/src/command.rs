//! The plugin as a process that is started here: signals, memory, arguments, files and restarts are real.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kms_conformance::{BoxFuture, Hook, HttpMetrics, Target};
use kms_process::child::{Child, Launch};
use kms_process::ports::free_ports;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::CREDENTIAL;
use crate::bug::Bug;
use crate::kms::Kms;

/// Limit for it to listen after its start, on a machine that does much else.
const LISTENS: Duration = Duration::from_secs(30);
/// Limit for it to stop after SIGTERM.
const STOPS: Duration = Duration::from_secs(2);

/// The program that serves a mutant: [`serve`](crate::serve::serve) behind the arguments `--mutant ID --socket
/// unix://PATH --state DIR --metrics-port N` and one of `--token-file FILE` and `--token TOKEN`.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Words before those arguments.
    pub words: Vec<String>,
}

/// A plugin that runs. It ends, and its files go, when this is dropped.
pub struct Started {
    /// What the suite is pointed at.
    pub target: Target,
    // The folder goes after the process.
    _life: Arc<Life>,
    _folder: TempDir,
}

struct Life {
    child: Mutex<Child>,
    launch: Launch,
    socket: PathBuf,
}

impl Started {
    /// Starts the plugin called `id`, which has this bug, and waits until it listens.
    ///
    /// # Errors
    /// It cannot be started, or does not listen in time.
    pub async fn start(program: &Program, id: &str, bug: Option<Bug>) -> Result<Self> {
        // A short path: a socket's may have 107 bytes.
        let folder = tempfile::Builder::new().prefix("zoo-").tempdir()?;
        let place = folder.path();
        let socket = place.join("kms.sock");
        let token_file = place.join("token");
        std::fs::write(&token_file, CREDENTIAL).context("write the token's file")?;
        let [port] = free_ports()?;
        let credential = match bug {
            Some(Bug::CredentialInArguments) => format!("--token={CREDENTIAL}"),
            _ => format!("--token-file={}", token_file.display()),
        };
        let words = [
            format!("--mutant={id}"),
            format!("--socket=unix://{}", socket.display()),
            format!("--state={}", place.display()),
            format!("--metrics-port={port}"),
            credential,
        ];
        let launch = Launch {
            args: program.words.iter().cloned().chain(words).collect(),
            ..Launch::new("plugin", &program.path, place)
        };
        let mut child = Child::spawn(&launch)?;
        listens(&socket, &mut child).await?;
        let logs = Some(launch.log.clone());
        let life = Arc::new(Life {
            child: Mutex::new(child),
            launch,
            socket: socket.clone(),
        });
        let metrics = HttpMetrics::parse(&format!("http://127.0.0.1:{port}/metrics"));
        let target = Target {
            restart: Some(life.clone()),
            rotate: Some(Arc::new(Rotate {
                bug,
                state: place.to_owned(),
            })),
            logs,
            metrics: Some(Arc::new(metrics.map_err(anyhow::Error::msg)?)),
            secrets: Arc::from([CREDENTIAL.to_owned().into()]),
            ..Target::unix(socket)
        };
        Ok(Self {
            target,
            _life: life,
            _folder: folder,
        })
    }
}

impl Life {
    async fn restart(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        child.stop(Signal::SIGTERM, STOPS).await?;
        *child = Child::spawn(&self.launch)?;
        listens(&self.socket, &mut child).await
    }
}

impl Hook for Life {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.restart().await.map_err(|error| format!("{error:#}")) })
    }
}

/// The operator, who reaches the keys past the plugin.
struct Rotate {
    bug: Option<Bug>,
    state: PathBuf,
}

impl Hook for Rotate {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let rotated = Kms::in_folder(self.bug, &self.state).and_then(|(kms, _)| kms.rotate());
            rotated.map_err(|error| error.to_string())
        })
    }
}

/// Waits until it listens.
async fn listens(socket: &Path, child: &mut Child) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = UnixStream::connect(socket).await {
        child.must_run().context("start the plugin")?;
        if start.elapsed() >= LISTENS {
            let within = LISTENS.as_secs();
            bail!(
                "nobody listens at {} after {within} s: {error}",
                socket.display()
            );
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

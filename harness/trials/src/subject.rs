//! The plugin under test: a socket, a command, or something in this process.

use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kms_conformance::{BoxFuture, Hook, Target};
use kms_process::child::{Child, Launch};
use nix::sys::signal::Signal;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// Limit for a plugin to listen after its start.
const LISTENS: Duration = Duration::from_secs(30);
/// Limit for it to stop after SIGTERM.
const STOPS: Duration = Duration::from_secs(10);

/// Serves on a path, for as long as it is polled.
type Serve = Box<dyn FnOnce(PathBuf) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The plugin under test.
pub struct Subject(How);

enum How {
    Socket(PathBuf),
    Command(PathBuf, Vec<String>),
    Service(Serve),
}

impl Subject {
    /// A plugin that runs already. What needs a restart is ignored.
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self(How::Socket(path.into()))
    }

    /// A plugin that is started, restarted and stopped (SIGTERM). In its words `{socket}` is the path to serve at, and
    /// `{folder}` a folder of the test's own.
    pub fn command<W: Into<String>>(
        program: impl Into<OsString>,
        words: impl IntoIterator<Item = W>,
    ) -> Self {
        let program = PathBuf::from(program.into());
        Self(How::Command(
            program,
            words.into_iter().map(W::into).collect(),
        ))
    }

    /// A plugin in this process: `serve` is given the path of the socket, and runs in a thread and a tokio runtime of its
    /// own. What needs a restart is ignored.
    pub fn service<F>(serve: impl FnOnce(PathBuf) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self(How::Service(Box::new(move |socket| {
            Box::pin(serve(socket))
        })))
    }

    /// Has it serve, with its files in `folder`.
    pub(crate) async fn start(self, folder: &Path) -> Result<Target> {
        let socket = folder.join("kms.sock");
        match self.0 {
            How::Socket(path) => Ok(Target::unix(path)),
            How::Service(serve) => {
                let place = socket.clone();
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a server beside the suite, as a process would be"
                )]
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build();
                    if let Ok(runtime) = runtime {
                        runtime.block_on(serve(place));
                    }
                });
                listens(&socket, None).await?;
                // its process is that of the tests
                Ok(Target {
                    process: None,
                    ..Target::unix(socket)
                })
            }
            How::Command(program, words) => {
                let fill = |word: &String| {
                    word.replace("{socket}", &socket.display().to_string())
                        .replace("{folder}", &folder.display().to_string())
                };
                let launch = Launch {
                    args: words.iter().map(fill).collect(),
                    ..Launch::new("plugin", &program, folder)
                };
                let mut child = Child::spawn(&launch)?;
                listens(&socket, Some(&mut child)).await?;
                let logs = Some(launch.log.clone());
                let plugin = Started {
                    child: Mutex::new(child),
                    launch,
                    socket: socket.clone(),
                };
                Ok(Target {
                    restart: Some(Arc::new(plugin)),
                    logs,
                    ..Target::unix(socket)
                })
            }
        }
    }
}

/// A started command.
struct Started {
    child: Mutex<Child>,
    launch: Launch,
    socket: PathBuf,
}

impl Started {
    async fn restart(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        child.stop(Signal::SIGTERM, STOPS).await?;
        *child = Child::spawn(&self.launch)?;
        listens(&self.socket, Some(&mut child)).await
    }
}

impl Hook for Started {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.restart().await.map_err(|error| format!("{error:#}")) })
    }
}

/// Waits until somebody listens.
async fn listens(socket: &Path, mut child: Option<&mut Child>) -> Result<()> {
    let start = Instant::now();
    loop {
        let Err(error) = UnixStream::connect(socket).await else {
            return Ok(());
        };
        if let Some(child) = &mut child {
            child.must_run().context("start the plugin")?;
        }
        if start.elapsed() >= LISTENS {
            bail!(
                "nobody listens at {} after {} s: {error}",
                socket.display(),
                LISTENS.as_secs()
            );
        }
        sleep(Duration::from_millis(20)).await;
    }
}

//! A socket in a folder of its own, with a server that greets: what tests of the socket set up.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;
use vault_kubernetes_kms::event::Event;
use vault_kubernetes_kms::seam::Observer;
use vault_kubernetes_kms::socket::{Handle, Incoming, SocketError, SocketOptions, open};

#[derive(Default)]
pub struct Heard(pub Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::Notice { text, .. } => (*text).to_owned(),
            Event::SocketRebound => "rebound".to_owned(),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Heard {
    pub fn count(&self, part: &str) -> usize {
        let heard = self.0.lock().unwrap();
        heard.iter().filter(|text| text.contains(part)).count()
    }
}

pub struct World {
    pub folder: TempDir,
    pub heard: Arc<Heard>,
}

impl World {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            heard: Arc::new(Heard::default()),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("kms.sock")
    }

    pub fn options(&self) -> SocketOptions {
        SocketOptions {
            path: self.path(),
            mode: 0o600,
            group: None,
        }
    }

    pub async fn open(&self) -> Result<(Incoming, Handle), SocketError> {
        open(self.options(), self.heard.clone()).await
    }

    pub async fn serve(&self, name: &'static str) -> Server {
        let (incoming, handle) = self.open().await.unwrap();
        Server::start(incoming, handle, name)
    }
}

/// Greets each connection with its name and keeps it open.
pub struct Server {
    pub handle: Handle,
    pub task: JoinHandle<usize>,
}

impl Server {
    pub fn start(mut incoming: Incoming, handle: Handle, name: &'static str) -> Self {
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Some(stream) = incoming.next().await {
                let mut stream = stream.unwrap();
                // The test's client may be gone already.
                let _ = stream.write_all(name.as_bytes()).await;
                open.push(stream);
            }
            open.len()
        });
        Self { handle, task }
    }
}

pub async fn greeting(path: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(path).await?;
    let mut name = [0; 2];
    timeout(Duration::from_secs(5), stream.read_exact(&mut name)).await??;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Until `path` answers with `name`.
pub async fn served_by(path: &Path, name: &str) {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let answer = greeting(path).await;
        if matches!(&answer, Ok(answer) if answer == name) {
            return;
        }
        assert!(Instant::now() < end, "{name} does not serve: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A socket file whose process is gone.
pub fn dead_socket(path: &Path) {
    drop(StdListener::bind(path).unwrap());
    assert!(path.symlink_metadata().unwrap().file_type().is_socket());
}

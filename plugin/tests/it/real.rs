//! The real binary as a process, with real signals, and a gRPC client for its socket.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use kms_v2_api::client::KeyManagementServiceClient;
use kms_v2_api::{DecryptRequest, StatusRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint, Uri};

/// A folder for sockets and files, and a Vault that accepts connections and never answers.
pub struct World {
    pub folder: TempDir,
    vault: TcpListener,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "canary-token-5f1c").unwrap();
        Self {
            folder,
            vault: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("kms.sock")
    }

    /// Arguments of a plugin on [`World::socket`] without HTTP ports.
    pub fn args(&self) -> Vec<String> {
        vec![
            format!("-listen-address=unix://{}", self.socket().display()),
            format!("-vault-address=http://{}", self.vault.local_addr().unwrap()),
            "-auth-method=token".to_owned(),
            format!("-token-path={}", self.folder.path().join("token").display()),
            "-transit-key=kms-key".to_owned(),
            "-health-port=0".to_owned(),
            "-metrics-port=0".to_owned(),
        ]
    }

    pub fn start(&self, name: &str) -> Plugin {
        self.start_with(name, Command::new(BINARY), &self.args())
    }

    pub fn start_with(&self, name: &str, mut command: Command, args: &[String]) -> Plugin {
        let log = self.folder.path().join(format!("{name}.log"));
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Plugin { child, log }
    }

    /// Starts one and waits until it serves.
    pub async fn serve(&self, name: &str) -> Plugin {
        let plugin = self.start(name);
        plugin.log_has(SERVING).await;
        plugin
    }
}

/// Begins the log line of a plugin that has its socket.
pub const SERVING: &str = "\"serving at ";
pub const BINARY: &str = env!("CARGO_BIN_EXE_vault-kubernetes-kms");

pub struct Plugin {
    child: Child,
    log: PathBuf,
}

impl Plugin {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id().expect("still running")).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub async fn log_has(&self, part: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.log().contains(part) {
            assert!(Instant::now() < end, "no {part:?} in\n{}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The exit code, which must come within the limit.
    pub async fn exit(&mut self, limit: Duration) -> i32 {
        let status = timeout(limit, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("still running after {limit:?}:\n{}", self.log()))
            .unwrap();
        match status.code() {
            Some(code) => code,
            None => panic!("killed by {:?}:\n{}", status.signal(), self.log()),
        }
    }

    pub async fn killed(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().await.unwrap();
    }
}

pub async fn dial(
    path: &Path,
) -> Result<KeyManagementServiceClient<Channel>, tonic::transport::Error> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost")
        .connect_timeout(Duration::from_secs(2))
        .connect_with_connector(connector)
        .await?;
    Ok(KeyManagementServiceClient::new(channel))
}

/// Asks for Status. The Vault of these tests answers nobody, so an answer is the plugin's own
/// `Unavailable`; everything else is nobody's.
pub async fn answers(path: &Path) -> bool {
    let Ok(mut client) = dial(path).await else {
        return false;
    };
    match timeout(Duration::from_secs(1), client.status(StatusRequest {})).await {
        Ok(Err(status)) => {
            status.code() == tonic::Code::Unavailable
                && status.message().contains("the key has not been read")
        }
        _ => false,
    }
}

/// Until the path answers.
pub async fn answers_within(path: &Path, limit: Duration) {
    let end = Instant::now() + limit;
    while !answers(path).await {
        assert!(Instant::now() < end, "nobody answers at {}", path.display());
        sleep(Duration::from_millis(20)).await;
    }
}

/// The pid that listens at the path.
pub async fn listener_pid(path: &Path) -> Option<i32> {
    let stream = UnixStream::connect(path).await.ok()?;
    stream.peer_cred().ok()?.pid()
}

/// A Decrypt that the plugin has to ask Vault about: nothing is known here of its version.
pub fn decrypt_request() -> DecryptRequest {
    DecryptRequest {
        ciphertext: format!("vault:v7:{}", "A".repeat(80)).into_bytes().into(),
        uid: "uid-of-the-slow-call".to_owned(),
        key_id: format!("v1.{}", "A".repeat(43)),
        annotations: [("format.vault-kubernetes-kms".to_owned(), "1".into())].into(),
    }
}

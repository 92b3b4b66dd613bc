//! A world in virtual time: simulated Vaults, an in-memory network, files, and the plugin in it.
//!
//! Both server families run the same tests: see [`both`].

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kms_v2_api::client::KeyManagementServiceClient;
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use serde_json::{Value, json};
use sim_vault::{Flavour, Options, SimVault};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use vault_kubernetes_kms::config::{
    Auth, Config, Credential, LogFormat, LogLevel, Place, StatusVersion, Tls, Vault, VaultAddress,
};
use vault_kubernetes_kms::event::Event;
use vault_kubernetes_kms::plugin::Plugin;
use vault_kubernetes_kms::seam::{
    BoxFuture, BoxIo, Connector, Entropy, Env, HostPort, Observer, SecretSource, WallClock,
};
use zeroize::Zeroizing;

/// The seed procedure's policy, word for word what an operator is told to write.
pub const SEED_POLICY: &str = r#"
path "transit/encrypt/kms-key" { capabilities = ["update"] }
path "transit/decrypt/kms-key" { capabilities = ["update"] }
path "transit/keys/kms-key" { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
"#;

/// Runs a test once per server family, in virtual time without any socket.
pub fn both<F: Future<Output = ()>>(test: impl Fn(Flavour) -> F) {
    assert!(
        cfg!(tokio_unstable),
        "the workspace's rustflags are missing"
    );
    for flavour in [Flavour::OpenBao, Flavour::Vault] {
        virtual_time().block_on(test(flavour));
    }
}

/// A runtime whose clock jumps to the next timer.
pub fn virtual_time() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(b"vault-kubernetes-kms"))
        .build()
        .expect("a runtime without I/O")
}

/// Sleeps in virtual time.
pub async fn seconds(s: u64) {
    tokio::time::sleep(Duration::from_secs(s)).await;
}

/// Files by path.
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>);

impl Files {
    pub fn write(&self, path: &str, content: &str) {
        self.write_bytes(path, content.as_bytes());
    }

    pub fn write_bytes(&self, path: &str, content: &[u8]) {
        self.0
            .lock()
            .expect("no panic")
            .insert(path.into(), content.to_vec());
    }

    pub fn remove(&self, path: &str) {
        self.0.lock().expect("no panic").remove(Path::new(path));
    }
}

impl SecretSource for Files {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        match self.0.lock().expect("no panic").get(path) {
            Some(content) if content.len() <= limit => Ok(Zeroizing::new(content.clone())),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// What a host on the in-memory network does with a connection.
#[derive(Clone)]
pub enum Host {
    /// Serves a simulated Vault in plain HTTP.
    Serves(SimVault),
    /// The same behind TLS.
    Tls(SimVault, tokio_rustls::TlsAcceptor),
    /// Refuses.
    Refuses,
    /// Never completes a handshake.
    Silent,
    /// Hands the server's end to the test.
    Raw(mpsc::UnboundedSender<DuplexStream>),
}

/// The in-memory network.
#[derive(Clone, Default)]
pub struct Network {
    hosts: Arc<Mutex<BTreeMap<HostPort, Host>>>,
    pub dialled: Arc<Mutex<Vec<HostPort>>>,
}

impl Network {
    pub fn put(&self, host: &str, port: u16, what: Host) {
        self.hosts.lock().expect("no panic").insert(
            HostPort {
                host: host.into(),
                port,
            },
            what,
        );
    }
}

impl Connector for Network {
    fn connect<'a>(&'a self, to: &'a HostPort) -> BoxFuture<'a, io::Result<BoxIo>> {
        Box::pin(async move {
            self.dialled.lock().expect("no panic").push(to.clone());
            let host = self.hosts.lock().expect("no panic").get(to).cloned();
            match host {
                Some(Host::Serves(vault)) => {
                    let (ours, theirs) = tokio::io::duplex(256 * 1024);
                    tokio::spawn(async move {
                        vault
                            .serve_io(theirs, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))
                            .await;
                    });
                    Ok(Box::new(ours) as BoxIo)
                }
                Some(Host::Tls(vault, acceptor)) => {
                    let (ours, theirs) = tokio::io::duplex(256 * 1024);
                    tokio::spawn(async move {
                        if let Ok(io) = acceptor.accept(theirs).await {
                            vault
                                .serve_io(io, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))
                                .await;
                        }
                    });
                    Ok(Box::new(ours) as BoxIo)
                }
                Some(Host::Raw(sender)) => {
                    let (ours, theirs) = tokio::io::duplex(256 * 1024);
                    sender
                        .send(theirs)
                        .map_err(|_| io::ErrorKind::ConnectionRefused)?;
                    Ok(Box::new(ours) as BoxIo)
                }
                Some(Host::Silent) => std::future::pending().await,
                Some(Host::Refuses) | None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

#[derive(Debug)]
struct Wall(Instant);

impl WallClock for Wall {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600) + self.0.elapsed()
    }
}

/// SplitMix64: enough for jitter.
#[derive(Default)]
struct Jitter(AtomicU64);

impl Entropy for Jitter {
    fn next_u64(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Everything the plugin told, as text.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    pub fn count(&self, words: &str) -> usize {
        self.lines().iter().filter(|l| l.contains(words)).count()
    }

    pub fn clear(&self) {
        self.0.lock().expect("no panic").clear();
    }
}

impl Observer for Told {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().expect("no panic").push(format!("{event:?}"));
    }
}

/// The parts of a world that tests reach for.
pub struct World {
    pub vault: SimVault,
    pub network: Network,
    pub files: Files,
    pub told: Told,
    pub config: Config,
}

/// A plugin in its world, and a client on its socket.
pub struct Running {
    pub client: Client,
    pub plugin: Arc<Plugin>,
    dial: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<()>,
}

impl World {
    /// A Vault with the seed's policy, an AppRole and the key; a plugin configured for them.
    pub fn new(flavour: Flavour) -> Self {
        let vault = SimVault::new(Options {
            flavour,
            ..Options::default()
        });
        assert!(vault.mount("transit", "transit"), "the transit mount");
        assert!(
            vault.create_key("transit", "kms-key", "aes256-gcm96"),
            "the key"
        );
        vault
            .put_policy("kms", SEED_POLICY)
            .expect("the seed's policy is sound");
        let network = Network::default();
        network.put("vault.sim", 8200, Host::Serves(vault.clone()));
        let config = Config {
            socket: "/run/kms.sock".into(),
            socket_mode: 0o600,
            socket_group: None,
            vault: Vault {
                addresses: vec![address("vault.sim", 8200)],
                namespace: String::new(),
                auth_namespace: String::new(),
                connect_timeout: Duration::from_secs(5),
                tls: Tls::default(),
                proxy: None,
            },
            place: Place {
                namespace: String::new(),
                mount: "transit".into(),
                key: "kms-key".into(),
                epoch: String::new(),
            },
            decrypt_only: Vec::new(),
            auth: Auth::AppRole {
                mount: "approle".into(),
                role_id: Credential::File("/creds/role-id".into()),
                secret_id: Credential::File("/creds/secret-id".into()),
            },
            status_version: StatusVersion::V2,
            health: None,
            metrics: None,
            log_level: LogLevel::Debug,
            log_format: LogFormat::Json,
            max_in_flight: 16,
            max_waiting: 4096,
            revoke_on_exit: true,
        };
        let world = Self {
            vault,
            network,
            files: Files::default(),
            told: Told::default(),
            config,
        };
        world.role(json!({}));
        world
    }

    /// Gives the AppRole other settings, and the plugin its credentials.
    pub fn role(&self, settings: Value) {
        let mut all = json!({ "token_policies": ["kms"], "token_no_default_policy": true, "token_ttl": "1h" });
        for (name, value) in settings.as_object().expect("an object") {
            all[name] = value.clone();
        }
        let (role_id, secret_id) = self.vault.approle("approle", "kms", &all);
        assert!(
            !role_id.is_empty() && !secret_id.is_empty(),
            "role settings are sound"
        );
        self.files.write("/creds/role-id", &role_id);
        self.files.write("/creds/secret-id", &secret_id);
    }

    /// Uses a static token from a file.
    pub fn use_token(&mut self, token: &str) {
        self.files.write("/creds/token", token);
        self.config.auth = Auth::Token {
            token: Credential::File("/creds/token".into()),
        };
    }

    pub fn env(&self) -> Env {
        Env {
            connector: Arc::new(self.network.clone()),
            wall: Arc::new(Wall(Instant::now())),
            entropy: Arc::new(Jitter::default()),
            secrets: Arc::new(self.files.clone()),
            observer: Arc::new(self.told.clone()),
        }
    }

    /// Starts the plugin; does not wait for it.
    pub async fn start(&self) -> Running {
        let plugin = Plugin::new(self.config.clone(), self.env());
        let (dial, incoming) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = plugin.clone();
        let task = tokio::spawn(async move {
            serving
                .serve(UnboundedReceiverStream::new(incoming), async {
                    drop(stopped.await)
                })
                .await;
        });
        let client = Client::new(dial.clone()).await;
        Running {
            client,
            plugin,
            dial,
            stop: Some(stop),
            task,
        }
    }

    /// Starts the plugin and waits until Status is good.
    pub async fn start_good(&self) -> Running {
        let mut running = self.start().await;
        let good = running.client.wait_good(10).await;
        assert!(
            good.is_some(),
            "Status is good within 10 s: {:?}",
            running.client.status().await
        );
        running
    }

    /// Logins that reached the server.
    pub fn logins(&self) -> usize {
        self.vault
            .log()
            .iter()
            .filter(|r| r.path.contains("/login") && r.method != "GET")
            .count()
    }

    /// Requests of any kind that reached the server.
    pub fn requests(&self) -> usize {
        self.vault.log().len()
    }
}

impl Running {
    /// A bare byte stream to the plugin.
    pub async fn connect_raw(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        self.dial.send(Ok(theirs)).expect("the plugin accepts");
        ours
    }

    /// Begins the stop (SIGTERM).
    pub fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Stops and waits; returns how long that took.
    pub async fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.begin_stop();
        self.task.await.expect("no panic in the plugin");
        began.elapsed()
    }
}

/// A plain-HTTP address on the in-memory network.
pub fn address(host: &str, port: u16) -> VaultAddress {
    VaultAddress {
        https: false,
        at: HostPort {
            host: host.into(),
            port,
        },
        prefix: String::new(),
    }
}

/// A client on the plugin's socket, with the API server's default timeout.
#[derive(Clone)]
pub struct Client {
    inner: KeyManagementServiceClient<Channel>,
    pub timeout: Duration,
}

impl Client {
    async fn new(dial: mpsc::UnboundedSender<io::Result<DuplexStream>>) -> Self {
        let connector = tower::service_fn(move |_| {
            let dial = dial.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(256 * 1024);
                dial.send(Ok(theirs))
                    .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(ours))
            }
        });
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Self {
            inner: KeyManagementServiceClient::new(channel),
            timeout: Duration::from_secs(3),
        }
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    pub async fn status(&mut self) -> Result<StatusResponse, tonic::Status> {
        let request = self.request(StatusRequest {});
        self.inner
            .status(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn encrypt(&mut self, plaintext: &[u8]) -> Result<EncryptResponse, tonic::Status> {
        let message = EncryptRequest {
            plaintext: plaintext.to_vec().into(),
            uid: "u-123".into(),
        };
        let request = self.request(message);
        self.inner
            .encrypt(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn decrypt(
        &mut self,
        sealed: &EncryptResponse,
    ) -> Result<DecryptResponse, tonic::Status> {
        self.decrypt_raw(DecryptRequest {
            ciphertext: sealed.ciphertext.clone(),
            uid: "u-124".into(),
            key_id: sealed.key_id.clone(),
            annotations: sealed.annotations.clone(),
        })
        .await
    }

    pub async fn decrypt_raw(
        &mut self,
        message: DecryptRequest,
    ) -> Result<DecryptResponse, tonic::Status> {
        let request = self.request(message);
        self.inner
            .decrypt(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Encrypts and decrypts; panics with the reason when either fails.
    pub async fn round_trip(&mut self, plaintext: &[u8]) -> EncryptResponse {
        let sealed = self.encrypt(plaintext).await.expect("encrypt");
        assert_eq!(
            self.decrypt(&sealed).await.expect("decrypt").plaintext,
            plaintext
        );
        sealed
    }

    /// Polls Status each 100 ms until it is good; how long that took.
    pub async fn wait_good(&mut self, limit_s: u64) -> Option<Duration> {
        self.wait(limit_s, |status| status.is_ok()).await
    }

    /// Polls Status each 100 ms until it is bad; how long that took.
    pub async fn wait_bad(&mut self, limit_s: u64) -> Option<Duration> {
        self.wait(limit_s, |status| status.is_err()).await
    }

    async fn wait(
        &mut self,
        limit_s: u64,
        until: impl Fn(&Result<StatusResponse, tonic::Status>) -> bool,
    ) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(limit_s) {
            if until(&self.status().await) {
                return Some(began.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None
    }
}

//! A world in virtual time: simulated Vaults, an in-memory network, files, and the plugin in it.
//!
//! Both server families run the same tests: see [`both`].
//!
//! In reading order: this file, [`network`], [`client`], [`answers`] (what Vault may say).

mod answers;
mod client;
mod network;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sim_vault::{Flavour, Options, SimVault};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use vault_kubernetes_kms::config::{
    Auth, Config, Credential, LogFormat, LogLevel, Place, StatusVersion, Tls, Vault,
};
use vault_kubernetes_kms::event::Event;
use vault_kubernetes_kms::plugin::Plugin;
use vault_kubernetes_kms::seam::{Entropy, Env, Observer, SecretSource, WallClock};
use zeroize::Zeroizing;

pub use answers::{answer, raw_answer, sealed};
pub use client::Client;
pub use network::{Host, Network, address};

/// The seed procedure's policy, word for word what an operator is told to write.
pub const SEED_POLICY: &str = r#"
path "transit/encrypt/kms-key" { capabilities = ["update"] }
path "transit/decrypt/kms-key" { capabilities = ["update"] }
path "transit/keys/kms-key" { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
"#;

/// Runs a test once per server family, in virtual time without any socket.
#[expect(
    clippy::assertions_on_constants,
    reason = "the flags are constant in one build, and that is what is asked"
)]
pub fn both<F: Future<Output = ()> + 'static>(test: impl Fn(Flavour) -> F) {
    assert!(
        cfg!(tokio_unstable),
        "the workspace's rustflags are missing"
    );
    for flavour in [Flavour::OpenBao, Flavour::Vault] {
        // Boxed as one type: the runtime would be compiled anew for each test.
        let test: Pin<Box<dyn Future<Output = ()>>> = Box::pin(test(flavour));
        virtual_time().block_on(test);
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
                wrapped: false,
            },
            status_version: StatusVersion::V2,
            health: None,
            metrics: None,
            log_level: LogLevel::Debug,
            log_format: LogFormat::Json,
            max_in_flight: 16,
            max_waiting: 4096,
            revoke_on_exit: true,
            adopt: None,
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

    /// Gives the plugin's policy one more path, for `update`.
    pub fn may_also(&self, path: &str) {
        let policy = format!("{SEED_POLICY}\npath \"{path}\" {{ capabilities = [\"update\"] }}");
        self.vault.put_policy("kms", &policy).expect("policy");
    }

    /// Everything that the plugin needs once more in a namespace that exists, and the credentials of
    /// that one.
    pub fn move_to_namespace(&self, namespace: &str) {
        let admin = |method: &str, path: &str, body: Value| {
            let (status, answer) = self.vault.admin_in(namespace, method, path, &body);
            assert!((200..300).contains(&status), "{path}: {status} {answer}");
            answer
        };
        admin("POST", "sys/mounts/transit", json!({ "type": "transit" }));
        admin("POST", "transit/keys/kms-key", json!({}));
        self.vault
            .put_policy_in(namespace, "kms", SEED_POLICY)
            .expect("policy");
        admin("POST", "sys/auth/approle", json!({ "type": "approle" }));
        let role = json!({ "token_policies": ["kms"], "token_no_default_policy": true });
        admin("POST", "auth/approle/role/kms", role);
        let role_id = admin("GET", "auth/approle/role/kms/role-id", json!({}));
        let secret_id = admin("POST", "auth/approle/role/kms/secret-id", json!({}));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        self.files
            .write("/creds/role-id", &text(&role_id["data"]["role_id"]));
        self.files
            .write("/creds/secret-id", &text(&secret_id["data"]["secret_id"]));
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

//! One node's plugin: the product's own source, started with the flags of the procedure's static pod.
//!
//! Here are also its surroundings: files, wall clock, jitter, the way to Vault, and its log.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kms_apiserver_api::Trouble;
use kms_scenario::seed::Seed;
use kms_sim_net::{Host, Net};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use vault_kubernetes_kms::config::{Command, Config, Invocation, LogFormat, LogLevel, resolve};
use vault_kubernetes_kms::log::Log;
use vault_kubernetes_kms::plugin::Plugin;
use vault_kubernetes_kms::seam::{
    BoxFuture, BoxIo, Connector, Entropy, Env, HostPort, SecretSource, WallClock,
};
use zeroize::Zeroizing;

use super::clock::Clock;

/// Wall time at the beginning of every rehearsal, since 1970-01-01 UTC.
pub const BEGIN: Duration = Duration::from_secs(1_767_225_600);

/// The port that stands for the socket on a plugin's host.
pub const SOCKET: u16 = 1;

/// The most that is kept of a log, in bytes; the oldest half goes first.
const KEPT: usize = 4 << 20;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // who panicked while it held the lock has ended the rehearsal
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines that a program wrote. Clones share them.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<String>>);

impl Lines {
    /// Adds text that ends in a line break.
    pub fn add(&self, text: &str) {
        let mut kept = lock(&self.0);
        kept.push_str(text);
        if kept.len() > KEPT {
            let half = kept.len() / 2;
            let cut = kept[half..].find('\n').map_or(0, |at| half + at + 1);
            kept.drain(..cut);
        }
    }

    /// All of it.
    pub fn text(&self) -> String {
        lock(&self.0).clone()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands between the plugin and Vault, beside the network itself. Clones share it.
#[derive(Clone, Default)]
pub struct Way(Arc<Mutex<Option<Obstacle>>>);

/// An obstacle on that way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The node's DNS does not know the name.
    NoSuchHost,
    /// The server's certificate is refused, with this text.
    Certificate(String),
    /// Connections end at this host instead: a load balancer in front of two Vaults.
    Elsewhere(String),
}

impl Way {
    /// Puts an obstacle there, or takes it away.
    pub fn set(&self, obstacle: Option<Obstacle>) {
        *lock(&self.0) = obstacle;
    }
}

#[derive(Debug)]
struct Wall(Clock);

impl WallClock for Wall {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + self.0.since_epoch()
    }
}

struct Jitter(Mutex<ChaCha8Rng>);

impl Entropy for Jitter {
    fn next_u64(&self) -> u64 {
        lock(&self.0).next_u64()
    }
}

/// The procedure gives everything on the command line: there are no files.
struct NoFiles;

impl SecretSource for NoFiles {
    fn read(&self, _: &Path, _: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

struct Dial {
    host: Host,
    way: Way,
}

impl Connector for Dial {
    fn connect<'a>(&'a self, to: &'a HostPort) -> BoxFuture<'a, io::Result<BoxIo>> {
        Box::pin(async move {
            let obstacle = lock(&self.way.0).clone();
            let host = match &obstacle {
                Some(Obstacle::NoSuchHost) => {
                    let text = format!("lookup {}: no such host", to.host);
                    return Err(io::Error::new(io::ErrorKind::NotFound, text));
                }
                Some(Obstacle::Certificate(text)) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text.clone()));
                }
                Some(Obstacle::Elsewhere(host)) => host,
                None => &to.host,
            };
            let stream = self.host.connect(host, to.port).await?;
            Ok(Box::new(stream) as BoxIo)
        })
    }
}

/// How a plugin is started.
#[derive(Clone)]
pub struct Flags {
    /// Where its Vault is.
    pub address: String,
    /// User name there.
    pub username: String,
    /// Its password.
    pub password: Zeroizing<String>,
    /// Mount of the Transit engine.
    pub mount: String,
    /// Name of the key there.
    pub key: String,
    /// Further options: name and value.
    pub more: Vec<(String, String)>,
}

/// Leaves the password out.
impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flags")
            .field("address", &self.address)
            .field("username", &self.username)
            .field("mount", &self.mount)
            .field("key", &self.key)
            .field("more", &self.more)
            .finish_non_exhaustive()
    }
}

impl Flags {
    /// The configuration that the plugin makes of the procedure's flags.
    fn config(&self) -> Result<Config, Trouble> {
        let args = [
            ("vault-address", self.address.as_str()),
            ("allow-plaintext-vault", "true"),
            ("auth-method", "userpass"),
            ("userpass-username", &self.username),
            ("userpass-password", &self.password),
            ("transit-mount", &self.mount),
            ("transit-key", &self.key),
            ("socket", "unix:///var/run/kmsplugin/kms.sock"),
            ("health-address", "off"),
            ("metrics-address", "off"),
        ];
        let more = self.more.iter();
        let more = more.map(|(name, value)| (name.as_str(), value.as_str()));
        let args = args.into_iter().chain(more);
        let args = args.map(|(name, value)| format!("-{name}={value}"));
        let environment: [(&str, &str); 0] = [];
        match resolve(args, environment, &NoFiles) {
            Ok(Invocation::Run(resolved)) if matches!(resolved.command, Command::Serve) => {
                Ok(resolved.config)
            }
            Ok(_) => Err(Trouble::new("the plugin's flags ask for no plugin to run")),
            Err(errors) => {
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Err(Trouble::new(format!(
                    "the plugin's flags: {}",
                    all.join("; ")
                )))
            }
        }
    }
}

/// The plugin of one node.
pub struct NodePlugin {
    net: Net,
    host: String,
    seed: Seed,
    clock: Clock,
    /// What it wrote so far, over all its lives.
    pub log: Lines,
    /// The way to Vault.
    pub way: Way,
    /// Whether the socket's file is there.
    pub socket: Arc<AtomicBool>,
    /// Its manifest lies on the node.
    pub deployed: bool,
    /// It comes up and ends again: so often.
    pub crashes: Option<u32>,
    /// When the present life, or the manifest, began.
    pub since: Instant,
    /// The mount that it was last told to use.
    pub mount: String,
    lives: u64,
    running: Option<JoinSet<()>>,
}

impl NodePlugin {
    /// No manifest yet, nothing runs.
    pub fn new(net: &Net, host: String, seed: Seed, clock: Clock) -> Self {
        // a name that the network knows, where nobody listens yet
        drop(net.host(&host));
        net.kill(&host);
        Self {
            net: net.clone(),
            host,
            seed,
            clock,
            log: Lines::default(),
            way: Way::default(),
            socket: Arc::default(),
            deployed: false,
            crashes: None,
            since: Instant::now(),
            mount: String::new(),
            lives: 0,
            running: None,
        }
    }

    /// Its name in the network.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// It runs.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it with these flags; one that runs is replaced.
    ///
    /// # Errors
    /// It refuses the flags.
    pub fn start(&mut self, flags: &Flags) -> Result<(), Trouble> {
        let config = flags.config()?;
        self.kill();
        self.lives += 1;
        self.mount.clone_from(&flags.mount);
        self.since = Instant::now();
        let host = self.net.restart(&self.host);
        let listener = host
            .listen(SOCKET)
            .map_err(|error| Trouble::new(format!("listen on {}: {error}", self.host)))?;
        let wall: Arc<dyn WallClock> = Arc::new(Wall(self.clock));
        let log = self.log.clone();
        let jitter = self.seed.label(&format!("life {}", self.lives));
        let env = Env {
            connector: Arc::new(Dial {
                host,
                way: self.way.clone(),
            }),
            wall: Arc::clone(&wall),
            entropy: Arc::new(Jitter(Mutex::new(ChaCha8Rng::from_seed(jitter.bytes())))),
            secrets: Arc::new(NoFiles),
            observer: Arc::new(Log::new(LogLevel::Info, LogFormat::Text, wall, move || {
                log.clone()
            })),
        };
        let plugin = Plugin::new(config, env);
        let callers = listener.map(|caller| caller.map(|stream| Box::new(stream) as BoxIo));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { plugin.serve(callers, std::future::pending()).await });
        self.socket.store(true, Ordering::Relaxed);
        self.running = Some(tasks);
        Ok(())
    }

    /// Kills it: its socket file stays.
    pub fn kill(&mut self) {
        if self.running.take().is_some() {
            self.net.kill(&self.host);
        }
    }

    /// Kills it, and nothing of it stays on the node.
    pub fn remove(&mut self) {
        self.kill();
        self.socket.store(false, Ordering::Relaxed);
        self.deployed = false;
        self.crashes = None;
    }
}

/// The network's name for a node's plugin.
pub fn plugin_host(node: usize) -> String {
    format!("plugin-{node}")
}

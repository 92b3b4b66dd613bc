//! The simulated Vault behind the plugins: the Transit key, the policy and the user that the procedure asks for.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kms_scenario::seed::Seed;
use kms_sim_net::{Listener, Net};
use serde_json::{Value, json};
use sim_vault::{Core, Flavour, Options, Request, SimVault};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::plugin::{BEGIN, Flags};

/// Mount of the Transit engine.
pub const MOUNT: &str = "transit";
/// The key.
pub const KEY: &str = "kms-key";
/// The user, and the policy's name.
pub const USER: &str = "kms-plugin";
/// The host that the manifest names.
pub const HOST: &str = "vault.example.com";
/// Vault's port.
pub const PORT: u16 = 8200;

/// The policy as the procedure gives it.
pub const POLICY: &str = r#"path "transit/encrypt/kms-key" {
  capabilities = ["update"]
}

path "transit/decrypt/kms-key" {
  capabilities = ["update"]
}

path "transit/keys/kms-key" {
  capabilities = ["read"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}
"#;

/// A Vault that serves.
pub struct Vault {
    /// The model with what serves it.
    pub sim: SimVault,
    host: String,
    net: Net,
    seed: Seed,
    passwords: u32,
    keys: Vec<String>,
    serving: Option<JoinSet<()>>,
}

impl Vault {
    /// A Vault with key, policy and user, serving.
    pub fn start(net: &Net, host: &str, flavour: Flavour, seed: Seed) -> Self {
        let options = Options {
            flavour,
            enterprise: flavour == Flavour::Vault,
            seed: seed.label("model").u64(),
            start_unix: BEGIN.as_secs(),
            api_addr: format!("http://{host}:{PORT}"),
            ..Options::default()
        };
        Self::with(net, host, options, seed)
    }

    fn with(net: &Net, host: &str, options: Options, seed: Seed) -> Self {
        let sim = SimVault::new(options);
        let mut vault = Self {
            sim,
            host: host.to_owned(),
            net: net.clone(),
            seed,
            passwords: 0,
            keys: vec![KEY.to_owned()],
            serving: None,
        };
        vault.sim.create_key(MOUNT, KEY, "aes256-gcm96");
        vault.write_policy(&[]);
        vault.write_user();
        vault.serve();
        vault
    }

    /// Another Vault on another host, with a key, a policy and a user of the same names and the same password.
    pub fn copy(other: &Self, host: &str) -> Self {
        let seed = other.seed;
        let options = Options {
            flavour: Flavour::Vault,
            enterprise: true,
            seed: seed.label("another model").u64(),
            start_unix: BEGIN.as_secs(),
            api_addr: format!("http://{host}:{PORT}"),
            ..Options::default()
        };
        Self::with(&other.net, host, options, seed)
    }

    /// Writes the procedure's policy without the paths that contain one of these words.
    pub fn write_policy(&self, without: &[&str]) {
        let kept: Vec<&str> = POLICY
            .split("\n\n")
            .filter(|block| !without.iter().any(|word| block.contains(word)))
            .collect();
        let kept = kept.join("\n\n");
        // each further key as the first one; what is in the policy twice is the same
        let all: Vec<String> = self.keys.iter().map(|key| kept.replace(KEY, key)).collect();
        let written = self.sim.put_policy(USER, &all.join("\n\n"));
        written.expect("the procedure's own policy is sound");
    }

    fn write_user(&self) {
        self.write_user_with(&json!({"token_policies": [USER]}));
    }

    fn write_user_with(&self, settings: &Value) {
        let password = self.password();
        self.sim.userpass("userpass", USER, &password, settings);
    }

    /// Another key that plugins may use as the first one, unless there is one of that name.
    pub fn add_key(&mut self, name: &str) {
        if !self.keys.iter().any(|known| known == name) {
            self.keys.push(name.to_owned());
            self.sim.create_key(MOUNT, name, "aes256-gcm96");
            self.write_policy(&[]);
        }
    }

    /// Names of the keys, the first one first.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The tokens that are out end now, and new ones live for so long and cannot be renewed beyond it; with nothing
    /// they live for long again.
    pub fn end_tokens(&self, lifetime: Option<Duration>) {
        let seconds = lifetime.map_or(0, |lifetime| lifetime.as_secs());
        self.write_user_with(&json!({
            "token_policies": [USER],
            "token_ttl": seconds,
            "token_max_ttl": seconds,
        }));
        self.sim.revoke_all_tokens_of("userpass");
    }

    fn password(&self) -> Zeroizing<String> {
        let seed = self.seed.label(&format!("password {}", self.passwords));
        let hex: String = seed
            .bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Zeroizing::new(hex)
    }

    /// Another password, and the tokens of the old one end.
    pub fn change_password(&mut self) {
        self.passwords += 1;
        self.write_user();
        self.sim.revoke_all_tokens_of("userpass");
    }

    /// What a plugin is started with at this Vault.
    pub fn flags(&self) -> Flags {
        Flags {
            address: format!("http://{HOST}:{PORT}"),
            username: USER.to_owned(),
            password: self.password(),
            mount: MOUNT.to_owned(),
            key: KEY.to_owned(),
            more: Vec::new(),
        }
    }

    /// Starts the process, if it does not run; what was stored is there.
    pub fn serve(&mut self) {
        if self.serving.is_some() {
            return;
        }
        let life = self.net.restart(&self.host);
        let Ok(listener) = life.listen(PORT) else {
            return;
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(self.sim.clone(), listener));
        self.serving = Some(tasks);
    }

    /// The key's document, if there is such a key.
    pub fn key(&self) -> Option<Value> {
        let path = format!("{MOUNT}/keys/{KEY}");
        let (status, body) = self.admin("GET", &path, &Value::Null);
        (status == 200).then(|| body["data"].clone())
    }

    /// What an administrator does, and a sealed Vault refuses.
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.sim.admin(method, path, body)
    }

    /// A copy of everything that is stored: what a snapshot of Vault's own storage holds.
    pub fn snapshot(&self) -> Core {
        self.sim.core(|core| core.clone())
    }

    /// Puts a snapshot back.
    pub fn restore(&self, snapshot: &Core) {
        self.sim.core(|core| *core = snapshot.clone());
    }

    /// So many requests that plugins sent were answered with one of these statuses.
    pub fn answered(&self, statuses: &[u16]) -> usize {
        let hit = |status: Option<u16>| status.is_some_and(|status| statuses.contains(&status));
        let log = self.sim.log();
        log.iter().filter(|call| hit(call.status)).count()
    }

    /// The status of `sys/health`, as anybody may ask for it.
    pub fn health(&self) -> u16 {
        self.sim.call(&Request::new("GET", "/v1/sys/health")).status
    }

    /// Lets connections break that are open.
    pub fn break_connections(&mut self) {
        self.serving = None;
        self.net.kill(&self.host);
        self.serve();
    }

    /// Waits before each answer to what is under the Transit mount.
    pub fn slow(&self, delay: Duration) -> sim_vault::FaultId {
        let fault = sim_vault::Fault::on("/v1/transit/", sim_vault::Action::Delay(delay));
        self.sim.fault(fault)
    }
}

async fn serve(sim: SimVault, mut listener: Listener) {
    let mut connections = JoinSet::new();
    while let Ok(stream) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let sim = sim.clone();
        connections.spawn(async move {
            sim.serve_io(stream, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))
                .await;
        });
    }
}

//! An etcd on loopback, and what lies in it.
//!
//! Values are read and put past the API server, through etcd's JSON gateway. Durability is off (`--unsafe-no-fsync`): what
//! is tested here survives a kill of the process, not a loss of power.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kms_apiserver_api::{Call, Method, StoredValue, Trouble};
use kube::Config;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::caller::Caller;
use crate::child::{Child, Launch, describe, log_tail};
use kms_process::ports::free_ports;

/// Limit for a server to answer after its start.
const COMES_UP: Duration = Duration::from_secs(90);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Limit of one call.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A started etcd with a data folder of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Etcd {
    address: String,
    store: Store,
    launch: Launch,
    child: Child,
}

/// Access to the values in an etcd.
#[derive(Clone, Debug)]
pub struct Store(Caller);

impl Etcd {
    /// Starts one whose data and log lie in `folder`.
    pub async fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let [port, peer_port] = free_ports()?;
        let address = format!("http://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{peer_port}");
        let launch = Launch {
            name: "etcd".into(),
            program: binary.to_owned(),
            args: vec![
                "--name=etcd".into(),
                format!("--data-dir={}", folder.join("etcd").display()),
                format!("--listen-client-urls={address}"),
                format!("--advertise-client-urls={address}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=etcd={peer}"),
                "--unsafe-no-fsync".into(),
                "--log-level=warn".into(),
            ],
            environment: BTreeMap::new(),
            log: folder.join("etcd.log"),
        };
        let store = Store::at(&address)?;
        let child = Child::spawn(&launch)?;
        let mut etcd = Self {
            address,
            store,
            launch,
            child,
        };
        etcd.wait().await?;
        Ok(etcd)
    }

    /// Its address, `http://127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Access to its values.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Kills it as a crash would, and starts it again on the same data.
    pub async fn restart(&mut self) -> Result<()> {
        self.child.kill();
        self.child = Child::spawn(&self.launch)?;
        self.wait().await
    }

    async fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + COMES_UP;
        loop {
            let health = Call::new(Method::Get, "/health").with_timeout(CALL_LIMIT);
            let seen = self.store.0.call(health).await;
            // The gateway says true as JSON, but as text/plain.
            if seen.is_ok_and(|answer| answer.ok()) {
                return Ok(());
            }
            let ended = self
                .child
                .exited()
                .map(|status| format!("it ended with {}", describe(status)));
            if ended.is_some() || Instant::now() >= deadline {
                let why =
                    ended.unwrap_or_else(|| format!("no answer after {} s", COMES_UP.as_secs()));
                let tail = log_tail(&self.launch.log, 8);
                bail!("start etcd: {why}; its log ends:\n{tail}\n");
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Where an etcd is, and how it is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// `http[s]://HOST:PORT`.
    pub address: String,
    /// What its certificate is verified by.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown to it, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Store {
    /// The etcd at this address, which asks nobody who they are.
    pub fn at(address: &str) -> Result<Self> {
        Self::reach(&At {
            address: address.to_owned(),
            ..At::default()
        })
    }

    /// The etcd there; no request is made. Must be called within the runtime that uses it.
    ///
    /// # Errors
    /// The address is none, or a file cannot be read.
    pub fn reach(at: &At) -> Result<Self> {
        let address = &at.address;
        let uri = address
            .parse()
            .with_context(|| format!("the address of etcd, {address:?}"))?;
        let mut config = Config::new(uri);
        if let Some(ca) = &at.ca {
            let about = || format!("read the CA of etcd, {}", ca.display());
            let all = CertificateDer::pem_file_iter(ca).with_context(about)?;
            let all = all.map(|one| one.map(|one| one.to_vec()));
            config.root_cert = Some(all.collect::<Result<_, _>>().with_context(about)?);
        }
        if let Some((certificate, key)) = &at.identity {
            let path = |path: &Path| Some(path.display().to_string());
            config.auth_info.client_certificate = path(certificate);
            config.auth_info.client_key = path(key);
        }
        Caller::new(config)
            .map(Self)
            .map_err(|trouble| anyhow!("reach etcd at {address}: {trouble}"))
    }

    /// The value under a key.
    pub async fn get(&self, key: &str) -> Result<Option<StoredValue>, Trouble> {
        let answer = self
            .ask("range", json!({"key": BASE64.encode(key)}))
            .await?;
        answer
            .pointer("/kvs/0")
            .map(|entry| {
                Ok(StoredValue {
                    bytes: bytes(&entry["value"])?,
                    mod_revision: number(&entry["mod_revision"])?,
                })
            })
            .transpose()
    }

    /// The keys that begin with `prefix`, in order.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, Trouble> {
        // The range ends at the prefix with its last byte raised by one.
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let wanted = json!({
            "key": BASE64.encode(prefix),
            "range_end": BASE64.encode(end),
            "keys_only": true,
        });
        let answer = self.ask("range", wanted).await?;
        let entries = answer["kvs"].as_array().map_or(&[][..], Vec::as_slice);
        entries
            .iter()
            .map(|entry| Ok(String::from_utf8_lossy(&bytes(&entry["key"])?).into_owned()))
            .collect()
    }

    /// Puts a value, or removes the key.
    pub async fn put(&self, key: &str, value: Option<&[u8]>) -> Result<(), Trouble> {
        let key = BASE64.encode(key);
        match value {
            Some(value) => {
                self.ask("put", json!({"key": key, "value": BASE64.encode(value)}))
                    .await
            }
            None => self.ask("deleterange", json!({"key": key})).await,
        }
        .map(drop)
    }

    async fn ask(&self, what: &str, body: Value) -> Result<Value, Trouble> {
        let call = Call::new(Method::Post, format!("/v3/kv/{what}"))
            .with_body(body)
            .with_timeout(CALL_LIMIT);
        let answer = self.0.call(call).await?;
        if answer.ok() {
            Ok(answer.json().clone())
        } else {
            Err(Trouble::new(format!("etcd answered {}", answer.code)))
        }
    }
}

fn bytes(value: &Value) -> Result<Vec<u8>, Trouble> {
    // The gateway leaves out what is empty.
    BASE64
        .decode(value.as_str().unwrap_or_default())
        .map_err(|error| Trouble::new(format!("etcd gave no base64: {error}")))
}

fn number(value: &Value) -> Result<i64, Trouble> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Trouble::new("etcd gave no revision"))
}

//! API servers 1.27 and 1.31 on the plugin's socket, by their own client code (`ci/old-clients`). They send the socket's
//! path as `:authority` (KMS2-CONN-04), which a tap on the way sees, and which this language's HTTP/2 library refuses.

use std::convert::Infallible;
use std::future::pending;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kms_apiserver::version::Version;
use kms_harness::arm::process::Parts;
use kms_harness::arm::process::subject::Subject;
use kms_harness::arm::process::vault::make::Make;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use kms_harness::vault::VaultBackend;
use kms_harness::vault::provision::Wanted;
use kms_harness::vault::sim::{Front, Sim};
use kms_process::parts::OLD_CLIENTS;
use kms_proxy::SocketProxy;
use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::Value;
use sim_vault::Flavour;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::parts;
use crate::common::tier;

/// Minor versions whose client is built.
const MINORS: [u8; 2] = [27, 31];
/// Rounds of three calls on one connection at once.
const ROUNDS: usize = 64;
/// A client's calls end after 3 s each, and six of them follow one another.
const ENDS: Duration = Duration::from_secs(60);
/// Longest path of a socket, in bytes (unix(7)).
const LONGEST: usize = 107;
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const FRAME_HEADER: usize = 9;

/// What the client prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    client: String,
    alone: Round,
    at_once: Vec<Round>,
}

/// Status, Encrypt and Decrypt; bytes are base64.
#[derive(Debug, Deserialize)]
struct Round {
    status: Option<Value>,
    plaintext: Option<String>,
    encrypt: Option<Value>,
    decrypted: Option<String>,
    error: Option<String>,
}

/// A client of an API server `1.minor`.
#[derive(Clone)]
struct Client {
    version: Version,
    program: PathBuf,
}

impl Client {
    fn find(minor: u8) -> Result<Self> {
        let program = OLD_CLIENTS.find()?;
        Ok(Self {
            version: Version::new(minor)?,
            program: program.with_file_name(format!("old-client-v0.{minor}")),
        })
    }

    /// Calls what listens at `address`: a path, or `@name`.
    async fn calls(&self, address: &str) -> Result<Told> {
        let path = address.strip_prefix('/').unwrap_or(address);
        let output = Command::new(&self.program)
            .arg(format!("unix:///{path}"))
            .arg(ROUNDS.to_string())
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(ENDS, output).await.context("it does not end")??;
        serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Whether everything that it was answered is right.
    fn is_served(&self, told: &Told) -> Result<()> {
        let minor = format!("v0.{}.", self.version.minor());
        ensure!(told.client.starts_with(&minor), "it is {}", told.client);
        ensure!(told.at_once.len() == ROUNDS, "too few rounds");
        for round in std::iter::once(&told.alone).chain(&told.at_once) {
            self.is_right(round)
                .with_context(|| format!("{}: {round:?}", told.client))?;
        }
        Ok(())
    }

    fn is_right(&self, round: &Round) -> Result<()> {
        if let Some(error) = &round.error {
            bail!("{error}");
        }
        let status = round.status.as_ref().context("no Status")?;
        let says = status["Version"].as_str().unwrap_or_default();
        ensure!(self.version.api_versions().contains(&says), "its version");
        ensure!(status["Healthz"] == "ok", "not healthy");
        let sealed = round.encrypt.as_ref().context("no Encrypt")?;
        ensure!(sealed["KeyID"] == status["KeyID"], "two keys");
        ensure!(sealed["KeyID"] != "", "no key");
        let plaintext = round.plaintext.as_deref().context("nothing was sent")?;
        ensure!(sealed["Ciphertext"] != plaintext, "in clear");
        ensure!(round.decrypted.as_deref() == Some(plaintext), "other bytes");
        Ok(())
    }
}

/// All of them.
pub fn trials(subject: &Subject) -> Vec<Trial> {
    let mut trials = Vec::new();
    for minor in MINORS {
        let found = || Client::find(minor).map_err(|error| format!("{error:#}"));
        let simulated = parts(subject, Make::Simulated);
        trials.push(tier::test(
            &format!("process::old_client::v1_{minor}::is_served"),
            found().map(|client| (client, simulated)),
            |(client, parts)| is_served(client, parts),
        ));
        trials.push(tier::test(
            &format!("process::old_client::v1_{minor}::is_refused_by_the_library_alone"),
            found(),
            is_refused_by_the_library_alone,
        ));
    }
    trials
}

/// On the plugin's own socket, and through taps at paths short, as long as can be, and abstract.
async fn is_served(client: Client, parts: Parts) -> Result<()> {
    let Subject::Own(binary) = &parts.subject else {
        bail!("it is about our plugin");
    };
    let folder = folder()?;
    let vault = Sim::start(1, Flavour::OpenBao, Front::Own).await?;
    let access = Wanted::default();
    let access = access.create(&vault.admin(), folder.path()).await?;
    let values = values(&vault, &access, folder.path());
    let mut subject = own::describe(binary, Vocabulary::Sidecar, &values);
    let accepted = client.version.api_versions()[0];
    for word in ["-health-port=0", &format!("-status-version={accepted}")] {
        let word = word.parse().map_err(anyhow::Error::msg)?;
        subject.command.push(word);
    }
    let plugin = Running::start(subject, values, folder.path().join("plugin.log")).await?;

    let straight = client.calls(&shown(plugin.socket())).await?;
    client.is_served(&straight)?;
    for address in [
        shown(&folder.path().join("tap.sock")),
        long(folder.path()),
        format!("@{}", shown(folder.path()).replace('/', "-")),
    ] {
        let tap = Tap::new(&address, plugin.socket())?;
        let told = tokio::select! {
            biased;
            told = client.calls(&address) => told?,
            ended = tap.carry() => match ended? {},
        };
        client
            .is_served(&told)
            .with_context(|| address.to_owned())?;
        let expected = client.version.authority(&address);
        ensure!(expected != "localhost", "no old version");
        let sent = tap.authorities()?;
        let calls = 3 * (1 + ROUNDS);
        ensure!(sent.len() == calls, "{} calls at {address}", sent.len());
        let other = sent.iter().find(|authority| **authority != expected);
        ensure!(other.is_none(), "{address}: {other:?}");
    }
    // and where a fault proxy stands before it, as in this arm and in a relay
    let before = folder.path().join("proxy.sock");
    let proxy = SocketProxy::start(&before, plugin.socket())?;
    let told = client.calls(&shown(&before)).await?;
    client.is_served(&told).context("through a fault proxy")?;
    let seen = proxy.take_seen().len();
    ensure!(seen >= 3 * (1 + ROUNDS), "{seen} calls through the proxy");
    Ok(())
}

/// The control: what serves the plugin's socket takes no such call by itself.
async fn is_refused_by_the_library_alone(client: Client) -> Result<()> {
    let folder = folder()?;
    let socket = shown(&folder.path().join("kms.sock"));
    let listener = UnixListener::bind(&socket)?;
    let told = tokio::select! {
        biased;
        told = client.calls(&socket) => told?,
        ended = by_the_library(&listener) => match ended? {},
    };
    for round in std::iter::once(&told.alone).chain(&told.at_once) {
        let error = round.error.as_deref().unwrap_or_default();
        ensure!(error.contains("PROTOCOL_ERROR"), "{round:?}");
    }
    Ok(())
}

async fn by_the_library(listener: &UnixListener) -> Result<Infallible> {
    let mut connections = JoinSet::new();
    loop {
        let (io, _) = listener.accept().await?;
        let never = service_fn(|_| pending::<Result<hyper::Response<String>, Infallible>>());
        let served = http2::Builder::new(TokioExecutor::new());
        connections.spawn(served.serve_connection(TokioIo::new(io), never));
    }
}

fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("kms-").tempdir()?)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The longest path in `folder`.
fn long(folder: &Path) -> String {
    let mut path = shown(&folder.join("long-"));
    while path.len() < LONGEST {
        path.push('g');
    }
    path
}

/// A second way to the plugin, which hears what the clients send.
struct Tap {
    listener: UnixListener,
    plugin: PathBuf,
    /// By connection.
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    fn new(address: &str, plugin: &Path) -> Result<Self> {
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(address)?,
        };
        let listener = StdListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            plugin: plugin.to_owned(),
            heard: Arc::default(),
        })
    }

    /// Carries connections, and does not end by itself.
    async fn carry(&self) -> Result<Infallible> {
        let mut connections = JoinSet::new();
        loop {
            let (mut caller, _) = self.listener.accept().await?;
            let mut plugin = UnixStream::connect(&self.plugin).await?;
            let heard = Arc::clone(&self.heard);
            connections.spawn(async move {
                let (mut from_caller, mut to_caller) = caller.split();
                let (mut from_plugin, mut to_plugin) = plugin.split();
                let at = {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                let there = async {
                    let mut bytes = [0; 4096];
                    loop {
                        let n = from_caller.read(&mut bytes).await?;
                        if n == 0 {
                            return anyhow::Ok(());
                        }
                        heard.lock().unwrap_or_else(PoisonError::into_inner)[at]
                            .extend_from_slice(&bytes[..n]);
                        to_plugin.write_all(&bytes[..n]).await?;
                    }
                };
                tokio::select! {
                    biased;
                    ended = there => ended,
                    ended = copy(&mut from_plugin, &mut to_caller) => Ok(ended.map(drop)?),
                }
            });
        }
    }

    /// The authority of each call.
    fn authorities(&self) -> Result<Vec<String>> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut authorities = Vec::new();
        for bytes in heard.iter() {
            // One for the connection: a block refers to fields of earlier ones.
            let mut decoder = loona_hpack::Decoder::new();
            let mut rest = bytes.get(PREFACE..).context("no preface")?;
            while rest.len() >= FRAME_HEADER {
                let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
                let (kind, flags) = (rest[3], rest[4]);
                let payload = rest.get(FRAME_HEADER..FRAME_HEADER + length);
                let payload = payload.context("a frame is cut")?;
                rest = &rest[FRAME_HEADER + length..];
                if kind != 1 {
                    continue;
                }
                ensure!(flags & 0x2c == 0x4, "HEADERS has flags {flags:#x}");
                let fields = decoder.decode(payload);
                let fields = fields.map_err(|error| anyhow::anyhow!("{error:?}"))?;
                let authority = fields.into_iter().find(|(name, _)| name == b":authority");
                let (_, authority) = authority.context("a call without authority")?;
                authorities.push(String::from_utf8(authority)?);
            }
        }
        Ok(authorities)
    }
}

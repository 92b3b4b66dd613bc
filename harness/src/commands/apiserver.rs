//! `apiserver`: the simulated kube-apiserver as a process, with the real one's flags.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use kms_apiserver::seam::{Log, LogLevel};
use kms_apiserver_node::encryption::ConfigSource;
use kms_apiserver_node::http::{Tokens, serve_connection};
use kms_apiserver_node::node::{Configuration, Node, Settings};
use kms_apiserver_node::rpc::UnixDialer;
use kms_apiserver_node::store::Store;
use kms_apiserver_node::store::etcd::{EtcdStore, reports_progress};
use kms_apiserver_node::store::memory::MemoryStore;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::cli::ApiServerArgs;
use crate::console;
use crate::exit::{self, Failure, OrUsage};
use crate::interrupt::Interrupt;

/// How long a client has for its TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Serves until a signal comes.
pub async fn apiserver(args: ApiServerArgs, interrupt: Interrupt) -> Result<u8, Failure> {
    let tls = tls(&args).or_usage()?;
    let tokens = tokens(&args).or_usage()?;
    let mut settings = settings(&args).or_usage()?;
    let (store, progress) = interrupt.or(store(&args)).await?.or_usage()?;
    settings.watch_progress &= progress;
    let listener = TcpListener::bind((args.bind_address.as_str(), args.secure_port)).await;
    let listener = listener
        .with_context(|| format!("listen on {}:{}", args.bind_address, args.secure_port))
        .or_usage()?;
    let verbosity = args.verbosity;
    let log = Arc::new(move |line: &Log| {
        let shown = match line.level {
            LogLevel::Error => 'E',
            LogLevel::Info(level) if level <= verbosity => 'I',
            LogLevel::Info(_) => return,
        };
        console::tell(&format!("{shown} {}", line.text));
    });
    let started = interrupt
        .or(Node::start(&settings, store, Arc::new(UnixDialer), log))
        .await?;
    let node = started.map_err(|error| anyhow!(error)).or_usage()?;
    let address = listener.local_addr().context("look at the socket")?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let line = json!({"address": format!("{scheme}://{address}"), "version": settings.version.to_string()});
    console::result(&format!("{line}\n")).context("say the address")?;
    // a signal is how a server ends
    let _ = interrupt.or(accept(&node, &listener, tls, tokens)).await;
    node.drain();
    Ok(exit::HELD)
}

async fn accept(node: &Node, listener: &TcpListener, tls: Option<TlsAcceptor>, tokens: Tokens) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        // a client that is gone already, or no descriptor left: the next one may fare better
        let Ok((stream, _)) = accepted else { continue };
        let (api, tls, tokens) = (Arc::clone(node.api()), tls.clone(), tokens.clone());
        connections.spawn(async move {
            if let Ok(stream) = wrap(stream, tls).await {
                serve_connection(api, tokens, stream).await;
            }
        });
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

async fn wrap(stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Box<dyn Duplex>> {
    stream.set_nodelay(true)?;
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => {
            let stream = timeout(HANDSHAKE_LIMIT, tls.accept(stream))
                .await
                .map_err(io::Error::other)??;
            Ok(Box::new(stream))
        }
    }
}

fn tls(args: &ApiServerArgs) -> Result<Option<TlsAcceptor>> {
    let (certificate, key) = match (&args.tls_cert_file, &args.tls_private_key_file) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(None),
        _ => bail!("--tls-cert-file and --tls-private-key-file come together"),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("--tls-cert-file {}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("--tls-private-key-file {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set TLS up")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("--tls-cert-file and --tls-private-key-file do not go together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// The first column of each line, as `--token-auth-file` has it.
fn tokens(args: &ApiServerArgs) -> Result<Tokens> {
    let Some(file) = &args.token_auth_file else {
        return Ok(Tokens::anyone());
    };
    let name = || format!("--token-auth-file {}", file.display());
    let text = std::fs::read_to_string(file).with_context(name)?;
    let tokens: Vec<String> = text
        .lines()
        .filter_map(|line| line.split(',').next())
        .map(|token| token.trim().trim_matches('"').to_owned())
        .filter(|token| !token.is_empty())
        .collect();
    if tokens.is_empty() {
        bail!("{}: no token in it", name());
    }
    Ok(Tokens::only(tokens))
}

fn settings(args: &ApiServerArgs) -> Result<Settings> {
    let mut seed = [0; 32];
    io::Read::read_exact(
        &mut std::fs::File::open("/dev/urandom").context("open /dev/urandom")?,
        &mut seed,
    )
    .context("read /dev/urandom")?;
    #[expect(clippy::disallowed_methods, reason = "a real process has real time")]
    let unix = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?;
    let mut settings = Settings::new(args.emulated_version, seed, unix);
    settings.etcd_prefix.clone_from(&args.etcd_prefix);
    settings.server_id = format!("kube-apiserver-{}", uuid::Uuid::new_v4());
    settings.verbosity = args.verbosity;
    settings.watch_progress = args.list_from_cache;
    for gate in &args.feature_gates {
        let (name, value) = gate
            .split_once('=')
            .context("--feature-gates takes NAME=true or NAME=false")?;
        let value: bool = value
            .parse()
            .with_context(|| format!("--feature-gates {gate}: true or false"))?;
        match name {
            "ConcurrentWatchObjectDecode" => settings.concurrent_watch_decode = Some(value),
            "AllowUnsafeMalformedObjectDeletion" => {
                settings.unsafe_malformed_deletion = Some(value)
            }
            _ => bail!(
                "--feature-gates {name}: only ConcurrentWatchObjectDecode and AllowUnsafeMalformedObjectDeletion are simulated"
            ),
        }
    }
    match &args.encryption_provider_config {
        Some(file) => {
            settings.configuration = Some(Configuration {
                source: Arc::new(File(file.clone())),
                path: file.display().to_string(),
                reload: args.encryption_provider_config_automatic_reload,
            });
        }
        None if args.encryption_provider_config_automatic_reload => {
            bail!(
                "--encryption-provider-config-automatic-reload must be set with --encryption-provider-config"
            );
        }
        None => {}
    }
    Ok(settings)
}

/// The store, and whether it reports how far a watch is.
async fn store(args: &ApiServerArgs) -> Result<(Arc<dyn Store>, bool)> {
    let Some(address) = args.etcd_servers.first() else {
        return Ok((Arc::new(MemoryStore::new()), true));
    };
    let failed = |error| anyhow!("--etcd-servers: {error}");
    let store = EtcdStore::connect(address).await.map_err(failed)?;
    let version = store.version().await.map_err(failed)?;
    Ok((Arc::new(store), reports_progress(&version)))
}

struct File(PathBuf);

impl ConfigSource for File {
    fn read(&self) -> io::Result<Vec<u8>> {
        std::fs::read(&self.0)
    }
}

//! A KMS v2 plugin as small as one can be: AES-256-GCM under a key in a file, no Vault, no rotation.
//!
//! It shows that the suite judges any plugin, and serves its own tests: with `--break` it does one
//! thing wrong. Not for production: everybody who reads the file reads the data.
//!
//! ```text
//! toy_plugin --socket PATH --key FILE [--metrics-port PORT]
//!            [--break key-id|decrypt|start] [--say TEXT]
//! ```

use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Parser;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kms_v2_api::server::{KeyManagementService, KeyManagementServiceServer};
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tonic::{Request, Response, Status};
use tower::Service;

const KEY_ID: &str = "toy-1";
const MAX_CIPHERTEXT: usize = 1024;

#[derive(Parser)]
struct Args {
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    key: PathBuf,
    /// Where it shows its only metric
    #[arg(long)]
    metrics_port: Option<u16>,
    /// What to do wrong
    #[arg(long = "break", default_value = "")]
    broken: String,
    /// Printed at the start
    #[arg(long, default_value = "")]
    say: String,
}

struct Toy {
    key: LessSafeKey,
    broken: String,
}

#[tonic::async_trait]
impl KeyManagementService for Toy {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(StatusResponse {
            version: "v2".into(),
            healthz: "ok".into(),
            key_id: KEY_ID.into(),
        }))
    }

    async fn encrypt(
        &self,
        request: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        let plaintext = request.into_inner().plaintext;
        if plaintext.is_empty()
            || plaintext.len() + NONCE_LEN + AES_256_GCM.tag_len() > MAX_CIPHERTEXT
        {
            return Err(Status::invalid_argument(
                "the plaintext is empty or too long",
            ));
        }
        let mut nonce = [0; NONCE_LEN];
        std::fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut nonce))?;
        let mut sealed = plaintext.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(KEY_ID),
                &mut sealed,
            )
            .map_err(|_| Status::internal("sealing failed"))?;
        let key_id = if self.broken == "key-id" {
            "toy-2"
        } else {
            KEY_ID
        };
        Ok(Response::new(EncryptResponse {
            ciphertext: [&nonce[..], &sealed].concat().into(),
            key_id: key_id.into(),
            annotations: Default::default(),
        }))
    }

    async fn decrypt(
        &self,
        request: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        let DecryptRequest {
            ciphertext,
            key_id,
            annotations,
            ..
        } = request.into_inner();
        if key_id != KEY_ID || !annotations.is_empty() || ciphertext.len() <= NONCE_LEN {
            return Err(Status::invalid_argument("no ciphertext of this plugin"));
        }
        if self.broken == "decrypt" {
            return Ok(Response::new(DecryptResponse {
                plaintext: Bytes::from_static(&[0; 32]),
            }));
        }
        let (nonce, sealed) = ciphertext.split_at(NONCE_LEN);
        let nonce =
            Nonce::try_assume_unique_for_key(nonce).map_err(|_| Status::internal("nonce"))?;
        let mut opened = sealed.to_vec();
        let plaintext = self
            .key
            .open_in_place(nonce, Aad::from(KEY_ID), &mut opened)
            .map_err(|_| Status::invalid_argument("the ciphertext was damaged"))?;
        Ok(Response::new(DecryptResponse {
            plaintext: Bytes::copy_from_slice(plaintext),
        }))
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.broken == "start" {
        bail!("told not to start");
    }
    writeln!(std::io::stderr(), "toy: {}", args.say)?;
    let toy = Toy {
        key: key(&args.key)?,
        broken: args.broken,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if args.socket.exists() && std::os::unix::net::UnixStream::connect(&args.socket).is_err() {
            std::fs::remove_file(&args.socket)?;
        }
        let listener = UnixListener::bind(&args.socket).context("bind the socket")?;
        std::fs::set_permissions(&args.socket, std::fs::Permissions::from_mode(0o600))?;
        if let Some(port) = args.metrics_port {
            let metrics = TcpListener::bind(("127.0.0.1", port)).await;
            tokio::spawn(show_metrics(metrics.context("bind the metrics port")?));
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let service = KeyManagementServiceServer::new(toy);
        loop {
            let stream = tokio::select! {
                biased;
                _ = terminate.recv() => break,
                accepted = listener.accept() => accepted?.0,
            };
            let service = service.clone();
            let answer = service_fn(move |request| service.clone().call(request));
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), answer),
            );
        }
        Ok(())
    })
}

async fn show_metrics(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        // Whoever asks gets the same; one that breaks off gets nothing.
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\ntoy_up 1\n").await;
    }
}

/// The key in the file; a new one when there is none.
fn key(file: &Path) -> Result<LessSafeKey> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(_) => {
            let mut bytes = vec![0; AES_256_GCM.key_len()];
            std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
            let mut new = std::fs::File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(file)?;
            new.write_all(&bytes)?;
            bytes
        }
    };
    let key = UnboundKey::new(&AES_256_GCM, &bytes)
        .ok()
        .context("the key file holds no 32 bytes")?;
    Ok(LessSafeKey::new(key))
}

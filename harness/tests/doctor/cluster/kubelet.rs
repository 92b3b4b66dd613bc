//! A node's kubelet, played: the API server asks it for the logs of pods. It has files in their place.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kms_harness::vault::certificates::Certificates;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Log files by the names of pods.
pub type Logs = BTreeMap<&'static str, PathBuf>;

/// Serves until it is dropped.
pub struct Kubelet {
    pub port: u16,
    task: JoinHandle<()>,
}

impl Kubelet {
    pub async fn start(certificates: &Certificates, logs: Logs) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(&certificates.certificate)?
            .collect::<Result<Vec<_>, _>>()
            .context("read the certificate")?;
        let key = PrivateKeyDer::from_pem_file(&certificates.key).context("read its key")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(serve(listener, acceptor, Arc::new(logs)));
        Ok(Self { port, task })
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, logs: Arc<Logs>) {
    let mut callers = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, logs) = (acceptor.clone(), Arc::clone(&logs));
        callers.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| answer(&logs, request));
            let server = hyper::server::conn::http1::Builder::new();
            // a caller that went away
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// `/containerLogs/NAMESPACE/POD/CONTAINER`.
async fn answer(
    logs: &Logs,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut parts = request.uri().path().trim_start_matches('/').split('/');
    let pod = parts
        .next()
        .filter(|word| *word == "containerLogs")
        .and_then(|_| parts.nth(1));
    let text = pod.and_then(|pod| std::fs::read(logs.get(pod)?).ok());
    let mut response = Response::new(Full::default());
    match text {
        Some(text) => *response.body_mut() = Full::new(text.into()),
        None => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}

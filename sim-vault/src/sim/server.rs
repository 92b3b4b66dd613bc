//! The simulated server on real sockets: TCP, and TLS with a certificate authority of its own.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{SimVault, serve::BoxFuture};
use crate::ClientCert;

/// A server certificate and the authority that signed it.
pub struct Tls {
    /// PEM of the authority: what clients have to trust.
    pub ca_pem: String,
    acceptor: TlsAcceptor,
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Making a key or certificate failed.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused the configuration.
    #[error("cannot set up TLS: {0}")]
    Config(#[from] rustls::Error),
}

impl Tls {
    /// A fresh authority and a certificate for the names or addresses. Any client certificate is accepted: the cert auth
    /// method checks it.
    pub fn new(names: Vec<String>) -> Result<Self, TlsError> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name
            .push(rcgen::DnType::CommonName, "sim-vault CA");
        let ca_cert = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate()?;
        let cert = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_client_cert_verifier(Arc::new(any_client::AnyClient::default()))
                .with_single_cert(vec![CertificateDer::from(cert.der().to_vec())], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            ca_pem: ca_cert.pem(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

impl SimVault {
    /// Accepts connections until the future is dropped; then they all close.
    pub fn listen<'a>(
        &'a self,
        listener: TcpListener,
        tls: Option<&'a Tls>,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.accept(listener, tls))
    }

    async fn accept(&self, listener: TcpListener, tls: Option<&Tls>) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                accepted = listener.accept() => {
                    let (stream, peer) = accepted?;
                    stream.set_nodelay(true)?;
                    let (vault, acceptor) = (self.clone(), tls.map(|t| t.acceptor.clone()));
                    tasks.spawn(async move { vault.connection(stream, peer, acceptor).await });
                }
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, acceptor: Option<TlsAcceptor>) {
        let reset = Arc::new(AtomicBool::new(false));
        let order = Arc::clone(&reset);
        let order = move || order.store(true, Ordering::SeqCst);
        let mut wire = Wire {
            stream,
            begun: Bytes::new(),
            reset,
        };
        let Some(acceptor) = acceptor else {
            return self
                .serve_until_reset(Box::new(wire), peer.ip(), None, false, &order)
                .await;
        };
        let handshake = async {
            let mut start = [0; 5];
            wire.stream.read_exact(&mut start).await?;
            if HTTP_STARTS.contains(&&start) {
                refuse_http(&mut wire.stream).await?;
                return Ok(None);
            }
            if !start.starts_with(&[22]) {
                // no handshake: Go closes without a word
                return Ok(None);
            }
            wire.begun = Bytes::copy_from_slice(&start);
            acceptor.accept(wire).await.map(Some)
        };
        // a failed handshake has told the client already, and a late one is not worth it
        let Ok(Ok(Some(stream))) = timeout(HANDSHAKE, handshake).await else {
            return;
        };
        let session = stream.get_ref().1;
        let h2 = session.alpn_protocol() == Some(b"h2");
        let cert = session.peer_certificates().map(|chain| ClientCert {
            chain: chain.iter().map(|c| c.to_vec()).collect(),
        });
        self.serve_until_reset(Box::new(stream), peer.ip(), cert, h2, &order)
            .await;
    }
}

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What Go's server takes for HTTP that belongs on another port.
const HTTP_STARTS: [&[u8; 5]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];

/// Go's answer to HTTP where TLS is spoken.
async fn refuse_http(stream: &mut TcpStream) -> io::Result<()> {
    stream
        .write_all(
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        )
        .await?;
    stream.shutdown().await?;
    // what is left unread would become a reset, and could overtake the answer
    let mut rest = [0; 4096];
    let gone = async { while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
    // a client that keeps sending is cut off
    let _ = timeout(Duration::from_secs(1), gone).await;
    Ok(())
}

/// A TCP connection that can end with a reset.
struct Wire {
    stream: TcpStream,
    /// What has been looked at already.
    begun: Bytes,
    reset: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            // without it the connection is closed, which is the nearest there is
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.begun.is_empty() {
            let length = self.begun.len().min(buffer.remaining());
            buffer.put_slice(&self.begun.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Takes any client certificate whose key the client has, and none too.
mod any_client {
    use rustls::{
        DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
        client::danger::HandshakeSignatureValid,
        crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, UnixTime},
        server::danger::{ClientCertVerified, ClientCertVerifier},
    };

    #[derive(Debug)]
    pub(super) struct AnyClient {
        algorithms: WebPkiSupportedAlgorithms,
    }

    impl Default for AnyClient {
        fn default() -> Self {
            Self {
                algorithms: ring::default_provider().signature_verification_algorithms,
            }
        }
    }

    impl ClientCertVerifier for AnyClient {
        fn client_auth_mandatory(&self) -> bool {
            false
        }

        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }

        fn verify_client_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _now: UnixTime,
        ) -> Result<ClientCertVerified, Error> {
            Ok(ClientCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    }
}

//! TLS towards Vault: 1.2 or higher, verified by name, certificates read again when they change.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use zeroize::Zeroizing;

use crate::config::Tls;
use crate::seam::{SecretSource, WallClock};

/// Longest certificate or key file that is read.
pub const MAX_PEM_BYTES: usize = 1024 * 1024;

/// The provider: `ring` starts at once; the `fips` feature takes the validated one.
pub fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "fips")]
    return Arc::new(rustls::crypto::default_fips_provider());
    #[cfg(not(feature = "fips"))]
    return Arc::new(rustls::crypto::ring::default_provider());
}

/// Makes client configurations, and keeps the last one while the files stay the same.
pub struct TlsSource {
    settings: Tls,
    secrets: Arc<dyn SecretSource>,
    wall: Arc<dyn WallClock>,
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    files: Vec<Zeroizing<Vec<u8>>>,
    config: Arc<ClientConfig>,
}

impl TlsSource {
    /// A source for `settings`; reads nothing yet.
    pub fn new(settings: Tls, secrets: Arc<dyn SecretSource>, wall: Arc<dyn WallClock>) -> Self {
        Self {
            settings,
            secrets,
            wall,
            cached: Mutex::new(None),
        }
    }

    /// The configuration for a new connection.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut files = Vec::new();
        let Tls {
            ca_file, client, ..
        } = &self.settings;
        for path in ca_file
            .iter()
            .chain(client.iter().flat_map(|(c, k)| [c, k]))
        {
            files.push(self.read(path)?);
        }
        let mut cached = self.cached.lock().expect("no panic while locked");
        if let Some(c) = cached.as_ref().filter(|c| c.files == files) {
            return Ok(c.config.clone());
        }
        let config = Arc::new(self.build(&files)?);
        *cached = Some(Cached {
            files,
            config: config.clone(),
        });
        Ok(config)
    }

    /// The name to verify for a connection to `host`.
    ///
    /// # Errors
    /// When neither the setting nor the host is a name or an address.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, String> {
        let name = self.settings.sni.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is not a server name"))
    }

    fn read(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
        self.secrets
            .read(path, MAX_PEM_BYTES)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))
    }

    fn build(&self, files: &[Zeroizing<Vec<u8>>]) -> Result<ClientConfig, String> {
        let provider = provider();
        let builder =
            ClientConfig::builder_with_details(provider.clone(), Arc::new(Time(self.wall.clone())))
                .with_safe_default_protocol_versions()
                .map_err(|e| e.to_string())?;
        let mut files = files.iter();
        let roots = match &self.settings.ca_file {
            Some(path) => {
                let pem = files.next().expect("read in this order");
                roots_from_pem(path, pem)?
            }
            None if self.settings.skip_verify => RootCertStore::empty(),
            None => system_roots()?,
        };
        let builder = if self.settings.skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(NoVerifier(provider)))
        } else {
            builder.with_root_certificates(roots)
        };
        let mut config = match &self.settings.client {
            None => builder.with_no_client_auth(),
            Some((cert_path, key_path)) => {
                let (cert, key) = (files.next().expect("read"), files.next().expect("read"));
                let chain: Vec<_> = CertificateDer::pem_slice_iter(cert)
                    .collect::<Result<_, _>>()
                    .map_err(|e| {
                        format!("{} is not a PEM certificate: {e}", cert_path.display())
                    })?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| format!("{} holds no PEM private key", key_path.display()))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| {
                    format!(
                        "{} and {} do not fit: {e}",
                        cert_path.display(),
                        key_path.display()
                    )
                })?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn roots_from_pem(path: &Path, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(pem) {
        let cert = cert.map_err(|e| format!("{} is not PEM: {e}", path.display()))?;
        roots.add(cert).map_err(|e| {
            format!(
                "{} holds a certificate that cannot be a root: {e}",
                path.display()
            )
        })?;
    }
    if roots.is_empty() {
        return Err(format!(
            "{} holds no certificate; give the CA that signed vault's",
            path.display()
        ));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (_, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("the system has no CA certificates; give -tls-ca-file".to_owned());
    }
    Ok(roots)
}

#[derive(Debug)]
struct Time(Arc<dyn WallClock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        self.0
            .now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_unix_epoch)
    }
}

/// `-tls-skip-verify`: takes any certificate; signatures are still checked.
#[derive(Debug)]
struct NoVerifier(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

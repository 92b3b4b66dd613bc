//! A throw-away CA and a server certificate for loopback.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

/// PEM files for one test server.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The server's certificate, for 127.0.0.1 and localhost.
    pub certificate: PathBuf,
    /// The server's private key, mode 0600.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes them inside `folder`.
    pub fn create(folder: &Path) -> Result<Self> {
        let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
        server
            .subject_alt_names
            .push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        Self::issue(folder, server)
    }

    /// The same for a server that calls itself `name`, and is not on loopback.
    pub fn create_for(folder: &Path, name: &str) -> Result<Self> {
        Self::issue(folder, CertificateParams::new(vec![name.to_owned()])?)
    }

    fn issue(folder: &Path, server: CertificateParams) -> Result<Self> {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name
            .push(DnType::CommonName, "kms-harness test CA");
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &ca)?;

        let files = Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        };
        fs::write(&files.ca, ca.pem()).context("write the CA certificate")?;
        fs::write(&files.certificate, certificate.pem()).context("write the server certificate")?;
        crate::secret_file::write(&files.key, &key.serialize_pem())?;
        Ok(files)
    }
}

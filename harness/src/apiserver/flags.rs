//! Files and flags of an API server on loopback: certificates, service account key, one administrator's token.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::Config;
use kube::config::AuthInfo;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use zeroize::Zeroizing;

use crate::secret_file;
use crate::vault::certificates::Certificates;
use kms_process::ports::free_ports;

/// What a server is started with, besides its binary.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of its store, `http://127.0.0.1:PORT`.
    pub etcd: String,
    /// What its keys begin with, such as `/registry`.
    pub etcd_prefix: String,
    /// The text of its encryption configuration; none for a server without one.
    pub encryption: Option<String>,
    /// Whether it looks for changes of that text while it runs.
    pub reload: bool,
    /// More flags, such as `--feature-gates=…`.
    pub more: Vec<String>,
}

/// Places of one server's files.
#[derive(Clone, Debug)]
pub struct Files {
    /// CA, certificate and key for 127.0.0.1.
    pub certificates: Certificates,
    /// The file of the encryption configuration.
    pub encryption: PathBuf,
    /// A kubeconfig of the administrator, mode 0600.
    pub kubeconfig: PathBuf,
    service_account_key: PathBuf,
    service_account_public: PathBuf,
    tokens: PathBuf,
}

/// An address and an administrator.
pub struct Access {
    /// The port on 127.0.0.1.
    pub port: u16,
    token: Zeroizing<String>,
}

impl Access {
    /// A port that was free a moment ago, and a new token.
    pub fn new() -> Result<Self> {
        let [port] = free_ports()?;
        let token = Zeroizing::new(format!("admin-{}", uuid::Uuid::new_v4().simple()));
        Ok(Self { port, token })
    }

    /// `https://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Settings of a client.
    pub fn client(&self, files: &Files) -> Result<Config> {
        let mut config = Config::new(self.address().parse().context("our own address")?);
        let ca = CertificateDer::from_pem_file(&files.certificates.ca).context("read the CA")?;
        config.root_cert = Some(vec![ca.to_vec()]);
        config.auth_info = AuthInfo {
            token: Some(self.token.to_string().into()),
            ..AuthInfo::default()
        };
        Ok(config)
    }
}

impl Files {
    /// Makes them in `folder`, which must be new.
    pub fn create(folder: &Path, access: &Access) -> Result<Self> {
        let files = Self {
            certificates: Certificates::create(folder)?,
            encryption: folder.join("encryption.yaml"),
            kubeconfig: folder.join("kubeconfig"),
            service_account_key: folder.join("service-account.key"),
            service_account_public: folder.join("service-account.pub"),
            tokens: folder.join("tokens.csv"),
        };
        let key = rcgen::KeyPair::generate().context("make a service account key")?;
        secret_file::write(&files.service_account_key, &key.serialize_pem())?;
        std::fs::write(&files.service_account_public, key.public_key_pem())
            .context("write the service accounts' public key")?;
        let tokens = format!("{},admin,admin,\"system:masters\"\n", *access.token);
        secret_file::write(&files.tokens, &tokens)?;
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {
                "server": access.address(),
                "certificate-authority": files.certificates.ca,
            }}],
            "users": [{"name": "admin", "user": {"token": *access.token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
            "current-context": "here",
        });
        // JSON is YAML.
        secret_file::write(&files.kubeconfig, &kubeconfig.to_string())?;
        Ok(files)
    }

    /// The flags of kube-apiserver.
    pub fn flags(&self, settings: &Settings, access: &Access, folder: &Path) -> Vec<String> {
        let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        let mut flags = vec![
            format!("--etcd-servers={}", settings.etcd),
            format!("--etcd-prefix={}", settings.etcd_prefix),
            format!("--secure-port={}", access.port),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            "--endpoint-reconciler-type=none".into(),
            file("cert-dir", folder),
            file("tls-cert-file", &self.certificates.certificate),
            file("tls-private-key-file", &self.certificates.key),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            file("service-account-key-file", &self.service_account_public),
            file(
                "service-account-signing-key-file",
                &self.service_account_key,
            ),
            file("token-auth-file", &self.tokens),
            "--authorization-mode=RBAC".into(),
            "--service-cluster-ip-range=10.0.0.0/24".into(),
            "--disable-admission-plugins=ServiceAccount".into(),
        ];
        if settings.encryption.is_some() {
            flags.push(file("encryption-provider-config", &self.encryption));
            flags.push(format!(
                "--encryption-provider-config-automatic-reload={}",
                settings.reload
            ));
        }
        flags.extend(settings.more.iter().cloned());
        flags
    }
}

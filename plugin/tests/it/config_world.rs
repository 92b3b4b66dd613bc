//! What configuration tests stand in: files in memory, an environment that is complete by itself,
//! and a canary that must never come out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use vault_kubernetes_kms::config::{ConfigError, Invocation, Resolved, resolve};
use vault_kubernetes_kms::seam::SecretSource;
use zeroize::Zeroizing;

/// Stands in every secret; no message may hold it.
pub const CANARY: &str = "CANARY";

/// Files in memory. A path that others begin with is a folder.
#[derive(Clone, Default)]
pub struct Files {
    content: BTreeMap<PathBuf, Vec<u8>>,
    denied: BTreeSet<PathBuf>,
}

impl Files {
    pub fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.content.insert(path.into(), content.as_ref().to_vec());
        self
    }

    pub fn deny(mut self, path: &str) -> Self {
        self.denied.insert(path.into());
        self
    }
}

impl SecretSource for Files {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        if self.denied.contains(path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        match self.content.get(path) {
            Some(bytes) if bytes.len() > limit => Err(io::ErrorKind::InvalidData.into()),
            Some(bytes) => Ok(Zeroizing::new(bytes.clone())),
            None if self.content.keys().any(|file| file.starts_with(path)) => {
                Err(io::ErrorKind::IsADirectory.into())
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Files that the base configuration needs, and bad ones to point at.
pub fn files() -> Files {
    let pair = rcgen::generate_simple_self_signed(["client.example.com".to_owned()])
        .expect("a DNS name makes a certificate");
    let other = rcgen::KeyPair::generate().expect("a key of the default kind");
    let cert = pair.cert.pem();
    let key = pair.signing_key.serialize_pem();
    Files::default()
        .with("/s/token", "hvs.CANARY\n")
        .with("/s/jwt", "aaaa.CANARY.cccc")
        .with("/s/password", "CANARY pass")
        .with("/s/role-id", "role-CANARY")
        .with("/s/secret-id", "secret-CANARY")
        .with("/s/empty", "")
        .with("/s/blank", " \r\n\t ")
        .with("/s/tab", "hvs.CAN\tCANARY")
        .with("/s/two-lines", "hvs.CANARY\nsecond-CANARY\n")
        .with("/s/long", "CANARY".repeat(4_000))
        .with("/s/binary", b"\x80\x81CANARY")
        .with("/s/utf16", b"\xff\xfeC\0A\0N\0A\0R\0Y\0")
        .with("/s/inner-blank", "Bearer CANARY")
        .with("/s/path-like", "../CANARY")
        .with("/s/denied", "CANARY")
        .deny("/s/denied")
        .with("/dir/both/role_id", "one-CANARY")
        .with("/dir/both/role-id", "two-CANARY")
        .with("/dir/same/role_id", "one-CANARY\n")
        .with("/dir/same/role-id", "one-CANARY")
        .with("/dir/under/role_id", "one-CANARY")
        .with("/dir/under/secret_id", "one-CANARY")
        .with("/dir/hyphen/role-id", "one-CANARY")
        .with("/dir/hyphen/secret-id", "one-CANARY")
        .with("/dir/only-secret/secret-id", "one-CANARY")
        .with("/dir/upper/ROLE_ID", "one-CANARY")
        .with("/dir/upper/SECRET_ID", "one-CANARY")
        .with("/dir/empty-role/role-id", "\n")
        .with("/etc/vault-kms/password", "CANARY\n")
        .with("/etc/vault-kms/ca.crt", &cert)
        .with("/tls/ca.pem", &cert)
        .with("/tls/cert.pem", &cert)
        .with("/tls/key.pem", &key)
        .with("/tls/other-key.pem", other.serialize_pem())
        .with("/tls/empty.pem", "")
        .with("/tls/garbage.pem", "this is not CANARY pem")
        .with("/tls/der.pem", pair.cert.der())
        .with("/tls/cut.pem", &cert[..cert.len() / 2])
        .with(
            "/tls/no-x509.pem",
            "-----BEGIN CERTIFICATE-----\nQ0FOQVJZ\n-----END CERTIFICATE-----\n",
        )
        .with(
            "/tls/partly.pem",
            format!("{cert}-----BEGIN CERTIFICATE-----\nQ0FOQVJZ\n-----END CERTIFICATE-----\n"),
        )
        .with(
            "/tls/encrypted.pem",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nQ0FOQVJZ\n-----END ENCRYPTED PRIVATE KEY-----\n",
        )
        .with(
            "/tls/odd-key.pem",
            "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n",
        )
        .with("/tls/denied.pem", "CANARY")
        .deny("/tls/denied.pem")
        .with("/tls/huge.pem", vec![b'x'; 5 << 20])
}

/// An environment that is a whole configuration: flags of a test are stronger.
pub const BASE: &[(&str, &str)] = &[
    ("VAULT_KMS_VAULT_ADDRESS", "https://vault.example.com:8200"),
    ("VAULT_KMS_TRANSIT_KEY", "kms-key"),
    ("VAULT_KMS_AUTH_METHOD", "token"),
    ("VAULT_KMS_TOKEN_PATH", "/s/token"),
];

/// Resolves; whatever is wrong must be fit for a log.
pub fn attempt(
    args: &[&str],
    env: &[(&str, &str)],
    files: &Files,
) -> Result<Invocation, Vec<ConfigError>> {
    let result = resolve(args.iter().copied(), env.iter().copied(), files);
    match &result {
        Ok(Invocation::Run(resolved)) => {
            resolved
                .warnings
                .iter()
                .for_each(|line| fit_for_a_log(line));
            fit_for_a_log(&format!("{resolved:?}"));
        }
        Ok(Invocation::Print { text, warnings }) => {
            assert!(!text.contains(CANARY), "{text}");
            warnings.iter().for_each(|line| fit_for_a_log(line));
        }
        Err(errors) => {
            assert!(
                !errors.is_empty(),
                "refused without a reason: {args:?} {env:?}"
            );
            errors
                .iter()
                .for_each(|error| fit_for_a_log(&error.to_string()));
        }
    }
    result
}

/// One line without a secret.
pub fn fit_for_a_log(line: &str) {
    assert!(!line.contains(CANARY), "a secret is shown: {line}");
    assert!(
        !line.chars().any(char::is_control),
        "not one line: {line:?}"
    );
}

/// Resolves something that must work.
pub fn resolved(args: &[&str], env: &[(&str, &str)]) -> Resolved {
    match attempt(args, env, &files()) {
        Ok(Invocation::Run(resolved)) => *resolved,
        Ok(Invocation::Print { .. }) => panic!("{args:?} only prints"),
        Err(errors) => panic!("{args:?} is refused: {}", lines(&errors)),
    }
}

/// Resolves something that prints.
pub fn printed(args: &[&str], env: &[(&str, &str)]) -> (String, Vec<String>) {
    match attempt(args, env, &files()) {
        Ok(Invocation::Print { text, warnings }) => (text, warnings),
        Ok(Invocation::Run(_)) => panic!("{args:?} runs"),
        Err(errors) => panic!("{args:?} is refused: {}", lines(&errors)),
    }
}

/// Resolves something that must be refused.
pub fn refused(args: &[&str], env: &[(&str, &str)]) -> Vec<ConfigError> {
    match attempt(args, env, &files()) {
        Ok(_) => panic!("{args:?} {env:?} is accepted"),
        Err(errors) => errors,
    }
}

pub fn lines(errors: &[ConfigError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Base and more.
pub fn base_and(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    BASE.iter().chain(more).copied().collect()
}

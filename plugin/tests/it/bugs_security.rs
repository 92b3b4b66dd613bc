//! Public bug reports about secrets and TLS, each as the smallest input that shows it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sim_vault::{Action, Fault, Flavour};
use tokio_rustls::TlsAcceptor;
use tonic::Code;
use vault_kubernetes_kms::config::VaultAddress;
use vault_kubernetes_kms::seam::HostPort;
use vault_kubernetes_kms::vault::tls::provider;

use crate::world::{Host, World, both, seconds, virtual_time};

const PLAINTEXT: &[u8; 32] = b"canary-plaintext-0123456789abcde";

/// Every form in which the canaries could appear.
fn forms(canaries: &[Vec<u8>]) -> Vec<String> {
    let mut all = Vec::new();
    for canary in canaries {
        all.push(STANDARD.encode(canary));
        all.push(URL_SAFE_NO_PAD.encode(canary));
        all.push(canary.iter().map(|b| format!("{b:02x}")).collect());
        all.push(format!("{canary:?}"));
        all.extend(String::from_utf8(canary.clone()));
    }
    all
}

/// Whatever goes wrong, no secret is told to anybody: not to the log, not to the caller, not by
/// Debug; not even when the server itself quotes it back.
#[test]
fn bug_114_no_canary_leaves_the_plugin() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let read = |path: &str| {
            use vault_kubernetes_kms::seam::SecretSource;
            world
                .files
                .read(std::path::Path::new(path), 4096)
                .expect("a file")
                .to_vec()
        };
        let mut canaries = vec![
            read("/creds/role-id"),
            read("/creds/secret-id"),
            PLAINTEXT.to_vec(),
        ];
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(PLAINTEXT).await;
        let token = world.vault.log().iter().any(|r| r.authenticated);
        assert!(token);
        let quoted = format!(
            "{} {} {}",
            String::from_utf8_lossy(&canaries[1]),
            STANDARD.encode(PLAINTEXT),
            String::from_utf8_lossy(PLAINTEXT)
        );
        let mut said = Vec::new();
        for code in [
            200, 204, 301, 307, 400, 403, 404, 412, 413, 429, 473, 500, 502, 503,
        ] {
            for body in [
                format!(r#"{{"errors":["{quoted}"]}}"#),
                format!(r#"{{"data":{{"batch_results":[{{"error":"{quoted}"}}]}}}}"#),
                format!(
                    r#"{{"data":{{"ciphertext":"{quoted}","plaintext":"{quoted}","error":"{quoted}"}}}}"#
                ),
                format!("<html>{quoted}</html>"),
            ] {
                let headers = vec![(
                    "Location".to_owned(),
                    format!("http://elsewhere.sim/{}", quoted.replace(' ', "%20")),
                )];
                world.vault.fault(Fault::on(
                    "/v1/",
                    Action::Status {
                        code,
                        body: body.into(),
                        headers,
                    },
                ));
                said.push(format!(
                    "{:?}",
                    running.client.encrypt(PLAINTEXT).await.err()
                ));
                said.push(format!("{:?}", running.client.decrypt(&sealed).await.err()));
                seconds(4).await;
                said.push(format!("{:?}", running.client.status().await.err()));
                world.vault.clear_faults();
            }
        }
        said.push(format!("{:?}", running.plugin.readiness()));
        said.push(format!("{:?}", world.config));
        running.stop().await;
        said.extend(world.told.lines());
        canaries.push(world.vault.root_token().into_bytes());
        for form in forms(&canaries).iter().filter(|f| f.len() > 8) {
            for text in &said {
                assert!(!text.contains(form.as_str()), "{form} in {text}");
            }
        }
        assert!(said.len() > 150);
    });
}

/// An authority for servers and clients.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("self-signed"),
        }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate and its key for a client of Vault.
    pub fn client(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// A server certificate for `name`, valid in these years. Clients may show one of theirs.
    pub fn acceptor(&self, name: &str, from: i32, to: i32) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut clients = RootCertStore::empty();
        clients
            .add(self.issuer.der().clone())
            .expect("an authority");
        let clients = WebPkiClientVerifier::builder_with_provider(clients.into(), provider())
            .allow_unauthenticated()
            .build()
            .expect("an authority");
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a pair");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A world whose Vault is behind TLS.
pub fn tls_world(flavour: Flavour, authority: &Authority, acceptor: TlsAcceptor) -> World {
    let mut world = World::new(flavour);
    let at = HostPort {
        host: "vault.sim".into(),
        port: 8200,
    };
    world.config.vault.addresses = vec![VaultAddress {
        https: true,
        at,
        prefix: String::new(),
    }];
    world.config.vault.tls.ca_file = Some("/ca.pem".into());
    world.files.write("/ca.pem", &authority.pem());
    world
        .network
        .put("vault.sim", 8200, Host::Tls(world.vault.clone(), acceptor));
    world
}

/// A bad certificate is refused with the reason, and no credential is sent.
#[test]
fn bug_116_bad_certificates_are_refused() {
    virtual_time().block_on(async {
        let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
        for (acceptor, words) in [
            (foreign.acceptor("vault.sim", 2020, 2040), "UnknownIssuer"),
            (ours.acceptor("other.sim", 2020, 2040), "not valid for name"),
            (ours.acceptor("vault.sim", 2020, 2021), "expired"),
            (ours.acceptor("vault.sim", 2035, 2040), "not valid yet"),
        ] {
            let world = tls_world(Flavour::OpenBao, &ours, acceptor);
            let mut running = world.start().await;
            seconds(4).await;
            let error = running.client.status().await.expect_err("refused");
            assert!(
                error.message().contains(words),
                "{words}: {}",
                error.message()
            );
            assert_eq!(world.requests(), 0, "{words}: nothing was sent");
        }
    });
}

/// The name to verify can be set, and a CA file that changes holds for new connections.
#[test]
fn bug_116_the_ca_file_is_read_again() {
    virtual_time().block_on(async {
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        let mut world = tls_world(Flavour::Vault, &old, old.acceptor("inner.sim", 2020, 2040));
        world.config.vault.tls.sni = Some("inner.sim".into());
        let mut running = world.start_good().await;
        running.client.round_trip(&[1; 32]).await;
        // The server moves to a certificate of another authority; connections are opened anew.
        world.network.put(
            "vault.sim",
            8200,
            Host::Tls(world.vault.clone(), new.acceptor("inner.sim", 2020, 2040)),
        );
        world
            .vault
            .close_idle_after(Some(Duration::from_millis(10)));
        seconds(61).await;
        let error = running
            .client
            .encrypt(&[1; 32])
            .await
            .expect_err("not trusted yet");
        assert_eq!(error.code(), Code::Unavailable);
        world
            .files
            .write("/ca.pem", &format!("{}{}", old.pem(), new.pem()));
        running
            .client
            .wait_good(20)
            .await
            .expect("trusted without a restart");
        running.client.round_trip(&[1; 32]).await;
    });
}

/// `-tls-skip-verify` works where it is asked for, and only there.
#[test]
fn bug_116_skip_verify_is_a_choice() {
    virtual_time().block_on(async {
        let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
        let mut world = tls_world(
            Flavour::OpenBao,
            &ours,
            foreign.acceptor("other.sim", 2020, 2021),
        );
        world.config.vault.tls.skip_verify = true;
        world.start_good().await.client.round_trip(&[1; 32]).await;
    });
}

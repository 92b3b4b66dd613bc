//! The doctor names each precondition that is not met, on both server families.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_v2_api::EncryptResponse;
use prost::Message;
use serde_json::{Value, json};
use sim_vault::{Action, Fault, Flavour, Options, SimVault, TokenSettings, server};
use tokio::net::TcpListener;
use tokio::process::Command;
use vault_kubernetes_kms::config::{DoctorArgs, Place, Sample, Tls, VaultAddress};
use vault_kubernetes_kms::doctor::{Row, Verdict, examine_vault, exit_code, json as as_json, text};
use vault_kubernetes_kms::process::Tee;
use vault_kubernetes_kms::process::world::env as real_env;
use vault_kubernetes_kms::seam::HostPort;

use crate::real;
use crate::world::{Host, SEED_POLICY, World, both};

async fn examined(world: &World, sample: Option<Sample>) -> Vec<Row> {
    let args = DoctorArgs {
        sample,
        ..DoctorArgs::default()
    };
    examine_vault(&world.config, &args, &world.env()).await
}

/// The row of this name must be like this; returns its texts.
#[track_caller]
fn check(rows: &[Row], name: &str, result: Verdict, part: &str) {
    let found = rows
        .iter()
        .find(|row| row.check == name && row.result == result && format!("{row:?}").contains(part));
    assert!(
        found.is_some(),
        "no {name} {result:?} with {part:?} in\n{}",
        text(rows)
    );
}

fn failed(rows: &[Row]) -> Vec<&str> {
    rows.iter()
        .filter(|row| row.result == Verdict::Failed)
        .map(|row| row.check.as_str())
        .collect()
}

#[test]
fn the_seeds_policy_on_a_sound_server_has_no_finding() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let rows = examined(&world, None).await;
        assert_eq!(exit_code(&rows), 0, "{}", text(&rows));
        for name in [
            "credentials",
            "address",
            "seal",
            "login",
            "token",
            "key",
            "key-type",
            "encrypt",
            "decrypt",
            "binding",
        ] {
            check(&rows, name, Verdict::Good, "");
        }
        // The in-memory network has no TLS.
        check(&rows, "tls", Verdict::Warning, "plain HTTP");
        assert_eq!(rows.len(), 11, "{}", text(&rows));
        assert_eq!(world.logins(), 1);
    });
}

#[test]
fn an_own_token_is_revoked_where_the_policy_allows() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let policy = format!(
            "{SEED_POLICY}\npath \"auth/token/revoke-self\" {{ capabilities = [\"update\"] }}"
        );
        world.vault.put_policy("kms", &policy).unwrap();
        assert_eq!(exit_code(&examined(&world, None).await), 0);
        assert_eq!(world.vault.live_tokens("kms"), 0);
    });
}

#[test]
fn without_lookup_self_nothing_is_wrong() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let policy = SEED_POLICY
            .lines()
            .filter(|line| !line.contains("lookup-self"));
        world
            .vault
            .put_policy("kms", &policy.collect::<Vec<_>>().join("\n"))
            .unwrap();
        let rows = examined(&world, None).await;
        check(&rows, "token", Verdict::Skipped, "does not need");
        assert_eq!(exit_code(&rows), 0, "{}", text(&rows));
    });
}

#[test]
fn each_missing_right_is_named_with_its_path() {
    both(|flavour| async move {
        for (path, row, capability) in [
            ("transit/keys/kms-key", "key", "read"),
            ("transit/encrypt/kms-key", "encrypt", "update"),
            ("transit/decrypt/kms-key", "decrypt", "update"),
        ] {
            let world = World::new(flavour);
            let policy = SEED_POLICY.lines().filter(|line| !line.contains(path));
            world
                .vault
                .put_policy("kms", &policy.collect::<Vec<_>>().join("\n"))
                .unwrap();
            let rows = examined(&world, None).await;
            check(
                &rows,
                row,
                Verdict::Failed,
                &format!("permission denied on {path}"),
            );
            check(&rows, row, Verdict::Failed, capability);
            check(&rows, row, Verdict::Failed, "vault-kubernetes-kms policy");
            assert_eq!(failed(&rows), [row]);
            assert_eq!(exit_code(&rows), 1);
        }
    });
}

#[test]
fn what_lies_on_the_way_is_named_first() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.network.put("vault.sim", 8200, Host::Refuses);
        let rows = examined(&world, None).await;
        check(&rows, "address", Verdict::Failed, "http://vault.sim:8200");
        check(&rows, "login", Verdict::Unknown, "address comes first");
        assert_eq!(exit_code(&rows), 1);

        let world = World::new(flavour);
        world.network.put("vault.sim", 8200, Host::Silent);
        let rows = examined(&world, None).await;
        check(
            &rows,
            "address",
            Verdict::Failed,
            "no connection within 5000 ms",
        );

        let world = World::new(flavour);
        world.vault.seal();
        let rows = examined(&world, None).await;
        check(&rows, "seal", Verdict::Failed, "unseal it");

        let world = World::new(flavour);
        world.vault.freeze();
        let rows = examined(&world, None).await;
        check(&rows, "tls", Verdict::Failed, "no answer");

        let world = World::new(flavour);
        let elsewhere = "http://elsewhere.sim:8200/v1/auth/approle/login".to_owned();
        world.vault.fault(Fault::on(
            "/v1/auth/approle/login",
            Action::Redirect307(elsewhere),
        ));
        let rows = examined(&world, None).await;
        check(
            &rows,
            "login",
            Verdict::Failed,
            "redirects to http://elsewhere.sim:8200",
        );
        check(&rows, "key", Verdict::Unknown, "");
    });
}

#[test]
fn bad_credentials_are_told_apart() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.files.remove("/creds/secret-id");
        let rows = examined(&world, None).await;
        check(&rows, "credentials", Verdict::Failed, "/creds/secret-id");
        check(&rows, "login", Verdict::Unknown, "credentials");
        check(&rows, "seal", Verdict::Good, "");

        let world = World::new(flavour);
        world.files.write("/creds/secret-id", "canary-wrong");
        let rows = examined(&world, None).await;
        check(&rows, "login", Verdict::Failed, "rejected");
        assert!(!text(&rows).contains("canary") && !as_json(&rows).contains("canary"));
    });
}

#[test]
fn tokens_that_will_not_last_are_named() {
    both(|flavour| async move {
        let token = |settings: TokenSettings| {
            let mut world = World::new(flavour);
            let token = world.vault.create_token(&settings);
            world.use_token(&token);
            world
        };
        let kms = || TokenSettings {
            policies: vec!["kms".to_owned()],
            ttl: Duration::from_secs(7200),
            ..TokenSettings::default()
        };
        let rows = examined(&token(kms()), None).await;
        check(&rows, "token", Verdict::Good, "can be renewed");

        let rows = examined(
            &token(TokenSettings {
                num_uses: 50,
                ..kms()
            }),
            None,
        )
        .await;
        check(&rows, "token", Verdict::Failed, "uses");

        let rows = examined(
            &token(TokenSettings {
                not_renewable: true,
                ..kms()
            }),
            None,
        )
        .await;
        check(&rows, "token", Verdict::Warning, "cannot be renewed");

        let limit = Duration::from_secs(9000);
        let rows = examined(
            &token(TokenSettings {
                explicit_max_ttl: limit,
                ..kms()
            }),
            None,
        )
        .await;
        check(
            &rows,
            "token",
            Verdict::Warning,
            "ends 9000 s after its creation",
        );

        let mut world = World::new(flavour);
        let root = world.vault.root_token();
        world.use_token(&root);
        check(
            &examined(&world, None).await,
            "token",
            Verdict::Warning,
            "root token",
        );

        let world = World::new(flavour);
        world.role(json!({ "token_ttl": "20s" }));
        check(
            &examined(&world, None).await,
            "token",
            Verdict::Warning,
            "lives 20 s only",
        );
    });
}

#[test]
fn bug_030_unfit_keys_are_named() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.place.key = "kms-kye".to_owned();
        let policy = SEED_POLICY.replace("kms-key", "kms-kye");
        world.vault.put_policy("kms", &policy).unwrap();
        let rows = examined(&world, None).await;
        check(&rows, "key", Verdict::Failed, "key not found: kms-kye");
        check(&rows, "encrypt", Verdict::Unknown, "key");

        let world = World::new(flavour);
        assert!(world.vault.delete_key("transit", "kms-key"));
        let hmac = json!({ "type": "hmac", "key_size": 32 });
        world.vault.admin("POST", "transit/keys/kms-key", &hmac);
        check(
            &examined(&world, None).await,
            "key-type",
            Verdict::Failed,
            "has type hmac",
        );

        let world = World::new(flavour);
        assert!(world.vault.delete_key("transit", "kms-key"));
        let derived = json!({ "type": "aes256-gcm96", "derived": true });
        world.vault.admin("POST", "transit/keys/kms-key", &derived);
        check(
            &examined(&world, None).await,
            "key-type",
            Verdict::Failed,
            "derived",
        );
    });
}

#[test]
fn a_server_that_ignores_associated_data_is_refused() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let plaintext = STANDARD.encode("vault-kubernetes-kms doctor text");
        let answer = json!({ "data": { "plaintext": plaintext } }).to_string();
        let action = Action::Status {
            code: 200,
            body: answer.into(),
            headers: vec![],
        };
        world.vault.fault(Fault::on("/v1/transit/decrypt/", action));
        let rows = examined(&world, None).await;
        check(&rows, "decrypt", Verdict::Good, "");
        check(&rows, "binding", Verdict::Failed, "not bound to its key_id");
        assert_eq!(exit_code(&rows), 1);
    });
}

/// On community Vault the header is echoed and ignored, so a typing error in it shows nowhere.
#[test]
fn a_namespace_that_the_server_ignores_is_a_failure() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.vault.namespace = "admin".to_owned();
        world.config.vault.auth_namespace = "admin".to_owned();
        world.config.place.namespace = "admin".to_owned();
        if flavour == Flavour::Vault {
            let rows = examined(&world, None).await;
            check(
                &rows,
                "namespace",
                Verdict::Failed,
                "everything runs in the root namespace",
            );
            assert_eq!(failed(&rows), ["namespace"]);
            return;
        }
        let rows = examined(&world, None).await;
        check(&rows, "login", Verdict::Failed, "no such namespace");

        let vault = &world.vault;
        assert!(vault.create_namespace("admin"));
        let admin = |method: &str, path: &str, body: Value| {
            let (status, answer) = vault.admin_in("admin", method, path, &body);
            assert!((200..300).contains(&status), "{path}: {status} {answer}");
            answer
        };
        admin("POST", "sys/mounts/transit", json!({ "type": "transit" }));
        admin("POST", "transit/keys/kms-key", json!({}));
        vault.put_policy_in("admin", "kms", SEED_POLICY).unwrap();
        admin("POST", "sys/auth/approle", json!({ "type": "approle" }));
        admin(
            "POST",
            "auth/approle/role/kms",
            json!({ "token_policies": ["kms"] }),
        );
        let role_id = admin("GET", "auth/approle/role/kms/role-id", json!({}));
        let secret_id = admin("POST", "auth/approle/role/kms/secret-id", json!({}));
        world.files.write(
            "/creds/role-id",
            role_id["data"]["role_id"].as_str().unwrap(),
        );
        world.files.write(
            "/creds/secret-id",
            secret_id["data"]["secret_id"].as_str().unwrap(),
        );
        let rows = examined(&world, None).await;
        check(&rows, "namespace", Verdict::Good, "admin is used");
        assert_eq!(exit_code(&rows), 0, "{}", text(&rows));
    });
}

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
    #[prost(string, tag = "2")]
    key_id: String,
    #[prost(bytes = "vec", tag = "3")]
    seed: Vec<u8>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    annotations: std::collections::BTreeMap<String, Vec<u8>>,
}

/// A value as `etcdctl get --print-value-only` prints it.
fn stored(sealed: &EncryptResponse) -> Vec<u8> {
    let annotations = sealed.annotations.iter();
    let stored = Stored {
        data: vec![7; 100],
        key_id: sealed.key_id.clone(),
        seed: sealed.ciphertext.to_vec(),
        annotations: annotations
            .map(|(name, value)| (name.clone(), value.to_vec()))
            .collect(),
    };
    let mut value = b"k8s:enc:kms:v2:1_secrets:".to_vec();
    value.extend(stored.encode_to_vec());
    value.push(b'\n');
    value
}

#[test]
fn bug_039_old_data_is_readable_or_the_doctor_says_what_would_make_it_so() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.encrypt(&[1; 32]).await.unwrap();
        running.stop().await;
        let by_id = || Some(Sample::KeyId(sealed.key_id.clone()));
        let by_file = || Some(Sample::File("/value".into()));
        let put = |world: &World, value: &[u8]| world.files.write_bytes("/value", value);
        put(&world, &stored(&sealed));
        for sample in [by_id(), by_file()] {
            let rows = examined(&world, sample).await;
            check(&rows, "sample", Verdict::Good, "the configured key");
            assert_eq!(exit_code(&rows), 0);
        }

        // A rotation changes nothing about it.
        world.vault.rotate("transit", "kms-key").unwrap();
        check(
            &examined(&world, by_file()).await,
            "sample",
            Verdict::Good,
            "version 1",
        );

        // Another epoch makes it foreign, and the old one named makes it readable again.
        let old = world.config.place.clone();
        world.config.place.epoch = "2".to_owned();
        for sample in [by_id(), by_file()] {
            let rows = examined(&world, sample).await;
            check(&rows, "sample", Verdict::Failed, "-decrypt-only=");
            assert_eq!(failed(&rows), ["sample"]);
        }
        world.config.decrypt_only = vec![old];
        for sample in [by_id(), by_file()] {
            let rows = examined(&world, sample).await;
            check(&rows, "sample", Verdict::Good, "-decrypt-only place 1");
            check(&rows, "decrypt-only-1", Verdict::Good, "is allowed");
            assert_eq!(exit_code(&rows), 0, "{}", text(&rows));
        }

        let mut damaged = sealed.clone();
        let mut bytes = damaged.ciphertext.to_vec();
        let at = bytes.len() - 8;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        damaged.ciphertext = bytes.into();
        put(&world, &stored(&damaged));
        check(
            &examined(&world, by_file()).await,
            "sample",
            Verdict::Failed,
            "damaged",
        );

        for (value, part) in [
            (&b"k8s:enc:aescbc:v1:key1:xxxx"[..], "encrypted with aescbc"),
            (b"k8s\0\n\x0c\n\x02v1", "not encrypted"),
            (b"k8s:enc:kms:v2:1_secrets", "ends within"),
            (b"k8s:enc:kms:v2:1_secrets:\x0a\xff", "cut or damaged"),
        ] {
            put(&world, value);
            let rows = examined(&world, by_file()).await;
            check(&rows, "sample", Verdict::Unknown, part);
            assert_eq!(exit_code(&rows), 3);
        }
        world.files.remove("/value");
        check(
            &examined(&world, by_file()).await,
            "sample",
            Verdict::Unknown,
            "/value",
        );
        let foreign = Some(Sample::KeyId("1".to_owned()));
        check(
            &examined(&world, foreign).await,
            "sample",
            Verdict::Failed,
            "another plugin",
        );
    });
}

#[test]
fn a_former_place_that_cannot_be_read_is_a_failure() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.decrypt_only = vec![Place {
            namespace: String::new(),
            mount: "transit".to_owned(),
            key: "older-key".to_owned(),
            epoch: String::new(),
        }];
        let rows = examined(&world, None).await;
        check(
            &rows,
            "decrypt-only-1",
            Verdict::Failed,
            "transit/keys/older-key",
        );
        assert_eq!(failed(&rows), ["decrypt-only-1"]);

        // Readable, but nothing may be decrypted.
        assert!(world.vault.create_key("transit", "older-key", ""));
        let read = format!(
            "{SEED_POLICY}\npath \"transit/keys/older-key\" {{ capabilities = [\"read\"] }}"
        );
        world.vault.put_policy("kms", &read).unwrap();
        let rows = examined(&world, None).await;
        check(
            &rows,
            "decrypt-only-1",
            Verdict::Failed,
            "transit/decrypt/older-key",
        );
    });
}

/// A simulated Vault with TLS on a real port, until dropped.
pub struct RealVault {
    pub vault: SimVault,
    pub port: u16,
    task: tokio::task::JoinHandle<()>,
    pub folder: tempfile::TempDir,
}

impl Drop for RealVault {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// With the seed's policy, a key, and an AppRole whose credentials lie in the folder.
pub async fn real_vault() -> RealVault {
    let tls = server::Tls::new(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), &tls.ca_pem).unwrap();
    let other = server::Tls::new(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("other-ca.pem"), &other.ca_pem).unwrap();
    let vault = SimVault::new(Options::default());
    assert!(vault.mount("transit", "transit") && vault.create_key("transit", "kms-key", ""));
    vault.put_policy("kms", SEED_POLICY).unwrap();
    let role =
        json!({ "token_policies": ["kms"], "token_no_default_policy": true, "token_ttl": "1h" });
    let (role_id, secret_id) = vault.approle("approle", "kms", &role);
    fs::write(folder.path().join("role-id"), role_id).unwrap();
    fs::write(folder.path().join("secret-id"), secret_id).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = vault.clone();
    let task = tokio::spawn(async move {
        serving.listen(listener, Some(&tls)).await.unwrap();
    });
    RealVault {
        vault,
        port,
        task,
        folder,
    }
}

#[tokio::test]
async fn bug_116_certificates_are_judged() {
    let real = real_vault().await;
    let mut config = World::new(Flavour::OpenBao).config;
    let path = |name: &str| real.folder.path().join(name);
    let at = |host: &str| VaultAddress {
        https: true,
        at: HostPort {
            host: host.to_owned(),
            port: real.port,
        },
        prefix: String::new(),
    };
    let env = real_env(Arc::new(Tee::new(vec![])));
    // The credentials of that world are not files of this one: only the way is looked at.
    for (host, tls, result, part) in [
        (
            "localhost",
            Tls {
                ca_file: Some(path("ca.pem")),
                ..Tls::default()
            },
            Verdict::Good,
            "valid for localhost",
        ),
        (
            "localhost",
            Tls {
                ca_file: Some(path("other-ca.pem")),
                ..Tls::default()
            },
            Verdict::Failed,
            "certificate",
        ),
        (
            "127.0.0.1",
            Tls {
                ca_file: Some(path("ca.pem")),
                ..Tls::default()
            },
            Verdict::Failed,
            "certificate",
        ),
        (
            "127.0.0.1",
            Tls {
                ca_file: Some(path("ca.pem")),
                sni: Some("localhost".to_owned()),
                ..Tls::default()
            },
            Verdict::Good,
            "valid for localhost",
        ),
        (
            "localhost",
            Tls {
                skip_verify: true,
                ..Tls::default()
            },
            Verdict::Failed,
            "-tls-skip-verify",
        ),
    ] {
        config.vault.addresses = vec![at(host)];
        config.vault.tls = tls;
        let rows = examine_vault(&config, &DoctorArgs::default(), &env).await;
        check(&rows, "tls", result, part);
    }
}

async fn run_doctor(real: &RealVault, socket: &str, more: &[&str]) -> (i32, String) {
    let path = |name: &str| real.folder.path().join(name).display().to_string();
    let output = Command::new(real::BINARY)
        .arg("doctor")
        .arg(format!("-vault-address=https://localhost:{}", real.port))
        .arg(format!("-tls-ca-file={}", path("ca.pem")))
        .arg(format!("-approle-role-id-path={}", path("role-id")))
        .arg(format!("-approle-secret-id-path={}", path("secret-id")))
        .args(["-transit-key=kms-key", "-health-port=0", "-metrics-port=0"])
        .arg(format!("-socket=unix://{}", path(socket)))
        .args(more)
        .env_clear()
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[tokio::test]
async fn the_command_tells_people_and_programs() {
    let real = real_vault().await;
    let (code, text) = run_doctor(&real, "kms.sock", &[]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.ends_with("0 warnings, 0 failed, 0 unknown\n"),
        "{text}"
    );
    let secret_id = fs::read_to_string(real.folder.path().join("secret-id")).unwrap();

    let (code, text) = run_doctor(
        &real,
        "kms.sock",
        &["-format=json", "-apiserver-version=1.29"],
    )
    .await;
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(&secret_id));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&document["format"], &document["exit_code"]),
        (&json!(1), &json!(0))
    );
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["result"] == "good"), "{text}");
    assert!(
        rows.iter().any(|row| row["check"] == "status-version"),
        "{text}"
    );

    for (version, code) in [("1.24", 1), ("1.26", 1), ("1.28", 1), ("1.37", 0)] {
        let flag = format!("-apiserver-version={version}");
        let (exited, text) = run_doctor(&real, "kms.sock", &[&flag]).await;
        assert_eq!(exited, code, "{version}: {text}");
        let flags = [flag.as_str(), "-status-version=v2beta1"];
        let (exited, text) = run_doctor(&real, "kms.sock", &flags).await;
        assert_eq!(
            exited,
            i32::from(matches!(version, "1.24" | "1.26")),
            "{version}: {text}"
        );
    }
    assert!(real.vault.live_tokens("kms") > 0, "nothing logged in");
}

#[tokio::test]
async fn the_sockets_place_is_looked_at_and_left_alone() {
    let real = real_vault().await;
    let path = |name: &str| real.folder.path().join(name);
    fs::write(path("file.sock"), "mine").unwrap();
    let (code, text) = run_doctor(&real, "file.sock", &[]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("is a regular file, not a socket"), "{text}");
    assert_eq!(fs::read(path("file.sock")).unwrap(), b"mine");

    let (code, text) = run_doctor(&real, "missing/kms.sock", &[]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("missing does not exist: create it"), "{text}");

    let listener = std::os::unix::net::UnixListener::bind(path("live.sock")).unwrap();
    let (code, text) = run_doctor(&real, "live.sock", &[]).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(&format!("is being served (pid {})", std::process::id())),
        "{text}"
    );
    drop(listener);
    let (code, text) = run_doctor(&real, "live.sock", &[]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("left over from before"), "{text}");
    assert!(path("live.sock").exists() && !path("live.sock.lock").exists());

    let (code, text) = run_doctor(&real, "kms.sock", &["-socket-mode=0666"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("WARNING  socket-access"), "{text}");
    let (code, text) = run_doctor(&real, "kms.sock", &["-socket-group=no-such-group"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("no-such-group"), "{text}");
}

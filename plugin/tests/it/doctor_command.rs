//! The doctor as a command: certificates, output for people and programs, the socket's place.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use sim_vault::Flavour;
use tokio::process::Command;
use vault_kubernetes_kms::config::{DoctorArgs, Tls, VaultAddress};
use vault_kubernetes_kms::doctor::{Verdict, examine_vault};
use vault_kubernetes_kms::process::Tee;
use vault_kubernetes_kms::process::world::env as real_env;
use vault_kubernetes_kms::seam::HostPort;

use crate::doctor::check;
use crate::real;
use crate::real_vault::{RealVault, real_vault};
use crate::world::World;

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

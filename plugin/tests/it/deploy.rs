//! What is shipped beside the binary fits it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use vault_kubernetes_kms::config::Place;
use vault_kubernetes_kms::event::Event;
use vault_kubernetes_kms::metrics::Metrics;
use vault_kubernetes_kms::policy;
use vault_kubernetes_kms::seam::Observer;

use crate::metrics::config;
use crate::real::BINARY;

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// Every metric that a rule asks about exists under that name.
#[test]
fn alerts_ask_about_metrics_that_exist() {
    let metrics = Metrics::new(&config());
    // Two families have no series before there is something to show.
    metrics.event(&Event::KeyTaken {
        version: 1,
        key_id: "v1.abc",
    });
    metrics.event(&Event::FormerPlace {
        index: 0,
        ok: true,
        detail: "",
    });
    let text = metrics.encode();
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let existing: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(|c| !is_name(c)).next().unwrap())
        .collect();
    let alerts = shipped("alerts.yaml");
    let asked: BTreeSet<&str> = alerts
        .split(|c| !is_name(c))
        .filter(|word| word.starts_with("vault_kubernetes_kms_"))
        .collect();
    assert!(asked.len() > 15, "{asked:?}");
    for name in asked {
        let exists = existing.contains(name)
            // In a text for people, where a histogram goes by its own name.
            || existing.contains(format!("{name}_count").as_str());
        assert!(exists, "{name} is not among {existing:?}");
    }
}

/// The manifest's arguments start the plugin once its placeholders are filled in, and each one
/// that is left is named.
#[test]
fn the_static_pods_arguments_are_the_plugins() {
    let manifest = shipped("static-pod.yaml");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("password"), "secret").unwrap();
    let ca = rcgen::generate_simple_self_signed(vec!["vault.example.com".to_owned()]).unwrap();
    fs::write(folder.path().join("ca.crt"), ca.cert.pem()).unwrap();
    let printed: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- -"))
        .collect();
    assert!(printed.len() >= 8, "{printed:?}");
    let here = folder.path().display().to_string();
    let check = |fill: &dyn Fn(&str) -> String| {
        let output = Command::new(BINARY)
            .args(["config", "check"])
            .args(printed.iter().map(|arg| fill(&format!("-{arg}"))))
            .env_clear()
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), text)
    };
    let filled = |arg: &str| {
        arg.replace("<vault.example.com>", "vault.example.com")
            .replace("<namespace>", "admin")
            .replace("<username>", "kms")
            .replace("/etc/vault-kms", &here)
    };
    let (code, text) = check(&filled);
    assert_eq!((code, text.as_str()), (0, ""));

    let (code, text) = check(&|arg| arg.replace("/etc/vault-kms", &here));
    assert_eq!(code, 2);
    for left in ["-vault-address", "-vault-namespace", "-userpass-username"] {
        assert!(text.contains(left), "{left} is not named in\n{text}");
    }
    for rule in [
        "privileged: false",
        "readOnlyRootFilesystem: true",
        "path: /livez",
        "priorityClassName: system-node-critical",
        "hostNetwork: true",
        "type: DirectoryOrCreate",
    ] {
        assert!(manifest.contains(rule), "{rule}");
    }
    // A static pod that refers to API objects cannot start before the API server (BUG-071).
    for forbidden in [
        "secretKeyRef",
        "configMap",
        "secretName",
        "serviceAccountName",
    ] {
        assert!(!manifest.contains(forbidden), "{forbidden}");
    }
}

/// `config check` on the arguments of a manifest, each after `fill`: exit code and what it said.
fn checked(manifest: &str, fill: &dyn Fn(&str) -> String) -> (i32, String) {
    let text = shipped(manifest);
    let printed = text.lines().filter_map(|line| {
        let item = line.trim_start().strip_prefix("- ")?.trim_matches('"');
        item.starts_with('-').then(|| fill(item))
    });
    let output = Command::new(BINARY)
        .args(["config", "check"])
        .args(printed)
        .env_clear()
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), text)
}

/// The procedure's own manifest: as printed each open placeholder is named; filled in it starts, and what is unwise about it
/// is said.
#[test]
fn the_documented_static_pod_starts_once_it_is_filled_in() {
    let (code, text) = checked("static-pod-documented.yaml", &str::to_owned);
    assert_eq!(code, 2);
    for left in [
        "-vault-address",
        "-vault-namespace",
        "-userpass-username",
        "-userpass-password",
    ] {
        assert!(text.contains(left), "{left} is not named in\n{text}");
    }
    let (code, text) = checked("static-pod-documented.yaml", &|arg| {
        arg.replace(['<', '>'], "")
    });
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("-userpass-password"), "{text}");
    assert!(
        !text.contains("vault_password"),
        "a secret is shown: {text}"
    );
}

/// The operators' sidecar: its words are all known.
#[test]
fn the_sidecars_arguments_are_the_plugins() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret-id"), "secret").unwrap();
    let ca = rcgen::generate_simple_self_signed(vec!["vault.example.com".to_owned()]).unwrap();
    fs::write(folder.path().join("ca-bundle.crt"), ca.cert.pem()).unwrap();
    let here = folder.path().display().to_string();
    let (code, text) = checked("openshift-sidecar.yaml", &|arg| {
        arg.replace(['<', '>'], "")
            .replace("/var/run/secrets/kms-plugin", &here)
    });
    assert_eq!((code, text.as_str()), (0, ""));
}

/// The lines of a policy that mean something.
fn rules(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// The policies on paper are the ones that the program prints.
#[test]
fn the_policy_is_the_programs() {
    let place = Place {
        namespace: String::new(),
        mount: "transit".to_owned(),
        key: "kms-key".to_owned(),
        epoch: String::new(),
    };
    for (file, lookup_self) in [("policy.hcl", true), ("policy-minimal.hcl", false)] {
        let printed = policy::render(&place, &[], "", lookup_self);
        assert_eq!(rules(&shipped(file)), rules(&printed), "{file}");
    }
}

/// The unit's sandbox must allow what the plugin does at its start.
#[test]
fn the_unit_starts_what_there_is() {
    let unit = shipped("vault-kubernetes-kms.service");
    for line in [
        "Type=notify",
        "ExecStart=/usr/local/bin/vault-kubernetes-kms serve",
        "ExecStartPre=/usr/local/bin/vault-kubernetes-kms config check",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "LimitCORE=0",
    ] {
        assert!(unit.lines().any(|is| is == line), "{line}");
    }
}

//! `run --apiserver`: an API server in front of a subject, and what becomes of its Secrets.

use serde_json::Value;

use super::support::{folder, run, toy_subject};

const CHECK: &str = "through-an-apiserver";

/// Results of the check, by requirement.
fn results(report: &Value) -> Vec<(&str, &str)> {
    let rows = report["requirements"].as_array().unwrap().iter();
    rows.flat_map(|row| {
        let checks = row["checks"].as_array().unwrap().iter();
        checks
            .filter(|check| check["checkId"] == CHECK)
            .map(|check| {
                (
                    row["id"].as_str().unwrap(),
                    check["status"].as_str().unwrap(),
                )
            })
    })
    .collect()
}

/// A toy's key cannot be rotated, so nothing is claimed of rotations; the bundle says the same when it is judged again.
pub fn secrets_come_back_through_the_simulated_server() {
    let home = folder();
    let subject = toy_subject(home.path(), "").display().to_string();
    let out = home.path().join("out").display().to_string();
    let again = home.path().join("again").display().to_string();
    let words = ["run", "--subject", &subject, "--apiserver", "sim"];
    let shown = ["--format", "json", "--out", &out];
    let report = run(&[&words[..], &shown[..]].concat()).ended(0).json();
    let expected = [
        ("KMS2-ROT-01", "not_run"),
        ("KMS2-ROT-03", "not_run"),
        ("KMS2-RT-01", "pass"),
        ("KMS2-RT-02", "pass"),
    ];
    assert_eq!(results(&report), expected);
    let entries = report["plan"]["entries"].as_array().unwrap();
    assert!(
        entries
            .iter()
            .any(|entry| entry["name"] == "apiserver" && entry["value"] == "sim")
    );
    let judged = run(&["judge", &out, "--format", "json", "--out", &again]);
    assert_eq!(results(&judged.ended(0).json()), expected);
}

/// A plugin that opens nothing seems well until its server starts again.
pub fn a_plugin_that_loses_seeds_loses_the_secrets() {
    let home = folder();
    let subject = toy_subject(home.path(), "decrypt").display().to_string();
    let out = home.path().join("out").display().to_string();
    let words = ["run", "--subject", &subject, "--apiserver", "sim"];
    let shown = ["--format", "json", "--out", &out];
    let report = run(&[&words[..], &shown[..]].concat()).ended(1).json();
    let results = results(&report);
    assert!(results.contains(&("KMS2-RT-01", "pass")), "{results:?}");
    assert!(results.contains(&("KMS2-RT-02", "fail")), "{results:?}");
}

/// Without the option nothing speaks of it.
pub fn a_run_that_was_not_asked_has_no_row_of_it() {
    let home = folder();
    let subject = toy_subject(home.path(), "key-id").display().to_string();
    let out = home.path().join("out").display().to_string();
    let words = ["run", "--subject", &subject, "--format", "json"];
    let report = run(&[&words[..], &["--out", &out]].concat()).json();
    assert!(results(&report).is_empty());
}

#[cfg(not(feature = "kube"))]
pub fn a_real_server_needs_a_build_that_has_its_client() {
    let home = folder();
    let subject = toy_subject(home.path(), "").display().to_string();
    for word in ["real", &subject] {
        let said = run(&["run", "--subject", &subject, "--apiserver", word]).ended(2);
        assert!(said.err.contains("--features kube"), "{}", said.err);
    }
}

/// A cluster calls the socket that its own configuration names: a run has to be told which, and to be able to serve there.
#[cfg(feature = "kube")]
pub fn a_cluster_needs_the_socket_that_it_calls() {
    let home = folder();
    let subject = toy_subject(home.path(), "").display().to_string();
    let file = home.path().join("config");
    std::fs::write(&file, "apiVersion: v1\nkind: Config\nclusters: []\n").unwrap();
    let config = file.display().to_string();
    let refused = |front: &[&str], words: &[&str]| {
        let said = run(&[&["run", "--subject", &subject], front].concat()).ended(2);
        for word in words {
            assert!(said.err.contains(word), "no {word:?} in {}", said.err);
        }
    };
    refused(
        &["--apiserver", &config],
        &[&config, "EncryptionConfiguration", "--socket unix:///PATH"],
    );
    let served = home.path().join("served.sock");
    let _owner = std::os::unix::net::UnixListener::bind(&served).unwrap();
    let at = |path: &std::path::Path| format!("unix://{}", path.display());
    let cluster = ["--apiserver", &config, "--socket"];
    for (url, words) in [
        (at(&served), "serves there already"),
        (at(&home.path().join("no/kms.sock")), "no folder"),
        ("kms.sock".to_owned(), "unix:///PATH"),
    ] {
        refused(&[&cluster[..], &[url.as_str()]].concat(), &[&url, words]);
    }
    let free = at(&home.path().join("kms.sock"));
    refused(
        &["--apiserver", "sim", "--socket", &free],
        &["--apiserver KUBECONFIG", "sim"],
    );
    refused(&["--socket", &free], &["--apiserver"]);
    // neither a program nor a kubeconfig
    refused(&["--apiserver", &subject], &["kubeconfig"]);
}

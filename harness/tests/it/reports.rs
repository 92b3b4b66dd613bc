//! `report`: on bundles that runs of the toy plugin left.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{folder, run, toy_subject};

/// A run's bundle.
fn bundle(home: &Path, broken: &str, code: i32) -> String {
    let subject = toy_subject(home, broken).display().to_string();
    let out = home.join(format!("out-{broken}")).display().to_string();
    run(&["run", "--subject", &subject, "--out", &out]).ended(code);
    out
}

/// A report with a change in it, in a file of its own.
fn changed(home: &TempDir, bundle: &str, name: &str, change: impl FnOnce(&mut Value)) -> String {
    let text = std::fs::read_to_string(PathBuf::from(bundle).join("report.json")).unwrap();
    let mut report: Value = serde_json::from_str(&text).unwrap();
    change(&mut report);
    let file = home.path().join(name);
    std::fs::write(&file, report.to_string()).unwrap();
    file.display().to_string()
}

/// From the report alone come the same bytes as the run wrote; a statement only where there may be one.
#[test]
fn rendering_again_gives_the_files_of_the_bundle() {
    let home = folder();
    let out = bundle(home.path(), "", 0);
    let again = home.path().join("again").display().to_string();
    run(&["report", "render", &out, "--out", &again]).ended(0);
    let mut forms = 0;
    for (form, file) in [
        ("markdown", "report.md"),
        ("html", "report.html"),
        ("junit", "junit.xml"),
        ("ctrf", "ctrf.json"),
        ("summary", "summary.yaml"),
        ("in-toto", "attestation.intoto.json"),
    ] {
        let read = |folder: &str| std::fs::read_to_string(PathBuf::from(folder).join(file)).ok();
        let written = read(&out);
        assert_eq!(written, read(&again), "{file}");
        let said = run(&["report", "render", &out, "--as", form]);
        match written {
            Some(text) => assert_eq!(said.ended(0).out, text, "{form}"),
            None => {
                // the suite of a test is rarely that of a clean checkout
                let said = said.ended(3);
                assert!(said.err.contains("clean checkout"), "{}", said.err);
                continue;
            }
        }
        forms += 1;
    }
    assert!(forms >= 5);
    let said = run(&["report", "render", &out]).ended(2);
    assert!(said.err.contains("--as markdown|junit"), "{}", said.err);
}

#[test]
fn what_is_no_report_is_refused_with_its_name() {
    let home = folder();
    let empty = home.path().join("empty.json").display().to_string();
    std::fs::write(&empty, "{}").unwrap();
    let missing = home.path().join("missing").display().to_string();
    for command in ["digest", "badge", "render", "merge"] {
        for path in [&empty, &missing] {
            let said = run(&["report", command, path]).ended(2);
            assert!(said.err.contains(path.as_str()), "{command}: {}", said.err);
        }
    }
    let said = run(&["report", "merge"]).ended(2);
    assert!(said.err.contains("REPORT"), "{}", said.err);
}

/// Two judgements of one transcript say the same, a changed one does not.
#[test]
fn digests_tell_what_says_the_same() {
    let home = folder();
    let out = bundle(home.path(), "", 0);
    let judged = ["first", "second"].map(|name| {
        let folder = home.path().join(name).display().to_string();
        run(&["judge", &out, "--out", &folder]).ended(0);
        folder
    });
    let other = changed(&home, &judged[0], "other.json", |report| {
        report["requirements"][0]["status"] = json!("fail");
    });
    let said = run(&["report", "digest", &judged[0], &judged[1], &other]).ended(0);
    let digests: Vec<&str> = said
        .out
        .lines()
        .filter_map(|line| line.split("  ").next())
        .collect();
    assert_eq!(digests.len(), 3);
    assert!(digests[0].starts_with("sha256:") && digests[0] == digests[1]);
    assert_ne!(digests[0], digests[2]);

    let merged = home.path().join("merged").display().to_string();
    run(&["report", "merge", &judged[0], "--out", &merged]).ended(0);
    let said = run(&["report", "digest", &merged]).ended(0);
    assert!(said.out.starts_with(digests[0]), "{}", said.out);
}

#[test]
fn a_worse_plugin_is_told_and_parts_of_other_plugins_are_refused() {
    let home = folder();
    let good = bundle(home.path(), "", 0);
    let worse = bundle(home.path(), "key-id", 1);
    let said = run(&["report", "compare", &good, &worse]).ended(1);
    assert!(said.out.contains("WORSE"), "{}", said.out);
    run(&["report", "compare", &worse, &good]).ended(0);
    let shown = ["--format", "json"];
    let words = ["report", "compare", &good, &worse];
    let document = run(&[&words[..], &shown].concat()).ended(1).json();
    let changes = document["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["direction"] == "worse"));

    let out = home.path().join("merged").display().to_string();
    let said = run(&["report", "merge", &good, &worse, "--out", &out]).ended(2);
    assert!(said.err.contains("different subjects"), "{}", said.err);
}

#[test]
fn a_badge_is_earned_or_refused_with_the_reason() {
    let home = folder();
    let out = bundle(home.path(), "", 0);
    let suite = |dirty: bool| {
        let name = format!("dirty-{dirty}.json");
        changed(&home, &out, &name, |report| {
            report["suite"]["dirty"] = dirty.into();
            report["suite"]["gitCommit"] = "0123456789".into();
        })
    };
    let said = run(&["report", "badge", &suite(true)]).ended(3);
    assert!(said.err.contains("changed checkout"), "{}", said.err);
    let earned = run(&["report", "badge", &suite(false)]).ended(0).json();
    let message = earned["message"].as_str().unwrap();
    assert!(message.starts_with("Core · v1."), "{message}");
    assert!(message.contains("self-reported"), "{message}");
}

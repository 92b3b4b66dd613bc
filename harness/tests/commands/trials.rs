//! The suite as a plugin author's own tests: names, filters, failures, and what it links.

use std::path::PathBuf;
use std::process::Command;

use super::support::{Said, folder, said, toy, toy_subject};

/// `harness/examples/own_tests.rs`, on the toy plugin that is broken like this.
fn own_tests(broken: &str, args: &[&str]) -> Said {
    let tests: PathBuf = toy().with_file_name("own_tests");
    let output = Command::new(tests)
        .args(args)
        .env("TOY_BREAK", broken)
        .output()
        .unwrap();
    said(output)
}

/// Nothing is started for a list, and nothing for a filter that fits no test.
pub fn each_requirement_is_a_test_that_can_be_listed_and_filtered() {
    let listed = own_tests("start", &["--list"]).ended(0);
    for id in ["KMS2-ENC-05: test", "KMS2-STATUS-07: test"] {
        assert!(listed.out.lines().any(|line| line == id), "{}", listed.out);
    }
    let none = own_tests("start", &["KMS2-NO-SUCH"]).ended(0);
    assert!(none.out.contains("0 passed; 0 failed"), "{}", none.out);
    // a plugin that does not start fails the tests that want it
    let broken = own_tests("start", &["--exact", "KMS2-ENC-05"]).ended(101);
    assert!(broken.out.contains("start the plugin"), "{}", broken.out);
}

/// The broken requirement fails with what was expected and seen; what nobody could look at is ignored.
pub fn the_broken_requirement_is_the_test_that_fails() {
    let all = own_tests("key-id", &[]).ended(101);
    let line = |id: &str| {
        let mut lines = all.out.lines();
        lines.find(|line| line.starts_with(&format!("test {id} ")))
    };
    let ends = |id: &str, word: &str| {
        let line = line(id).unwrap_or_default();
        assert!(line.contains(word), "{id} is not {word}: {}", all.out);
    };
    ends("KMS2-STATUS-07", "FAILED");
    ends("KMS2-ENC-07", "ok");
    ends("KMS2-ROT-01", "ignored");
    assert!(all.out.contains("expected: "), "{}", all.out);
}

/// A short scenario of real processes, with this id and fault.
fn scenario(id: &str, fault: &str) -> String {
    format!(
        r#"
id = "{id}"
title = "A fault for a moment."
proves = ["KMS2-RT-01"]
arms = ["process"]
[load]
writes = "60/min"
reads = "60/min"
objects = 3
[phases]
settle = "5s"
baseline = "5s"
fault = "20s"
heal = "5s"
liveness = "20s"
[[fault]]
id = "it"
at = "5s"
kind = "{fault}"
for = "10s"
[[expect]]
eventually = "reads-ok"
within = "5s"
[scale]
process = 0.1
"#
    )
}

/// The tests of a toy plugin with a library of two scenarios.
fn with_scenarios(broken: &str, args: &[&str]) -> Said {
    let library = folder();
    for (id, fault) in [("frozen", "plugin-freeze"), ("sealed", "vault-seal")] {
        let file = library.path().join(format!("{id}.toml"));
        std::fs::write(file, scenario(id, fault)).unwrap();
    }
    let subject = toy_subject(library.path(), broken);
    std::fs::rename(subject, library.path().join("toy.subject")).unwrap();
    let mut command = Command::new(toy().with_file_name("own_tests"));
    command.args(args).env("TOY_SCENARIOS", library.path());
    let harness = env!("CARGO_BIN_EXE_kms-harness");
    said(command.env("KMS_HARNESS", harness).output().unwrap())
}

/// Each scenario of a library is a test: it holds, or it does not apply to this plugin.
pub fn each_scenario_is_a_test() {
    let listed = with_scenarios("", &["--list"]).ended(0);
    assert!(
        listed.out.contains("\nscenario::frozen: test\n"),
        "{}",
        listed.out
    );
    let good = with_scenarios("", &["scenario::"]).ended(0);
    assert!(
        good.out.contains("1 passed; 0 failed; 1 ignored"),
        "{}",
        good.out
    );
}

/// One that does not hold fails with what broke and the command that shows it again.
pub fn a_scenario_that_does_not_hold_is_a_test_that_fails() {
    let bad = with_scenarios("decrypt", &["scenario::frozen"]).ended(101);
    for word in ["readable-by-fresh-apiserver", "kms-harness chaos"] {
        assert!(bad.out.contains(word), "no {word}: {}", bad.out);
    }
}

/// One that cannot be read would otherwise be a test that nobody misses.
pub fn a_scenario_that_cannot_be_read_is_a_test_that_fails() {
    let library = folder();
    let damaged = scenario("frozen", "plugin-freeze").replace("[scale]", "[scale");
    std::fs::write(library.path().join("frozen.toml"), damaged).unwrap();
    let tests = toy().with_file_name("own_tests");
    let mut command = Command::new(tests);
    command
        .arg("scenario::")
        .env("TOY_SCENARIOS", library.path());
    let said = said(command.output().unwrap()).ended(101);
    for word in ["frozen.toml", "[scale"] {
        assert!(said.out.contains(word), "no {word}: {}", said.out);
    }
}

/// What an author links brings neither our plugin nor the simulated Vault nor a Kubernetes client.
pub fn it_links_nothing_of_the_arms() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words = "tree --locked -p kms-trials -e normal --prefix none";
    let output = Command::new(cargo)
        .args(words.split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = said(output).ended(0).out;
    assert!(tree.contains("kms-conformance v"), "{tree}");
    for name in [
        "vault-kubernetes-kms",
        "sim-vault",
        "kube",
        "kms-sim",
        "kms-harness",
    ] {
        let linked = tree
            .lines()
            .any(|line| line.split(' ').next() == Some(name));
        assert!(!linked, "{name} is linked");
    }
}

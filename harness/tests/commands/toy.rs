//! Whole runs on the toy plugin: a foreign subject, started by its description or by somebody else.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::support::{folder, row, run, status, toy, toy_subject};

/// Everything of a bundle is there, fits together, and `judge` says the same again.
pub fn a_good_plugin_holds_and_its_bundle_can_be_judged_again() {
    let home = folder();
    let subject = toy_subject(home.path(), "").display().to_string();
    let out = home.path().join("out");
    let shown = out.display().to_string();
    let report = run(&[
        "run",
        "--subject",
        &subject,
        "--seed",
        "7",
        "--format",
        "json",
        "--out",
        &shown,
    ])
    .ended(0)
    .json();

    assert_eq!(report["subject"]["project"], "toy");
    assert_eq!(report["subject"]["version"], "1.2.3");
    assert_eq!(report["subject"]["observed"]["statusVersion"], "v2");
    assert_eq!(report["subject"]["artifacts"][0]["kind"], "binary");
    assert_eq!(
        report["subject"]["artifacts"][0]["digest"]["sha256"],
        sha256(&toy())
    );
    assert_eq!(report["environment"]["arm"], "process");
    assert_eq!(report["environment"]["backend"]["product"], "sim-vault");
    assert_ne!(report["profiles"][0]["result"], "failure");
    assert_eq!(status(&report, "KMS2-RT-01"), "pass");
    // The restart hook was used: a run without one says nothing about old data.
    assert_eq!(status(&report, "KMS2-RT-02"), "pass");
    let origins: Vec<(&str, &str)> = report["plan"]["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["name"].as_str().unwrap(),
                entry["origin"].as_str().unwrap(),
            )
        })
        .collect();
    for wanted in [
        ("seed", "flag"),
        ("subject", "flag"),
        ("subject.command", "file"),
        ("profile", "default"),
        ("vault", "default"),
    ] {
        assert!(
            origins.contains(&wanted),
            "{wanted:?} is not in {origins:?}"
        );
    }

    let stored: Value =
        serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(
        stored, report,
        "standard output has another report than the bundle"
    );
    let sums = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&out)
        .output()
        .unwrap();
    assert!(
        sums.status.success(),
        "{}",
        String::from_utf8_lossy(&sums.stdout)
    );
    for file in [
        "report.json",
        "report.md",
        "history.jsonl",
        "plugin.log",
        "registry.json",
        "plan.toml",
    ] {
        assert!(
            fs::read_to_string(out.join("SHA256SUMS"))
                .unwrap()
                .contains(&format!("  {file}\n")),
            "{file}"
        );
    }

    let again_at = home.path().join("again").display().to_string();
    let again = run(&["judge", &shown, "--format", "json", "--out", &again_at])
        .ended(0)
        .json();
    assert_eq!(again["derivedFrom"], report["reportId"]);
    assert_ne!(again["reportId"], report["reportId"]);
    assert_eq!(again["requirements"], report["requirements"]);
    let untouched: Value =
        serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(untouched, stored, "the old report was touched");

    // A transcript that was changed afterwards proves nothing.
    let history = fs::read_to_string(out.join("history.jsonl")).unwrap();
    fs::write(
        out.join("history.jsonl"),
        history.replacen("\"ok\"", "\"no\"", 1),
    )
    .unwrap();
    let said = run(&[
        "judge",
        &shown,
        "--out",
        &home.path().join("third").display().to_string(),
    ])
    .ended(2);
    assert!(said.err.contains("SHA256SUMS"), "{}", said.err);
}

/// Two plugins that each do one thing wrong: exit 1, and the requirement is named on the terminal
/// with what was expected and observed.
pub fn a_broken_plugin_is_exit_1_and_the_requirement_is_named() {
    for (broken, id) in [("key-id", "KMS2-STATUS-07"), ("decrypt", "KMS2-DEC-04")] {
        let home = folder();
        let subject = toy_subject(home.path(), broken).display().to_string();
        let out = home.path().join("out");
        let said = run(&[
            "run",
            "--subject",
            &subject,
            "--out",
            &out.display().to_string(),
        ])
        .ended(1);
        let line = said
            .out
            .lines()
            .find(|line| line.starts_with("FAIL") && line.contains(id));
        assert!(line.is_some(), "{id} does not fail:\n{}", said.out);
        for word in ["requirement", "expected", "observed"] {
            assert!(
                said.out
                    .lines()
                    .any(|line| line.trim_start().starts_with(word)),
                "{word}: {}",
                said.out
            );
        }
        assert!(said.out.contains("exit code   1"), "{}", said.out);
        assert!(
            fs::read_to_string(out.join("report.md"))
                .unwrap()
                .contains(id)
        );
    }
}

/// A plugin that logs the token it was given: a finding, and our copy of the log no longer has it.
pub fn a_credential_in_the_plugins_log_is_a_finding_and_is_taken_out() {
    let home = folder();
    let subject = home.path().join("chatty.toml");
    let command = [
        toy().display().to_string(),
        "--socket={socket}".into(),
        "--key={folder}/toy.key".into(),
        "--say=my token is {token}".into(),
    ];
    fs::write(
        &subject,
        format!("name = \"chatty\"\ncommand = {command:?}\n"),
    )
    .unwrap();
    let out = home.path().join("out");
    let subject = subject.display().to_string();
    // `check` takes a description as well.
    let said = run(&[
        "check",
        "--subject",
        &subject,
        "--format",
        "json",
        "--out",
        &out.display().to_string(),
    ]);
    let report = said.ended(0).json();
    let finding = &report["findings"][0];
    assert!(
        finding["title"].as_str().unwrap().contains("credential"),
        "{finding}"
    );
    assert_eq!(finding["requirements"][0], "KMS2-SEC-01");
    let log = fs::read_to_string(out.join("plugin.log")).unwrap();
    assert!(log.contains("toy: my token is [credential]"), "{log}");
}

/// A plugin that somebody else runs, restarted by a command of theirs.
pub fn check_restarts_by_the_command_it_was_given() {
    let home = folder();
    let at = |name: &str| home.path().join(name).display().to_string();
    // A service manager in four lines: it stops the plugin and starts it in the background.
    let script = format!(
        "test -f {pid} && kill $(cat {pid}) && while kill -0 $(cat {pid}) 2>/dev/null; do sleep 0.02; done\n\
         rm -f {socket}\n\
         {toy} --socket={socket} --key={key} </dev/null >/dev/null 2>&1 & echo $! >{pid}\n\
         while ! test -S {socket}; do sleep 0.02; done\n",
        pid = at("pid"),
        socket = at("kms.sock"),
        toy = toy().display(),
        key = at("toy.key"),
    );
    fs::write(home.path().join("restart"), script).unwrap();
    let restart = format!("sh {}", at("restart"));
    assert!(
        Command::new("sh")
            .arg(home.path().join("restart"))
            .status()
            .unwrap()
            .success()
    );
    let url = format!("unix://{}", at("kms.sock"));

    let with = run(&[
        "check",
        "--socket",
        &url,
        "--restart-command",
        &restart,
        "--format",
        "json",
        "--out",
        &at("with"),
    ]);
    let without = run(&[
        "check",
        "--socket",
        &url,
        "--format",
        "json",
        "--out",
        &at("without"),
    ]);
    let pid = fs::read_to_string(home.path().join("pid")).unwrap();
    assert!(
        Command::new("kill")
            .arg(pid.trim())
            .status()
            .unwrap()
            .success()
    );

    let with = with.ended(0).json();
    assert_eq!(status(&with, "KMS2-RT-02"), "pass");
    assert_eq!(with["subject"]["launch"]["how"], "external-socket");
    let without = without.ended(0).json();
    assert_eq!(status(&without, "KMS2-RT-02"), "not_run");
    assert_eq!(without["profiles"][0]["result"], "partial");
}

/// Metrics and a second node are looked at where an operator says where they are.
pub fn check_looks_at_metrics_and_at_another_node_when_told_where() {
    let home = folder();
    let at = |name: &str| home.path().join(name).display().to_string();
    let serve = |socket: &str| {
        let plugin = Served(
            Command::new(toy())
                .arg(format!("--socket={}", at(socket)))
                .arg(format!("--key={}", at("toy.key")))
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        while !home.path().join(socket).exists() {
            pause();
        }
        plugin
    };
    let _nodes = [serve("here.sock"), serve("there.sock")];
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics_url = format!("http://{}/metrics", metrics.local_addr().unwrap());
    #[expect(
        clippy::disallowed_methods,
        reason = "an exporter for a process of its own"
    )]
    std::thread::spawn(move || {
        for stream in metrics.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ =
                stream.write_all(b"HTTP/1.0 200 OK\r\n\r\ntoy_calls_total{method=\"status\"} 1\n");
        }
    });

    let report = run(&[
        "check",
        "--socket",
        &format!("unix://{}", at("here.sock")),
        "--other-socket",
        &format!("unix://{}", at("there.sock")),
        "--metrics-url",
        &metrics_url,
        "--format",
        "json",
        "--out",
        &at("out"),
    ])
    .ended(0)
    .json();
    for id in ["KMS2-ROT-02", "KMS2-OBS-02"] {
        assert_eq!(status(&report, id), "pass", "{id}");
    }
}

/// A run starts a second node and looks at metrics where the description says that and how. What
/// needs a Vault that the plugin is told of says so.
pub fn run_starts_a_second_node_and_reads_metrics_when_told_that_it_may() {
    let home = folder();
    let subject = home.path().join("several.toml");
    let key = home.path().join("shared.key");
    let command = [
        toy().display().to_string(),
        "--socket={socket}".into(),
        format!("--key={}", key.display()),
        "--metrics-port={metrics_port}".into(),
    ];
    let told = "several = true\n[metrics]\nurl = \"http://127.0.0.1:{metrics_port}/metrics\"";
    for (more, result) in [(told, "pass"), ("", "not_run")] {
        let text = format!("name = \"toy\"\ncommand = {command:?}\n{more}\n");
        fs::write(&subject, text).unwrap();
        let out = home.path().join(result).display().to_string();
        let subject = subject.display().to_string();
        let report = run(&[
            "run",
            "--subject",
            &subject,
            "--format",
            "json",
            "--out",
            &out,
        ])
        .ended(0)
        .json();
        for id in ["KMS2-ROT-02", "KMS2-OBS-02"] {
            assert_eq!(status(&report, id), result, "{id} with {more:?}");
        }
        let row = row(&report, "KMS2-SEC-03").to_string();
        let reason = if more.is_empty() {
            "several = true"
        } else {
            "{vault}"
        };
        assert!(row.contains("not-told: ") && row.contains(reason), "{row}");
    }
}

/// A plugin that is killed in the middle of a run ends as a failure or as inconclusive, never as a pass.
pub fn a_plugin_that_dies_is_never_a_pass() {
    assert!(killed_at(20_000), "the run was over first");
}

/// Not even when all that its profile requires was seen by then.
pub fn a_plugin_that_dies_late_is_never_a_pass() {
    let mut attempts = 0..5;
    assert!(
        attempts.any(|_| killed_at(14_100_000)),
        "each run was over first"
    );
}

/// Killed once the transcript has so many bytes; false if the run was over first.
fn killed_at(bytes: u64) -> bool {
    let home = folder();
    let socket = home.path().join("kms.sock");
    let mut plugin = Served(
        Command::new(toy())
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--key={}", home.path().join("toy.key").display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    while !socket.exists() {
        pause();
    }
    let out = home.path().join("out");
    let url = format!("unix://{}", socket.display());
    let mut harness = super::support::harness(&[
        "check",
        "--socket",
        &url,
        "--out",
        &out.display().to_string(),
    ]);
    let mut harness = harness
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while fs::metadata(out.join("history.jsonl")).map_or(0, |file| file.len()) < bytes {
        if harness.try_wait().unwrap().is_some() {
            return false;
        }
        pause();
    }
    plugin.0.kill().unwrap();
    plugin.0.wait().unwrap();
    let code = harness.wait().unwrap().code();
    assert!(matches!(code, Some(1 | 3)), "{code:?}");
    true
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn pause() {
    #[expect(clippy::disallowed_methods, reason = "a real process is waited for")]
    std::thread::sleep(Duration::from_millis(10));
}

fn sha256(file: &std::path::Path) -> String {
    kms_harness::bundle::sha256(&fs::read(file).unwrap())
}

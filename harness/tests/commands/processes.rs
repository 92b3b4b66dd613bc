//! Nothing of a run is left: however the harness ends, its children end with it.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use kms_report::Form;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{folder, harness, run, toy_subject};
use super::toy::pause;

/// Ctrl-C: exit 130, no plugin left, and the bundle is a whole report that claims only what ran.
pub fn interrupted_runs_leave_a_report_and_no_process() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let home = folder();
        let (harness, plugin) = started(home.path());
        kill(Pid::from_raw(harness.id().cast_signed()), signal).unwrap();
        let output = harness.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}");
        assert!(!alive(plugin), "{signal}: the plugin is still there");
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(home.path().join("out/report.json")).unwrap())
                .unwrap();
        assert_ne!(report["profiles"][0]["result"], "success");
        let limits = report["limits"].as_array().unwrap();
        assert!(
            limits
                .iter()
                .any(|limit| limit.as_str().unwrap().contains("interrupted")),
            "{limits:?}"
        );
        assert!(
            fs::read_to_string(home.path().join("out/SHA256SUMS"))
                .unwrap()
                .contains("report.json")
        );
    }
}

/// kill -9 cannot be caught. The kernel takes the plugin along (where there is `setpriv`), and what
/// the bundle holds by then is a report in which nothing is claimed, and whole lines of transcript.
pub fn a_killed_harness_leaves_no_claim() {
    let home = folder();
    let (mut harness, plugin) = started(home.path());
    harness.kill().unwrap();
    harness.wait().unwrap();
    let out = home.path().join("out");
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["profiles"][0]["counts"]["pass"], 0);
    assert_ne!(report["profiles"][0]["result"], "success");
    // Nor do the files that are made of it say more, and there is no statement.
    let report = kms_report::from_json(&report.to_string()).unwrap().report;
    for form in Form::ALL {
        let written = fs::read_to_string(out.join(form.file())).ok();
        assert_eq!(written, form.render(&report).ok(), "{}", form.name());
    }
    assert!(!out.join(Form::InToto.file()).exists());
    let transcript = fs::read_to_string(out.join("history.jsonl")).unwrap();
    assert!(transcript.ends_with('\n'));
    assert!(
        transcript
            .lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
    // Unsealed, and still judged again: what it holds is judged, the rest is not claimed.
    let again = home.path().join("again").display().to_string();
    let said = run(&["judge", &out.display().to_string(), "--out", &again]);
    assert!(said.err.contains("never sealed"), "{}", said.err);
    if Path::new("/usr/bin/setpriv").exists() {
        for _ in 0..100 {
            if !alive(plugin) {
                return;
            }
            pause();
        }
        panic!("the plugin outlived the harness");
    }
}

/// A run on the toy plugin that is under way, and the plugin's process.
fn started(home: &Path) -> (Child, Pid) {
    let subject = toy_subject(home, "").display().to_string();
    let out = home.join("out");
    let mut command = harness(&[
        "run",
        "--subject",
        &subject,
        "--out",
        &out.display().to_string(),
    ]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while fs::metadata(out.join("history.jsonl")).map_or(0, |file| file.len()) < 5_000 {
        assert_eq!(child.try_wait().unwrap(), None, "the run was over at once");
        pause();
    }
    let plugin = children_of(child.id());
    assert_eq!(plugin.len(), 1, "{plugin:?}");
    (child, plugin[0])
}

fn children_of(parent: u32) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    text.split_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().unwrap()))
        .collect()
}

/// A zombie that nobody has reaped yet is no living process.
fn alive(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

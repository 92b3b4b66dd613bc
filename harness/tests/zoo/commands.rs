//! `calibrate` and `zoo` as programs.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::commands::support::{folder, harness, run};

/// One mutant of each kind, in the form that scripts read.
pub fn calibrate_prints_one_document() {
    let asked = [
        "honest",
        "version-unknown",
        "socket-for-everybody",
        "chaos-key-id-flaps",
    ];
    let mut args = vec!["calibrate", "--format=json", "--jobs=4"];
    args.extend(asked);
    let document = run(&args).ended(0).json();
    assert_eq!(
        document,
        json!({
            "mutants": [
                { "id": "honest", "breaks": [], "caught_by": [], "verdict": "passed" },
                {
                    "id": "version-unknown",
                    "breaks": ["KMS2-STATUS-01"],
                    "caught_by": ["KMS2-STATUS-01"],
                    "verdict": "caught",
                },
                {
                    "id": "socket-for-everybody",
                    "breaks": ["KMS2-SEC-02", "KMS2-CONN-15"],
                    "caught_by": ["KMS2-SEC-02", "KMS2-CONN-15"],
                    "verdict": "caught",
                },
                {
                    "id": "chaos-key-id-flaps",
                    "breaks": ["always:key-id-never-flaps"],
                    "caught_by": ["always:key-id-never-flaps", "always:key-id-never-returns"],
                    "verdict": "caught",
                },
            ],
            "survivors": [],
            "wrong": [],
        })
    );
}

pub fn wrong_usage_is_told() {
    let typo = run(&["calibrate", "version-unknwon"]).ended(2);
    assert!(typo.err.contains("version-unknown"), "{}", typo.err);
    let part = run(&["calibrate", "honest", "--out=/nonexistent"]).ended(2);
    assert!(part.err.contains("--out"), "{}", part.err);
    let place = ["--socket=unix:///tmp/none.sock", "--state=/tmp"];
    for (mutant, told) in [
        ("chaos-hangs", "calibrate"),
        ("nobody", "there is no mutant"),
    ] {
        let said = run(&["zoo", "--mutant", mutant, place[0], place[1]]).ended(2);
        assert!(said.err.contains(told), "{}", said.err);
    }
}

/// A plugin of the zoo that goes with the test.
struct Zoo(Child);

impl Drop for Zoo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nobody takes a socket from an owner that lives, and a state that is none of ours is not touched.
pub async fn a_second_plugin_does_not_take_the_socket() {
    let place = folder();
    let path = |name: &str| place.path().join(name);
    let socket = path("kms.sock");
    let words = |state: &str| {
        [
            "zoo".to_owned(),
            format!("--socket=unix://{}", socket.display()),
            format!("--state={}", path(state).display()),
        ]
    };
    for state in ["one", "two"] {
        std::fs::create_dir(path(state)).unwrap();
    }
    let spawned = harness(&[])
        .args(words("one"))
        .stderr(Stdio::null())
        .spawn();
    let mut first = Zoo(spawned.unwrap());
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it does not serve"
        );
        assert_eq!(first.0.try_wait().unwrap(), None, "it ended");
        sleep(Duration::from_millis(20)).await;
    }
    let second =
        crate::commands::support::said(harness(&[]).args(words("two")).output().unwrap()).ended(3);
    assert!(
        second.err.contains("somebody else serves"),
        "{}",
        second.err
    );
    std::fs::write(path("two/keys"), "mine").unwrap();
    let third =
        crate::commands::support::said(harness(&[]).args(words("two")).output().unwrap()).ended(3);
    assert!(third.err.contains("remove it"), "{}", third.err);
    assert_eq!(std::fs::read_to_string(path("two/keys")).unwrap(), "mine");
    assert_eq!(first.0.try_wait().unwrap(), None, "the owner lives on");
}

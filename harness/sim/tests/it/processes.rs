//! Equal seeds, equal digests: in two processes, and on several threads of one.

use std::path::PathBuf;
use std::process::Command;

use kms_scenario::plan::Plan;
use kms_scenario::verdict::digest;
use kms_scenario::{language, swarm};

/// The example binary, which cargo builds with the tests.
fn seeds() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    profile.join("examples").join("seeds")
}

fn lines(mode: &str, first: &str, count: &str) -> String {
    let output = Command::new(seeds())
        .args([mode, first, count])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        text.lines().count().to_string(),
        count,
        "one line a seed\n{text}\n{errors}"
    );
    text
}

#[test]
fn two_processes_give_equal_digests() {
    for (mode, count) in [("hour", "1"), ("swarm", "2")] {
        let first = lines(mode, "7", count);
        assert_eq!(first, lines(mode, "7", count));
    }
}

#[test]
fn threads_of_one_process_do_not_disturb_each_other() {
    let of = |seed: u64| {
        let text = language::write(&swarm::draw(seed)).unwrap();
        let plan = Plan::of(&language::read(&text, None).unwrap(), seed);
        digest(&kms_sim::run::run(&plan).history)
    };
    let alone: Vec<String> = (20..22).map(of).collect();
    let together: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (20..22).map(|seed| scope.spawn(move || of(seed))).collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    });
    assert_eq!(alone, together);
    assert_ne!(alone[0], alone[1]);
}

#[test]
fn an_hour_of_the_missions_faults_passes() {
    let text = lines("hour", "1", "1");
    assert!(text.starts_with("1 pass "), "{text}");
}

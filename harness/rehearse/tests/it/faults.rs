//! Every file of the fault table: it is made, it shows, its commands find it, its remedy is carried out, the cluster comes
//! back, and no rule breaks but those that it names.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use kms_rehearse::report::Rule;
use kms_rehearse::scenario::run::{self, outcome};
use kms_rehearse::scenario::{FILES, ROWS, Row, find, read};
use kms_scenario::verdict::{Outcome, Verdict};

use crate::share::share;

/// What did not hold.
fn wrong(outcome: &Outcome) -> String {
    let wrong = outcome.invariants.iter().filter(|it| it.result != "held");
    wrong.fold(String::new(), |mut text, it| {
        let _ = writeln!(text, "  {} {}: {}", it.id, it.result, it.detail);
        text
    })
}

/// Plays the rows whose place in the table leaves this rest, so that they share threads.
fn every(rest: usize) {
    let mut text = String::new();
    for row in share(ROWS.iter().skip(rest).step_by(4), 8) {
        let played = run::play(row, 1).unwrap();
        if played.outcome.verdict != Verdict::Pass {
            let verdict = played.outcome.verdict.as_str();
            let page = played.rehearsal.text();
            let _ = writeln!(text, "{} {verdict}\n{}", row.id(), wrong(&played.outcome));
            let story = page.find(&format!("\n{}: ", row.id())).unwrap_or(0);
            text.push_str(&page[story..]);
        }
    }
    assert!(text.is_empty(), "{text}");
}

#[test]
fn every_fault_is_provoked_seen_found_and_remedied_1() {
    every(0);
}

#[test]
fn every_fault_is_provoked_seen_found_and_remedied_2() {
    every(1);
}

#[test]
fn every_fault_is_provoked_seen_found_and_remedied_3() {
    every(2);
}

#[test]
fn every_fault_is_provoked_seen_found_and_remedied_4() {
    every(3);
}

#[test]
fn the_table_is_whole_and_in_order() {
    let ids: Vec<&str> = ROWS.iter().map(|row| row.id()).collect();
    let (rows, bugs) = ids.split_at(29 + 12);
    let known: Vec<String> = kms_scenario::language::ids::all_rows().collect();
    assert_eq!(rows, known);
    assert!(bugs.iter().all(|id| id.starts_with("BUG-")), "{bugs:?}");
}

#[test]
fn every_file_of_the_folder_is_compiled_in() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/openshift");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    names.sort();
    let mut compiled: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
    compiled.sort_unstable();
    assert_eq!(compiled, names);
}

/// A file like another one, but for one line.
fn changed(id: &str, from: &str, to: &str) -> Arc<Row> {
    let row = find(id).unwrap();
    let (name, text) = FILES.iter().find(|(name, _)| *name == row.form.id).unwrap();
    assert!(text.contains(from), "{from:?} in {text}");
    Arc::new(read(&text.replace(from, to), Some(name)).unwrap())
}

#[test]
fn a_fault_that_nothing_shows_of_is_inconclusive() {
    let row = changed("OCP-FAULT-05", "type", "clean-up");
    let mut played = run::play(&row, 1).unwrap();
    assert_eq!(
        played.outcome.verdict,
        Verdict::Pass,
        "{}",
        wrong(&played.outcome)
    );
    let story = played.rehearsal.parts[0].fault.as_mut().unwrap();
    story.seen.iter_mut().for_each(|it| it.held = false);
    story
        .detected
        .iter_mut()
        .for_each(|it| it.expectation.held = false);
    let judged = outcome(&row, &played.rehearsal).unwrap();
    assert_eq!(
        (judged.verdict, judged.faults[0].hits),
        (Verdict::Inconclusive, 0)
    );
    played.rehearsal.parts[0].fault = None;
    let judged = outcome(&row, &played.rehearsal).unwrap();
    assert_eq!(
        (judged.verdict, judged.faults[0].hits),
        (Verdict::Inconclusive, 0)
    );
}

#[test]
fn a_sign_or_a_text_that_does_not_show_fails() {
    let row = changed("OCP-FAULT-19", "count = 1", "count = 2");
    let played = run::play(&row, 1).unwrap();
    assert_eq!(played.outcome.verdict, Verdict::Fail);
    assert!(
        wrong(&played.outcome).contains("seen:2 of kube-apiserver's pods"),
        "{}",
        wrong(&played.outcome)
    );
    let row = changed("OCP-FAULT-19", "0/1", "Evicted");
    let played = run::play(&row, 1).unwrap();
    assert_eq!(played.outcome.verdict, Verdict::Fail);
    assert!(
        wrong(&played.outcome).contains("detected:oc get pods"),
        "{}",
        wrong(&played.outcome)
    );
}

#[test]
fn a_rule_that_breaks_or_does_not_break_unsaid_is_noticed() {
    let breaks = "breaks = [\"no-plain-text\"]";
    let row = changed("OCP-TRAP-01", breaks, "");
    let played = run::play(&row, 1).unwrap();
    assert_eq!(played.outcome.verdict, Verdict::Fail);
    assert!(played.rehearsal.parts[0].rules.contains(&Rule::NoPlainText));
    assert!(
        wrong(&played.outcome).contains("always:no-plain-text broken"),
        "{}",
        wrong(&played.outcome)
    );
    let row = changed(
        "OCP-TRAP-01",
        breaks,
        "breaks = [\"no-plain-text\", \"own-socket\"]",
    );
    let judged = outcome(&row, &played.rehearsal).unwrap();
    assert_eq!(judged.verdict, Verdict::Inconclusive, "{}", wrong(&judged));
    assert!(wrong(&judged).contains("sometimes-not:own-socket unseen"));
}

#[test]
fn the_same_seed_gives_the_same_digest_and_another_seed_another() {
    let row = find("OCP-FAULT-13").unwrap();
    let digest = |seed| run::play(&row, seed).unwrap().outcome.digest;
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

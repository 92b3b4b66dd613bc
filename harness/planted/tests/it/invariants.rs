//! Every invariant of the language is broken by something that is wrong, and holds where nothing is.

use std::collections::BTreeSet;

use kms_planted::Variant;
use kms_scenario::language::names;
use kms_scenario::plan::Plan;
use kms_scenario::verdict::{Outcome, Verdict};

use crate::bugs::{self, Bug, scenario};
use crate::models::{self, Model};

enum Wrong {
    Plugin(Variant),
    World(Model),
}
use Wrong::{Plugin, World};

/// Long enough for a poll, for an outage that an API server notices, and for what comes after it.
const BEGIN: &str = r#"
id = "broken"
title = "What an invariant is shown with."
proves = ["KMS2-RT-01"]
arms = ["sim"]
waives = []

[load]
writes = "30/min"
reads = "40/min"
lists = "2/min"
objects = 4

[phases]
settle = "10s"
baseline = "30s"
fault = "280s"
heal = "5s"
liveness = "130s"
"#;

const SEAL: &str = "[[fault]]\nid = \"seal\"\nkind = \"vault-seal\"\nat = \"5s\"\nfor = \"250s\"\n";
const RESTART: &str = "[[fault]]\nid = \"restart\"\nkind = \"plugin-restart\"\nat = \"5s\"\n";
const FORGET: &str = "[[fault]]\nid = \"apiservers\"\nkind = \"apiserver-restart\"\nat = \"20s\"\n";
const ROTATE: &str = "[[fault]]\nid = \"rotate\"\nkind = \"vault-rotate\"\nat = \"5s\"\n";
const REWRITE: &str = "[[fault]]\nid = \"rewrite\"\nkind = \"rewrite-all\"\nat = \"140s\"\n";
const TRIM: &str = "[[fault]]\nid = \"trim\"\nkind = \"vault-trim\"\nat = \"140s\"\n";

/// What is wrong, the faults with it, the expectation that must break.
fn table() -> Vec<(Wrong, Vec<&'static str>, &'static str)> {
    vec![
        (
            World(Model::LosesWrites),
            vec![],
            "always no-acknowledged-write-lost",
        ),
        (World(Model::MixesValues), vec![], "always no-wrong-bytes"),
        (
            Plugin(Variant::OtherBytes),
            vec![],
            "always readable-by-fresh-apiserver",
        ),
        (
            Plugin(Variant::Clear),
            vec![],
            "always no-plaintext-anywhere",
        ),
        (
            Plugin(Variant::KeyIdFlaps),
            vec![],
            "always key-id-never-flaps",
        ),
        (
            Plugin(Variant::KeyIdReturns),
            vec![ROTATE],
            "always key-id-never-returns",
        ),
        (
            World(Model::StartsTwice),
            vec![RESTART],
            "always no-second-owner",
        ),
        (
            World(Model::SkipsEqualWrites),
            vec![ROTATE, REWRITE],
            "always stored-under-current-key",
        ),
        (
            Plugin(Variant::StaleKeyId),
            vec![ROTATE],
            "always key-id-agrees within 20s",
        ),
        (
            Plugin(Variant::Hangs),
            vec![],
            "always deadlines-kept within 3s",
        ),
        (
            Plugin(Variant::AlwaysOk),
            vec![SEAL],
            "always status-truthful within 45s",
        ),
        (
            Plugin(Variant::LoginStorm),
            vec![],
            "always vault-logins-at-most limit 12 per 2m",
        ),
        (
            Plugin(Variant::RequestStorm),
            vec![],
            "always vault-requests-at-most limit 150 per 1m",
        ),
        (
            World(Model::Unbreakable),
            vec![ROTATE, TRIM],
            "sometimes objects-unreadable",
        ),
        (
            Plugin(Variant::SickForEver),
            vec![SEAL],
            "eventually recovers within 90s",
        ),
        (
            Plugin(Variant::SickForEver),
            vec![SEAL],
            "eventually status-ok within 90s",
        ),
        (
            Plugin(Variant::AlwaysOk),
            vec![SEAL],
            "sometimes status-bad",
        ),
        (
            Plugin(Variant::SickForEver),
            vec![SEAL],
            "eventually writes-ok within 90s",
        ),
        (
            Plugin(Variant::ForgetsAtRestart),
            vec![RESTART, FORGET],
            "eventually reads-ok within 90s",
        ),
        (
            Plugin(Variant::AlwaysOk),
            vec![SEAL],
            "sometimes writes-fail",
        ),
        (
            World(Model::Unbreakable),
            vec![SEAL, FORGET],
            "sometimes reads-fail",
        ),
        (
            Plugin(Variant::RotationUnseen),
            vec![ROTATE],
            "eventually key-id-changes within 90s",
        ),
    ]
}

fn plan(faults: &[&str], expected: &str) -> Plan {
    let words: Vec<&str> = expected.split(' ').collect();
    let mut text = format!("{BEGIN}\n{}\n[[expect]]\n", faults.concat());
    for pair in words.chunks(2) {
        let [word, value] = pair else {
            panic!("{expected}: words come in pairs")
        };
        let quote = if *word == "limit" { "" } else { "\"" };
        text.push_str(&format!("{word} = {quote}{value}{quote}\n"));
    }
    if words[0] == "eventually" {
        text.push_str("after = \"heal\"\n");
    }
    // some stay as they are until somebody rewrites all
    if faults.contains(&REWRITE) || faults.contains(&TRIM) {
        text = text.replace("objects = 4", "objects = 60");
    }
    // what is lost for good is lost for everybody
    if faults.contains(&TRIM) {
        text = text.replace("waives = []", "waives = [\"readable-by-fresh-apiserver\"]");
    }
    Plan::of(&scenario(&text), 3)
}

/// `always:no-wrong-bytes` of `always no-wrong-bytes`.
fn id(expected: &str) -> String {
    let words: Vec<&str> = expected.split(' ').collect();
    format!("{}:{}", words[0], words[1])
}

fn result<'a>(outcome: &'a Outcome, expected: &str) -> &'a str {
    let id = id(expected);
    let found = outcome
        .invariants
        .iter()
        .find(|invariant| invariant.id == id);
    found
        .unwrap_or_else(|| panic!("{id} was not judged"))
        .result
}

#[test]
fn each_is_broken_by_what_is_wrong() {
    let mut wrong = Vec::new();
    for (what, faults, expected) in table() {
        let plan = plan(&faults, expected);
        let outcome = match what {
            Plugin(variant) => bugs::carry_out(&plan, Bug::new(variant)).unwrap(),
            World(model) => models::carry_out(&plan, model),
        };
        if result(&outcome, expected) != "broken" {
            wrong.push(format!("{expected}: {outcome:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_holds_where_nothing_is_wrong() {
    let mut wrong = Vec::new();
    for (_, faults, expected) in table() {
        let outcome = bugs::carry_out(&plan(&faults, expected), Bug::none()).unwrap();
        if outcome.verdict != Verdict::Pass {
            wrong.push(format!("{expected}: {outcome:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn none_is_left_out() {
    let shown: BTreeSet<String> = table().iter().map(|(.., expected)| id(expected)).collect();
    let shown: BTreeSet<&str> = shown.iter().filter_map(|id| id.split(':').nth(1)).collect();
    let missing: Vec<&str> = names().filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

//! Scenarios about a server's own fault: where it no longer shows, that is reported, and nothing has failed.

use std::time::Duration;

use kms_history::chaos::{Entry, Event, Phase, RpcEnd};
use kms_scenario::language::read;
use kms_scenario::plan::Plan;
use kms_scenario::verdict::{Outcome, Verdict, outcome};

fn text(more: &str) -> String {
    format!(
        r#"
id = "a"
title = "A server's own fault."
proves = ["KMS2-STATUS-13"]
arms = ["sim"]
waives = [
    "no-acknowledged-write-lost", "no-wrong-bytes", "readable-by-fresh-apiserver", "no-plaintext-anywhere",
    "key-id-never-flaps", "key-id-never-returns", "key-id-agrees", "deadlines-kept", "no-second-owner",
]
[[expect]]
sometimes = "status-bad"
during = "fault"
upstream = true
{more}
"#
    )
}

/// A run in which Status was asked for so often in the fault phase, and was good or not.
fn judged(text: &str, statuses: &[bool]) -> Outcome {
    let scenario = read(text, None).unwrap_or_else(|problems| panic!("{problems:?}"));
    let phases = [
        Phase::Settle,
        Phase::Baseline,
        Phase::Fault,
        Phase::Heal,
        Phase::Liveness,
        Phase::Audit,
    ];
    let at = |second: u64, node, event| Entry {
        at: Duration::from_secs(second),
        node,
        event,
    };
    let mut history: Vec<_> = (0..)
        .zip(phases)
        .map(|(number, phase)| at(10 * number, None, Event::Phase(phase)))
        .collect();
    for (number, good) in (21..).zip(statuses) {
        let end = if *good {
            RpcEnd::Ok {
                key_id: "k".to_owned(),
                healthz: Some("ok".to_owned()),
            }
        } else {
            RpcEnd::Failed {
                code: "Unavailable".to_owned(),
                message: String::new(),
            }
        };
        let took = Duration::from_millis(1);
        history.push(at(number, Some(0), Event::Status { took, end }));
    }
    history.sort_by_key(|entry| entry.at);
    outcome(&Plan::of(&scenario, 1), &history)
}

#[test]
fn a_fault_that_is_not_shown_any_more_fails_nothing() {
    let shown = judged(&text(""), &[true, false]);
    assert_eq!(shown.verdict, Verdict::Pass, "{shown:#?}");
    assert_eq!(shown.invariants[0].result, "shown");
    let mended = judged(&text(""), &[true, true]);
    assert_eq!(mended.verdict, Verdict::NotShown, "{mended:#?}");
    assert_eq!(mended.invariants[0].result, "not_shown");
    assert_eq!(mended.verdict.as_str(), "not_shown");
    // who did not look cannot say so
    let unseen = judged(&text(""), &[]);
    assert_eq!(unseen.verdict, Verdict::Inconclusive, "{unseen:#?}");
}

/// What a plugin owes is owed here as well.
#[test]
fn a_violation_beside_it_is_one() {
    let own = text("[[expect]]\nalways = \"status-ok\"\nduring = \"fault\"");
    assert_eq!(judged(&own, &[true]).verdict, Verdict::NotShown);
    assert_eq!(judged(&own, &[true, false]).verdict, Verdict::Fail);
}

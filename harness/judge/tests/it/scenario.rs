//! What runs of scenarios say to requirements, from histories written by hand.

use std::collections::BTreeMap;

use kms_history::chaos::{Event, VaultPath};
use kms_judge::CheckStatus::{self, Fail, NotRun, Pass};
use kms_judge::scenario::{Facts, results};

use crate::story::{Story, rpc};

/// Vault is sealed from 100 to 200; the API server polls at these times, well or not.
fn sealed(polls: &[(u64, bool)]) -> Story {
    let story = Story::new().lasting((100, 200), "seal", "vault-seal", 0, false);
    polls.iter().fold(story, |story, (at, good)| {
        let end = rpc(good.then_some("k"));
        story.put(*at, Some(0), Event::Polled { end })
    })
}

fn judged(stories: &[Story]) -> Vec<(CheckStatus, String)> {
    let facts = stories
        .iter()
        .zip(1..)
        .map(|(story, seed)| Facts::of(format!("it#{seed}"), &story.entries));
    let results = results(&facts.collect::<Vec<_>>()).into_iter();
    results
        .map(|result| (result.status, result.observed))
        .collect()
}

fn recovery(polls: &[(u64, bool)]) -> CheckStatus {
    judged(&[sealed(polls)])[0].0
}

/// KMS2-AVAIL-01: 20 s, on each node, counted from the backend's heal.
#[test]
fn a_late_healthy_check_is_found() {
    assert_eq!(recovery(&[(90, true), (150, false), (219, true)]), Pass);
    assert_eq!(recovery(&[(90, true), (150, false), (221, true)]), Fail);
    assert_eq!(recovery(&[(90, true), (150, false), (210, false)]), Fail);
    assert_eq!(recovery(&[(90, true)]), Pass, "it never noticed");
    assert_eq!(recovery(&[]), NotRun);
    let one_late = [
        sealed(&[(150, false), (205, true)]),
        sealed(&[(150, false), (300, true)]),
    ];
    let (status, observed) = judged(&one_late).remove(0);
    assert_eq!(status, Fail);
    assert_eq!(observed, "1 of 2 runs: it#2: after 100.0s");
}

/// Where the plugin itself was hurt, or its rights are gone, the clock of KMS2-AVAIL-01 does not run.
#[test]
fn only_an_outage_of_the_backend_counts() {
    let polls = [(150, false), (300, true)];
    let beside = |what, hinders| {
        let story = sealed(&polls).lasting((100, 200), "more", what, 0, hinders);
        judged(&[story])[0].0
    };
    assert_eq!(beside("vault-hold path", false), Fail);
    assert_eq!(beside("vault-policy-removed", false), NotRun);
    assert_eq!(beside("plugin-kill", true), NotRun);
}

/// KMS2-AVAIL-02 is measured, from the first refused write to the next that succeeds.
#[test]
fn refused_writes_are_measured() {
    let story = Story::new()
        .write(90, 91, "v1")
        .lost_write(110, 111, "v2")
        .lost_write(190, 191, "v3")
        .write(230, 231, "v4");
    let (status, observed) = judged(&[story]).remove(1);
    assert_eq!(status, Pass);
    assert_eq!(observed, "1 of 1 runs: it#1: 2 refused over 120s");
    assert_eq!(judged(&[Story::new()])[1].0, NotRun);
}

/// KMS2-AVAIL-07: logins and other requests are bounded for each plugin; calls that the API server asks for are not.
#[test]
fn a_storm_is_found_on_the_node_that_makes_it() {
    let story = |path, each: u64| {
        (10..22).fold(Story::new(), |story, tens| {
            let calls = Event::VaultCalls(BTreeMap::from([(path, each)]));
            story
                .put(tens * 10, Some(0), calls.clone())
                .put(tens * 10, Some(1), calls)
        })
    };
    assert_eq!(judged(&[story(VaultPath::Login, 1)])[2].0, Pass);
    assert_eq!(judged(&[story(VaultPath::Login, 2)])[2].0, Fail);
    assert_eq!(judged(&[story(VaultPath::KeyRead, 20)])[2].0, Pass);
    assert_eq!(judged(&[story(VaultPath::KeyRead, 21)])[2].0, Fail);
    assert_eq!(judged(&[story(VaultPath::Decrypt, 500)])[2].0, Pass);
}

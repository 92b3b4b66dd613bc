//! Every invariant is seen failing on a history written by hand, and holding on its neighbour.

use std::time::Duration;

use kms_history::chaos::{AuditFact, Event, OpEnd, OpKind, Phase};
use kms_judge::invariant::{Claim, Expectation, Mode, Result, judge};

use crate::story::{Story, rpc, seconds};

const ALWAYS: Mode = Mode::Always { during: None };
const SOMETIMES: Mode = Mode::Sometimes { during: None };

fn eventually(within: u64) -> Mode {
    Mode::Eventually {
        within: seconds(within),
    }
}

#[test]
fn a_lost_write_is_found() {
    let claim = Claim::NoAcknowledgedWriteLost;
    let story = Story::new().write(1, 2, "v1").write(3, 4, "v2");
    story.clone().read(5, "v2").holds(ALWAYS, claim);
    story
        .clone()
        .read(5, "v1")
        .breaks(ALWAYS, claim, "holds value v1");
    story
        .clone()
        .missing(5)
        .breaks(ALWAYS, claim, "holds nothing");
    story
        .clone()
        .audit(Some("k"), Some("v1"), false)
        .breaks(ALWAYS, claim, "holds value v1");
    story.shows_nothing(ALWAYS, claim);
}

/// Nobody knows what became of a write without an answer: both are right, also much later.
#[test]
fn a_write_without_answer_may_or_may_not_have_happened() {
    let claim = Claim::NoAcknowledgedWriteLost;
    let story = Story::new().write(1, 2, "v1").lost_write(3, 18, "v2");
    story.clone().read(30, "v1").holds(ALWAYS, claim);
    story.clone().read(30, "v2").holds(ALWAYS, claim);
    let later = story.write(40, 41, "v3");
    later.clone().read(50, "v2").holds(ALWAYS, claim);
    later.read(50, "v1").breaks(ALWAYS, claim, "v1");
}

#[test]
fn a_read_during_a_write_may_see_either() {
    let claim = Claim::NoAcknowledgedWriteLost;
    let story = Story::new().write(1, 2, "v1").write(5, 9, "v2");
    story.clone().read(6, "v1").holds(ALWAYS, claim);
    story.clone().read(6, "v2").holds(ALWAYS, claim);
    // the same instant: virtual time does not move while nothing waits
    Story::new()
        .write(1, 1, "v1")
        .write(6, 7, "v2")
        .read(5, "v2")
        .holds(ALWAYS, claim);
}

#[test]
fn a_restore_takes_later_writes_away_and_no_earlier_ones() {
    let claim = Claim::NoAcknowledgedWriteLost;
    let story = Story::new()
        .write(1, 2, "v1")
        .write(3, 4, "v2")
        .fault(10, "backup", "backup", 0, false)
        .write(20, 21, "v3")
        .fault(30, "restore", "restore", 0, false);
    story.clone().read(40, "v2").holds(ALWAYS, claim);
    story.clone().read(40, "v1").breaks(ALWAYS, claim, "v1");
    story
        .write(50, 51, "v4")
        .read(60, "v2")
        .breaks(ALWAYS, claim, "v2");
}

#[test]
fn a_short_list_is_a_loss() {
    let list = |items| OpEnd::Ok {
        value: None,
        items: Some(items),
    };
    let story = Story::new().write(1, 2, "v1").read(3, "v1");
    let claim = Claim::NoAcknowledgedWriteLost;
    story
        .clone()
        .op(5, 6, OpKind::List, "", None, list(1))
        .holds(ALWAYS, claim);
    story.op(5, 6, OpKind::List, "", None, list(0)).breaks(
        ALWAYS,
        claim,
        "0 objects of at least 1",
    );
}

#[test]
fn bytes_that_nobody_wrote_are_found() {
    let story = Story::new().write(1, 2, "v1");
    story
        .clone()
        .read(5, "v1")
        .holds(ALWAYS, Claim::NoWrongBytes);
    story
        .clone()
        .read(5, "v9")
        .breaks(ALWAYS, Claim::NoWrongBytes, "nobody wrote");
    story.shows_nothing(ALWAYS, Claim::NoWrongBytes);
}

#[test]
fn what_a_fresh_server_cannot_read_is_found() {
    let (fresh, unreadable) = (Claim::ReadableByFreshApiserver, Claim::ObjectsUnreadable);
    let good = Story::new().audit(Some("k"), Some("v"), false);
    let bad = good.clone().audit(Some("k"), None, false);
    good.holds(ALWAYS, fresh);
    good.breaks(SOMETIMES, unreadable, "all are readable");
    bad.breaks(ALWAYS, fresh, "1 of 2 objects");
    bad.holds(SOMETIMES, unreadable);
    Story::new().shows_nothing(ALWAYS, fresh);
    Story::new().shows_nothing(SOMETIMES, unreadable);
}

#[test]
fn plaintext_is_found_in_the_store_and_elsewhere() {
    let claim = Claim::NoPlaintextAnywhere;
    let good = Story::new().audit(Some("k"), Some("v"), false);
    good.holds(ALWAYS, claim);
    good.clone()
        .audit(None, Some("v"), true)
        .breaks(ALWAYS, claim, "in clear");
    good.at(402, Event::Leak("log of node 0".to_owned()))
        .breaks(ALWAYS, claim, "log of node 0");
    Story::new().shows_nothing(ALWAYS, claim);
}

/// What a cluster's store shows: a value by another provider, or by none at all, is no matter of its key.
#[test]
fn values_of_another_provider_are_found() {
    let claim = Claim::StoredByProvider;
    let story = |prefix: &str| Story::new().at(1, Event::Provider(prefix.to_owned()));
    let stored = |story: Story| story.audit(Some("k"), Some("v"), false);
    stored(story("k8s:enc:kms:v2:kms:")).holds(ALWAYS, claim);
    stored(story("k8s:enc:kms:v2:other:")).breaks(ALWAYS, claim, "1 of 1 objects");
    let plain = Event::Audit(AuditFact {
        object: "b".to_owned(),
        prefix: "k8s\0".to_owned(),
        key_id: None,
        fresh: OpEnd::Ok {
            value: None,
            items: None,
        },
        clear: true,
    });
    let clear = stored(story("k8s:enc:kms:v2:kms:")).at(402, plain);
    clear.breaks(ALWAYS, claim, "1 of 2 objects");
    story("k8s:enc:kms:v2:kms:").shows_nothing(ALWAYS, claim);
    stored(Story::new()).shows_nothing(ALWAYS, claim);
}

#[test]
fn objects_under_an_old_key_are_found() {
    let claim = Claim::StoredUnderCurrentKey;
    let story = Story::new().status(10, Some("k1")).status(300, Some("k2"));
    story
        .clone()
        .audit(Some("k2"), Some("v"), false)
        .holds(ALWAYS, claim);
    story
        .clone()
        .audit(Some("k1"), Some("v"), false)
        .breaks(ALWAYS, claim, "k1");
    story
        .clone()
        .audit(None, Some("v"), false)
        .breaks(ALWAYS, claim, "no key");
    story.shows_nothing(ALWAYS, claim);
}

#[test]
fn a_key_that_changes_by_itself_flaps() {
    let claim = Claim::KeyIdNeverFlaps;
    let story = Story::new().status(10, Some("k1")).status(150, Some("k2"));
    story.breaks(ALWAYS, claim, "the key changed 0 times");
    story
        .clone()
        .fault(120, "rotate", "vault-rotate", 1, false)
        .holds(ALWAYS, claim);
    // a rotation that comes later explains nothing
    story
        .fault(180, "rotate", "vault-rotate", 1, false)
        .breaks(ALWAYS, claim, "0 times");
    Story::new().status(10, None).shows_nothing(ALWAYS, claim);
}

#[test]
fn a_key_that_comes_back_is_found() {
    let claim = Claim::KeyIdNeverReturns;
    let story = Story::new()
        .status(10, Some("k1"))
        .status(20, None)
        .status(30, Some("k1"))
        .status(40, Some("k2"));
    story.holds(ALWAYS, claim);
    story
        .status(50, Some("k1"))
        .breaks(ALWAYS, claim, "\"k1\" again");
}

#[test]
fn status_and_encrypt_may_differ_for_a_moment_only() {
    let claim = Claim::KeyIdAgrees {
        within: seconds(60),
    };
    let story = Story::new()
        .status(10, Some("k1"))
        .encrypt(11, Some("k1"))
        .encrypt(20, Some("k2"));
    story
        .clone()
        .status(70, Some("k2"))
        .encrypt(100, Some("k2"))
        .holds(ALWAYS, claim);
    story
        .clone()
        .status(70, Some("k1"))
        .status(90, Some("k1"))
        .breaks(ALWAYS, claim, "Encrypt \"k2\"");
    Story::new()
        .status(10, Some("k1"))
        .shows_nothing(ALWAYS, claim);
}

#[test]
fn a_status_that_lies_either_way_is_found() {
    let claim = Claim::StatusTruthful {
        within: seconds(60),
    };
    let well = Story::new().status(10, Some("k")).encrypt(11, Some("k"));
    let lies = well
        .clone()
        .encrypt(40, None)
        .status(90, Some("k"))
        .status(101, Some("k"));
    lies.breaks(ALWAYS, claim, "Status is ok and Encrypt fails");
    let bad = well
        .clone()
        .status(40, None)
        .encrypt(90, Some("k"))
        .encrypt(101, Some("k"));
    bad.breaks(ALWAYS, claim, "Status is bad and Encrypt works");
    well.clone()
        .encrypt(40, None)
        .status(90, None)
        .holds(ALWAYS, claim);
    Story::new().shows_nothing(ALWAYS, claim);
}

/// While nothing is encrypted, nobody knows which key it would be.
#[test]
fn what_nobody_asked_is_not_behind() {
    let asked = Story::new()
        .status(10, Some("k1"))
        .encrypt(11, Some("k1"))
        .status(20, Some("k2"))
        .encrypt(40, None)
        .status(200, Some("k2"));
    let keys = Claim::KeyIdAgrees {
        within: seconds(60),
    };
    asked.holds(ALWAYS, keys);
    asked
        .encrypt(210, Some("k1"))
        .breaks(ALWAYS, keys, "Encrypt \"k1\"");
}

#[test]
fn a_late_answer_is_found_unless_a_fault_of_the_plugin_explains_it() {
    let claim = Claim::DeadlinesKept { limit: seconds(3) };
    let slow = |story: Story| {
        let event = Event::Status {
            took: seconds(4),
            end: rpc(None),
        };
        story.put(150, Some(0), event)
    };
    let story = slow(Story::new());
    story.breaks(ALWAYS, claim, "took 4s");
    story
        .clone()
        .fault(148, "freeze", "plugin-freeze", 0, true)
        .status(20, Some("k"))
        .holds(ALWAYS, claim);
    story
        .clone()
        .fault(148, "seal", "vault-seal", 0, false)
        .breaks(ALWAYS, claim, "took 4s");
    story
        .fault(120, "freeze", "plugin-freeze", 0, true)
        .breaks(ALWAYS, claim, "took 4s");
    Story::new().shows_nothing(ALWAYS, claim);
}

#[test]
fn calls_are_counted_in_windows() {
    let logins = |limit, per| Claim::VaultLoginsAtMost {
        limit,
        per: seconds(per),
    };
    let story = Story::new().logins(10, 3).logins(20, 3).logins(300, 3);
    story.holds(ALWAYS, logins(6, 60));
    story.breaks(ALWAYS, logins(5, 60), "6 logins");
    story.breaks(ALWAYS, logins(8, 400), "9 logins");
    let requests = Claim::VaultRequestsAtMost {
        limit: 5,
        per: seconds(60),
    };
    story.breaks(ALWAYS, requests, "6 requests");
    Story::new().shows_nothing(ALWAYS, logins(1, 60));
}

#[test]
fn two_plugins_on_a_node_are_found() {
    let claim = Claim::NoSecondOwner;
    let story =
        Story::new()
            .put(1, Some(0), Event::PluginStarted)
            .put(1, Some(1), Event::PluginStarted);
    story.holds(ALWAYS, claim);
    let second = story.clone().put(50, Some(0), Event::PluginStarted);
    second.breaks(ALWAYS, claim, "on node 0");
    story
        .put(40, Some(0), Event::PluginStopped("killed".to_owned()))
        .put(50, Some(0), Event::PluginStarted)
        .holds(ALWAYS, claim);
}

#[test]
fn a_state_that_does_not_come_back_is_found() {
    let down = Story::new()
        .status(50, Some("k"))
        .status(150, None)
        .status(205, None);
    let back = down.clone().status(230, Some("k")).status(390, Some("k"));
    back.holds(eventually(30), Claim::StatusOk);
    back.breaks(ALWAYS, Claim::StatusOk, "Unavailable");
    back.holds(SOMETIMES, Claim::StatusBad);
    back.clone()
        .status(300, None)
        .breaks(eventually(30), Claim::StatusOk, "99.999s after heal");
    down.shows_nothing(eventually(30), Claim::StatusOk);
    Story::new()
        .status(50, Some("k"))
        .breaks(SOMETIMES, Claim::StatusBad, "never in 1 times");
    let during = Mode::Always {
        during: Some(Phase::Baseline),
    };
    back.holds(during, Claim::StatusOk);
}

#[test]
fn writes_and_reads_are_states_as_well() {
    let fails = Story::new()
        .write(50, 51, "v")
        .lost_write(150, 151, "w")
        .read(152, "v");
    fails.breaks(ALWAYS, Claim::WritesOk, "no answer");
    fails.holds(SOMETIMES, Claim::WritesFail);
    fails.holds(ALWAYS, Claim::ReadsOk);
    fails.breaks(SOMETIMES, Claim::ReadsFail, "never");
    fails
        .clone()
        .write(300, 301, "x")
        .holds(eventually(30), Claim::WritesOk);
    fails
        .clone()
        .write(300, 301, "x")
        .breaks(eventually(30), Claim::WritesFail, "ended with Ok");
    Story::new().shows_nothing(ALWAYS, Claim::ReadsOk);
}

#[test]
fn recovery_is_told_in_parts_and_bounded() {
    let poll = |story: Story, at, key| story.put(at, Some(0), Event::Polled { end: rpc(key) });
    let story = Story::new().status(150, None).lost_write(150, 151, "v");
    let story = poll(story, 205, None)
        .status(220, Some("k"))
        .write(260, 261, "w");
    let story = poll(story, 240, Some("k"));
    match story.judge(eventually(70), Claim::Recovers) {
        Result::Held(text) => assert_eq!(text, "Status 20s, poll 40s, writes 61s after heal"),
        other => panic!("{other:?}"),
    }
    story.breaks(eventually(60), Claim::Recovers, "60s allowed");
    story.lost_write(390, 391, "x").breaks(
        eventually(70),
        Claim::Recovers,
        "writes never became well",
    );
}

#[test]
fn a_change_of_the_key_must_be_seen_in_time() {
    let story = Story::new().status(10, Some("k1"));
    story
        .clone()
        .status(150, Some("k2"))
        .holds(eventually(10), Claim::KeyIdChanges);
    story.clone().status(300, Some("k2")).breaks(
        eventually(10),
        Claim::KeyIdChanges,
        "no other key",
    );
    story
        .clone()
        .status(300, Some("k2"))
        .holds(SOMETIMES, Claim::KeyIdChanges);
    story.breaks(SOMETIMES, Claim::KeyIdChanges, "no other key");
}

/// An expectation of one node is judged on that node alone.
#[test]
fn a_node_is_judged_alone() {
    let bad = Event::Status {
        took: Duration::ZERO,
        end: rpc(None),
    };
    let story = Story::new().status(10, Some("k")).put(20, Some(1), bad);
    let on = |node| Expectation {
        mode: ALWAYS,
        claim: Claim::StatusOk,
        node: Some(node),
    };
    assert!(matches!(judge(&on(0), &story.entries), Result::Held(_)));
    assert!(matches!(
        judge(&on(1), &story.entries),
        Result::Broken { .. }
    ));
}

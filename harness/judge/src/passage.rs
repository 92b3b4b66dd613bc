//! Judge of what an API server in front of the plugin showed: written, read, listed, the key rotated, rewritten, both
//! restarted, read again.
//!
//! Only runs that asked for an API server have its stimulus, so only they have results of it.

use kms_history::{History, HookStep, What};

use crate::stimuli::PASSAGE;
use crate::tally::Tally;
use crate::{Check, CheckResult, CheckStatus};

/// Names of what is counted, in the order of the passage. They are part of stored transcripts.
pub mod counts {
    /// Secrets that were to be written. All others are compared with it.
    pub const WANTED: &str = "secrets-wanted";
    /// Secrets that were created.
    pub const WRITTEN: &str = "secrets-written";
    /// Secrets that read back as they were written.
    pub const READ: &str = "secrets-read";
    /// Secrets that a list holds as they were written.
    pub const LISTED: &str = "secrets-listed";
    /// After a rotation and a restart of the server, before anything is rewritten: Secrets that read as they were
    /// written.
    pub const READ_UNDER_OLD_KEY: &str = "secrets-read-under-old-key";
    /// Secrets that changed in the store when they were written back as they are: those of the old key.
    pub const REWRITTEN: &str = "secrets-rewritten";
    /// Secrets that changed when that was done again: none must.
    pub const REWRITTEN_AGAIN: &str = "secrets-rewritten-again";
    /// After a restart of the plugin and the server: Secrets that read as they were written.
    pub const READ_AFTER_RESTART: &str = "secrets-read-after-restart";
    /// Status calls that came from the API server of a cluster, over the whole run.
    pub const STATUS_CALLS: &str = "status-calls";
    /// Its Encrypt calls.
    pub const ENCRYPT_CALLS: &str = "encrypt-calls";
    /// Its Decrypt calls.
    pub const DECRYPT_CALLS: &str = "decrypt-calls";
}

/// Codes of reasons why something was not seen that mean more than that. They are part of stored transcripts.
pub mod reasons {
    /// The server in front is one that the harness cannot restart: what needs that does not apply.
    pub const BEYOND: &str = "beyond-a-kubeconfig";
    /// Nothing shows that the server in front uses this plugin: undecided.
    pub const NOT_OURS: &str = "not-ours";
    /// The harness or the server in front gave up half-way: undecided.
    pub const BROKE_OFF: &str = "broke-off";
}

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "through-an-apiserver",
    requirements: &["KMS2-RT-01", "KMS2-ROT-01", "KMS2-ROT-03", "KMS2-RT-02"],
    title: "Secrets of an API server outlive a rotation of the key, a rewriting and restarts",
    stimuli: &[PASSAGE],
    judge: passage,
}];

fn passage(check: &Check, history: &History) -> Vec<CheckResult> {
    let tally = |id, expected| Tally::new(check, history, id, expected);
    let mut comes_back = tally(
        "KMS2-RT-01",
        "every Secret is written, and read and listed alike",
    );
    let mut reported = tally(
        "KMS2-ROT-01",
        "the server takes up the new key_id and then finds every Secret of the old one stale, once",
    );
    let mut old_key = tally("KMS2-ROT-03", "every Secret of the old key reads alike");
    let mut restart = tally("KMS2-RT-02", "every Secret reads alike after the restart");
    let wanted = count(history, counts::WANTED).map_or(0, |(_, value)| value);
    let all = |tally: &mut Tally<'_>, name: &str, what: &str| {
        if let Some((seq, value)) = count(history, name) {
            tally.holds(seq, value == wanted, || {
                format!("{value} of {wanted} {what}")
            });
        }
    };
    all(&mut comes_back, counts::WRITTEN, "were written");
    all(&mut comes_back, counts::READ, "read alike");
    all(&mut comes_back, counts::LISTED, "are listed alike");
    let took = effect(history, "rotate", &mut reported);
    all(&mut reported, counts::REWRITTEN, "were stale");
    if let Some((seq, value)) = count(history, counts::REWRITTEN_AGAIN) {
        reported.holds(seq, value == 0, || {
            format!("{value} of {wanted} were stale again at once")
        });
    }
    all(
        &mut old_key,
        counts::READ_UNDER_OLD_KEY,
        "of the old key read alike",
    );
    effect(history, "restart", &mut restart);
    all(
        &mut restart,
        counts::READ_AFTER_RESTART,
        "read alike after the restart",
    );
    let seen = format!("{wanted} Secrets");
    let mut results = vec![
        comes_back.finish(seen.clone(), "what reads otherwise is lost to its owner"),
        reported.finish(
            format!("taken up after {:.1} s; {seen} rewritten", took as f64 / 1e9),
            "a rotation that the server does not take up protects nothing that is written afterwards",
        ),
        old_key.finish(seen.clone(), "until everything is rewritten old keys must decrypt"),
        restart.finish(seen, "a restart makes the server ask the plugin for every seed again"),
    ];
    for result in &mut results {
        undecided(result, history);
    }
    results
}

/// The requirements that only a restart of the server shows.
const BY_RESTART: [&str; 2] = ["KMS2-ROT-03", "KMS2-RT-02"];

/// What the reasons of a passage say of a result: more than that nobody looked, or that what was seen is about another
/// plugin.
fn undecided(result: &mut CheckResult, history: &History) {
    let by_restart = BY_RESTART.contains(&result.requirement.as_str());
    let unseen = result.assertions == 0;
    let reasons = history
        .stimulus(PASSAGE)
        .filter_map(|event| match &event.what {
            What::NotRun(reason) => Some(reason),
            _ => None,
        });
    for reason in reasons {
        let status = match reason.split(':').next() {
            Some(reasons::BEYOND) if by_restart && unseen => CheckStatus::NotApplicable,
            Some(reasons::NOT_OURS) if !by_restart => CheckStatus::Inconclusive,
            Some(reasons::BROKE_OFF) if unseen => CheckStatus::Inconclusive,
            _ => continue,
        };
        result.status = status;
        result.explanation.clone_from(reason);
        return;
    }
}

fn count(history: &History, name: &str) -> Option<(u64, u64)> {
    history
        .stimulus(PASSAGE)
        .find_map(|event| match &event.what {
            What::Measured(measure) if measure.name == name => Some((event.seq, measure.value)),
            _ => None,
        })
}

/// A hook that was used must have had its effect; nanoseconds until then.
fn effect(history: &History, hook: &str, tally: &mut Tally<'_>) -> u64 {
    let mut steps = history
        .stimulus(PASSAGE)
        .filter_map(|event| match &event.what {
            What::Hook(step) if step.hook == hook && step.error.is_none() => {
                Some((event.seq, step))
            }
            _ => None,
        });
    let Some((seq, HookStep { effect_ns, .. })) = steps.next() else {
        return 0;
    };
    tally.holds(seq, effect_ns.is_some(), || {
        format!("no effect of the {hook} was seen in time")
    });
    effect_ns.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use kms_history::{Event, Header, Measure};

    use super::*;
    use crate::CheckStatus::{Fail, Inconclusive, NotApplicable, NotRun, Pass};

    const GOOD: [(&str, u64); 8] = [
        (counts::WANTED, 20),
        (counts::WRITTEN, 20),
        (counts::READ, 20),
        (counts::LISTED, 20),
        (counts::READ_UNDER_OLD_KEY, 20),
        (counts::REWRITTEN, 20),
        (counts::REWRITTEN_AGAIN, 0),
        (counts::READ_AFTER_RESTART, 20),
    ];

    fn history(numbers: &[(&'static str, u64)], hooks: &[(&str, Option<u64>)]) -> History {
        let numbers = numbers.iter().map(|(name, value)| {
            What::Measured(Measure {
                name: Cow::Borrowed(name),
                value: *value,
            })
        });
        let hooks = hooks.iter().map(|(hook, effect_ns)| {
            What::Hook(HookStep {
                hook: (*hook).into(),
                error: None,
                effect_ns: *effect_ns,
            })
        });
        let events = numbers.chain(hooks).zip(0..).map(|(what, seq)| Event {
            seq,
            at_ns: seq,
            stimulus: PASSAGE.into(),
            caller: 0,
            what,
        });
        History::new(Header::new(1, "core", 10, 3_000_000_000), events.collect()).unwrap()
    }

    fn statuses(history: &History) -> Vec<CheckStatus> {
        let results = crate::judge(history).into_iter();
        results
            .filter(|result| result.check_id == CHECKS[0].id)
            .map(|result| result.status)
            .collect()
    }

    const HOOKS: [(&str, Option<u64>); 2] = [("rotate", Some(1)), ("restart", Some(2))];

    #[test]
    fn a_whole_passage_passes_and_a_run_without_one_says_nothing() {
        assert_eq!(statuses(&history(&GOOD, &HOOKS)), [Pass; 4]);
        let none = History::new(Header::new(1, "core", 10, 3_000_000_000), Vec::new()).unwrap();
        assert!(statuses(&none).is_empty());
    }

    /// Each number that is off by one fails the requirement that it belongs to, and no other.
    #[test]
    fn each_loss_fails_its_own_requirement() {
        let belongs = [0, 0, 0, 2, 1, 1, 3];
        for (at, requirement) in belongs.into_iter().enumerate() {
            let mut numbers = GOOD;
            numbers[at + 1].1 = if numbers[at + 1].1 == 0 { 1 } else { 19 };
            let mut expected = [Pass; 4];
            expected[requirement] = Fail;
            assert_eq!(
                statuses(&history(&numbers, &HOOKS)),
                expected,
                "{numbers:?}"
            );
        }
        let unseen = [("rotate", None), ("restart", Some(2))];
        assert_eq!(statuses(&history(&GOOD, &unseen)), [Pass, Fail, Pass, Pass]);
        let unseen = [("rotate", Some(1)), ("restart", None)];
        assert_eq!(statuses(&history(&GOOD, &unseen)), [Pass, Pass, Pass, Fail]);
    }

    #[test]
    fn a_passage_that_broke_off_claims_only_what_it_showed() {
        assert_eq!(statuses(&history(&GOOD[..4], &[]))[0], Pass);
        let refused = Event {
            seq: 0,
            at_ns: 0,
            stimulus: PASSAGE.into(),
            caller: 0,
            what: What::NotRun("no-apiserver: it did not become ready".into()),
        };
        let history =
            History::new(Header::new(1, "core", 10, 3_000_000_000), vec![refused]).unwrap();
        assert_eq!(statuses(&history), [NotRun; 4]);
    }

    fn with_reasons(numbers: &[(&'static str, u64)], reasons: &[&str]) -> History {
        let mut events: Vec<Event> = history(numbers, &[]).events().to_vec();
        for reason in reasons {
            let seq = events.len() as u64;
            events.push(Event {
                seq,
                at_ns: seq,
                stimulus: PASSAGE.into(),
                caller: 0,
                what: What::NotRun((*reason).into()),
            });
        }
        History::new(Header::new(1, "core", 10, 3_000_000_000), events).unwrap()
    }

    /// A cluster's server is not restarted, and one that does not call the plugin says nothing about it.
    #[test]
    fn a_lent_server_shows_what_it_can() {
        let beyond = "beyond-a-kubeconfig: no restart";
        let seen = with_reasons(&GOOD[..4], &[beyond]);
        assert_eq!(
            statuses(&seen),
            [Pass, NotRun, NotApplicable, NotApplicable]
        );
        let unused = with_reasons(&[], &[beyond, "not-ours: nobody called"]);
        let results = crate::judge(&unused);
        let of = |id: &str| {
            let one = results
                .iter()
                .find(|one| one.check_id == CHECKS[0].id && one.requirement == id);
            one.unwrap().explanation.clone()
        };
        assert_eq!(
            statuses(&unused),
            [Inconclusive, Inconclusive, NotApplicable, NotApplicable]
        );
        assert!(of("KMS2-RT-01").starts_with("not-ours") && of("KMS2-RT-02").starts_with("beyond"));
    }

    /// A cluster that keeps its Secrets in clear reads all of them back.
    #[test]
    fn secrets_that_another_keeps_say_nothing_about_the_plugin() {
        let others = ["beyond-a-kubeconfig: no restart", "not-ours: not stale"];
        assert_eq!(
            statuses(&with_reasons(&GOOD[..4], &others)),
            [Inconclusive, Inconclusive, NotApplicable, NotApplicable]
        );
    }

    /// It ended with exit 0 as if nobody had wanted the rest.
    #[test]
    fn a_server_that_goes_away_half_way_leaves_the_rest_undecided() {
        let broke = with_reasons(&GOOD[..4], &["broke-off: connection refused"]);
        assert_eq!(
            statuses(&broke),
            [Pass, Inconclusive, Inconclusive, Inconclusive]
        );
    }
}

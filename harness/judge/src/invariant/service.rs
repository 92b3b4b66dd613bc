//! Whether plugins, API servers and clients are well, and whether Status says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kms_history::chaos::{OpEnd, OpKind, Phase};

use super::pairs::behind;
use super::view::{Sample, View};
use super::{Claim, Expectation, Mode, Result};

/// How long after a fault of the plugin itself its RPCs may still be late: connections are made anew.
const GRACE: Duration = Duration::from_secs(5);

/// One observation of a state.
struct Seen<'a> {
    node: Option<u32>,
    start: Duration,
    at: Duration,
    good: bool,
    what: What<'a>,
}

/// What was observed.
enum What<'a> {
    Status(Sample<'a>),
    Poll(Sample<'a>),
    Op(OpKind, &'a str, &'a OpEnd),
}

impl Seen<'_> {
    fn words(&self) -> String {
        match &self.what {
            What::Status(sample) => format!("Status {}", sample.words()),
            What::Poll(sample) => format!("poll {}", sample.words()),
            What::Op(kind, object, end) => format!("{kind:?} {object} ended with {end:?}"),
        }
    }
}

fn seen<'a>(view: &View<'a>, claim: Claim) -> Vec<Seen<'a>> {
    let samples = |samples: Vec<Sample<'a>>, wanted: bool| -> Vec<Seen<'a>> {
        let seen = |sample: Sample<'a>| Seen {
            node: Some(sample.node),
            start: sample.start,
            at: sample.at,
            good: sample.good() == wanted,
            what: What::Status(sample),
        };
        samples.into_iter().map(seen).collect()
    };
    match claim {
        Claim::StatusOk => samples(view.statuses(), true),
        Claim::StatusBad => samples(view.statuses(), false),
        Claim::WritesOk => ops(view, &[OpKind::Write], true),
        Claim::WritesFail => ops(view, &[OpKind::Write], false),
        Claim::ReadsOk => ops(view, &[OpKind::Read, OpKind::List], true),
        Claim::ReadsFail => ops(view, &[OpKind::Read, OpKind::List], false),
        _ => Vec::new(),
    }
}

fn ops<'a>(view: &View<'a>, kinds: &[OpKind], wanted: bool) -> Vec<Seen<'a>> {
    let ops = view.ops();
    let ended = ops.iter().filter(|op| kinds.contains(&op.kind));
    ended
        .filter_map(|op| {
            let (at, end) = op.end?;
            Some(Seen {
                node: op.node,
                start: op.start,
                at,
                good: op.acknowledged().is_some() == wanted,
                what: What::Op(op.kind, op.object, end),
            })
        })
        .collect()
}

/// States, and the one thing that happens.
pub(super) fn state(view: &View<'_>, expectation: &Expectation) -> Result {
    match (expectation.claim, expectation.mode) {
        (Claim::KeyIdChanges, mode) => key_changes(view, mode),
        (Claim::Recovers, Mode::Eventually { within }) => recovers(view, within),
        (claim, Mode::Eventually { within }) => eventually(view, claim, within),
        (claim, Mode::Always { during }) => always(view, claim, during),
        (claim, Mode::Sometimes { during }) => sometimes(view, claim, during),
    }
}

/// The time that is judged: a phase, or everything from baseline to liveness.
fn judged(view: &View<'_>, during: Option<Phase>) -> Option<(Duration, Duration)> {
    if let Some(phase) = during {
        return view.span(phase);
    }
    let (start, _) = view.span(Phase::Baseline)?;
    let (_, end) = view.span(Phase::Liveness)?;
    Some((start, end))
}

fn always(view: &View<'_>, claim: Claim, during: Option<Phase>) -> Result {
    let Some((from, to)) = judged(view, during) else {
        return Result::Nothing("the phase was never reached".to_owned());
    };
    let mut count = 0;
    for seen in seen(view, claim) {
        if seen.start < from || seen.start >= to {
            continue;
        }
        if !seen.good {
            return Result::Broken {
                at: seen.at,
                text: seen.words(),
            };
        }
        count += 1;
    }
    if count == 0 {
        return Result::Nothing("it was never looked at".to_owned());
    }
    Result::Held(format!("{count} times"))
}

fn sometimes(view: &View<'_>, claim: Claim, during: Option<Phase>) -> Result {
    let Some((from, to)) = judged(view, during) else {
        return Result::Nothing("the phase was never reached".to_owned());
    };
    let all: Vec<_> = seen(view, claim)
        .into_iter()
        .filter(|seen| seen.start >= from && seen.start < to)
        .collect();
    let good: Vec<_> = all.iter().filter(|seen| seen.good).collect();
    match (good.first(), all.last()) {
        (Some(first), _) => Result::Held(format!(
            "{} of {} times, first at {:?}: {}",
            good.len(),
            all.len(),
            first.at,
            first.words()
        )),
        (None, Some(last)) => Result::Broken {
            at: last.at,
            text: format!("never in {} times; last: {}", all.len(), last.words()),
        },
        (None, None) => Result::Nothing("it was never looked at".to_owned()),
    }
}

/// Every node shows it, and nothing but it, from `within` after heal on.
fn eventually(view: &View<'_>, claim: Claim, within: Duration) -> Result {
    let (Some(heal), Some((_, end))) = (view.phase(Phase::Heal), view.span(Phase::Liveness)) else {
        return Result::Nothing("the run did not come to heal".to_owned());
    };
    let all = seen(view, claim);
    let mut late: BTreeMap<Option<u32>, u64> = BTreeMap::new();
    for seen in &all {
        late.entry(seen.node).or_default();
        if seen.start < heal + within || seen.start >= end {
            continue;
        }
        if !seen.good {
            return Result::Broken {
                at: seen.at,
                text: format!("{:?} after heal: {}", seen.start - heal, seen.words()),
            };
        }
        *late.entry(seen.node).or_default() += 1;
    }
    if late.is_empty() || late.values().any(|count| *count == 0) {
        return Result::Nothing("a node was not looked at any more".to_owned());
    }
    let latest = settled(&all, heal).map_or(Duration::ZERO, |at| at.saturating_sub(heal));
    Result::Held(format!("from {latest:?} after heal on"))
}

/// When every node had become well for good: the latest first good observation after the last bad one, not before
/// `from`.
fn settled(all: &[Seen<'_>], from: Duration) -> Option<Duration> {
    let nodes: BTreeSet<_> = all.iter().map(|seen| seen.node).collect();
    nodes
        .into_iter()
        .map(|node| {
            let own: Vec<_> = all.iter().filter(|seen| seen.node == node).collect();
            let after = own
                .iter()
                .rposition(|seen| !seen.good)
                .map_or(0, |last| last + 1);
            own.get(after).map(|seen| seen.at.max(from))
        })
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .max()
}

/// Status, polls of the API servers and writes are all well within the bound, told in parts.
fn recovers(view: &View<'_>, within: Duration) -> Result {
    let Some(heal) = view.phase(Phase::Heal) else {
        return Result::Nothing("the run did not come to heal".to_owned());
    };
    let polls: Vec<_> = view
        .polls()
        .into_iter()
        .map(|sample| Seen {
            node: Some(sample.node),
            start: sample.start,
            at: sample.at,
            good: sample.good(),
            what: What::Poll(sample),
        })
        .collect();
    let parts = [
        ("Status", seen(view, Claim::StatusOk)),
        ("poll", polls),
        ("writes", seen(view, Claim::WritesOk)),
    ];
    let mut told = Vec::new();
    let mut worst = Duration::ZERO;
    for (part, all) in parts {
        let Some(last) = all.last() else {
            if part == "poll" {
                continue; // an arm need not see them
            }
            return Result::Nothing(format!("{part} was never looked at"));
        };
        let Some(at) = settled(&all, heal) else {
            return Result::Broken {
                at: last.at,
                text: format!("{part} never became well: {}", last.words()),
            };
        };
        let took = at.saturating_sub(heal);
        worst = worst.max(took);
        told.push(format!("{part} {took:?}"));
    }
    let text = format!("{} after heal", told.join(", "));
    if worst > within {
        return Result::Broken {
            at: heal + worst,
            text: format!("{text}; {within:?} allowed"),
        };
    }
    Result::Held(text)
}

/// Status names another key than before: on every node until `within` after heal, or somewhere once.
fn key_changes(view: &View<'_>, mode: Mode) -> Result {
    let mut last: BTreeMap<u32, &str> = BTreeMap::new();
    let mut changed: BTreeMap<u32, Vec<Duration>> = BTreeMap::new();
    let samples = view.statuses();
    for sample in &samples {
        changed.entry(sample.node).or_default();
        if let Some(key) = sample.key()
            && let Some(before) = last.insert(sample.node, key)
            && before != key
        {
            changed.entry(sample.node).or_default().push(sample.at);
        }
    }
    let Some(end) = samples.last().map(|sample| sample.at) else {
        return Result::Nothing("there was no Status".to_owned());
    };
    let missing = match mode {
        Mode::Eventually { within } => {
            let Some(heal) = view.phase(Phase::Heal) else {
                return Result::Nothing("the run did not come to heal".to_owned());
            };
            let late = |times: &Vec<Duration>| !times.iter().any(|at| *at <= heal + within);
            changed
                .iter()
                .find(|(_, times)| late(times))
                .map(|(node, _)| *node)
        }
        Mode::Sometimes { during } | Mode::Always { during } => {
            let span = during.and_then(|phase| view.span(phase));
            let inside = |at: &Duration| span.is_none_or(|(from, to)| (from..to).contains(at));
            let any = changed.values().flatten().any(inside);
            if any {
                None
            } else {
                changed.keys().next().copied()
            }
        }
    };
    match missing {
        Some(node) => Result::Broken {
            at: end,
            text: format!("Status of node {node} named no other key"),
        },
        None => Result::Held(format!("{} changes", changed.values().flatten().count())),
    }
}

/// Status and Encrypt do not tell different things for longer than `within`.
pub(super) fn status_truthful(view: &View<'_>, within: Duration) -> Result {
    match behind(view, within, |sample| Some(sample.good())) {
        (_, Some(behind)) => {
            let (says, does) = if behind.status {
                ("ok", "fails")
            } else {
                ("bad", "works")
            };
            Result::Broken {
                at: behind.sample.at,
                text: format!(
                    "on node {} Status is {says} and Encrypt {does} since {:?}; last: {}",
                    behind.sample.node,
                    behind.since,
                    behind.sample.words()
                ),
            }
        }
        (0, None) => Result::Nothing("there was no pair of a Status and an Encrypt".to_owned()),
        (compared, None) => Result::Held(format!("{compared} pairs")),
    }
}

/// Every RPC ends in time, but for those that a fault of the plugin itself keeps.
pub(super) fn deadlines(view: &View<'_>, limit: Duration) -> Result {
    let faults = view.faults();
    let hindered = |sample: &Sample<'_>| {
        faults.iter().any(|fault| {
            let until = fault.recovered.or(fault.injected);
            fault.hinders_rpcs
                && fault.injected.is_some_and(|injected| injected <= sample.at)
                && until.is_some_and(|until| sample.start <= until + GRACE)
        })
    };
    let mut samples = view.statuses();
    samples.extend(view.encrypts());
    let mut slowest = Duration::ZERO;
    let mut count = 0;
    for sample in samples.iter().filter(|sample| !hindered(sample)) {
        let took = sample.at - sample.start;
        if took >= limit {
            return Result::Broken {
                at: sample.at,
                text: format!(
                    "an RPC on node {} took {took:?}: {}",
                    sample.node,
                    sample.words()
                ),
            };
        }
        slowest = slowest.max(took);
        count += 1;
    }
    if count == 0 {
        return Result::Nothing("no RPC was made".to_owned());
    }
    Result::Held(format!("slowest of {count} took {slowest:?}"))
}

/// No plugin starts where one runs.
pub(super) fn no_second_owner(view: &View<'_>) -> Result {
    let mut running: BTreeMap<u32, bool> = BTreeMap::new();
    let lives = view.plugin_lives();
    for (at, node, starts) in &lives {
        let runs = running.entry(*node).or_default();
        if *starts && *runs {
            return Result::Broken {
                at: *at,
                text: format!("a second plugin starts on node {node}"),
            };
        }
        *runs = *starts;
    }
    if lives.is_empty() {
        return Result::Nothing("starts of plugins were not seen".to_owned());
    }
    Result::Held(format!("{} starts and ends", lives.len()))
}

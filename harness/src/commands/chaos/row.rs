//! A run of a scenario as a row of a report.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use kms_history::chaos::{Entry, Event, FaultStep, OpEnd, OpKind, Phase};
use kms_judge::CheckStatus;
use kms_report::model::{
    Arm, Determinism, Fault, Invariant, InvariantKind, Load, PhaseSpan, Planned, Replay,
    ScenarioReport, Violation,
};
use kms_scenario::language::file::ArmName;
use kms_scenario::plan::{Plan, PlannedFault};
use kms_scenario::verdict::{InvariantOutcome, Verdict};

use super::runs::{self, Ran};
use crate::bundle::sha256;

/// `<scenario>#<seed>`, as reports name a run.
#[must_use]
pub fn run_id(ran: &Ran) -> String {
    format!("{}#{}", ran.id, ran.seed)
}

/// The row. `history_ref` is where the bundle keeps the run's history; empty where it keeps none.
///
/// # Errors
/// The scenario cannot be written as text, or is one about operators.
pub fn row(ran: &Ran, history_ref: String) -> Result<ScenarioReport> {
    let simulated = ran.arm == ArmName::Sim;
    let (arm, determinism) = match ran.arm {
        ArmName::Sim => (Arm::Sim, Determinism::Exact),
        ArmName::Process => (Arm::Process, Determinism::Schedule),
        ArmName::Cluster => (Arm::Cluster, Determinism::None),
    };
    let scenario = ran.script.plugins();
    let scenario = scenario.context("reports are about plugins: they have no row for operators")?;
    let plan = runs::plan(scenario, ran.arm, ran.seed);
    let text = ran.script.text()?;
    let outcome = ran.outcome.as_ref();
    let phases = phases(&ran.history);
    let mut invariants: Vec<_> = outcome
        .into_iter()
        .flat_map(|outcome| &outcome.invariants)
        .map(invariant)
        .collect();
    invariants.sort_by(|a, b| a.id.cmp(&b.id));
    let mut faults: Vec<_> = plan
        .faults
        .iter()
        .map(|planned| fault(planned, &plan, &ran.history))
        .collect();
    faults.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(ScenarioReport {
        run_id: run_id(ran),
        scenario_id: ran.id.clone(),
        spec_digest: sha256(text.as_bytes()),
        arm,
        determinism,
        seed: ran.seed,
        seed_tree_digest: sha256(format!("{plan:?}").as_bytes()),
        verdict: status(ran.verdict),
        reason: ran.reason.clone(),
        sim_duration_ns: simulated.then(|| nanos(ran.simulated)),
        wall_duration_ns: nanos(ran.wall),
        phases,
        faults,
        load: load(&ran.history, plan.world.nodes.into()),
        invariants,
        trace_digest: outcome.map_or_else(String::new, |outcome| outcome.digest.clone()),
        history_ref,
        replay: Replay {
            command: ran.replay.clone(),
            needs: Vec::new(),
        },
        shrunk: None,
    })
}

/// What a report says for a verdict. A server that no longer shows a fault of its own is something to look at.
fn status(verdict: Verdict) -> CheckStatus {
    match verdict {
        Verdict::Pass => CheckStatus::Pass,
        Verdict::NotShown => CheckStatus::Warn,
        Verdict::NotApplicable => CheckStatus::NotApplicable,
        Verdict::Inconclusive => CheckStatus::Inconclusive,
        Verdict::Fail => CheckStatus::Fail,
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

fn phases(history: &[Entry]) -> Vec<PhaseSpan> {
    let begins: Vec<(Phase, Duration)> = history
        .iter()
        .filter_map(|entry| match entry.event {
            Event::Phase(phase) => Some((phase, entry.at)),
            _ => None,
        })
        .collect();
    let end = history.last().map_or(Duration::ZERO, |entry| entry.at);
    let ends = begins.iter().skip(1).map(|(_, at)| *at).chain([end]);
    begins
        .iter()
        .zip(ends)
        .map(|((phase, start), end)| PhaseSpan {
            name: phase.as_str().to_owned(),
            start_ns: nanos(*start),
            end_ns: nanos(end),
        })
        .collect()
}

fn fault(planned: &PlannedFault, plan: &Plan, history: &[Entry]) -> Fault {
    let begin = plan.phases.settle + plan.phases.baseline;
    let kind = planned.fault.kind().to_string();
    let mut row = Fault {
        id: planned.id.clone(),
        target: if kind.starts_with("vault-") {
            "vault".to_owned()
        } else {
            let nodes = planned.nodes.iter();
            let names: Vec<_> = nodes.map(|node| format!("node {node}")).collect();
            names.join(", ")
        },
        kind,
        params: BTreeMap::from([("words".to_owned(), planned.words().into())]),
        planned: Planned {
            at_ns: nanos(begin + planned.at),
            for_ns: planned.length.map(nanos),
        },
        injected_at_ns: None,
        recovered_at_ns: None,
        hits: 0,
        proof: None,
    };
    for entry in history {
        let Event::Fault { id, step } = &entry.event else {
            continue;
        };
        if *id != planned.id {
            continue;
        }
        match step {
            FaultStep::Planned { .. } => {}
            FaultStep::Injected => row.injected_at_ns = Some(nanos(entry.at)),
            FaultStep::Recovered => row.recovered_at_ns = Some(nanos(entry.at)),
            FaultStep::Refused(why) => row.proof = Some(format!("could not be made: {why}")),
            FaultStep::Hits(hits) => row.hits = *hits,
        }
    }
    row
}

fn load(history: &[Entry], callers: u64) -> Load {
    let mut load = Load {
        callers,
        ..Load::default()
    };
    for entry in history {
        match &entry.event {
            Event::Invoked { kind, .. } => {
                *load.calls.entry(word(*kind).to_owned()).or_default() += 1;
            }
            Event::Ended { end, .. } => match end {
                OpEnd::Ok { .. } => load.ok += 1,
                OpEnd::Failed { .. } => load.failed += 1,
                OpEnd::Indeterminate { .. } => load.indeterminate += 1,
            },
            _ => {}
        }
    }
    load
}

fn word(kind: OpKind) -> &'static str {
    match kind {
        OpKind::Write => "write",
        OpKind::Read => "read",
        OpKind::List => "list",
        OpKind::Delete => "delete",
        OpKind::Rewrite => "rewrite",
    }
}

fn invariant(outcome: &InvariantOutcome) -> Invariant {
    let (mode, id) = outcome
        .id
        .split_once(':')
        .unwrap_or(("always", &outcome.id));
    let result = match outcome.result {
        "held" | "shown" => CheckStatus::Pass,
        "broken" => CheckStatus::Fail,
        "not_shown" => CheckStatus::Warn,
        _ => CheckStatus::Inconclusive,
    };
    Invariant {
        id: id.to_owned(),
        kind: match mode {
            "eventually" => InvariantKind::Eventually,
            "sometimes" => InvariantKind::Sometimes,
            _ => InvariantKind::Always,
        },
        evaluations: u64::from(result != CheckStatus::Inconclusive),
        result,
        first_violation: (result == CheckStatus::Fail).then(|| Violation {
            at_ns: outcome
                .at
                .map_or(0, |at| nanos(Duration::from_secs_f64(at.max(0.0)))),
            event: 0,
            excerpt: outcome.detail.clone(),
        }),
        deadline_ns: None,
        met_at_ns: None,
    }
}

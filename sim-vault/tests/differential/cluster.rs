//! Three simulated nodes against three live ones on raft: random calls to all of them, while nodes are sealed, killed,
//! started and asked to step down. Compared are roles, not nodes: which standby comes to lead is the live cluster's choice.
//!
//! Before the random calls come sequences that are written down, in `cluster/stories.txt`, and one on which the model is made
//! to lie, so that a test that cannot fail would.
//!
//! `DIFFERENTIAL_CLUSTER_CALLS` sets the number of calls, `DIFFERENTIAL_SEED` the seed, `DIFFERENTIAL_TRACE` prints each step.

use std::path::Path;

use libtest_mimic::Failed;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestError, TestRunner};
use proptest_state_machine::ReferenceStateMachine;
use serde_json::json;

use crate::{
    call::Call,
    model::{self, Product},
    number,
};

mod answer;
mod nodes;
mod reference;
mod step;
mod twin;

use nodes::Nodes;
use reference::{Reference, State};
use step::Step;
use twin::Running;

/// Steps of one sequence.
const LENGTH: usize = 60;

/// At least `calls` calls on both.
pub fn compare<P: Product>(binary: &Path, calls: u64) -> Result<(), Failed> {
    let calls = number("DIFFERENTIAL_CLUSTER_CALLS", calls)?;
    let seed = number("DIFFERENTIAL_SEED", 1)?;
    // the clock of both begins before the nodes do
    model::now();
    let cluster = Running::new(Nodes::start(binary, P::FLAVOUR)?);
    for (title, steps) in stories() {
        if let Some(text) = cluster.difference::<P>(State::new(P::FLAVOUR, 0), &steps) {
            return Err(format!("{title}\n {text}").into());
        }
    }
    let mut liar = State::new(P::FLAVOUR, 0);
    liar.planted = true;
    let mut kept_here = Call::new("PUT", "cubbyhole/x", json!({ "v": "1" }));
    let header = ("X-Vault-No-Request-Forwarding".to_owned(), "1".to_owned());
    kept_here.headers.push(header);
    let found = cluster.difference::<P>(liar, &[Step::Ask(1, kept_here)]);
    if !found.is_some_and(|text| text.contains("model \"http://api2.test")) {
        return Err("a redirect to another standby than the leader is no difference".into());
    }
    let mut round = 0;
    while cluster.compared() < calls {
        let mut runner = TestRunner::new(Config {
            cases: 1,
            max_shrink_iters: 200,
            max_shrink_time: 240_000,
            failure_persistence: None,
            rng_algorithm: RngAlgorithm::ChaCha,
            rng_seed: RngSeed::Fixed(seed + 1_000_003 * round),
            ..Config::default()
        });
        let sequences = Reference::<P>::sequential_strategy(LENGTH);
        let run = runner.run(&sequences, |(state, steps, seen)| {
            cluster.run::<P>(state, &steps, seen);
            Ok(())
        });
        match run {
            Ok(()) => {}
            Err(TestError::Fail(reason, (state, steps, _))) => {
                let lines: Vec<String> = steps.iter().map(|s| format!("   {s}")).collect();
                return Err(format!("{state:?}\n{}\n {reason}", lines.join("\n")).into());
            }
            Err(TestError::Abort(reason)) => return Err(reason.to_string().into()),
        }
        round += 1;
    }
    Ok(())
}

/// Titles and steps of what is always told.
fn stories() -> Vec<(&'static str, Vec<Step>)> {
    let text = include_str!("cluster/stories.txt");
    let step = |line: &str| Step::parse(line).unwrap_or_else(|| panic!("no step: {line}"));
    let stories = text.split("## ").skip(1);
    stories
        .map(|story| {
            let (title, steps) = story.split_once('\n').unwrap_or((story, ""));
            let lines = steps.lines().map(str::trim);
            let steps = lines.filter(|l| !l.is_empty() && !l.starts_with('#'));
            (title, steps.map(step).collect())
        })
        .collect()
}

//! Where the time of a run goes: by the place where its tasks are spawned, and what is outside of them.
//!
//! A task is named by who spawned it, so code that it calls (cryptography, HTTP, the network's state) counts for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kms_scenario::plan::Plan;
use kms_scenario::verdict::{digest, outcome};
use kms_sim::run::{Company, Onlooker, run_with};

use crate::work::{Scenario, now};

#[derive(Default)]
struct Watch(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    now: Option<(&'static Location<'static>, Instant)>,
    /// Polls and time by file and line.
    spent: BTreeMap<(&'static str, u32), (u64, Duration)>,
}

impl Watch {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Onlooker for Watch {
    fn begins(&self, spawned: &'static Location<'static>) {
        self.seen().now = Some((spawned, now()));
    }

    fn ends(&self) {
        let mut seen = self.seen();
        if let Some((place, began)) = seen.now.take() {
            let key = (place.file(), place.line());
            let (polls, time) = seen.spent.entry(key).or_default();
            *polls += 1;
            *time += began.elapsed();
        }
    }
}

/// Whose task it is.
fn part(file: &str) -> &'static str {
    const PARTS: [(&str, &str); 9] = [
        ("plugin/src", "plugins"),
        ("harness/sim/src/node.rs", "plugins"),
        ("harness/apiserver/", "API servers' own tasks"),
        ("sim-vault/", "Vault"),
        ("harness/sim/src/vault", "Vault"),
        (
            "harness/scenario/src/engine/load.rs",
            "clients, with the API servers' answers",
        ),
        (
            "harness/scenario/src/engine/probe.rs",
            "harness's own calls",
        ),
        ("harness/sim/src/client.rs", "harness's own calls"),
        (
            "harness/scenario/src/engine/faults.rs",
            "faults and operators",
        ),
    ];
    let found = PARTS.iter().find(|(place, _)| file.contains(place));
    found.map_or("engine", |(_, part)| part)
}

/// The table of one run.
pub fn of(name: &str, scenario: &Scenario) -> Result<String, String> {
    let plan = Plan::of(&scenario.0, 1);
    let watch = Arc::new(Watch::default());
    let company = Company {
        onlooker: Some(Arc::clone(&watch) as Arc<dyn Onlooker>),
        ..Company::default()
    };
    let began = now();
    let ran = run_with(&plan, company);
    let run = began.elapsed();
    if let Some(trouble) = ran.trouble {
        return Err(trouble.to_string());
    }
    let began = now();
    let digested = digest(&ran.history);
    let digesting = began.elapsed();
    let began = now();
    let judged = outcome(&plan, &ran.history);
    let judging = began.elapsed().saturating_sub(digesting);
    assert_eq!(digested, judged.digest, "one history has one digest");

    let seen = watch.seen();
    let mut parts: BTreeMap<&str, (u64, Duration)> = BTreeMap::new();
    for ((file, _), (polls, time)) in &seen.spent {
        let sum = parts.entry(part(file)).or_default();
        sum.0 += polls;
        sum.1 += *time;
    }
    let in_tasks: Duration = parts.values().map(|(_, time)| *time).sum();
    let whole = run + digesting + judging;
    parts.insert(
        "runtime, clock and measuring",
        (0, run.saturating_sub(in_tasks)),
    );
    parts.insert("judge", (0, judging));
    parts.insert("digest", (0, digesting));
    let mut rows: Vec<_> = parts.into_iter().collect();
    rows.sort_by_key(|(_, (_, time))| std::cmp::Reverse(*time));
    let mut text = format!(
        "\n{name}: {:.3} s, {} events, {} hops; measuring included\n",
        whole.as_secs_f64(),
        ran.history.len(),
        ran.hops
    );
    let line = |text: &mut String, name: &str, polls: u64, time: Duration| {
        let share = 100.0 * time.as_secs_f64() / whole.as_secs_f64();
        let millis = time.as_secs_f64() * 1e3;
        let _ = writeln!(
            text,
            "  {share:>5.1} %  {millis:>8.1} ms  {polls:>9} polls  {name}"
        );
    };
    for (name, (polls, time)) in rows {
        line(&mut text, name, polls, time);
    }
    text.push_str("  the dearest tasks by the line that spawns them:\n");
    let mut tasks: Vec<_> = seen.spent.iter().collect();
    tasks.sort_by_key(|(_, (_, time))| std::cmp::Reverse(*time));
    for ((file, number), (polls, time)) in tasks.into_iter().take(8) {
        line(&mut text, &format!("{file}:{number}"), *polls, *time);
    }
    Ok(text)
}

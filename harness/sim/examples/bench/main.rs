//! What the simulation costs, beside its goals, and where the time goes.
//!
//! ```sh
//! just bench-sim
//! ```
//!
//! Exit codes: 0 all goals were met, 1 one was missed, 2 wrong usage or something did not run. Wall time of this machine:
//! a figure is worth what else ran beside it, so each stands there by the CPU time of this process, too.

mod profile;
mod work;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use work::{Cost, Scenario};

/// As in the harness's own binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One goal.
struct Goal {
    what: &'static str,
    limit: f64,
    /// Whether more is better.
    at_least: bool,
    unit: &'static str,
    cost: Cost,
    /// Threads that worked.
    threads: f64,
    /// The figure of so many seconds.
    figure: Box<dyn Fn(f64) -> f64>,
}

impl Goal {
    fn met(&self) -> bool {
        let measured = (self.figure)(self.cost.wall);
        if self.at_least {
            measured >= self.limit
        } else {
            measured <= self.limit
        }
    }

    /// The figure by wall time is judged. The one by CPU time is what it comes to where the threads have a core each.
    fn line(&self) -> String {
        let sign = if self.at_least { ">=" } else { "<=" };
        let met = if self.met() { "met" } else { "MISSED" };
        let Cost { wall, cpu } = self.cost;
        format!(
            "{:<50} {:>9.2} {:<7} {sign} {:>3} {met:<6} by CPU {:>7.2}  wall {wall:>6.2} s, cpu {cpu:>6.2} s\n",
            self.what,
            (self.figure)(wall),
            self.unit,
            self.limit,
            (self.figure)(cpu / self.threads),
        )
    }
}

fn main() -> ExitCode {
    let (text, code) = match bench() {
        Ok((text, true)) => (text, 0),
        Ok((text, false)) => (text, 1),
        Err(error) => (format!("{error}\n"), 2),
    };
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// How many seeds of an hour are run.
const SEEDS: u32 = 80;
/// How many hops are measured alone.
const HOPS: u32 = 200_000;

fn bench() -> Result<(String, bool), String> {
    let quick = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--quick") => true, // without the library
        Some(_) => return Err("usage: bench [--quick]".to_owned()),
    };
    let day = Scenario::read(include_str!("../day.toml"))?;
    let hour = Scenario::read(include_str!("../hour.toml"))?;

    let (of_day, day_hops) = work::one(&day, 1)?;
    let of_hours = work::many(&[(hour.clone(), SEEDS)], 2)?;
    let of_hops = work::hops(HOPS);
    let seconds = || Box::new(|seconds: f64| seconds);
    let mut goals = vec![
        Goal {
            what: "24 h of three nodes with faults, one thread",
            limit: 2.0,
            at_least: false,
            unit: "s",
            cost: of_day,
            threads: 1.0,
            figure: seconds(),
        },
        Goal {
            what: "1-hour seeds, two threads",
            limit: 40.0,
            at_least: true,
            unit: "seeds/s",
            cost: of_hours,
            threads: 2.0,
            figure: Box::new(|seconds| f64::from(SEEDS) / seconds),
        },
        Goal {
            what: "a hop: a write until it is read elsewhere",
            limit: 30.0,
            at_least: false,
            unit: "us",
            cost: of_hops,
            threads: 1.0,
            figure: Box::new(|seconds| seconds * 1e6 / f64::from(HOPS)),
        },
        Goal {
            what: "a hop of that day, with all that is done for it",
            limit: 30.0,
            at_least: false,
            unit: "us",
            cost: of_day,
            threads: 1.0,
            figure: Box::new(move |seconds| seconds * 1e6 / day_hops),
        },
    ];
    if !quick {
        goals.push(Goal {
            what: "the whole library, two threads",
            limit: 60.0,
            at_least: false,
            unit: "s",
            cost: work::many(&work::library()?, 2)?,
            threads: 2.0,
            figure: seconds(),
        });
    }
    let mut text: String = goals.iter().map(Goal::line).collect();
    let _ = writeln!(text, "\nthe day: {day_hops} hops");
    for (name, scenario) in [("the day", &day), ("an hour", &hour)] {
        text.push_str(&profile::of(name, scenario)?);
    }
    Ok((text, goals.iter().all(Goal::met)))
}

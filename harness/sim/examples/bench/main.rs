//! What the simulation costs, beside its goals, and where the time goes.
//!
//! ```sh
//! just bench-sim
//! ```
//!
//! Exit codes: 0 all goals were met, 1 one was missed, 2 wrong usage or something did not run. Wall time of this machine:
//! a figure is worth what else ran beside it, so the CPU time of this process stands with each.

mod profile;
mod work;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use work::{Cost, Scenario};

/// One goal.
struct Goal {
    what: &'static str,
    measured: f64,
    limit: f64,
    /// Whether more is better.
    at_least: bool,
    unit: &'static str,
    cost: Cost,
}

impl Goal {
    fn met(&self) -> bool {
        if self.at_least {
            self.measured >= self.limit
        } else {
            self.measured <= self.limit
        }
    }

    fn line(&self) -> String {
        let sign = if self.at_least { ">=" } else { "<=" };
        let met = if self.met() { "met" } else { "MISSED" };
        format!(
            "{:<58} {:>9.2} {:<10} {sign} {:>5} {met:<7} wall {:>6.2} s, cpu {:>6.2} s\n",
            self.what, self.measured, self.unit, self.limit, self.cost.wall, self.cost.cpu
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
    let of_hops = work::hops(200_000);
    let mut goals = vec![
        Goal {
            what: "24 h of three nodes with faults, one thread",
            measured: of_day.wall,
            limit: 2.0,
            at_least: false,
            unit: "s",
            cost: of_day,
        },
        Goal {
            what: "1-hour seeds, two threads",
            measured: f64::from(SEEDS) / of_hours.wall,
            limit: 40.0,
            at_least: true,
            unit: "seeds/s",
            cost: of_hours,
        },
        Goal {
            what: "a hop: a write until it is read elsewhere",
            measured: of_hops.wall * 1e6 / 200_000.0,
            limit: 30.0,
            at_least: false,
            unit: "us",
            cost: of_hops,
        },
        Goal {
            what: "a hop of that day, with all that is done for it",
            measured: of_day.wall * 1e6 / day_hops,
            limit: 30.0,
            at_least: false,
            unit: "us",
            cost: of_day,
        },
    ];
    if !quick {
        let library = work::library()?;
        let of_library = work::many(&library, 2)?;
        goals.push(Goal {
            what: "the whole library, two threads",
            measured: of_library.wall,
            limit: 60.0,
            at_least: false,
            unit: "s",
            cost: of_library,
        });
    }
    let mut text: String = goals.iter().map(Goal::line).collect();
    let _ = writeln!(text, "\nthe day: {day_hops} hops");
    for (name, scenario) in [("the day", &day), ("an hour", &hour)] {
        text.push_str(&profile::of(name, scenario)?);
    }
    Ok((text, goals.iter().all(Goal::met)))
}

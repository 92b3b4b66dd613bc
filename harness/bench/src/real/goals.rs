//! The goals, and whether the figures meet them.

use serde::Serialize;

use super::{Event, Report, label};

/// One goal with its figures.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// What is measured.
    pub measure: &'static str,
    /// The bound.
    pub goal: f64,
    /// True: figures must reach the bound. False: they must not pass it.
    pub at_least: bool,
    /// Unit, empty for ratios.
    pub unit: &'static str,
    /// What was measured, by cell; empty when it was not.
    pub figures: Vec<Figure>,
    /// Whether all figures hold; `None` when nothing was measured or a figure that would hold
    /// was disturbed.
    pub holds: Option<bool>,
}

/// One figure of a goal.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Which cell.
    pub label: String,
    /// The figure; infinite (`null` in JSON) when it never came.
    pub value: f64,
    /// False when other processes disturbed every stretch, or the comparison itself failed.
    pub sound: bool,
}

/// All goals, measured or not.
pub(super) fn judge(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (concurrency, measure, goal) in [
        (1, "p50 / direct, 1 call in flight", 1.35),
        (16, "p50 / direct, 16 in flight", 1.4),
        (128, "p50 / direct, 128 in flight", 1.1),
    ] {
        goals.push(at_most(
            measure,
            goal,
            "",
            cell_figures(report, concurrency, |cell| cell.ratio_p50),
        ));
    }
    let cpu = cell_figures(report, 16, |cell| cell.ratio_cpu);
    goals.push(at_most(
        "plugin CPU per RPC / server CPU per direct call, 16 in flight",
        0.25,
        "",
        cpu,
    ));
    let failed = report
        .load
        .cells
        .iter()
        .map(|cell| cell.failures.count)
        .sum::<u64>()
        + report
            .bursts
            .iter()
            .map(|bursts| bursts.failures.count)
            .sum::<u64>()
        + report
            .rotations
            .iter()
            .map(|rotations| rotations.failures.count)
            .sum::<u64>();
    let any_calls =
        !(report.load.cells.is_empty() && report.bursts.is_empty() && report.rotations.is_none());
    let failed = any_calls.then(|| figure("in all".to_owned(), failed as f64, true));
    goals.push(at_most(
        "failed calls in load, bursts and rotations",
        0.0,
        "",
        failed.into_iter().collect(),
    ));

    let bursts = |value: fn(&super::Bursts) -> f64, needs_quiet: bool| {
        let one = |bursts: &super::Bursts| {
            let sound = !needs_quiet || (bursts.quiet > 0 && bursts.direct_failures.count == 0);
            figure(label(bursts.tls).to_owned(), value(bursts), sound)
        };
        report.bursts.iter().map(one).collect::<Vec<_>>()
    };
    let mut faster = at_most(
        "1,000 Decrypts at once / 1,000 direct, 16 in flight: times faster",
        5.0,
        "x",
        vec![],
    );
    faster.at_least = true;
    faster.figures = bursts(|bursts| bursts.times_faster, true);
    goals.push(judged(faster));
    goals.push(at_most(
        "RSS at start",
        8.0,
        "MiB",
        bursts(|bursts| bursts.memory.start, false),
    ));
    goals.push(at_most(
        "RSS after five bursts",
        24.0,
        "MiB",
        bursts(|bursts| bursts.memory.after_bursts, false),
    ));
    let rotations = report
        .rotations
        .iter()
        .map(|r| figure(format!("{} rotations", r.rotations), r.highest, true));
    goals.push(at_most(
        "RSS over 400 rotations",
        10.0,
        "MiB",
        rotations.collect(),
    ));

    let starts = |logs_in: bool| {
        let chosen = report
            .starts
            .iter()
            .filter(move |start| (start.auth != "token") == logs_in);
        chosen
            .map(|start| {
                figure(
                    format!("{} {}", start.auth, label(start.tls)),
                    start.median_ms - start.login_ms,
                    start.quiet > 0,
                )
            })
            .collect()
    };
    goals.push(at_most(
        "start to first good Status, token",
        10.0,
        "ms",
        starts(false),
    ));
    goals.push(at_most(
        "the same with a login, minus one login",
        10.0,
        "ms",
        starts(true),
    ));
    let untrue = |outage: &super::Outage| {
        let value = outage
            .first_error_s
            .map_or(f64::INFINITY, |first| first.max(outage.last_ok_s));
        let event = if outage.event == Event::Killed {
            "killed"
        } else {
            "frozen"
        };
        figure(format!("{event} {}", label(outage.tls)), value, true)
    };
    goals.push(at_most(
        "untrue Status under load, server down",
        5.0,
        "s",
        report.outages.iter().map(untrue).collect(),
    ));
    goals
}

fn cell_figures(
    report: &Report,
    concurrency: usize,
    value: fn(&super::Cell) -> f64,
) -> Vec<Figure> {
    let chosen = report
        .load
        .cells
        .iter()
        .filter(|cell| cell.concurrency == concurrency);
    let one = |cell: &super::Cell| {
        let sound = cell.quiet > 0 && cell.direct_failures.count == 0;
        figure(
            format!("{:?} {}", cell.op, label(cell.tls)),
            value(cell),
            sound,
        )
    };
    chosen.map(one).collect()
}

fn figure(label: String, value: f64, sound: bool) -> Figure {
    Figure {
        label,
        value,
        sound,
    }
}

fn at_most(measure: &'static str, goal: f64, unit: &'static str, figures: Vec<Figure>) -> Goal {
    judged(Goal {
        measure,
        goal,
        at_least: false,
        unit,
        figures,
        holds: None,
    })
}

/// Sets `holds`. A sound figure beyond the bound decides; an unsound one decides nothing.
fn judged(mut goal: Goal) -> Goal {
    let within = |figure: &Figure| {
        if goal.at_least {
            figure.value >= goal.goal
        } else {
            figure.value <= goal.goal
        }
    };
    goal.holds = if goal
        .figures
        .iter()
        .any(|figure| figure.sound && !within(figure))
    {
        Some(false)
    } else if goal.figures.is_empty() || goal.figures.iter().any(|figure| !figure.sound) {
        None
    } else {
        Some(true)
    };
    goal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    fn goal(values: &[(f64, bool)]) -> Option<bool> {
        let figures = values
            .iter()
            .map(|(value, sound)| figure(String::new(), *value, *sound))
            .collect();
        at_most("m", 2.0, "", figures).holds
    }

    #[test]
    fn one_figure_beyond_the_bound_misses_the_goal() {
        assert_eq!(goal(&[(1.0, true), (2.0, true)]), Some(true));
        assert_eq!(goal(&[(1.0, true), (2.1, true)]), Some(false));
        assert_eq!(goal(&[(f64::INFINITY, true)]), Some(false));
        assert_eq!(goal(&[(f64::NAN, true)]), Some(false));
    }

    #[test]
    fn a_disturbed_figure_neither_holds_nor_misses() {
        assert_eq!(goal(&[(1.0, true), (1.0, false)]), None);
        assert_eq!(goal(&[(9.0, false)]), None);
        assert_eq!(goal(&[(9.0, true), (1.0, false)]), Some(false));
        assert_eq!(goal(&[]), None);
    }

    #[test]
    fn nothing_measured_is_inconclusive() {
        let mut report = Report::default();
        report.goals = judge(&report);
        assert_eq!(report.outcome(), Outcome::Inconclusive);
    }
}

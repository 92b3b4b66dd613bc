//! A timeline for each scenario run: phases, callers, what faults were done to, and where an invariant broke.

use std::collections::BTreeMap;

use kms_judge::CheckStatus;

use super::{Page, anchor, code, duration, escape, file, status, took};
use crate::model::{Fault, Planned, Report, ScenarioReport};
use crate::text::one_line;

/// Width and margins of the drawing, and heights of a lane and of what is in it.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 14.0;
const LANE: f64 = 30.0;
const BAR: f64 = 18.0;
/// Letters of a text that fit in so much: a fault's bar shows its id where it has room.
const LETTER: f64 = 6.6;

pub(super) fn section(out: &mut Page, report: &Report) {
    out.open("scenarios", "Scenarios");
    if report.scenarios.is_empty() {
        out.line("<p>None ran.</p>");
    }
    for run in &report.scenarios {
        scenario(out, run);
    }
    out.close();
}

fn scenario(out: &mut Page, run: &ScenarioReport) {
    out.line(format_args!(
        "<details class=\"run\" id=\"{}\"{}>\n<summary><h3>{} {}</h3></summary>",
        anchor("run", &run.run_id),
        // What passed is one line until somebody asks.
        if run.verdict == CheckStatus::Pass || run.verdict == CheckStatus::NotApplicable {
            ""
        } else {
            " open=\"\""
        },
        escape(&run.run_id),
        status(run.verdict)
    ));
    drawing(out, run);
    let simulated = run
        .sim_duration_ns
        .map(|ns| format!("{} simulated", duration(ns)));
    let load = &run.load;
    let calls = load
        .calls
        .iter()
        .map(|(method, count)| format!("{count} {method}"));
    out.facts(&[
        ("Arm", Some(run.arm.as_str().to_owned())),
        ("Seed", Some(run.seed.to_string())),
        ("Repeatable", Some(run.determinism.as_str().to_owned())),
        (
            "Length",
            Some(simulated.unwrap_or_else(|| duration(run.wall_duration_ns))),
        ),
        ("Reason", run.reason.clone()),
        ("Callers", Some(load.callers.to_string())),
        (
            "Calls",
            Some(calls.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty()),
        ),
        (
            "Outcomes",
            Some(format!(
                "{} ok, {} failed, {} unknown",
                load.ok, load.failed, load.indeterminate
            )),
        ),
    ]);
    out.table(
        &["Invariant", "Kind", "Looks", "Result", "First broken"],
        run.invariants.iter().map(|one| {
            let broken = one.first_violation.as_ref().map(|violation| {
                format!(
                    "{}, event {}: {}",
                    duration(violation.at_ns),
                    violation.event,
                    escape(&violation.excerpt)
                )
            });
            vec![
                code(&one.id),
                format!("{:?}", one.kind).to_lowercase(),
                one.evaluations.to_string(),
                status(one.result),
                broken.unwrap_or_default(),
            ]
        }),
    );
    out.table(
        &["Fault", "On", "Kind", "From", "To", "Hits"],
        run.faults.iter().map(|fault| {
            vec![
                code(&fault.id),
                escape(&fault.target),
                escape(&fault.kind),
                took(fault.injected_at_ns),
                took(fault.recovered_at_ns),
                fault.hits.to_string(),
            ]
        }),
    );
    if !run.history_ref.is_empty() {
        out.line(format_args!("<p>History: {}</p>", file(&run.history_ref)));
    }
    out.line(format_args!(
        "<pre>{}</pre>\n</details>",
        escape(&run.replay.command)
    ));
}

/// What the drawing shows lies between the start and this.
fn end_of(run: &ScenarioReport) -> u64 {
    let phases = run.phases.iter().map(|phase| phase.end_ns);
    let faults = run.faults.iter().flat_map(|fault| {
        [
            Some(fault.planned.at_ns),
            fault.injected_at_ns,
            fault.recovered_at_ns,
        ]
    });
    let violations = run.invariants.iter().flat_map(|one| {
        let at = one
            .first_violation
            .as_ref()
            .map(|violation| violation.at_ns);
        [at, one.met_at_ns]
    });
    let seen = phases
        .chain(faults.flatten())
        .chain(violations.flatten())
        .max();
    let stated = run.sim_duration_ns.unwrap_or(run.wall_duration_ns);
    seen.unwrap_or(0).max(stated).max(1)
}

struct Scale(u64);

impl Scale {
    fn x(&self, ns: u64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * ns as f64 / self.0 as f64
    }
}

fn drawing(out: &mut Page, run: &ScenarioReport) {
    let scale = Scale(end_of(run));
    let lanes = lanes(run, &scale);
    let height = LANE * (lanes.len() as f64 + 2.0) + 26.0;
    out.line(format_args!(
        "<div class=\"wide\"><svg class=\"timeline\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Timeline of {}\">",
        escape(&run.run_id)
    ));
    lane(out, 0, "phases");
    for phase in &run.phases {
        let (from, to) = (scale.x(phase.start_ns), scale.x(phase.end_ns));
        let name = class(&phase.name);
        bar(
            out,
            0,
            (from, to),
            &format!("phase {name}"),
            &phase.name,
            &phase.name,
        );
    }
    lane(out, 1, "callers");
    let total: u64 = run.load.calls.values().sum();
    let load = format!("{} callers, {total} calls", run.load.callers);
    bar(out, 1, (scale.x(0), scale.x(scale.0)), "load", &load, &load);
    for (number, (target, faults)) in (2..).zip(&lanes) {
        lane(out, number, target);
        for fault in faults {
            self::fault(out, number, &scale, fault);
        }
    }
    let bottom = LANE * (lanes.len() as f64 + 2.0);
    for one in &run.invariants {
        if let Some(violation) = &one.first_violation {
            marker(
                out,
                scale.x(violation.at_ns),
                bottom,
                "violation",
                &format!("{} broken at {}", one.id, duration(violation.at_ns)),
            );
        } else if let (Some(at), CheckStatus::Pass) = (one.met_at_ns, one.result) {
            marker(
                out,
                scale.x(at),
                bottom,
                "met",
                &format!("{} met at {}", one.id, duration(at)),
            );
        }
    }
    for quarter in 0..=4_u64 {
        let at = scale.0 / 4 * quarter;
        let (x, y) = (scale.x(at), bottom + 18.0);
        let side = match quarter {
            0 => "start",
            4 => "end",
            _ => "middle",
        };
        out.line(format_args!(
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{side}\">{}</text>",
            duration(at)
        ));
    }
    out.line("</svg></div>");
}

/// What each thing suffered, by its name; what it suffered at the same time is in lanes below each other.
fn lanes<'a>(run: &'a ScenarioReport, scale: &Scale) -> Vec<(&'a str, Vec<&'a Fault>)> {
    let mut by_target: BTreeMap<&str, Vec<&Fault>> = BTreeMap::new();
    for fault in &run.faults {
        by_target.entry(&fault.target).or_default().push(fault);
    }
    let mut all = Vec::new();
    for (target, mut faults) in by_target {
        faults.sort_by_key(|fault| span(fault, scale));
        let mut lanes: Vec<Vec<&Fault>> = Vec::new();
        for fault in faults {
            let (from, _) = span(fault, scale);
            let is_free = |lane: &&mut Vec<&Fault>| {
                lane.last().is_none_or(|last| span(last, scale).1 <= from)
            };
            match lanes.iter_mut().find(is_free) {
                Some(lane) => lane.push(fault),
                None => lanes.push(vec![fault]),
            }
        }
        let names = std::iter::once(target).chain(std::iter::repeat(""));
        all.extend(names.zip(lanes));
    }
    all
}

/// From when to when a fault was there, or was to be.
fn span(fault: &Fault, scale: &Scale) -> (u64, u64) {
    let (from, to) = match fault.injected_at_ns {
        Some(from) => (from, fault.recovered_at_ns),
        None => {
            let Planned { at_ns, for_ns } = fault.planned;
            (at_ns, for_ns.map(|length| at_ns.saturating_add(length)))
        }
    };
    let from = from.min(scale.0);
    (from, to.unwrap_or(scale.0).clamp(from, scale.0))
}

fn lane(out: &mut Page, number: usize, name: &str) {
    let y = LANE * number as f64;
    let shown: String = one_line(name).chars().take(18).collect();
    out.line(format_args!(
        "<rect class=\"lane\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{LANE}\"/><text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        WIDTH - LEFT - RIGHT,
        LEFT - 8.0,
        y + LANE / 2.0 + 4.0,
        escape(&shown)
    ));
}

/// A bar with a title, and a label where that has room.
fn bar(out: &mut Page, lane: usize, (from, to): (f64, f64), class: &str, label: &str, title: &str) {
    let y = LANE * lane as f64 + (LANE - BAR) / 2.0;
    let width = (to - from).max(2.0);
    out.line(format_args!(
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"><title>{}</title></rect>",
        escape(title)
    ));
    if label.chars().count() as f64 * LETTER + 8.0 <= width {
        out.line(format_args!(
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            from + 5.0,
            y + BAR - 5.0,
            escape(label)
        ));
    }
}

/// What was injected; a fault that never was is where it was planned, hollow.
fn fault(out: &mut Page, lane: usize, scale: &Scale, fault: &Fault) {
    let class = match fault.injected_at_ns {
        Some(_) => "fault",
        None => "fault never",
    };
    let (from, to) = span(fault, scale);
    let title = format!(
        "{}: {} on {}, {} hits",
        fault.id, fault.kind, fault.target, fault.hits
    );
    let label = format!("{} · {} hits", fault.id, fault.hits);
    bar(
        out,
        lane,
        (scale.x(from), scale.x(to)),
        class,
        &label,
        &title,
    );
}

fn marker(out: &mut Page, x: f64, bottom: f64, class: &str, title: &str) {
    out.line(format_args!(
        "<g class=\"{class}\"><title>{}</title><line x1=\"{x:.1}\" y1=\"0\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/><path d=\"M{:.1} {bottom:.1}l-5 8h10z\"/></g>",
        escape(title),
        x
    ));
}

/// A word for the style sheet.
fn class(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphabetic);
    letters.collect::<String>().to_lowercase()
}

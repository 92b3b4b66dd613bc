//! The Markdown of a report: goals first, then the tables they come from.

use std::fmt::Write as _;

use super::{Cell, Report, Side, label};
use crate::load::Failures;

pub(super) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    write(&mut out, report).expect("a string takes everything");
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        out,
        "# {} beside direct calls to {}, {} cores\n",
        report.subject, report.server, report.cores
    )?;
    writeln!(
        out,
        "| measure (direct = the same calls to the same server) | goal | figures | holds |"
    )?;
    writeln!(out, "| --- | --- | --- | --- |")?;
    for goal in &report.goals {
        let bound = if goal.at_least { "≥" } else { "≤" };
        let figures: Vec<String> = goal
            .figures
            .iter()
            .map(|figure| {
                format!(
                    "{} {}{}",
                    figure.label,
                    short(figure.value),
                    if figure.sound { "" } else { " (disturbed)" }
                )
            })
            .collect();
        let figures = if figures.is_empty() {
            "not measured".to_owned()
        } else {
            figures.join(" · ")
        };
        let holds = match goal.holds {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "open",
        };
        writeln!(
            out,
            "| {} | {bound} {} {} | {figures} | {holds} |",
            goal.measure, goal.goal, goal.unit
        )?;
    }
    for problem in &report.problems {
        writeln!(out, "\nNot measured: {problem}")?;
    }
    if !report.load.cells.is_empty() {
        cells(out, report)?;
    }
    if !report.bursts.is_empty() {
        bursts(out, report)?;
    }
    if let Some(r) = &report.rotations {
        writeln!(
            out,
            "\n{} rotations: {} key_ids seen, RSS before {:.1} MiB, highest {:.1}; Status showed another key_id {:.1} s after the last.",
            r.rotations, r.key_ids, r.before, r.highest, r.taken_up_after_s
        )?;
        failures(out, "rotations", &r.failures)?;
    }
    starts_and_outages(out, report)
}

fn cells(out: &mut String, report: &Report) -> std::fmt::Result {
    let foreign: Vec<String> = report
        .load
        .foreign_per_round
        .iter()
        .map(|cores| format!("{cores:.2}"))
        .collect();
    writeln!(
        out,
        "\n## Load\n\n{} rounds; cores used by others in each: {}. Medians over undisturbed stretches (all, if none was undisturbed).\n",
        report.load.rounds,
        foreign.join(", ")
    )?;
    writeln!(
        out,
        "| | op | c | direct p50 / p99 ms / per s | plugin p50 / p99 ms / per s | p50 ratio | p50 ratio of the median caller | rate ratio | plugin CPU us | server CPU us direct, plugin | CPU ratio | client CPU us direct, plugin | undisturbed |"
    )?;
    writeln!(out, "{}", "| --- ".repeat(13) + "|")?;
    for cell in &report.load.cells {
        let side = |side: &Side| {
            format!(
                "{:.2} / {:.2} / {:.0}",
                side.p50_us / 1e3,
                side.p99_us / 1e3,
                side.per_second
            )
        };
        writeln!(
            out,
            "| {} | {:?} | {} | {} | {} | **{:.2}** | {:.2} | {:.2} | {:.0} | {:.0}, {:.0} | {:.2} | {:.0}, {:.0} | {} of {} |",
            label(cell.tls),
            cell.op,
            cell.concurrency,
            side(&cell.direct),
            side(&cell.plugin),
            cell.ratio_p50,
            cell.ratio_caller_p50,
            cell.ratio_per_second,
            cell.plugin.plugin_cpu_us,
            cell.direct.server_cpu_us,
            cell.plugin.server_cpu_us,
            cell.ratio_cpu,
            cell.direct.client_cpu_us,
            cell.plugin.client_cpu_us,
            cell.quiet,
            cell.ran
        )?;
    }
    for cell in &report.load.cells {
        let name = format!("{:?} {} at {}", cell.op, label(cell.tls), cell.concurrency);
        failures(out, &name, &cell.failures)?;
        failures(out, &format!("direct {name}"), &cell.direct_failures)?;
    }
    writeln!(out)?;
    for status in &report.load.status {
        writeln!(
            out,
            "Status alone, {}: p50 {:.0} us, p99 {:.0} us, CPU plugin {:.0} us, server {:.0} us.",
            label(status.tls),
            status.p50_us,
            status.p99_us,
            status.plugin_cpu_us,
            status.server_cpu_us
        )?;
        // What a plugin that costs nothing but the hop would come to.
        let alone = |cell: &&Cell| cell.concurrency == 1 && cell.tls == status.tls;
        for cell in report.load.cells.iter().filter(alone) {
            let direct = cell.direct.p50_us;
            let floor = (direct + status.p50_us) / direct;
            writeln!(
                out,
                "Direct {:?} and this hop together: {floor:.2} x direct.",
                cell.op
            )?;
        }
    }
    Ok(())
}

fn bursts(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "\n## 1,000 distinct Decrypts\n")?;
    writeln!(
        out,
        "| | direct, 16 in flight, ms | plugin, all at once, ms | times faster | server CPU ms direct, plugin | plugin CPU ms | RSS (anon) MiB start, after five bursts, peak | undisturbed |"
    )?;
    writeln!(out, "{}", "| --- ".repeat(8) + "|")?;
    for b in &report.bursts {
        let m = &b.memory;
        writeln!(
            out,
            "| {} | {:.1} | {:.1} | **{:.1}** | {:.0}, {:.0} | {:.0} | {:.1} ({:.1}), {:.1} ({:.1}), {:.1} | {} of {} |",
            label(b.tls),
            b.direct_ms,
            b.plugin_ms,
            b.times_faster,
            b.direct_server_cpu_ms,
            b.plugin_server_cpu_ms,
            b.plugin_cpu_ms,
            m.start,
            m.start_anon,
            m.after_bursts,
            m.after_bursts_anon,
            m.peak,
            b.quiet,
            b.ran
        )?;
    }
    for b in &report.bursts {
        failures(out, &format!("bursts {}", label(b.tls)), &b.failures)?;
        failures(
            out,
            &format!("direct bursts {}", label(b.tls)),
            &b.direct_failures,
        )?;
    }
    Ok(())
}

fn starts_and_outages(out: &mut String, report: &Report) -> std::fmt::Result {
    if !report.starts.is_empty() {
        writeln!(
            out,
            "\n## Start to first good Status\n\n| auth | | median (range) ms | one login ms | SIGTERM to exit ms | undisturbed |"
        )?;
        writeln!(out, "{}", "| --- ".repeat(6) + "|")?;
    }
    for s in &report.starts {
        let (fastest, slowest) = s.range_ms;
        writeln!(
            out,
            "| {} | {} | {:.1} ({fastest:.1}-{slowest:.1}) | {:.1} | {:.1} | {} of {} |",
            s.auth,
            label(s.tls),
            s.median_ms,
            s.login_ms,
            s.stop_ms,
            s.quiet,
            s.ran
        )?;
    }
    if !report.outages.is_empty() {
        writeln!(
            out,
            "\n## Server gone, 50 calls a second\n\n| server | | first bad Status s | last \"ok\" s | good again s | failed calls | text |"
        )?;
        writeln!(out, "{}", "| --- ".repeat(7) + "|")?;
    }
    for o in &report.outages {
        let seconds = |value: Option<f64>| value.map_or("-".to_owned(), |s| format!("{s:.2}"));
        let (failed, sent) = o.failed_calls;
        writeln!(
            out,
            "| {} | {} | {} | {:.2} | {} | {failed} of {sent} | {} |",
            o.event,
            label(o.tls),
            seconds(o.first_error_s),
            o.last_ok_s,
            seconds(o.recovered_after_s),
            o.text.replace('|', "/")
        )?;
    }
    Ok(())
}

fn failures(out: &mut String, name: &str, failures: &Failures) -> std::fmt::Result {
    if failures.count == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "\n{} failed calls in {name}; the first: {}",
        failures.count,
        failures.first.join(" | ")
    )
}

/// Three significant places at most, without noise.
fn short(value: f64) -> String {
    match value {
        v if v.is_infinite() => "never".to_owned(),
        v if v.abs() >= 100.0 || v == v.trunc() => format!("{v:.0}"),
        v if v.abs() >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goals_stand_in_the_table_even_when_nothing_was_measured() {
        let mut report = Report::default();
        report.goals = super::super::goals::judge(&report);
        let text = markdown(&report);
        assert!(
            text.contains("| p50 / direct, 1 call in flight | ≤ 1.35  | not measured | open |"),
            "{text}"
        );
        assert_eq!(text.matches("not measured").count(), report.goals.len());
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [1.234, 12.34, 123.4, 2.0, f64::INFINITY].map(short),
            ["1.23", "12.3", "123", "2", "never"]
        );
    }
}

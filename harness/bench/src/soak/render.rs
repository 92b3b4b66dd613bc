//! The Markdown of a soak.

use std::fmt::Write as _;

use super::{MAX_TTL, Report, TTL};
use crate::Outcome;

pub(super) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    write(&mut out, report).expect("a string takes everything");
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    let verdict = match report.outcome() {
        Outcome::Held => "held: no call failed",
        Outcome::Missed => "MISSED",
        Outcome::Inconclusive => "inconclusive: too few of the events happened",
    };
    writeln!(out, "# Soak of {}: {verdict}\n", report.subject)?;
    writeln!(
        out,
        "{} plugins side by side on real OpenBao over TLS, AppRole, tokens of {TTL} s and at most {MAX_TTL} s, {:.0} s of load.\n",
        report.plugins.len(),
        report.seconds
    )?;
    writeln!(out, "| what | happened | wanted |\n| --- | --- | --- |")?;
    writeln!(
        out,
        "| logins, counted by the server | {} | {} |",
        report.logins.0, report.logins.1
    )?;
    writeln!(
        out,
        "| key rotations | {} | {} |",
        report.rotations.0, report.rotations.1
    )?;
    writeln!(
        out,
        "| revocations of all tokens | {} | {} |",
        report.revocations.0, report.revocations.1
    )?;
    writeln!(out, "| failed calls | {} | 0 |", report.failed())?;
    let converged = report
        .converged_after_s
        .map_or("never".to_owned(), |s| format!("{s:.1} s"));
    writeln!(
        out,
        "| one key_id everywhere after the end | {converged} | 30 s |"
    )?;
    writeln!(
        out,
        "| values exchanged right after rotations | {} | |",
        report.exchanged
    )?;
    writeln!(
        out,
        "| values of all versions read back at the end | {} | |\n",
        report.read_back
    )?;
    writeln!(
        out,
        "| plugin | renews | call | answered | p50 / p99 / max ms |\n| --- | --- | --- | --- | --- |"
    )?;
    for (n, plugin) in report.plugins.iter().enumerate() {
        let renews = if plugin.renews { "yes" } else { "no" };
        for (call, latency) in [
            ("Encrypt", plugin.encrypt),
            ("Decrypt", plugin.decrypt),
            ("Status", plugin.status),
        ] {
            writeln!(
                out,
                "| {} | {renews} | {call} | {} | {:.2} / {:.2} / {:.0} |",
                n + 1,
                latency.calls,
                latency.p50_ms,
                latency.p99_ms,
                latency.max_ms
            )?;
        }
    }
    for (n, plugin) in report.plugins.iter().enumerate() {
        writeln!(
            out,
            "\nPlugin {}: {} key_ids; read {} values of others, {} of them under a key_id that it did not write with at that moment; {} failed calls.",
            n + 1,
            plugin.key_ids,
            plugin.of_others,
            plugin.under_other_key,
            plugin.failures.count
        )?;
        for message in &plugin.failures.first {
            writeln!(out, "- {message}")?;
        }
    }
    for message in &report.failures.first {
        writeln!(out, "\n- {message}")?;
    }
    Ok(())
}

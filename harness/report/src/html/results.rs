//! Failures, all requirements with their checks, and what was not shown.

use kms_judge::CheckStatus;

use super::{Page, anchor, code, duration, escape, file, prose, status};
use crate::model::{CheckReport, Report, RequirementReport, Severity};
use crate::text;

pub(super) fn failures(out: &mut Page, report: &Report) {
    out.open("failures", "Failures");
    let failed = report
        .requirements
        .iter()
        .filter(|row| row.status == CheckStatus::Fail);
    let mut none = true;
    for row in failed {
        none = false;
        out.line(format_args!(
            "<article class=\"failure\">\n<h3><a href=\"#{}\">{}</a> {}</h3>\n<p>{}</p>",
            anchor("requirement", &row.id),
            escape(&row.id),
            escape(&row.title),
            prose(&row.sentence)
        ));
        for check in row
            .checks
            .iter()
            .filter(|one| one.status == CheckStatus::Fail)
        {
            self::check(out, check);
        }
        out.line("</article>");
    }
    if none {
        out.line("<p>None.</p>");
    }
    let findings = report.findings.iter().map(|finding| {
        let severity = match finding.severity {
            Severity::Critical => "critical",
            Severity::High => "high",
            Severity::Medium => "medium",
            Severity::Low => "low",
        };
        let evidence = finding.evidence.iter().map(|path| file(path));
        vec![
            severity.to_owned(),
            escape(&finding.title),
            escape(&finding.requirements.join(", ")),
            evidence.collect::<Vec<_>>().join(", "),
        ]
    });
    out.table(
        &["Severity", "Finding", "Requirements", "Evidence"],
        findings,
    );
    out.close();
}

pub(super) fn requirements(out: &mut Page, report: &Report) {
    out.open("requirements", "Requirements");
    let known = [
        CheckStatus::Fail,
        CheckStatus::Warn,
        CheckStatus::Inconclusive,
        CheckStatus::Pass,
        CheckStatus::NotApplicable,
        CheckStatus::Skipped,
        CheckStatus::NotRun,
    ];
    // The script shows it; without one there is nothing to type into.
    out.line(
        "<form id=\"filter\" hidden=\"\">\n<input type=\"search\" name=\"words\" placeholder=\"Id or words, such as ENC-05\" aria-label=\"Filter by id or words\"/>",
    );
    for one in known {
        let rows = report.requirements.iter().filter(|row| row.status == one);
        let count = rows.count();
        if count > 0 {
            let word = text::status(one);
            out.line(format_args!(
                "<label><input type=\"checkbox\" name=\"status\" value=\"{word}\" checked=\"\"/> {} {count}</label>",
                status(one)
            ));
        }
    }
    out.line("<output></output>\n</form>");
    out.line("<div class=\"rows\">");
    for row in &report.requirements {
        requirement(out, row);
    }
    out.line("</div>");
    out.close();
}

fn requirement(out: &mut Page, row: &RequirementReport) {
    let flaky = if row.flaky { " <b>flaky</b>" } else { "" };
    let checks = row.checks.iter().map(|check| check.check_id.as_str());
    let find = format!(
        "{} {} {}",
        row.id,
        row.title,
        checks.collect::<Vec<_>>().join(" ")
    );
    out.line(format_args!(
        "<details id=\"{}\" class=\"requirement\" data-find=\"{}\" data-status=\"{}\">\n\
         <summary><b class=\"id\">{}</b> <span class=\"title\">{}</span> <span class=\"kind\">{} · {} · {}</span> <span class=\"verdict\">{}{flaky}</span></summary>\n\
         <p>{}</p>",
        anchor("requirement", &row.id),
        escape(&find.to_lowercase()),
        text::status(row.status),
        escape(&row.id),
        escape(&row.title),
        row.profile.as_str(),
        row.level.as_str(),
        row.basis.as_str(),
        status(row.status),
        prose(&row.sentence)
    ));
    if let Some(reason) = &row.reason {
        out.line(format_args!("<p>{}</p>", escape(reason)));
    }
    if let Some(waiver) = &row.waiver {
        out.line(format_args!(
            "<p>Accepted by {} until {}: {}</p>",
            escape(&waiver.by),
            escape(&waiver.expires_at),
            escape(&waiver.reason)
        ));
    }
    for check in &row.checks {
        self::check(out, check);
    }
    out.line("</details>");
}

fn check(out: &mut Page, check: &CheckReport) {
    out.line(format_args!(
        "<div class=\"check\">\n<p>{} {} <span class=\"kind\">{} comparisons, {}</span></p>\n<dl>",
        status(check.status),
        code(&check.check_id),
        check.assertions,
        duration(check.duration_ns)
    ));
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            out.line(format_args!("<div><dt>{name}</dt><dd>{value}</dd></div>"));
        }
    };
    for outcome in &check.expected {
        fact("expected", escape(outcome));
    }
    fact("observed", escape(&check.observed));
    fact("because", escape(&check.explanation));
    if check.attempts.len() > 1 {
        let attempts = check.attempts.iter().map(|one| status(one.status));
        fact("attempts", attempts.collect::<Vec<_>>().join(" "));
    }
    if !check.evidence.is_empty() {
        let events: Vec<_> = check.evidence.iter().map(u64::to_string).collect();
        let events = events.join(", ");
        fact("events", format!("{events} of {}", file("history.jsonl")));
    }
    let runs = check
        .scenario_runs
        .iter()
        .map(|run| format!("<a href=\"#{}\">{}</a>", anchor("run", run), escape(run)));
    fact("runs", runs.collect::<Vec<_>>().join(", "));
    out.line("</dl>\n</div>");
}

pub(super) fn not_shown(out: &mut Page, report: &Report) {
    out.open("not-shown", "Not shown");
    out.line("<ul>");
    for limit in &report.limits {
        out.line(format_args!("<li>{}</li>", escape(limit)));
    }
    out.line("</ul>");
    let unsettled = report.requirements.iter().filter(|row| {
        !matches!(
            row.status,
            CheckStatus::Pass | CheckStatus::Fail | CheckStatus::Warn
        )
    });
    out.table(
        &["Requirement", "Status", "Reason"],
        unsettled.map(|row| {
            let check = row.checks.iter().find(|check| check.status == row.status);
            let reason = match check {
                Some(check) if !check.explanation.is_empty() => &check.explanation,
                Some(check) => &check.observed,
                None => row.reason.as_ref().unwrap_or(&row.title),
            };
            let id = format!(
                "<a href=\"#{}\">{}</a>",
                anchor("requirement", &row.id),
                escape(&row.id)
            );
            vec![id, status(row.status), escape(reason)]
        }),
    );
    out.close();
}

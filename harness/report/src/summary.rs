//! The small summary for a public folder of reports: who was judged, by what, how it went, and the digest of it all.
//!
//! YAML that any reader takes; every text in it is a JSON string, so that a subject cannot write members of its own.

use std::fmt::Write;

use kms_judge::CheckStatus;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::json::{digest, to_json};
use crate::model::{ProfileReport, Report, RequirementReport};
use crate::text::{one_line, status};

/// Renders the summary.
pub fn summary(report: &Report) -> String {
    let mut out = Yaml::default();
    let subject = &report.subject;
    out.member(0, "apiVersion", "kmsv2-conformance-summary/v1");
    out.open(0, "implementation");
    out.optional(1, "organization", subject.organization.as_deref());
    out.member(1, "project", &subject.project);
    out.optional(1, "url", subject.url.as_deref());
    out.optional(1, "version", subject.version.as_deref());
    out.list(1, "contact", &subject.contact);
    let digests = subject
        .artifacts
        .iter()
        .map(|artifact| format!("{} sha256:{}", artifact.name, artifact.digest.sha256));
    out.list(1, "artifacts", &digests.collect::<Vec<_>>());
    out.member(0, "mode", subject.mode.as_deref().unwrap_or("default"));
    out.member(0, "arm", report.environment.arm.as_str());
    out.member(0, "date", &report.created_at);
    out.open(0, "contract");
    out.member(1, "name", &report.suite.contract.name);
    out.member(1, "version", &report.suite.contract.version);
    out.member(1, "registryDigest", &report.suite.contract.registry_digest);
    out.open(0, "suite");
    out.member(1, "version", &report.suite.version);
    out.optional(1, "commit", report.suite.git_commit.as_deref());
    out.open(0, "report");
    out.member(1, "id", &report.report_id);
    out.member(1, "digest", &digest(report));
    let whole = Sha256::digest(to_json(report));
    let hex: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
    out.member(1, "sha256", &hex);
    out.list(0, "capabilities", &subject.capabilities.observed);
    out.open(0, "profiles");
    for profile in &report.profiles {
        self::profile(&mut out, report, profile);
    }
    out.0
}

fn profile(out: &mut Yaml, report: &Report, profile: &ProfileReport) {
    let counts = &profile.counts;
    out.item(1, "name", profile.name.as_str());
    out.member(2, "result", profile.result.as_str());
    out.member(2, "summary", &profile.summary);
    out.open(2, "statistics");
    for (name, count) in [
        ("pass", counts.pass),
        ("fail", counts.fail),
        ("warn", counts.warn),
        ("inconclusive", counts.inconclusive),
        ("notApplicable", counts.not_applicable),
        ("skipped", counts.skipped),
        ("notRun", counts.not_run),
    ] {
        out.number(3, name, count);
    }
    let of = |wanted: &[CheckStatus]| -> Vec<&RequirementReport> {
        let rows = report.requirements.iter();
        rows.filter(|row| row.profile <= profile.name && wanted.contains(&row.status))
            .collect()
    };
    reasons(out, "failed", &of(&[CheckStatus::Fail]));
    reasons(
        out,
        "skipped",
        &of(&[
            CheckStatus::Skipped,
            CheckStatus::NotRun,
            CheckStatus::NotApplicable,
            CheckStatus::Inconclusive,
        ]),
    );
}

/// Ids, each with why.
fn reasons(out: &mut Yaml, name: &str, rows: &[&RequirementReport]) {
    if rows.is_empty() {
        return;
    }
    out.open(2, name);
    for row in rows {
        out.item(3, "id", &row.id);
        out.member(4, "status", status(row.status));
        let check = row.checks.iter().find(|check| check.status == row.status);
        let reason = match check {
            Some(check) if row.status == CheckStatus::Fail => &check.observed,
            Some(check) if !check.explanation.is_empty() => &check.explanation,
            Some(check) => &check.observed,
            None => row.reason.as_ref().unwrap_or(&row.title),
        };
        out.member(4, "reason", reason);
        if let Some(waiver) = &row.waiver {
            out.member(4, "waived", &waiver.reason);
        }
    }
}

/// A YAML document being written, two blanks a level.
#[derive(Default)]
struct Yaml(String);

impl Yaml {
    fn put(&mut self, level: usize, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{}{text}", "  ".repeat(level));
    }

    fn member(&mut self, level: usize, name: &str, value: &str) {
        self.put(level, &format!("{name}: {}", quoted(value)));
    }

    fn number(&mut self, level: usize, name: &str, value: u64) {
        self.put(level, &format!("{name}: {value}"));
    }

    fn optional(&mut self, level: usize, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.member(level, name, value);
        }
    }

    fn open(&mut self, level: usize, name: &str) {
        self.put(level, &format!("{name}:"));
    }

    /// The first member of a list's element; the others follow one level deeper.
    fn item(&mut self, level: usize, name: &str, value: &str) {
        self.put(level, &format!("- {name}: {}", quoted(value)));
    }

    fn list(&mut self, level: usize, name: &str, values: &[String]) {
        if values.is_empty() {
            return;
        }
        self.open(level, name);
        for value in values {
            self.put(level, &format!("- {}", quoted(value)));
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(one_line(text)).to_string()
}

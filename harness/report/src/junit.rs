//! The report as JUnit XML: a suite for each profile and area, a case for each check, failures as failures.
//!
//! What was inconclusive is an error, not a failure; what nobody looked at is skipped with its reason.

use std::collections::BTreeMap;
use std::fmt::Write;

use kms_judge::CheckStatus;

use crate::cases::{Case, cases, scenario_message, scenario_text};
use crate::model::{Report, ScenarioReport};
use crate::text::status;

/// Renders the report. The counts of the root are the sums of those of the suites.
pub fn junit(report: &Report) -> String {
    let mut suites: BTreeMap<(u8, String), Suite> = BTreeMap::new();
    for case in cases(report) {
        let profile = case.row.profile;
        let name = format!("{}.{}", profile.as_str(), case.area());
        let suite = suites.entry((profile as u8, name)).or_default();
        suite.add(check_case(&case), case.status(), case.duration_ns());
    }
    for run in &report.scenarios {
        let name = format!("scenarios.{}", run.arm.as_str());
        let suite = suites.entry((u8::MAX, name)).or_default();
        suite.add(scenario_case(run), run.verdict, run.wall_duration_ns);
    }
    let sum = |pick: fn(&Suite) -> u64| suites.values().map(pick).sum::<u64>();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    put(
        &mut out,
        format_args!(
            "<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\">\n",
            escape(&format!("{} {}", report.suite.name, report.subject.project)),
            sum(|suite| suite.tests),
            sum(|suite| suite.failures),
            sum(|suite| suite.errors),
            sum(|suite| suite.skipped),
            seconds(sum(|suite| suite.duration_ns)),
        ),
    );
    let properties = properties(report);
    for ((_, name), suite) in &suites {
        suite.write(&mut out, name, &properties, &report.created_at);
    }
    out.push_str("</testsuites>\n");
    out
}

#[derive(Default)]
struct Suite {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
    duration_ns: u64,
    cases: String,
}

impl Suite {
    fn add(&mut self, text: String, status: CheckStatus, duration_ns: u64) {
        self.tests += 1;
        match status {
            CheckStatus::Fail => self.failures += 1,
            CheckStatus::Inconclusive => self.errors += 1,
            CheckStatus::NotApplicable | CheckStatus::Skipped | CheckStatus::NotRun => {
                self.skipped += 1;
            }
            CheckStatus::Pass | CheckStatus::Warn => {}
        }
        self.duration_ns = self.duration_ns.saturating_add(duration_ns);
        self.cases.push_str(&text);
    }

    fn write(&self, out: &mut String, name: &str, properties: &str, at: &str) {
        put(
            out,
            format_args!(
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\" timestamp=\"{}\">\n{properties}{}  </testsuite>\n",
                escape(name),
                self.tests,
                self.failures,
                self.errors,
                self.skipped,
                seconds(self.duration_ns),
                escape(at.trim_end_matches('Z')),
                self.cases,
            ),
        );
    }
}

/// What a suite was run with.
fn properties(report: &Report) -> String {
    let mut out = String::from("    <properties>\n");
    let mut property = |name: &str, value: &str| {
        put(
            &mut out,
            format_args!(
                "      <property name=\"{name}\" value=\"{}\"/>\n",
                escape(value)
            ),
        );
    };
    let commit = report.suite.git_commit.as_deref().unwrap_or("unknown");
    property("suite.commit", commit);
    for artifact in &report.subject.artifacts {
        let digest = format!("{} sha256:{}", artifact.name, artifact.digest.sha256);
        property("subject.digest", &digest);
    }
    property("arm", report.environment.arm.as_str());
    let seed = report.plan.entries.iter().find(|one| one.name == "seed");
    if let Some(seed) = seed {
        property("seed", &seed.value);
    }
    property("report.id", &report.report_id);
    out.push_str("    </properties>\n");
    out
}

fn check_case(case: &Case<'_>) -> String {
    let attempts = case.check.map_or(0, |check| check.attempts.len());
    let content = match case.status() {
        CheckStatus::Fail => {
            let mut text = element("failure", &case.message(), &case.row.id, &case.text());
            if attempts > 1 {
                text.push_str(&output(&case.text()));
            }
            text
        }
        CheckStatus::Inconclusive => {
            element("error", &case.message(), &case.reason_code(), &case.text())
        }
        CheckStatus::Warn => format!("{WARNED}{}", output(&case.text())),
        CheckStatus::Pass => String::new(),
        other => skipped(&format!("{}: {}", status(other), case.message())),
    };
    testcase(&case.name(), &case.area(), case.duration_ns(), &content)
}

/// A case that passes and says why it should be looked at.
const WARNED: &str =
    "      <properties>\n        <property name=\"status\" value=\"warn\"/>\n      </properties>\n";

fn scenario_case(run: &ScenarioReport) -> String {
    let (message, text) = (scenario_message(run), scenario_text(run));
    let content = match run.verdict {
        CheckStatus::Fail => element("failure", &message, &run.scenario_id, &text),
        CheckStatus::Inconclusive => element("error", &message, "inconclusive", &text),
        CheckStatus::Warn => format!("{WARNED}{}", output(&text)),
        CheckStatus::Pass => String::new(),
        other => skipped(status(other)),
    };
    testcase(
        &run.run_id,
        &run.scenario_id,
        run.wall_duration_ns,
        &content,
    )
}

fn testcase(name: &str, class: &str, duration_ns: u64, content: &str) -> String {
    let (name, class) = (escape(name), escape(class));
    let time = seconds(duration_ns);
    let head = format!("    <testcase name=\"{name}\" classname=\"{class}\" time=\"{time}\"");
    if content.is_empty() {
        format!("{head}/>\n")
    } else {
        format!("{head}>\n{content}    </testcase>\n")
    }
}

fn element(name: &str, message: &str, kind: &str, text: &str) -> String {
    format!(
        "      <{name} message=\"{}\" type=\"{}\">{}</{name}>\n",
        escape(message),
        escape(kind),
        escape(text)
    )
}

fn skipped(message: &str) -> String {
    format!("      <skipped message=\"{}\"/>\n", escape(message))
}

fn output(text: &str) -> String {
    format!("      <system-out>{}</system-out>\n", escape(text))
}

/// Seconds with microseconds.
fn seconds(ns: u64) -> String {
    let micros = ns / 1_000;
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// Text and attribute values: what XML cannot hold is left out, what means something to it is escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => {}
            other if other.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

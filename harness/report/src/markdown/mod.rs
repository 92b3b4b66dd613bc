//! The report as Markdown, from the report alone.
//!
//! Parts in reading order; a part without content says so. Whatever a subject may have written is
//! escaped.

mod measured;
mod results;
mod trust;

use std::fmt::{Display, Write};

use crate::model::{Counts, Report};
use crate::text::{duration, one_line};

/// Renders the report.
pub fn markdown(report: &Report) -> String {
    let mut out = Document::default();
    out.line(format_args!(
        "# KMS v2 conformance: {}",
        subject_name(report)
    ));
    verdicts(&mut out, report);
    subject(&mut out, report);
    environment(&mut out, report);
    trust::section(&mut out, report);
    results::failures(&mut out, report);
    results::matrix(&mut out, report);
    measured::scenarios(&mut out, report);
    measured::properties(&mut out, report);
    measured::latency(&mut out, report);
    results::not_shown(&mut out, report);
    reproduce(&mut out, report);
    out.0
}

fn subject_name(report: &Report) -> String {
    let version = report
        .subject
        .version
        .as_deref()
        .unwrap_or("(version unknown)");
    escape(&format!("{} {version}", report.subject.project))
}

fn verdicts(out: &mut Document, report: &Report) {
    out.heading("Verdict");
    out.table(
        &[
            "Profile",
            "Result",
            "Required",
            "Held",
            "Other",
            "In a sentence",
        ],
        report.profiles.iter().map(|profile| {
            vec![
                profile.name.as_str().to_owned(),
                format!("**{}**", profile.result.as_str()),
                profile.required.len().to_string(),
                profile.counts.pass.to_string(),
                other_counts(&profile.counts),
                escape(&profile.summary),
            ]
        }),
    );
    let suite = &report.suite;
    let contract = &suite.contract;
    out.items([
        ("Date", escape(&report.created_at)),
        (
            "Suite",
            escape(&format!("{} {}", suite.name, suite.version)),
        ),
        (
            "Contract",
            escape(&format!("{} {}", contract.name, contract.version)),
        ),
        ("Registry", code(&contract.registry_digest)),
        ("Report", code(&report.report_id)),
        ("Run", code(&report.run_id)),
    ]);
    if let Some(original) = &report.derived_from {
        out.items([("Judges again", code(original))]);
    }
}

/// What did not hold, as words: `2 fail, 1 warn`.
fn other_counts(counts: &Counts) -> String {
    let others = [
        (counts.fail, "fail"),
        (counts.inconclusive, "inconclusive"),
        (counts.warn, "warn"),
        (counts.skipped, "skipped"),
        (counts.not_run, "not run"),
        (counts.not_applicable, "not applicable"),
    ];
    let words: Vec<_> = others
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    words.join(", ")
}

fn subject(out: &mut Document, report: &Report) {
    let subject = &report.subject;
    out.heading("Subject");
    out.items([("Project", escape(&subject.project))]);
    out.optional_items([
        ("Made by", subject.organization.as_deref()),
        ("Version", subject.version.as_deref()),
        ("Home", subject.url.as_deref()),
        ("Mode", subject.mode.as_deref()),
        ("Configuration", subject.config_digest.as_deref()),
        (
            "Endpoint",
            subject
                .launch
                .as_ref()
                .map(|launch| launch.endpoint.as_str()),
        ),
        (
            "Version in Status",
            subject.observed.status_version.as_deref(),
        ),
        ("Hash of key_id", subject.observed.key_id_hash.as_deref()),
        ("gRPC server", subject.observed.grpc_server.as_deref()),
    ]);
    for artifact in &subject.artifacts {
        let digest = code(&format!("sha256:{}", artifact.digest.sha256));
        out.line(format_args!(
            "- Artifact: {} {digest}",
            escape(&artifact.name)
        ));
    }
    if subject.artifacts.is_empty() {
        out.line("- Artifact: unknown, so this report cannot be tied to a build");
    }
    let capabilities = &subject.capabilities;
    for (name, list) in [
        ("Declared", &capabilities.declared),
        ("Seen", &capabilities.observed),
    ] {
        if !list.is_empty() {
            out.line(format_args!("- {name}: {}", escape(&list.join(", "))));
        }
    }
}

fn environment(out: &mut Document, report: &Report) {
    let environment = &report.environment;
    out.heading("Environment");
    out.items([
        ("Arm", environment.arm.as_str().to_owned()),
        (
            "System",
            escape(&format!("{} {}", environment.os, environment.arch)),
        ),
        ("Clock", escape(&environment.clock_source)),
    ]);
    if environment.time_scale != 1 {
        out.line(format_args!(
            "- Time: 1 s stands for {} s",
            environment.time_scale
        ));
    }
    out.optional_items([
        ("Kernel", environment.kernel.as_deref()),
        ("Processor", environment.cpu.as_deref()),
        ("Containers", environment.container_runtime.as_deref()),
        ("Load before", environment.load_before.as_deref()),
        ("Load after", environment.load_after.as_deref()),
    ]);
    if let Some(bytes) = environment.memory_bytes {
        out.line(format_args!("- Memory: {} MiB", bytes >> 20));
    }
    if let Some(server) = &environment.kubernetes {
        let text = format!("{} {}", server.distribution, server.version);
        out.items([("API server", escape(&text))]);
    }
    if let Some(backend) = &environment.backend {
        let text = format!("{} {}", backend.product, backend.version);
        out.items([("Backend", escape(&text))]);
    }
}

fn reproduce(out: &mut Document, report: &Report) {
    out.heading("Reproduce");
    let suite = &report.suite;
    let source = match (&suite.git_commit, suite.dirty) {
        (Some(commit), Some(false)) => format!("commit {}", code(commit)),
        (Some(commit), Some(true)) => format!("commit {} with changes", code(commit)),
        (Some(commit), None) => format!("commit {}, changes unknown", code(commit)),
        (None, _) => "commit unknown".to_owned(),
    };
    let build = escape(&format!("{} {}", suite.name, suite.version));
    out.line(format_args!(
        "{build}, {source}, {} build.",
        escape(&suite.build_profile)
    ));
    if let Some(command) = &report.plan.command {
        out.gap();
        out.line(format_args!("    {}", one_line(command)));
    }
    out.table(
        &["Option", "Value", "From"],
        report.plan.entries.iter().map(|entry| {
            let origin = format!("{:?}", entry.origin).to_lowercase();
            vec![code(&entry.name), code(&entry.value), origin]
        }),
    );
    if let Some(budget) = report.plan.budget_ns {
        out.gap();
        out.line(format_args!("The run was given {}.", duration(budget)));
    }
}

/// A Markdown document being written.
#[derive(Default)]
struct Document(String);

impl Document {
    fn line(&mut self, text: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{text}");
    }

    /// Exactly one empty line, however many parts ask for it.
    fn gap(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with("\n\n") {
            self.line("");
        }
    }

    fn heading(&mut self, text: &str) {
        self.gap();
        self.line(format_args!("## {text}"));
        self.gap();
    }

    /// One line for each item; values are escaped by the caller.
    fn items<const N: usize>(&mut self, items: [(&str, String); N]) {
        for (name, value) in items {
            self.line(format_args!("- {name}: {value}"));
        }
    }

    /// Escapes the values that are there.
    fn optional_items<const N: usize>(&mut self, items: [(&str, Option<&str>); N]) {
        for (name, value) in items {
            if let Some(value) = value {
                self.items([(name, escape(value))]);
            }
        }
    }

    /// A table, or nothing without rows; cells are escaped by the caller.
    fn table(&mut self, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        self.gap();
        self.line(format_args!("| {} |", head.join(" | ")));
        self.line(format_args!("|{}", "---|".repeat(head.len())));
        for row in rows {
            self.line(format_args!("| {} |", row.join(" | ")));
        }
        self.gap();
    }
}

/// Text that Markdown shows as it is, on one line.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in one_line(text).chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A text of ours: what stands in backticks stays code, the rest is escaped.
fn prose(text: &str) -> String {
    let parts: Vec<_> = text.split('`').collect();
    if parts.len() % 2 == 0 {
        return escape(text);
    }
    let render = |(index, part): (usize, &&str)| {
        if index % 2 == 1 {
            code(part)
        } else {
            escape(part)
        }
    };
    parts.iter().enumerate().map(render).collect()
}

/// Text in code marks, also in a table.
fn code(text: &str) -> String {
    format!("`{}`", one_line(text).replace('`', "'").replace('|', "\\|"))
}

//! A report as a list of test cases, as JUnit and CTRF want it: one for each check of a requirement, one for a requirement
//! that nobody checked, one for each scenario run.

use kms_judge::CheckStatus;

use crate::model::{CheckReport, Report, RequirementReport, ScenarioReport};
use crate::text::{one_line, status};

/// A requirement and one of its checks, or none where there is none.
pub(crate) struct Case<'a> {
    pub row: &'a RequirementReport,
    pub check: Option<&'a CheckReport>,
}

/// All cases, in the order of the report.
pub(crate) fn cases(report: &Report) -> impl Iterator<Item = Case<'_>> {
    report.requirements.iter().flat_map(|row| {
        let unchecked = row.checks.is_empty().then_some(Case { row, check: None });
        let checked = row.checks.iter().map(move |check| Case {
            row,
            check: Some(check),
        });
        unchecked.into_iter().chain(checked)
    })
}

impl Case<'_> {
    /// Unique in a report.
    pub fn name(&self) -> String {
        let (id, title) = (one_line(&self.row.id), one_line(&self.row.title));
        match self.check {
            Some(check) => format!("{id} {title} ({})", one_line(&check.check_id)),
            None => format!("{id} {title}"),
        }
    }

    /// The same in every run: requirement and check.
    pub fn stable_id(&self) -> String {
        let check = self.check.map_or("", |check| check.check_id.as_str());
        format!("{}/{check}", self.row.id)
    }

    /// Such as `status` for `KMS2-STATUS-01`.
    pub fn area(&self) -> String {
        let area = self.row.id.split('-').nth(1).unwrap_or("other");
        one_line(area).to_lowercase()
    }

    pub fn status(&self) -> CheckStatus {
        self.check.map_or(self.row.status, |check| check.status)
    }

    pub fn duration_ns(&self) -> u64 {
        self.check.map_or(0, |check| check.duration_ns)
    }

    /// In one line: what was seen, or why nothing was.
    pub fn message(&self) -> String {
        let reason = self.row.reason.as_deref().unwrap_or_default();
        let Some(check) = self.check else {
            return one_line(reason);
        };
        let texts: [&str; 2] = match check.status {
            CheckStatus::Pass | CheckStatus::Fail | CheckStatus::Warn => {
                [&check.observed, &check.explanation]
            }
            _ => [&check.explanation, &check.observed],
        };
        let first = texts.into_iter().find(|text| !text.is_empty());
        one_line(first.unwrap_or_else(|| status(check.status)))
    }

    /// Why there is no verdict, as a word: what stands before the first colon of the explanation, if that is a word.
    pub fn reason_code(&self) -> String {
        let text = self.check.map_or("", |check| check.explanation.as_str());
        let word = text.split(':').next().unwrap_or_default();
        let is_word = !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if is_word { word } else { status(self.status()) }.to_owned()
    }

    /// What is required, expected and seen, and where that shows.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("requirement: {}", one_line(&self.row.sentence))];
        if let Some(check) = self.check {
            let expected = check.expected.iter().map(|text| ("expected", text));
            let seen = [
                ("observed", &check.observed),
                ("because", &check.explanation),
            ];
            for (name, text) in expected.chain(seen) {
                if !text.is_empty() {
                    lines.push(format!("{name}: {}", one_line(text)));
                }
            }
            if !check.evidence.is_empty() {
                let events: Vec<_> = check.evidence.iter().map(u64::to_string).collect();
                lines.push(format!("events of history.jsonl: {}", events.join(", ")));
            }
            if check.attempts.len() > 1 {
                let attempts = check.attempts.iter().map(|one| status(one.status));
                lines.push(format!(
                    "attempts: {}",
                    attempts.collect::<Vec<_>>().join(", ")
                ));
            }
        }
        lines.join("\n")
    }
}

/// What a scenario run came to, and how to repeat it.
pub(crate) fn scenario_text(run: &ScenarioReport) -> String {
    let mut lines = Vec::new();
    let reason = run.reason.iter();
    lines.extend(reason.map(|why| format!("reason: {}", one_line(why))));
    for invariant in &run.invariants {
        let mut line = format!(
            "{}: {} ({} looks)",
            one_line(&invariant.id),
            status(invariant.result),
            invariant.evaluations
        );
        if let Some(violation) = &invariant.first_violation {
            line.push_str(&format!(
                "; first at {} ns, event {}: {}",
                violation.at_ns,
                violation.event,
                one_line(&violation.excerpt)
            ));
        }
        lines.push(line);
    }
    for fault in &run.faults {
        lines.push(format!(
            "fault {}: {} on {}, {} hits",
            one_line(&fault.id),
            one_line(&fault.kind),
            one_line(&fault.target),
            fault.hits
        ));
    }
    lines.push(format!("replay: {}", one_line(&run.replay.command)));
    lines.join("\n")
}

/// Why a run is not a pass, in one line: what kept it from running, or the invariants that say so.
pub(crate) fn scenario_message(run: &ScenarioReport) -> String {
    if let Some(reason) = &run.reason {
        return format!("{}: {}", status(run.verdict), one_line(reason));
    }
    let told = run
        .invariants
        .iter()
        .filter(|one| one.result == run.verdict)
        .map(|one| one_line(&one.id))
        .collect::<Vec<_>>()
        .join(", ");
    if told.is_empty() {
        status(run.verdict).to_owned()
    } else {
        format!("{}: {told}", status(run.verdict))
    }
}

//! Why the verdict can be believed: what was really done, and what was not.

use super::{Document, code, escape};
use crate::model::Report;

pub(super) fn section(out: &mut Document, report: &Report) {
    out.heading("Why you can believe this");
    let trust = &report.trust;
    match &trust.calibration {
        Some(zoo) => {
            out.line(format_args!(
                "- Broken plugins: {} of {} were caught at the requirement they break (zoo {}, {}, {}).",
                zoo.killed,
                zoo.mutants,
                escape(&zoo.zoo_version),
                escape(&zoo.at),
                code(&zoo.digest),
            ));
            if !zoo.survived.is_empty() {
                out.line(format_args!(
                    "  Not caught: {}.",
                    escape(&zoo.survived.join(", "))
                ));
            }
        }
        None => out.line("- Broken plugins: the suite was not run on any for this report."),
    }
    match &trust.determinism {
        Some(check) if check.checked && check.trace_digests_equal => out.line(format_args!(
            "- Determinism: {} runs of seed {} gave one trace.",
            check.runs, check.seed
        )),
        Some(check) if check.checked => out.line(format_args!(
            "- Determinism: {} runs of seed {} gave **different traces**{}.",
            check.runs,
            check.seed,
            check
                .first_divergence
                .as_deref()
                .map_or(String::new(), |at| { format!(", first at {}", escape(at)) }),
        )),
        _ => out.line("- Determinism: not checked."),
    }
    match &trust.model_conformance.apiserver {
        Some(model) => out.line(format_args!(
            "- Simulated API server: agrees with {} recordings of {} ({}).",
            model.traces,
            escape(&model.version),
            code(&model.digest),
        )),
        None => out.line("- Simulated API server: not compared with a real one for this report."),
    }
    match &trust.model_conformance.vault {
        Some(model) => out.line(format_args!(
            "- Simulated Vault: agrees with {} recorded steps of {} {} ({}).",
            model.cases,
            escape(&model.product),
            escape(&model.version),
            code(&model.digest),
        )),
        None => out.line("- Simulated Vault: not compared with a real one for this report."),
    }
    for good in &trust.reference_subjects {
        out.line(format_args!(
            "- Reference plugin {} {}: {} ({}).",
            escape(&good.name),
            escape(&good.version),
            escape(&good.result),
            code(&good.digest),
        ));
    }
    if trust.reference_subjects.is_empty() {
        out.line("- Reference plugins: none was judged for this report.");
    }
}

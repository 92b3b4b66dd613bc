//! Head, trust, circumstances and files of the page.

use super::{Page, code, duration, escape, file, took};
use crate::model::{ProfileReport, Report};

/// Who was judged, and how it went.
pub(super) fn head(out: &mut Page, report: &Report, title: &str) {
    out.line(format_args!(
        "<header>\n<p class=\"kind\">KMS v2 conformance report</p>\n<h1>{}</h1>",
        escape(title)
    ));
    out.line("<div class=\"profiles\">");
    for profile in &report.profiles {
        self::profile(out, profile);
    }
    out.line("</div>");
    let suite = &report.suite;
    out.facts(&[
        ("Date", Some(report.created_at.clone())),
        ("Suite", Some(format!("{} {}", suite.name, suite.version))),
        (
            "Contract",
            Some(format!(
                "{} {}",
                suite.contract.name, suite.contract.version
            )),
        ),
        ("Arm", Some(report.environment.arm.as_str().to_owned())),
        (
            "Backend",
            report
                .environment
                .backend
                .as_ref()
                .map(|backend| format!("{} {}", backend.product, backend.version)),
        ),
        (
            "API server",
            report
                .environment
                .kubernetes
                .as_ref()
                .map(|server| format!("{} {}", server.distribution, server.version)),
        ),
        ("Judges again", report.derived_from.clone()),
    ]);
    let sections = [
        ("failures", "Failures"),
        ("requirements", "Requirements"),
        ("scenarios", "Scenarios"),
        ("latency", "Latency"),
        ("trust", "Why believe it"),
        ("not-shown", "Not shown"),
        ("circumstances", "Circumstances"),
        ("files", "Files"),
    ];
    let links = sections.map(|(id, name)| format!("<a href=\"#{id}\">{name}</a>"));
    out.line(format_args!("<nav>{}</nav>\n</header>", links.join(" ")));
}

fn profile(out: &mut Page, profile: &ProfileReport) {
    let counts = &profile.counts;
    let all = [
        ("pass", counts.pass),
        ("warn", counts.warn),
        ("fail", counts.fail),
        ("inconclusive", counts.inconclusive),
        ("not_run", counts.not_run + counts.skipped),
        ("not_applicable", counts.not_applicable),
    ];
    let result = profile.result.as_str();
    let (name, summary) = (profile.name.as_str(), escape(&profile.summary));
    out.line(format_args!(
        "<div class=\"profile {result}\">\n<p><b>{name}</b> <span class=\"result\">{result}</span></p>\n<p>{summary}</p>"
    ));
    let parts = all.iter().filter(|(_, count)| *count > 0);
    let bar = parts.map(|(word, count)| {
        let words = word.replace('_', " ");
        format!(
            "<span class=\"{word}\" style=\"flex:{count}\" title=\"{count} {words}\">{count}</span>"
        )
    });
    out.line(format_args!(
        "<div class=\"bar\">{}</div>\n</div>",
        bar.collect::<String>()
    ));
}

/// What was done to check the checker, and what was not.
pub(super) fn trust(out: &mut Page, report: &Report) {
    let trust = &report.trust;
    out.open("trust", "Why you can believe this");
    let zoo = trust.calibration.as_ref().map(|zoo| {
        let mut text = format!(
            "{} of {} were caught at the requirement that they break",
            zoo.killed, zoo.mutants
        );
        if !zoo.survived.is_empty() {
            text.push_str(&format!("; not caught: {}", zoo.survived.join(", ")));
        }
        text
    });
    let determinism = trust.determinism.as_ref().filter(|check| check.checked);
    let determinism = determinism.map(|check| {
        if check.trace_digests_equal {
            format!("{} runs of seed {} gave one trace", check.runs, check.seed)
        } else {
            let at = check
                .first_divergence
                .as_deref()
                .unwrap_or("nobody knows where");
            format!(
                "{} runs of seed {} gave different traces, first at {at}",
                check.runs, check.seed
            )
        }
    });
    let models = &trust.model_conformance;
    let server = models.apiserver.as_ref().map(|model| {
        format!(
            "agrees with {} recordings of {}",
            model.traces, model.version
        )
    });
    let vault = models.vault.as_ref().map(|model| {
        format!(
            "agrees with {} recorded steps of {} {}",
            model.cases, model.product, model.version
        )
    });
    let references = &trust.reference_subjects;
    let references = (!references.is_empty()).then(|| {
        let all = references
            .iter()
            .map(|one| format!("{} {}: {}", one.name, one.version, one.result));
        all.collect::<Vec<_>>().join("; ")
    });
    let or = |done: Option<String>, not: &str| Some(done.unwrap_or_else(|| not.to_owned()));
    out.facts(&[
        (
            "Broken plugins",
            or(zoo, "the suite was not run on any for this report"),
        ),
        ("Determinism", or(determinism, "not checked")),
        (
            "Simulated API server",
            or(server, "not compared with a real one for this report"),
        ),
        (
            "Simulated Vault",
            or(vault, "not compared with a real one for this report"),
        ),
        (
            "Reference plugins",
            or(references, "none was judged for this report"),
        ),
    ]);
    out.close();
}

/// Subject, machine and options: what is needed to repeat the run.
pub(super) fn circumstances(out: &mut Page, report: &Report) {
    let (subject, environment) = (&report.subject, &report.environment);
    out.open("circumstances", "Circumstances");
    out.line("<h3>Subject</h3>");
    let launch = subject
        .launch
        .as_ref()
        .map(|launch| launch.endpoint.clone());
    let list = |list: &[String]| (!list.is_empty()).then(|| list.join(", "));
    out.facts(&[
        ("Made by", subject.organization.clone()),
        ("Home", subject.url.clone()),
        ("Mode", subject.mode.clone()),
        ("Configuration", subject.config_digest.clone()),
        ("Endpoint", launch),
        ("Version in Status", subject.observed.status_version.clone()),
        ("Hash of key_id", subject.observed.key_id_hash.clone()),
        ("gRPC server", subject.observed.grpc_server.clone()),
        ("Declares", list(&subject.capabilities.declared)),
        ("Was seen to", list(&subject.capabilities.observed)),
    ]);
    out.table(
        &["Artifact", "SHA-256"],
        subject
            .artifacts
            .iter()
            .map(|artifact| vec![escape(&artifact.name), code(&artifact.digest.sha256)]),
    );
    if subject.artifacts.is_empty() {
        out.line("<p>The artifact is unknown, so this report cannot be tied to a build.</p>");
    }
    out.line("<h3>Machine</h3>");
    out.facts(&[
        (
            "System",
            Some(format!("{} {}", environment.os, environment.arch)),
        ),
        ("Kernel", environment.kernel.clone()),
        ("Processor", environment.cpu.clone()),
        (
            "Memory",
            environment
                .memory_bytes
                .map(|bytes| format!("{} MiB", bytes >> 20)),
        ),
        ("Containers", environment.container_runtime.clone()),
        ("Clock", Some(environment.clock_source.clone())),
        (
            "Time",
            (environment.time_scale != 1)
                .then(|| format!("1 s stands for {} s", environment.time_scale)),
        ),
        ("Load before", environment.load_before.clone()),
        ("Load after", environment.load_after.clone()),
    ]);
    out.line("<h3>Suite and options</h3>");
    let suite = &report.suite;
    let source = match (&suite.git_commit, suite.dirty) {
        (Some(commit), Some(false)) => commit.clone(),
        (Some(commit), Some(true)) => format!("{commit} with changes"),
        (Some(commit), None) => format!("{commit}, changes unknown"),
        (None, _) => "unknown".to_owned(),
    };
    out.facts(&[
        ("Commit", Some(source)),
        ("Build", Some(suite.build_profile.clone())),
        ("Compiler", suite.rustc.clone()),
        ("Registry", Some(suite.contract.registry_digest.clone())),
        ("Report", Some(report.report_id.clone())),
        ("Run", Some(report.run_id.clone())),
        ("Time given", report.plan.budget_ns.map(duration)),
    ]);
    if let Some(command) = &report.plan.command {
        out.line(format_args!("<pre>{}</pre>", escape(command)));
    }
    out.table(
        &["Option", "Value", "From"],
        report.plan.entries.iter().map(|entry| {
            let origin = format!("{:?}", entry.origin).to_lowercase();
            vec![code(&entry.name), code(&entry.value), origin]
        }),
    );
    out.table(
        &[
            "Random inputs",
            "Cases",
            "Discarded",
            "Seed",
            "Smallest failure",
        ],
        report.properties.iter().map(|property| {
            vec![
                code(&property.id),
                property.cases.to_string(),
                property.discarded.to_string(),
                property.seed.to_string(),
                escape(property.minimal.as_deref().unwrap_or_default()),
            ]
        }),
    );
    out.close();
}

/// The files beside the page.
pub(super) fn files(out: &mut Page, report: &Report) {
    out.open("files", "Files");
    out.line(format_args!(
        "<p>{} is what this page shows.</p>",
        file("report.json")
    ));
    out.table(
        &["File", "Bytes", "What it shows"],
        report.attachments.iter().map(|attachment| {
            vec![
                file(&attachment.path),
                attachment.size.to_string(),
                escape(&attachment.describes),
            ]
        }),
    );
    let whole = report
        .scenarios
        .iter()
        .filter_map(|run| run.sim_duration_ns)
        .max();
    if whole.is_some() {
        out.line(format_args!(
            "<p>The longest simulated run took {}.</p>",
            took(whole)
        ));
    }
    out.close();
}

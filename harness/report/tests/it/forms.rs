//! Renderings for other programs, read back by readers that are not ours.

use std::collections::{BTreeMap, BTreeSet};

use kms_contract::Profile;
use kms_judge::CheckStatus;
use kms_report::model::{LatencySeries, Phase, Violation};
use kms_report::{
    Form, Report, Unattested, build, ctrf, from_json, html, junit, summary, test_result_statement,
    to_json,
};
use roxmltree::{Document, Node};
use saphyr_parser::{Event, Parser};
use serde_json::Value;

use crate::fixture::{all_pass, every_status, full, inputs, scenario};
use crate::hostile;

const HOSTILE: &str = "a]]>&<b>\"'\n\u{0}\u{1b}[31m\u{fffe}\u{202e}- c: d";

fn report() -> Report {
    let mut inputs = full(Profile::Production, every_status());
    inputs.scenarios = vec![
        scenario("vault-sealed", 42, CheckStatus::Fail),
        scenario("vault-sealed", 43, CheckStatus::Pass),
        scenario("token-revoked", 1, CheckStatus::Inconclusive),
    ];
    build(inputs).unwrap()
}

fn hostile() -> Report {
    build(hostile::hostile(HOSTILE)).unwrap()
}

/// Checks of a report by status, counted without any rendering; a requirement without checks counts once.
fn counted(report: &Report) -> BTreeMap<CheckStatus, usize> {
    let mut counts = BTreeMap::new();
    for row in &report.requirements {
        if row.checks.is_empty() {
            *counts.entry(row.status).or_default() += 1;
        }
        for check in &row.checks {
            *counts.entry(check.status).or_default() += 1;
        }
    }
    for run in &report.scenarios {
        *counts.entry(run.verdict).or_default() += 1;
    }
    counts
}

fn number(node: Node<'_, '_>, name: &str) -> usize {
    node.attribute(name).unwrap().parse().unwrap()
}

fn children<'a>(node: Node<'a, 'a>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children()
        .filter(move |child| child.has_tag_name(name))
}

/// An independent reader finds as many failures as there are, and the counts that are written are the sums.
#[test]
fn junit_counts_are_right_and_names_unique() {
    for report in [report(), hostile()] {
        let text = junit(&report);
        let document = Document::parse(&text).unwrap();
        let root = document.root_element();
        let counts = counted(&report);
        let of = |statuses: &[CheckStatus]| -> usize {
            statuses.iter().filter_map(|one| counts.get(one)).sum()
        };
        use CheckStatus::{Fail, Inconclusive, NotApplicable, NotRun, Skipped};
        let kinds = [
            ("failures", "failure", of(&[Fail])),
            ("errors", "error", of(&[Inconclusive])),
            ("skipped", "skipped", of(&[NotApplicable, Skipped, NotRun])),
        ];
        let mut names = BTreeSet::new();
        let mut cases = 0;
        for suite in children(root, "testsuite") {
            let inside = children(suite, "testcase").count();
            assert_eq!(number(suite, "tests"), inside);
            for (attribute, element, _) in kinds {
                let found = children(suite, "testcase").flat_map(|case| children(case, element));
                assert_eq!(number(suite, attribute), found.count(), "{attribute}");
            }
            for case in children(suite, "testcase") {
                assert!(
                    names.insert(case.attribute("name").unwrap()),
                    "{case:?} twice"
                );
            }
            cases += inside;
        }
        assert_eq!(number(root, "tests"), cases);
        assert_eq!(cases, counts.values().sum::<usize>());
        for (attribute, element, expected) in kinds {
            let found = root.descendants().filter(|node| node.has_tag_name(element));
            assert_eq!(found.count(), expected, "{element}");
            assert_eq!(number(root, attribute), expected, "{attribute}");
        }
    }
}

/// A pass after a failure stays failed, an inconclusive one is no failure, and each says why.
#[test]
fn junit_says_what_happened() {
    let report = report();
    let text = junit(&report);
    let document = Document::parse(&text).unwrap();
    let case = |part: &str| {
        let mut cases = document
            .descendants()
            .filter(|node| node.has_tag_name("testcase"));
        cases
            .find(|case| case.attribute("name").unwrap().contains(part))
            .unwrap_or_else(|| panic!("no case {part}"))
    };
    let element = |part: &str, name: &'static str| {
        let case = case(part);
        let found = case.children().find(|child| child.has_tag_name(name));
        found.unwrap_or_else(|| panic!("no {name} in {part}"))
    };
    let failure = element("KMS2-ENC-05", "failure");
    assert_eq!(failure.attribute("message"), Some("1025 bytes"));
    assert_eq!(failure.attribute("type"), Some("KMS2-ENC-05"));
    assert!(
        failure
            .text()
            .unwrap()
            .contains("expected: 1 to 1024 bytes")
    );
    element("KMS2-DEC-08", "failure");
    let attempts = element("KMS2-DEC-08", "system-out").text().unwrap();
    assert!(
        attempts.contains("attempts: pass, fail, pass"),
        "{attempts}"
    );
    let error = element("KMS2-AVAIL-01", "error");
    assert_eq!(error.attribute("type"), Some("for-some-reason"));
    element("KMS2-STATUS-04", "system-out");
    for (id, status) in [
        ("KMS2-SEC-03", "not_applicable"),
        ("KMS2-AVAIL-05", "skipped"),
        ("KMS2-RT-02", "not_run"),
    ] {
        let skipped = element(id, "skipped").attribute("message").unwrap();
        assert_eq!(skipped, format!("{status}: for-some-reason"));
    }
    let run = element("vault-sealed#42", "failure").text().unwrap();
    assert!(
        run.contains("status-tells-truth: fail") && run.contains("replay: "),
        "{run}"
    );
    let suites: Vec<_> = document
        .descendants()
        .filter_map(|node| {
            node.has_tag_name("testsuite")
                .then(|| node.attribute("name"))?
        })
        .collect();
    assert!(suites.contains(&"core.status") && suites.contains(&"scenarios.process"));
}

/// The members that the format's schema has in its closed objects, and those that it demands.
fn follows(value: &Value, required: &[&str], allowed: &[&str]) {
    let members = value.as_object().unwrap();
    for name in required {
        assert!(members.contains_key(*name), "no {name} in {value}");
    }
    for name in members.keys() {
        let known = required.iter().chain(allowed).any(|known| known == name);
        assert!(known, "{name} is no member of the format");
    }
}

#[test]
fn ctrf_follows_its_schema_and_counts_right() {
    const STATUSES: [&str; 5] = ["passed", "failed", "skipped", "pending", "other"];
    for report in [report(), hostile()] {
        let document: Value = serde_json::from_str(&ctrf(&report)).unwrap();
        follows(
            &document,
            &["reportFormat", "specVersion", "results"],
            &["reportId", "timestamp", "generatedBy", "extra"],
        );
        assert_eq!(document["reportFormat"], "CTRF");
        let results = &document["results"];
        follows(
            results,
            &["tool", "summary", "tests"],
            &["environment", "extra"],
        );
        follows(&results["tool"], &["name"], &["version", "extra"]);
        follows(
            &results["environment"],
            &["appName"],
            &[
                "appVersion",
                "commit",
                "osPlatform",
                "osRelease",
                "testEnvironment",
                "extra",
            ],
        );
        let tests = results["tests"].as_array().unwrap();
        let summary = &results["summary"];
        follows(
            summary,
            &[
                "tests", "passed", "failed", "skipped", "pending", "other", "start", "stop",
            ],
            &["duration"],
        );
        assert!(summary["start"].as_i64() <= summary["stop"].as_i64());
        assert_eq!(summary["stop"], 1_790_940_005_000_u64);
        assert_eq!(summary["tests"], tests.len());
        let mut ids = BTreeSet::new();
        for test in tests {
            follows(
                test,
                &["name", "status", "duration"],
                &[
                    "id",
                    "suite",
                    "message",
                    "trace",
                    "rawStatus",
                    "labels",
                    "retries",
                    "retryAttempts",
                    "attachments",
                    "steps",
                    "extra",
                ],
            );
            assert!(STATUSES.contains(&test["status"].as_str().unwrap()));
            assert!(ids.insert(test["id"].as_str().unwrap()), "{test} twice");
            assert!(test["duration"].is_u64());
            for label in test["labels"].as_object().unwrap().values() {
                assert!(label.is_string() || label.is_number());
            }
        }
        for status in STATUSES {
            let found = tests.iter().filter(|test| test["status"] == status);
            assert_eq!(summary[status], found.count(), "{status}");
        }
        let raw = tests.iter().map(|test| test["rawStatus"].as_str().unwrap());
        let failed = raw.filter(|raw| *raw == "fail").count();
        assert_eq!(Some(&failed), counted(&report).get(&CheckStatus::Fail));
    }
}

/// Dashboards follow a test over runs by its id.
#[test]
fn ctrf_ids_are_the_same_in_every_run() {
    let ids = |report: &Report| -> BTreeSet<String> {
        let document: Value = serde_json::from_str(&ctrf(report)).unwrap();
        let tests = document["results"]["tests"].as_array().unwrap().clone();
        let ids = tests
            .iter()
            .map(|test| test["id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    let mut again = report();
    again.run_id = "another".into();
    again.report_id = "another".into();
    assert_eq!(ids(&report()), ids(&again));
}

/// The page without what only HTML has: the first line, and the texts of style and script.
fn as_xml(page: &str) -> String {
    let mut text = page.split_once('\n').unwrap().1.to_owned();
    for tag in ["style", "script"] {
        let start = text.find(&format!("<{tag}>")).unwrap() + tag.len() + 2;
        let end = text.rfind(&format!("</{tag}>")).unwrap();
        text.replace_range(start..end, "");
    }
    text
}

/// Whatever a subject wrote is text: the page is well formed, has one script, and nothing in it leads out of the bundle.
#[test]
fn the_page_is_whole_and_leads_nowhere_else() {
    for report in [report(), hostile()] {
        let page = html(&report);
        let text = as_xml(&page);
        let document = Document::parse(&text).unwrap();
        let nodes = || document.descendants().filter(Node::is_element);
        let named = |name: &'static str| nodes().filter(move |node| node.tag_name().name() == name);
        assert_eq!((named("script").count(), named("style").count()), (1, 1));
        for loading in ["link", "img", "iframe", "object", "embed", "base"] {
            assert_eq!(named(loading).count(), 0, "{loading}");
        }
        let mut ids = BTreeSet::new();
        for id in nodes().filter_map(|node| node.attribute("id")) {
            assert!(ids.insert(id), "id {id} twice");
        }
        for node in nodes() {
            for attribute in node.attributes() {
                assert!(!attribute.name().starts_with("on"), "{attribute:?}");
                let leads = ["href", "src", "action"].contains(&attribute.name());
                if let Some(id) = attribute.value().strip_prefix('#').filter(|_| leads) {
                    assert!(ids.contains(id), "no {id}");
                } else if leads {
                    assert!(!attribute.value().contains(':'), "{attribute:?}");
                }
            }
        }
        assert!(text.contains("default-src 'none'"));
        assert!(
            !page.contains("http://")
                || page.matches("http://").count() == page.matches("http://www.w3.org/").count()
        );
        let rows = named("details").count();
        assert_eq!(rows, report.requirements.len() + report.scenarios.len());
    }
}

/// Bars where faults were, a mark where an invariant broke, and curves of all phases.
#[test]
fn the_page_draws_timelines_and_latencies() {
    let mut inputs = full(Profile::Production, every_status());
    inputs.scenarios.clear();
    let mut run = scenario("vault-sealed", 42, CheckStatus::Fail);
    run.invariants[0].first_violation = Some(Violation {
        at_ns: 20_000_000_000,
        event: 7,
        excerpt: HOSTILE.into(),
    });
    run.faults[0].target = HOSTILE.into();
    let mut never = run.faults[0].clone();
    never.injected_at_ns = None;
    run.faults.push(never);
    inputs.scenarios.push(run);
    let mut fault = inputs.latency[0].clone();
    fault.phase = Phase::Fault;
    inputs.latency.push(fault.clone());
    fault.outcome = "<b>&".into();
    inputs.latency.push(fault);
    let page = html(&build(inputs).unwrap());
    if let Some(folder) = std::env::var_os("KEEP") {
        std::fs::write(std::path::Path::new(&folder).join("page.html"), &page).unwrap();
    }
    let text = as_xml(&page);
    let document = Document::parse(&text).unwrap();
    let classes = |class: &str| {
        let nodes = document.descendants();
        nodes
            .filter(|node| node.attribute("class") == Some(class))
            .count()
    };
    assert_eq!((classes("fault"), classes("fault never")), (1, 1));
    // two faults at the same time stand below each other
    assert_eq!((classes("violation"), classes("lane")), (1, 4));
    let figure = document
        .descendants()
        .find(|node| node.has_tag_name("figure"))
        .unwrap();
    let words: String = figure
        .descendants()
        .filter_map(|node| node.text())
        .collect();
    for word in ["baseline, ok", "fault, ok", "100 %"] {
        assert!(words.contains(word), "no {word} in {words}");
    }
    let lines = figure
        .descendants()
        .filter(|node| node.tag_name().name() == "polyline");
    assert!(lines.count() >= 2);
    // a run that takes no time at all, and a series of one sample
    let mut odd = full(Profile::Core, vec![]);
    let mut run = scenario("nothing", 1, CheckStatus::Pass);
    run.wall_duration_ns = 0;
    run.faults.clear();
    odd.scenarios.push(run);
    let key = odd.latency[0].key();
    odd.latency = LatencySeries::from_samples(key, vec![0], None)
        .into_iter()
        .collect();
    let page = html(&build(odd).unwrap());
    assert!(!page.contains("NaN") && !page.contains("inf\""), "{page}");
    Document::parse(&as_xml(&page)).unwrap();
}

/// A subject cannot add members of its own, and every reader of YAML takes the text.
#[test]
fn the_summary_is_yaml_that_a_subject_cannot_write() {
    for report in [report(), hostile()] {
        let text = summary(&report);
        let mut scalars = Vec::new();
        for event in Parser::new_from_str(&text) {
            if let (Event::Scalar(value, ..), _) = event.unwrap() {
                scalars.push(value.into_owned());
            }
        }
        assert!(!scalars.iter().any(|scalar| scalar == "c"));
        let digest = kms_report::digest(&report);
        for needed in [&digest, &report.report_id, "KMS2-ENC-05"] {
            assert!(scalars.iter().any(|scalar| scalar == needed), "{needed}");
        }
        let top: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with([' ', '-']))
            .filter_map(|line| line.split(':').next())
            .collect();
        let expected = [
            "apiVersion",
            "implementation",
            "mode",
            "arm",
            "date",
            "contract",
            "suite",
            "report",
            "profiles",
        ];
        assert_eq!(top, expected);
    }
}

#[test]
fn a_statement_is_about_the_artifact_and_lists_what_held() {
    let report = build(inputs(Profile::Core, all_pass(Profile::Core))).unwrap();
    let statement: Value = serde_json::from_str(&test_result_statement(&report).unwrap()).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], "ab".repeat(32));
    let predicate = &statement["predicate"];
    assert_eq!(predicate["result"], "PASSED");
    let list = |name: &str| predicate[name].as_array().unwrap().len();
    let passed = report
        .requirements
        .iter()
        .filter(|row| row.status == CheckStatus::Pass);
    assert_eq!(list("passedTests"), passed.count());
    assert_eq!((list("warnedTests"), list("failedTests")), (0, 0));
    for part in predicate["configuration"].as_array().unwrap() {
        assert!(
            part["digest"]
                .as_object()
                .is_some_and(|digest| !digest.is_empty()),
            "{part}"
        );
    }

    let failed = build(inputs(Profile::Core, every_status())).unwrap();
    assert!(
        failed
            .profiles
            .iter()
            .all(|profile| profile.counts.fail > 0)
    );
    let statement: Value = serde_json::from_str(&test_result_statement(&failed).unwrap()).unwrap();
    assert_eq!(statement["predicate"]["result"], "FAILED");
    let ids = statement["predicate"]["failedTests"].as_array().unwrap();
    assert!(ids.iter().any(|id| id == "KMS2-ENC-05"));
}

#[test]
fn no_statement_about_nothing_by_a_changed_suite_or_without_a_verdict() {
    let good = || build(inputs(Profile::Core, all_pass(Profile::Core))).unwrap();
    let refused = |change: fn(&mut Report)| {
        let mut report = good();
        change(&mut report);
        let refusals = [Form::InToto, Form::InTotoReport].map(|form| form.render(&report));
        let [first, second] = refusals.map(Result::unwrap_err);
        assert_eq!(first, second);
        first
    };
    let unknown = refused(|report| report.subject.artifacts.clear());
    assert_eq!(unknown, Unattested::NoArtifact);
    for dirty in [Some(true), None] {
        let mut report = good();
        report.suite.dirty = dirty;
        assert_eq!(test_result_statement(&report), Err(Unattested::Dirty));
    }
    assert_eq!(
        refused(|report| report.suite.git_commit = None),
        Unattested::Dirty
    );
    assert_eq!(
        refused(|report| report.profiles.clear()),
        Unattested::NoProfile
    );
    let nothing = build(inputs(Profile::Core, vec![])).unwrap();
    assert_eq!(
        test_result_statement(&nothing),
        Err(Unattested::Inconclusive("core"))
    );
}

/// Each form depends on the JSON alone.
#[test]
fn every_form_of_a_stored_report_is_the_same() {
    for report in [report(), hostile()] {
        let stored = from_json(&to_json(&report)).unwrap().report;
        for form in Form::ALL {
            assert_eq!(
                form.render(&stored),
                form.render(&report),
                "{}",
                form.name()
            );
        }
    }
    let files: BTreeSet<_> = Form::ALL.iter().map(|form| form.file()).collect();
    assert_eq!(files.len(), Form::ALL.len());
}

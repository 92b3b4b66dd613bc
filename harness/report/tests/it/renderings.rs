//! Renderings of unusual content.

use kms_contract::Profile;
use kms_judge::{CheckResult, CheckStatus};
use kms_report::model::ScenarioReport;
use kms_report::{build, console, ctrf, html, junit, markdown};

use crate::fixture::{all_pass, full, inputs, result, scenario};
use crate::hostile;

const HOSTILE: &str = "a|b\n## c\u{1b}[31m<script>`x`\u{202e}\r\n| d |";

#[test]
fn a_subject_cannot_write_markdown_or_talk_to_the_terminal() {
    let plain = build(inputs(Profile::Core, all_pass(Profile::Core))).unwrap();
    let report = build(hostile::hostile(HOSTILE)).unwrap();

    let text = markdown(&report);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\r'));
    let outside_code = text.lines().filter(|line| !line.starts_with("    "));
    assert!(
        !outside_code
            .clone()
            .any(|line| line.contains("<script>") && !line.contains("`"))
    );
    let headings = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("## "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(
        headings(&text),
        headings(&markdown(&plain)),
        "headings come from us alone"
    );
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let n_cells = line.replace("\\|", "").matches('|').count() - 1;
        assert!([3, 6, 7, 10].contains(&n_cells), "{n_cells} cells: {line}");
    }
    for line in console::summary(&report, HOSTILE) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn a_check_is_shown_the_same_while_it_runs_and_afterwards() {
    let failed = CheckResult {
        evidence: vec![4],
        ..result("KMS2-ENC-05", "ciphertext-size", CheckStatus::Fail)
    };
    let report = build(inputs(Profile::Core, vec![failed.clone()])).unwrap();
    let live = console::check(&failed);
    assert_eq!(
        live,
        [
            "FAIL  KMS2-ENC-05      Size of the ciphertext (ciphertext-size) 1.2 ms",
            "      requirement  `ciphertext` is between 1 and 1024 bytes long.",
            "      expected     what is written",
            "      observed     something else",
            "      events       4",
        ]
    );
    let summary = console::summary(&report, "bundle");
    let at = summary.iter().position(|line| *line == live[0]).unwrap();
    assert_eq!(summary[at..at + live.len()], live);
}

#[test]
fn a_breach_that_only_warns_is_no_failure_while_it_runs_either() {
    let may = result("KMS2-RT-03", "equal-plaintexts-differ", CheckStatus::Fail);
    assert!(console::check(&may)[0].starts_with("warn  KMS2-RT-03"));
    let unknown = result("KMS2-NO-01", "some-check", CheckStatus::Pass);
    assert_eq!(
        console::check(&unknown),
        ["ok    KMS2-NO-01       (no such requirement) (some-check) 1.2 ms"]
    );
}

#[test]
fn a_scenario_shows_faults_with_their_hits_and_what_broke() {
    let mut inputs = full(Profile::Core, all_pass(Profile::Core));
    inputs
        .scenarios
        .push(scenario("vault-sealed", 42, CheckStatus::Fail));
    let text = markdown(&build(inputs).unwrap());
    let row = "| vault-sealed | process | 42 | schedule | fail | seal 37 | status-tells-truth | `kms-harness replay bundle` |";
    assert!(text.contains(row), "{text}");
}

/// Whoever reads of a run that broke off reads why, whichever rendering it is.
#[test]
fn a_run_that_broke_off_says_why_everywhere() {
    let mut inputs = full(Profile::Core, all_pass(Profile::Core));
    let why = "start Vault: the port is taken";
    let broke_off = scenario("vault-sealed", 42, CheckStatus::Inconclusive);
    inputs.scenarios.push(ScenarioReport {
        reason: Some(why.to_owned()),
        ..broke_off
    });
    let report = build(inputs).unwrap();
    for text in [
        markdown(&report),
        html(&report),
        junit(&report),
        ctrf(&report),
        console::closing(&report, "bundle").join("\n"),
    ] {
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn parts_of_trust_that_were_not_done_say_so() {
    let text = markdown(&build(inputs(Profile::Core, vec![])).unwrap());
    for sentence in [
        "- Broken plugins: the suite was not run on any for this report.",
        "- Determinism: not checked.",
        "- Simulated API server: not compared with a real one for this report.",
        "- Simulated Vault: not compared with a real one for this report.",
        "- Reference plugins: none was judged for this report.",
    ] {
        assert!(text.contains(sentence), "{sentence}");
    }
    let mut diverged = full(Profile::Core, vec![]);
    let check = diverged.trust.determinism.as_mut().unwrap();
    check.trace_digests_equal = false;
    check.first_divergence = Some("event 17".into());
    let text = markdown(&build(diverged).unwrap());
    assert!(
        text.contains("gave **different traces**, first at event 17."),
        "{text}"
    );
    assert!(
        text.contains("Broken plugins: 60 of 61 were caught"),
        "{text}"
    );
    assert!(text.contains("Not caught: echoes-seed."), "{text}");
}

//! Reading, schema and digest.

use std::path::Path;

use kms_contract::Profile;
use kms_judge::CheckStatus;
use kms_report::{ReadError, Report, UNSTABLE_FIELDS, build, digest, from_json, schema, to_json};
use serde_json::{Value, json};

use crate::fixture::{all_pass, full};

fn report() -> Report {
    build(full(Profile::Production, all_pass(Profile::Production))).unwrap()
}

fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::to_value(report()).unwrap();
    change(&mut value);
    value.to_string()
}

#[test]
fn a_newer_minor_version_is_read_with_warnings_and_without_its_new_fields() {
    let judged = report()
        .requirements
        .iter()
        .position(|row| !row.checks.is_empty())
        .unwrap();
    let text = changed(|value| {
        value["schemaVersion"] = json!("1.7");
        value["novelty"] = json!({"a": 1});
        value["subject"]["launch"]["novelty"] = json!(true);
        value["requirements"][judged]["checks"][0]["attempts"][0]["novelty"] = json!([]);
        value["extra"]["kept"] = json!({"any": "thing"});
    });
    let parsed = from_json(&text).unwrap();
    assert_eq!(
        parsed.warnings,
        [
            "report has schemaVersion 1.7, newer than the 1.0 of this program".to_owned(),
            "field /novelty is unknown: left out".to_owned(),
            format!(
                "field /requirements/{judged}/checks/0/attempts/0/novelty is unknown: left out"
            ),
            "field /subject/launch/novelty is unknown: left out".to_owned(),
        ]
    );
    let mut expected = report();
    expected.schema_version = "1.7".into();
    expected
        .extra
        .insert("kept".into(), json!({"any": "thing"}));
    assert_eq!(parsed.report, expected);
}

#[test]
fn an_unknown_field_of_our_own_version_is_refused_with_its_line() {
    let mut text = to_json(&report());
    text = text.replacen("\"suite\": {", "\"suite\": {\n    \"novelty\": 1,", 1);
    let error = from_json(&text).unwrap_err();
    assert!(matches!(error, ReadError::Content(_)), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("novelty") && message.contains("line "),
        "{message}"
    );
}

#[test]
fn another_major_version_is_refused_whatever_else_it_holds() {
    let error = from_json(r#"{"format": "kmsv2-conformance-report", "schemaVersion": "2.0"}"#);
    let error = error.unwrap_err();
    assert!(matches!(error, ReadError::Major { .. }));
    assert!(error.to_string().contains("\"2.0\"") && error.to_string().contains("reads 1.x"));
}

#[test]
fn what_is_no_report_is_refused_for_a_reason_of_its_own() {
    assert!(matches!(from_json(""), Err(ReadError::Syntax(_))));
    let half = to_json(&report());
    assert!(matches!(
        from_json(&half[..half.len() / 2]),
        Err(ReadError::Syntax(_))
    ));
    for other in ["[]", "{}", r#"{"format": "ctrf"}"#, r#"{"format": 1}"#] {
        assert!(
            matches!(from_json(other), Err(ReadError::Format { .. })),
            "{other}"
        );
    }
    for version in [
        json!(1),
        json!("1"),
        json!("1.x"),
        json!("1.+0"),
        json!(""),
        json!(null),
    ] {
        let text = changed(|value| value["schemaVersion"] = version.clone());
        assert!(
            matches!(from_json(&text), Err(ReadError::Version { .. })),
            "{version}"
        );
    }
    let text = changed(|value| value["profiles"] = json!("all"));
    assert!(matches!(from_json(&text), Err(ReadError::Content(_))));
}

#[test]
fn the_checked_in_schema_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reports/report.schema.json");
    if std::env::var_os("UPDATE").is_some() {
        let text = serde_json::to_string_pretty(&schema()).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let checked_in: Value = serde_json::from_str(&text).unwrap_or_default();
    assert!(
        checked_in == schema(),
        "reports/report.schema.json is old; run with UPDATE=1"
    );
}

/// Calls `look` with each schema in the document.
fn each_schema(value: &Value, look: &mut impl FnMut(&Value)) {
    look(value);
    match value {
        Value::Object(members) => members.values().for_each(|inner| each_schema(inner, look)),
        Value::Array(elements) => elements.iter().for_each(|inner| each_schema(inner, look)),
        _ => {}
    }
}

#[test]
fn every_object_of_the_schema_is_closed() {
    let mut n_objects = 0;
    each_schema(&schema(), &mut |schema| {
        if schema.get("type") == Some(&json!("object")) && schema.get("properties").is_some() {
            n_objects += 1;
            assert_eq!(
                schema.get("additionalProperties"),
                Some(&json!(false)),
                "{schema}"
            );
        }
    });
    assert!(n_objects > 30, "only {n_objects} objects found");
}

#[test]
fn the_schema_lists_the_statuses_that_are_written() {
    let all = [
        CheckStatus::Pass,
        CheckStatus::Fail,
        CheckStatus::Warn,
        CheckStatus::Inconclusive,
        CheckStatus::NotApplicable,
        CheckStatus::Skipped,
        CheckStatus::NotRun,
    ];
    let written: Vec<Value> = all
        .iter()
        .map(|one| serde_json::to_value(one).unwrap())
        .collect();
    let schema = schema();
    let choices = schema["$defs"]["CheckStatus"]["oneOf"].as_array().unwrap();
    let listed: Vec<Value> = choices
        .iter()
        .map(|choice| choice["const"].clone())
        .collect();
    assert_eq!(listed, written);
}

/// Whether the schema has this path, `*` standing for the elements of a list.
fn has_path(root: &Value, schema: &Value, path: &[&str]) -> bool {
    let choice = schema.get("anyOf").map_or(schema, |any| &any[0]);
    let schema = match choice.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => choice,
    };
    match path {
        [] => true,
        ["*", rest @ ..] => has_path(root, &schema["items"], rest),
        [name, rest @ ..] => schema["properties"]
            .get(*name)
            .is_some_and(|inner| has_path(root, inner, rest)),
    }
}

#[test]
fn unstable_fields_exist() {
    let schema = schema();
    for path in UNSTABLE_FIELDS {
        let parts: Vec<_> = path.split('.').collect();
        assert!(has_path(&schema, &schema, &parts), "{path}");
    }
    assert!(!has_path(
        &schema,
        &schema,
        &["requirements", "*", "nonsense"]
    ));
}

#[test]
fn the_digest_leaves_identity_environment_and_wall_clock_out_and_nothing_else() {
    let before = digest(&report());
    assert!(
        before.starts_with("sha256:") && before.len() == 7 + 64,
        "{before}"
    );

    let unstable: [fn(&mut Report); 8] = [
        |report| report.report_id = "other".into(),
        |report| report.run_id = "other".into(),
        |report| report.created_at = "2027-01-01T00:00:00Z".into(),
        |report| report.environment.kernel = Some("7.0".into()),
        |report| report.latency.clear(),
        |report| report.subject.observed.peer_pid = Some(1),
        |report| report.requirements[3].checks[0].duration_ns += 1,
        |report| report.requirements[3].checks[0].attempts[0].duration_ns += 1,
    ];
    for (index, change) in unstable.iter().enumerate() {
        let mut other = report();
        change(&mut other);
        assert_ne!(other, report(), "change {index} changes nothing");
        assert_eq!(digest(&other), before, "change {index}");
    }

    let stable: [fn(&mut Report); 6] = [
        |report| report.requirements[3].checks[0].status = CheckStatus::Fail,
        |report| report.requirements[3].checks[0].assertions += 1,
        |report| report.subject.artifacts[0].digest.sha256 = "00".repeat(32),
        |report| report.suite.contract.registry_digest = "sha256:01".into(),
        |report| report.profiles[0].counts.pass += 1,
        |report| report.limits.push("another".into()),
    ];
    for (index, change) in stable.iter().enumerate() {
        let mut other = report();
        change(&mut other);
        assert_ne!(digest(&other), before, "change {index}");
    }
}

//! What `list` and `explain` print.

use kms_contract::{Coverage, Row, Who, explain, find, get, rows};

fn nothing(_: &kms_contract::Requirement) -> Coverage {
    Coverage::default()
}

#[test]
fn rows_keep_the_form_that_scripts_read() {
    let coverage = Coverage {
        checks: vec!["ciphertext-size".into()],
        tests: vec![],
        zoo: vec!["ciphertext-1025".into()],
    };
    let row = Row::new(get("KMS2-ENC-05").unwrap(), coverage);
    assert_eq!(
        serde_json::to_string(&row).unwrap(),
        r#"{"id":"KMS2-ENC-05","who":"plugin","level":"must","source":"ENV validateEncryptedDEKSource; PROTO","since":"1.27","checks":["ciphertext-size"],"tests":[],"zoo":["ciphertext-1025"]}"#
    );
    let row = Row::new(get("KMS2-SRV-02").unwrap(), Coverage::default());
    assert_eq!(
        serde_json::to_string(&row).unwrap(),
        r#"{"id":"KMS2-SRV-02","who":"info","level":"may","source":"SVC","since":"1.27","checks":[],"tests":[],"zoo":[],"reason":"Information about other people's code."}"#
    );
}

#[test]
fn both_sides_list_what_binds_both() {
    let ids = |who| -> Vec<String> { rows(who, nothing).into_iter().map(|row| row.id).collect() };
    for (who, absent) in [
        (Who::Plugin, "KMS2-STATUS-05"),
        (Who::ApiServer, "KMS2-STATUS-03"),
    ] {
        let listed = ids(Some(who));
        assert!(
            listed.iter().any(|id| id == "KMS2-STATUS-02"),
            "{who:?} lacks what binds both"
        );
        assert!(
            !listed.iter().any(|id| id == absent),
            "{who:?} has {absent}"
        );
        assert!(
            !listed.iter().any(|id| id == "KMS2-SRV-01"),
            "{who:?} has information"
        );
    }
    assert_eq!(
        ids(Some(Who::Both)).len(),
        9,
        "both alone means what binds both"
    );
    assert_eq!(ids(None).len(), 194);
}

#[test]
fn coverage_is_asked_for_each_listed_requirement_once() {
    let mut asked = Vec::new();
    let listed = rows(Some(Who::Info), |requirement| {
        asked.push(requirement.id);
        Coverage {
            tests: vec![requirement.title.to_owned()],
            ..Coverage::default()
        }
    });
    assert_eq!(
        asked,
        listed.iter().map(|row| row.id.as_str()).collect::<Vec<_>>()
    );
    assert_eq!(listed[0].tests, ["How it handles the socket"]);
}

#[test]
fn ids_are_found_as_people_type_them() {
    for typed in ["KMS2-ENC-05", "kms2-enc-05", "enc-05", " ENC-05 "] {
        assert_eq!(find(typed).unwrap().id, "KMS2-ENC-05", "{typed:?}");
    }
    let error = find("KMS2-ENC-77").unwrap_err().to_string();
    assert!(error.contains("\"KMS2-ENC-77\"") && error.contains("ENC goes from 01 to 14"));
    let error = find("nonsense").unwrap_err().to_string();
    assert!(error.contains("areas are WIRE, CONN"), "{error}");
}

#[test]
fn explain_tells_everything_with_sources_spelled_out() {
    let coverage = Coverage {
        checks: vec!["ciphertext-size".into()],
        ..Coverage::default()
    };
    let text = explain(get("KMS2-ENC-05").unwrap(), &coverage);
    assert_eq!(
        text,
        "\
KMS2-ENC-05  Size of the ciphertext

`ciphertext` is between 1 and 1024 bytes long.

binds       plugin
level       must
basis       proto
profile     core
known by    code, measured
servers     since 1.27
source      ENV validateEncryptedDEKSource  (A: pkg/storage/value/encrypt/envelope/kmsv2/envelope.go)
source      PROTO  (K: apis/v2/api.proto)
conflict    The proto's comment asks for less than 1 kB while the API server takes 1024 bytes: 1024 is a warning, 1025 a failure.
checks      ciphertext-size
"
    );
    let text = explain(get("KMS2-STATE-08").unwrap(), &Coverage::default());
    assert!(text.contains("note        only derived"), "{text}");
    let text = explain(get("KMS2-VER-01").unwrap(), &Coverage::default());
    assert!(
        text.contains("servers     since 1.27, until 1.27\n"),
        "{text}"
    );
    let text = explain(get("KMS2-AVAIL-02").unwrap(), &Coverage::default());
    assert!(text.contains("no test     A measurement"), "{text}");
}

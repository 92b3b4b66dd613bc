//! What this version does not know is an error that names the line.

use kms_history::*;

const HEADER: &str = r#"{"format":"kms-history","version":1,"suite":"0.1.0","seed":1,"profile":"core","serverVersion":null,"roundTrips":1,"timeoutNs":3}"#;
const SENT: &str = r#"{"seq":0,"atNs":1,"stimulus":"contact","caller":0,"what":{"sent":{"method":"Status","request":"status"}}}"#;
const ANSWERED: &str = r#"{"seq":1,"atNs":2,"stimulus":"contact","caller":0,"what":{"answered":{"call":0,"elapsedNs":1,"outcome":"timedOut"}}}"#;

fn error(lines: &[&str]) -> String {
    match read(lines.join("\n").as_bytes()) {
        Err(error) => error.to_string(),
        Ok(history) => panic!("accepted: {history:?}"),
    }
}

#[test]
fn the_sample_is_read_and_indexed() {
    let history = read([HEADER, SENT, ANSWERED].join("\n").as_bytes()).unwrap();
    assert_eq!(history.stimuli().collect::<Vec<_>>(), ["contact"]);
    let call = history.calls_of("contact").next().unwrap();
    assert_eq!(call.outcome(), Some(&Outcome::TimedOut));
    assert!(call.answer().is_none());
    assert_eq!(history.call(0).unwrap().seq(), 0);
    assert!(history.call(1).is_none(), "an answer is no call");
    assert_eq!(history.stimulus("other").count(), 0);
}

#[test]
fn other_files_and_versions_are_named() {
    assert_eq!(
        error(&[]),
        "line 1: the file is empty, expected a kms-history header"
    );
    assert!(error(&["{}"]).starts_with(r#"line 1: format is "", expected "kms-history""#));
    let newer = HEADER.replace(r#""version":1"#, r#""version":2"#);
    let expected = "line 1: version 2 of kms-history is not known, this build reads version 1";
    assert_eq!(error(&[&newer, SENT]), expected);
    assert!(error(&["not json"]).starts_with("line 1: "));
}

#[test]
fn unknown_fields_kinds_and_bad_hex_name_their_line() {
    let changes = [
        (r#""caller":0"#, r#""caller":0,"extra":1"#),
        (r#""elapsedNs":1"#, r#""elapsedNs":1,"extra":1"#),
        (r#""timedOut""#, r#""vanished""#),
        (r#""timedOut""#, r#"{"http":{"status":200,"extra":1}}"#),
        (r#"{"answered""#, r#"{"replied""#),
        (
            r#""timedOut""#,
            r#"{"ok":{"fields":[],"body":{"decrypt":{"plaintext":{"len":1,"sha256":"AB"}}}}}"#,
        ),
    ];
    for (from, to) in changes {
        assert!(ANSWERED.contains(from), "{from}");
        let error = error(&[HEADER, SENT, &ANSWERED.replace(from, to)]);
        assert!(error.starts_with("line 3: "), "{to}: {error}");
    }
    let header = HEADER.replace(r#""seed":1"#, r#""seed":1,"sead":2"#);
    assert!(
        error(&[&header]).starts_with("line 1: unknown field `sead`"),
        "{}",
        error(&[&header])
    );
    assert!(error(&[HEADER, "", SENT]).starts_with("line 2: "));
}

#[test]
fn events_that_contradict_each_other_name_their_line() {
    assert_eq!(
        error(&[HEADER, SENT, SENT]),
        "line 3: sequence number 0 does not follow 0"
    );
    let orphan = ANSWERED.replace(r#""call":0"#, r#""call":7"#);
    let expected = "line 3: event 1 answers call 7, which was not sent before it";
    assert_eq!(error(&[HEADER, SENT, &orphan]), expected);
    let twice = ANSWERED.replace(r#""seq":1"#, r#""seq":2"#);
    let expected = "line 4: event 2 answers call 0 a second time";
    assert_eq!(error(&[HEADER, SENT, ANSWERED, &twice]), expected);
}

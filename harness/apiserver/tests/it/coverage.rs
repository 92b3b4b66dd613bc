//! The coverage table is complete.

use kms_apiserver::coverage::{mentioned, named, reason, tests};
use kms_contract::Who;

/// Every requirement that binds the API server has a test, or a reason why this crate has none.
#[test]
fn every_requirement_has_a_test_or_a_reason() {
    let binding = kms_contract::all().filter(|entry| Who::ApiServer.includes(entry.who));
    let without: Vec<&str> = binding
        .map(|entry| entry.id)
        .filter(|id| tests(id).is_empty() && reason(id).is_none())
        .collect();
    assert!(without.is_empty(), "{without:?}");
}

/// No test is named after a requirement that does not exist.
#[test]
fn every_named_requirement_exists() {
    for file in [
        "wire", "conn", "state", "values", "outage", "health", "config", "itest",
    ] {
        let path = format!("{}/tests/it/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let named = named(&std::fs::read_to_string(path).unwrap());
        assert!(!named.is_empty(), "{file}");
        for (id, test) in named {
            assert!(kms_contract::get(&id).is_some(), "{test}");
        }
    }
}

#[test]
fn ids_in_documentation_are_found() {
    let source = "/// About KMS2-DEC-13 (and KMS2-DEC-14).\n#[test]\nfn one() {}\nfn two() {}\n/// KMS2-X-01\nlet x;\nfn three() {}\n";
    let pair = |id: &str| (id.to_owned(), "one".to_owned());
    assert_eq!(
        mentioned(source),
        [pair("KMS2-DEC-13"), pair("KMS2-DEC-14")]
    );
}

//! What `list` says of the zoo.

use crate::commands::support::run;

/// Whatever binds a plugin is judged, and its judge has been seen failing a plugin; or it says why not.
pub fn every_requirement_on_a_plugin_has_a_check_and_a_mutant_or_a_reason() {
    let rows = run(&["list", "--who=plugin", "--format=json"])
        .ended(0)
        .json();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() > 50);
    let without: Vec<_> = rows
        .iter()
        .filter(|row| row.get("reason").is_none())
        .filter(|row| {
            ["checks", "zoo"]
                .iter()
                .any(|of| row[of].as_array().unwrap().is_empty())
        })
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    assert!(
        without.is_empty(),
        "no check, or no plugin of the zoo: {without:?}"
    );
}

/// A reason tells why there is no check, or why no plugin can break it: where there are both all the same, its
/// breach is only noted.
pub fn a_reason_stands_only_where_there_is_something_to_explain() {
    let rows = run(&["list", "--who=plugin", "--format=json"])
        .ended(0)
        .json();
    let explained: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row.get("reason").is_some())
        .map(|row| {
            let some = |of: &str| !row[of].as_array().unwrap().is_empty();
            (row["id"].as_str().unwrap(), some("checks"), some("zoo"))
        })
        .collect();
    assert_eq!(
        explained,
        [
            ("KMS2-ENC-04", true, true),
            ("KMS2-STALE-05", true, false),
            ("KMS2-AVAIL-02", true, false),
        ]
    );
}

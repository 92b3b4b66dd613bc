//! What is wrong with a file is said with its line, its column, its field, and what to write.

use kms_rehearse::scenario::{FILES, is_meant, read, schema};

fn sealed() -> String {
    let (_, text) = FILES
        .iter()
        .find(|(name, _)| *name == "vault-is-sealed")
        .unwrap();
    (*text).to_owned()
}

/// The problems of the file after a change, one a line.
fn problems(from: &str, to: &str) -> String {
    let text = sealed();
    assert!(text.contains(from), "{from:?}");
    let found = read(&text.replacen(from, to, 1), Some("vault-is-sealed")).unwrap_err();
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn each_mistake_is_named_in_its_place() {
    let cases = [
        (
            "note = ",
            "notes = ",
            "7:1: notes: unknown key; did you mean `note`?",
        ),
        (
            "[rehearsal]\n",
            "[rehearsal]\nnode = 3\n",
            "10:1: rehearsal.node: unknown key; did you mean `mode`?",
        ),
        (
            "\"vault-sealed\"",
            "\"vault-seeled\"",
            "rehearsal.fault: unknown variant `vault-seeled`; did you mean `vault-sealed`?",
        ),
        (
            "step = \"type\"",
            "step = \"tipe\"",
            "11:8: rehearsal.step: verify has no step \"tipe\"; did you mean \"type\"?",
        ),
        (
            "OCP-FAULT-13",
            "OCP-FAULT-31",
            "proves[0]: there is no \"OCP-FAULT-31\"; did you mean",
        ),
        (
            "[\"sim\"]",
            "[\"process\"]",
            "arms[0]: operators are played in the simulation alone; write arms = [\"sim\"]",
        ),
        (
            "procedure = \"verify\"",
            "procedure = \"restore\"",
            "rehearsal.procedure: restore is no place for a fault",
        ),
        (
            "count = \"all\"",
            "",
            "seen[0].count: this sign needs it; write count = \"all\", or a number",
        ),
        (
            "count = \"all\"",
            "status = [503]",
            "seen[0].status: this sign does not take it; remove it",
        ),
        ("count = \"all\"", "count = \"most\"", "seen[0].count"),
        (
            "oc logs -n kube-system",
            "oc delete -n kube-system",
            "detected[0].command: the simulated cluster does not answer this command; write one of these",
        ),
        (
            "contains = [\"sealed\"]",
            "",
            "detected[0].contains: nothing is expected of the output",
        ),
        (
            "contains = [\"sealed\"]",
            "contains = [\"sealed\"]\nnode = 4",
            "detected[0].node: there is no such node; write 1 to 3",
        ),
        (
            "category = \"degraded\"",
            "category = \"degraded\"\nmode = \"newest\"",
            "rehearsal.mode: faults are played under operators of the modes seed and v2",
        ),
        (
            "category = \"degraded\"",
            "category = \"degraded\"\nnodes = 0",
            "rehearsal.nodes: so many nodes there cannot be; write 1 to 9",
        ),
        (
            "category = \"degraded\"",
            "category = \"degraded\"\nbreaks = [\"readable\", \"readable\"]",
            "rehearsal.breaks[1]: it stands there twice",
        ),
        (
            "category = \"degraded\"",
            "category = \"degraded\"\nlook-after = \"soon\"",
            "rehearsal.look-after: \"soon\" is no time",
        ),
        (
            "id = \"vault-is-sealed\"",
            "id = \"sealed\"",
            "1:6: id: the file is called \"vault-is-sealed\"",
        ),
    ];
    for (from, to, needle) in cases {
        let found = problems(from, to);
        assert!(
            found.contains(needle),
            "{to:?}: wanted {needle:?} in\n{found}"
        );
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = sealed()
        .replace("step = \"type\"", "step = \"tipe\"")
        .replace("[\"sim\"]", "[]");
    let found = read(&text, None).unwrap_err();
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_file_is_known_by_its_table_and_described_by_the_schema() {
    assert!(is_meant(&sealed()));
    assert!(!is_meant("id = \"a\"\n[world]\nnodes = 3\n"));
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    let fault = &schema["properties"]["rehearsal"]["properties"]["fault"];
    assert!(fault.to_string().contains("vault-sealed"), "{fault}");
}

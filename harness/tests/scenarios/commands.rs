//! Exit codes, texts and files of the commands.

use std::fs;

use crate::support::{harness, root};

/// Vault is sealed and never comes back before heal, but writes are said to be fine throughout.
const FAILS: &str = r#"
id = "fails"
title = "Writes cannot go on for ever while Vault is sealed."
proves = ["KMS2-RT-01"]
arms = ["sim"]

[load]
objects = 3

[phases]
settle = "10s"
baseline = "10s"
liveness = "30s"

[[fault]]
id = "sealed"
kind = "vault-seal"
at = "20s"

[[fault]]
id = "reset"
kind = "net-reset"
edge = "vault"
at = "5s..10s"

[[fault]]
id = "late"
kind = "vault-slow"
latency = "20ms"
at = "1s"
for = "10s"

[[expect]]
always = "writes-ok"

[[expect]]
always = "reads-ok"
"#;

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_failure_ends_with_the_command_that_shows_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "fails.toml", FAILS);
    let out = folder.path().join("out");
    let said = harness(&[
        "chaos",
        &path,
        "--seed",
        "3",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(said.code, 1, "{}", said.err);
    let last = said.out.lines().last().unwrap();
    assert_eq!(last, format!("kms-harness replay {path} --seed 3"));
    assert!(
        said.out.contains("always:writes-ok broken at"),
        "{}",
        said.out
    );

    let arguments: Vec<&str> = last.split(' ').skip(1).collect();
    let again = harness(&arguments);
    assert_eq!(again.code, 1);
    let history = fs::read_to_string(out.join("fails-sim-3.history")).unwrap();
    assert_eq!(again.out, history, "the replay is another run");
}

#[test]
fn shrinking_keeps_the_violation_and_drops_what_has_no_part_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "fails.toml", FAILS);
    let said = harness(&["shrink", &path, "--seed", "3", "--runs", "60"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.out.matches("[[fault]]").count(), 1, "{}", said.out);
    assert!(said.out.contains("vault-seal"), "{}", said.out);
    assert_eq!(said.out.matches("[[expect]]").count(), 1, "{}", said.out);

    let small = file(
        &folder,
        "smaller.toml",
        &said.out.replace("\"fails\"", "\"smaller\""),
    );
    let again = harness(&["chaos", &small, "--seed", "3"]);
    assert_eq!(again.code, 1);
    assert!(
        again.out.contains("always:writes-ok broken"),
        "{}",
        again.out
    );

    let passes = "scenarios/process/killed.toml";
    let said = harness(&["shrink", passes]);
    assert_eq!(said.code, 3);
    assert!(said.err.contains("no violation to keep"), "{}", said.err);
}

#[test]
fn a_fault_that_touches_nothing_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let text = FAILS.replace(
        "kind = \"vault-seal\"\nat = \"20s\"",
        "kind = \"vault-error\"\nstatus = 503\nrequests = \"login\"\nat = \"20s\"\nfor = \"1s\"",
    );
    let path = file(&folder, "fails.toml", &text);
    let said = harness(&["chaos", &path, "--format", "json"]);
    assert_eq!(said.code, 3, "{}", said.out);
    let row = &said.json()["scenarios"][0];
    assert_eq!(row["verdict"], "inconclusive");
    let sealed = row["faults"]
        .as_array()
        .unwrap()
        .iter()
        .find(|fault| fault["id"] == "sealed");
    assert_eq!(sealed.unwrap()["hits"], 0);
}

/// Nothing is started for it: any program does for the plugin.
#[test]
fn what_an_arm_cannot_run_is_not_applicable() {
    let said = harness(&[
        "chaos",
        "scenarios/auth/renewal-is-late.toml",
        "scenarios/process/apiservers-restart-in-a-row.toml",
        "--arm",
        "process",
        "--socket",
        "unix:///nowhere/kms.sock",
        "--format",
        "json",
    ]);
    assert_eq!(said.code, 3);
    let document = said.json();
    let rows = document["scenarios"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["verdict"], "not_applicable");
        let reason = row["reason"].as_str().unwrap();
        assert!(
            ["more nodes", "does not name the arm process"]
                .iter()
                .any(|why| reason.contains(why)),
            "{row}"
        );
    }
    assert_eq!(document["summary"]["pass"], 0);
}

/// What belongs to the process arm alone is no word for the simulation.
#[test]
fn wrong_words_for_the_process_arm() {
    for (words, needle) in [
        (&["--vault", "openbao"][..], "--arm process"),
        (&["--plugin", "/bin/true"], "--arm process"),
        (&["--arm", "process", "--vault", "consul"], "openbao"),
        (
            &["--arm", "process", "--plugin", "/nowhere/kms"],
            "/nowhere/kms",
        ),
        (&["--dry-run"], "--arm cluster"),
        (&["--cleanup"], "--arm cluster"),
        (&["--arm", "process", "--staging", "here"], "--arm cluster"),
    ] {
        let mut args = vec!["chaos", "scenarios/process"];
        args.extend(words);
        let said = harness(&args);
        assert_eq!(said.code, 2, "{words:?}");
        assert!(said.err.contains(needle), "{words:?}: {}", said.err);
    }
}

#[test]
fn seeds_are_runs_of_their_own() {
    let said = harness(&[
        "chaos",
        "scenarios/auth/token-revoked-under-load.toml",
        "--seeds",
        "3",
        "--jobs",
        "2",
        "--format",
        "json",
    ]);
    assert_eq!(said.code, 0, "{}", said.out);
    let document = said.json();
    let rows = document["scenarios"].as_array().unwrap();
    let seeds: Vec<_> = rows
        .iter()
        .map(|row| row["seed"].as_u64().unwrap())
        .collect();
    assert_eq!(seeds, [1, 2, 3]);
    assert_ne!(rows[0]["digest"], rows[1]["digest"]);
    for field in [
        "id",
        "arm",
        "seed",
        "verdict",
        "digest",
        "faults",
        "invariants",
        "sim_seconds",
        "wall_seconds",
    ] {
        assert!(!rows[0][field].is_null(), "{field}");
    }
}

#[test]
fn wrong_files_are_usage_with_every_error_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        &folder,
        "fails.toml",
        &FAILS
            .replace("edge = \"vault\"", "edge = \"vault\"\nnode = 7")
            .replace("KMS2-RT-01", "BUG-900"),
    );
    for command in [
        &["scenario", "check", &path][..],
        &["chaos", &path],
        &["replay", &path],
    ] {
        let said = harness(command);
        assert_eq!(said.code, 2, "{command:?}");
        assert!(
            said.err.contains(&format!("{path}:4:11: proves[0]")),
            "{}",
            said.err
        );
        assert!(
            said.err.contains("fault[1].node: there is no node 7"),
            "{}",
            said.err
        );
    }
    let missing = harness(&["scenario", "check", "no-such-file.toml"]);
    assert_eq!(missing.code, 2);
    assert!(missing.err.contains("no-such-file.toml"), "{}", missing.err);
}

#[test]
fn the_library_is_right_and_the_schema_is_printed() {
    let said = harness(&["scenario", "check", "scenarios"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(root().join("scenarios").is_dir());
    let schema = harness(&["scenario", "schema"]);
    assert_eq!(schema.code, 0);
    let schema = schema.json();
    for form in ["then", "else"] {
        assert_eq!(schema[form]["additionalProperties"], false, "{form}");
    }
    assert_eq!(schema["if"]["required"][0], "rehearsal");
    let text = schema.to_string();
    for reference in text.split("\"#/$defs/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schema["$defs"][name].is_object(), "{name} is nowhere");
    }
}

/// A file about operators is played by the same commands, with the page in place of the history.
#[test]
fn operators_files_run_replay_and_fail_as_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(root().join("scenarios/openshift/type-refused.toml")).unwrap();
    let wrong = text
        .replace("\"type-refused\"", "\"never\"")
        .replace("lacks = [\"KMS\"]", "contains = [\"KMS\"]");
    let path = file(&folder, "never.toml", &wrong);
    let out = folder.path().join("out");
    let said = harness(&[
        "chaos",
        &path,
        "--seed",
        "3",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let last = said.out.lines().last().unwrap();
    assert_eq!(last, format!("kms-harness replay {path} --seed 3"));
    assert!(
        said.out.contains("detected:oc get apiserver cluster"),
        "{}",
        said.out
    );

    let arguments: Vec<&str> = last.split(' ').skip(1).collect();
    let again = harness(&arguments);
    assert_eq!(again.code, 1);
    let page = fs::read_to_string(out.join("never-sim-3.page.txt")).unwrap();
    assert_eq!(again.out, page, "the replay is another run");
    let result = fs::read_to_string(out.join("result.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    let row = &result["scenarios"][0];
    assert_eq!(
        (row["id"].as_str(), row["arm"].as_str()),
        (Some("never"), Some("sim"))
    );
    assert_eq!(row["faults"][0]["id"], "OCP-FAULT-01");
    assert_eq!(row["faults"][0]["hits"], 1);
    let digest = row["digest"].as_str().unwrap();
    assert!(again.err.contains(digest), "{}", again.err);

    let said = harness(&["shrink", &path, "--seed", "3"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("never.toml"), "{}", said.err);
    let mistake = file(
        &folder,
        "never.toml",
        &wrong.replace("step = \"edit\"", "stepp = \"edit\""),
    );
    for command in ["chaos", "replay"] {
        let said = harness(&[command, &mistake]);
        assert_eq!(said.code, 2);
        let place = format!("{mistake}:11:1: rehearsal.stepp: unknown key; did you mean `step`?");
        assert!(said.err.contains(&place), "{}", said.err);
    }
}

/// What operators do cannot be done on real processes.
#[test]
fn operators_files_are_not_applicable_elsewhere() {
    let said = harness(&[
        "chaos",
        "scenarios/openshift/vault-is-sealed.toml",
        "--arm",
        "process",
        "--socket",
        "unix:///nowhere/kms.sock",
        "--format",
        "json",
    ]);
    assert_eq!(said.code, 3);
    let row = &said.json()["scenarios"][0];
    assert_eq!(row["verdict"], "not_applicable");
    assert!(
        row["reason"].as_str().unwrap().contains("simulation"),
        "{row}"
    );
}

#[test]
fn swarm_draws_whole_scenarios_that_can_be_kept_and_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let said = harness(&[
        "swarm",
        "--seed",
        "5",
        "--seeds",
        "1",
        "--format",
        "json",
        "--out",
        out.to_str().unwrap(),
    ]);
    let first = said.json()["scenarios"][0].clone();
    assert_eq!(first["id"], "swarm-5");
    let scenario = out.join("swarm-5.toml");
    let again = harness(&[
        "chaos",
        scenario.to_str().unwrap(),
        "--seed",
        "5",
        "--format",
        "json",
    ]);
    assert_eq!(again.json()["scenarios"][0]["digest"], first["digest"]);
}

/// The histories that a run left are judged again: to the same result, and what somebody changed is not believed.
#[test]
fn recorded_runs_are_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "fails.toml", FAILS);
    let out = folder.path().join("out");
    let bundle = out.to_str().unwrap();
    let arguments = [
        "chaos", &path, "--seed", "3", "--format", "json", "--out", bundle,
    ];
    let first = harness(&arguments);
    let again = harness(&["judge", bundle, "--format", "json"]);
    assert_eq!((again.code, &again.err[..]), (1, ""));
    for field in [
        "verdict",
        "digest",
        "faults",
        "invariants",
        "replay",
        "sim_seconds",
    ] {
        let row = |said: &crate::support::Said| said.json()["scenarios"][0][field].clone();
        assert_eq!(row(&again), row(&first), "{field}");
    }

    let recorded = out.join("fails-sim-3.run.jsonl");
    let text = fs::read_to_string(&recorded).unwrap();
    fs::write(&recorded, text.replacen("\"ended\"", "\"began\"", 1)).unwrap();
    let wrong = harness(&["judge", bundle]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("fails-sim-3.run.jsonl"), "{}", wrong.err);
    let (head, rest) = text.split_once('\n').unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    fs::write(&recorded, format!("{head}\n{rest}")).unwrap();
    let wrong = harness(&["judge", bundle]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("its events are not those"),
        "{}",
        wrong.err
    );
    let empty = harness(&["judge", folder.path().to_str().unwrap()]);
    assert_eq!(empty.code, 2);
    assert!(empty.err.contains("is no bundle"), "{}", empty.err);
}

//! Every procedure on a healthy cluster: all that it expects holds, and it plays the steps that it promises.

use kms_rehearse::options::{Category, Options, Procedure, Wish, Words};
use kms_rehearse::report::Shown;
use kms_rehearse::scenario::ROWS;

use crate::{play, wish};

fn holds(wish: &Wish<'_>) {
    let played = play(wish);
    let text = played.text();
    assert!(played.held, "{text}");
    let (_, procedure) = Procedure::ALL
        .iter()
        .find(|(word, _)| *word == wish.procedure)
        .unwrap();
    for part in &played.parts {
        let ids: Vec<&str> = part.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, procedure.steps());
        assert_eq!(part.broken, Vec::<String>::new());
    }
}

#[test]
fn enable_holds() {
    holds(&wish("enable"));
}

#[test]
fn verify_holds() {
    holds(&wish("verify"));
}

#[test]
fn rotate_rewrites_nothing_but_for_the_newest_operators() {
    holds(&wish("rotate"));
    holds(&Wish {
        mode: Some("newest"),
        ..wish("rotate")
    });
}

#[test]
fn changes_of_the_type_hold() {
    for procedure in ["migrate-from-local", "back-to-local", "disable"] {
        holds(&wish(procedure));
    }
}

#[test]
fn looking_and_saving_hold() {
    for procedure in ["backup", "monitor", "collect"] {
        holds(&wish(procedure));
    }
}

#[test]
fn each_mismatch_of_a_backup_is_told_before_the_restore() {
    holds(&wish("restore"));
}

#[test]
fn each_category_leads_to_its_rows() {
    for (category, _) in Category::ALL {
        let rows = ROWS.iter().filter(|row| row.category().word() == *category);
        let rows: Vec<&str> = rows.map(|row| row.id()).collect();
        let first = rows[0];
        let played = play(&Wish {
            category: Some(category),
            fault: Some(first),
            ..wish("troubleshoot")
        });
        assert_eq!(played.parts.len(), 1);
        let step = &played.parts[0].steps[0];
        let commands = step
            .lines
            .iter()
            .filter(|it| matches!(it, Shown::Command { .. }));
        assert!(
            commands.count() >= 2,
            "{category}: the diagnosis has its commands"
        );
        assert_eq!(
            played.parts[0].fault.as_ref().map(|it| it.id.as_str()),
            Some(first)
        );
    }
}

#[test]
fn an_expectation_that_does_not_hold_fails_the_rehearsal() {
    let played = play(&Wish {
        fault: Some("OCP-FAULT-01"),
        ..wish("enable")
    });
    assert!(!played.held, "the edit was refused");
    let text = played.text();
    assert!(text.contains("FAIL the change is accepted"), "{text}");
}

#[test]
fn a_wish_that_cannot_be_meant_names_what_can() {
    let read = |wish: Wish<'_>| Options::read(&wish).unwrap_err().0;
    let text = read(Wish {
        procedure: "enabel",
        ..Wish::default()
    });
    assert!(
        text.contains("\"enabel\"") && text.contains("migrate-from-local"),
        "{text}"
    );
    let text = read(Wish {
        fault: Some("OCP-FAULT-30"),
        ..wish("enable")
    });
    assert!(
        text.contains("OCP-FAULT-29") && text.contains("OCP-TRAP-12"),
        "{text}"
    );
    let text = read(Wish {
        fault: Some("OCP-FAULT-13"),
        at: Some("nowhere"),
        ..wish("enable")
    });
    assert!(
        text.contains("\"nowhere\"") && text.contains("rollout"),
        "{text}"
    );
    let text = read(Wish {
        category: Some("all"),
        ..wish("troubleshoot")
    });
    assert!(
        text.contains("invalid-config, permissions, key, degraded, migration"),
        "{text}"
    );
    let text = read(Wish {
        at: Some("edit"),
        ..wish("enable")
    });
    assert!(text.contains("--fault"), "{text}");
    let text = read(Wish {
        nodes: Some(0),
        ..wish("enable")
    });
    assert!(text.contains("1 to 9"), "{text}");
    let text = read(Wish {
        fault: Some("OCP-FAULT-02"),
        mode: Some("seed"),
        ..wish("enable")
    });
    assert!(text.contains("mode v2"), "{text}");
}

#[test]
fn the_same_as_data_says_the_same() {
    let played = play(&wish("monitor"));
    let data = serde_json::to_value(&played).unwrap();
    assert_eq!(data["procedure"], "monitor");
    assert_eq!(data["held"], true);
    let steps = data["parts"][0]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), Procedure::Monitor.steps().len());
    let first = &steps[0]["lines"][0];
    assert_eq!(first["kind"], "command");
    assert!(first["command"].as_str().unwrap().starts_with("oc logs"));
}

#[test]
fn no_password_is_in_what_is_shown() {
    let played = play(&wish("enable")).text();
    assert!(played.contains("-userpass-password=<vault_password>"));
    let seed = kms_scenario::seed::Seed::root(1)
        .label("vault")
        .label("password 0");
    let password: String = seed
        .bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(!played.contains(&password));
}

//! Every procedure on a healthy cluster: all that it expects holds, and it plays the steps that it promises.

use kms_rehearse::options::{Options, Procedure, Wish, Words};

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

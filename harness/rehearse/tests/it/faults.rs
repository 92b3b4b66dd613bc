//! Every row of the fault table and every trap: it is made, it shows, its remedy is carried out, the cluster comes back.

use kms_rehearse::fault::ROWS;
use kms_rehearse::options::Wish;

use crate::{play, wish};

/// Plays the rows whose place in the table leaves this rest, so that they share threads.
fn every(rest: usize) {
    let mut wrong = String::new();
    for row in ROWS.iter().skip(rest).step_by(4) {
        let played = play(&Wish {
            fault: Some(row.id),
            ..wish(row.procedure.word())
        });
        let story = played.parts[0].fault.as_ref();
        let story = story.unwrap_or_else(|| panic!("{} never happened", row.id));
        assert!(
            !story.seen.is_empty() && !story.recovered.is_empty(),
            "{}",
            row.id
        );
        if story.seen.iter().chain(&story.recovered).any(|it| !it.held) {
            wrong.push_str(&format!("{}\n{}\n", row.id, played.text()));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_fault_is_provoked_seen_and_remedied_1() {
    every(0);
}

#[test]
fn every_fault_is_provoked_seen_and_remedied_2() {
    every(1);
}

#[test]
fn every_fault_is_provoked_seen_and_remedied_3() {
    every(2);
}

#[test]
fn every_fault_is_provoked_seen_and_remedied_4() {
    every(3);
}

#[test]
fn the_table_is_whole_and_in_order() {
    let ids: Vec<String> = ROWS.iter().map(|row| row.id.to_owned()).collect();
    let faults = (1..=29).map(|number| format!("OCP-FAULT-{number:02}"));
    let traps = (1..=12).map(|number| format!("OCP-TRAP-{number:02}"));
    assert_eq!(ids, faults.chain(traps).collect::<Vec<_>>());
    for row in ROWS {
        assert!(
            row.procedure.steps().contains(&row.at),
            "{}: no step {}",
            row.id,
            row.at
        );
        for text in [row.title, row.detect, row.remedy, row.note] {
            assert!(!text.is_empty(), "{}", row.id);
        }
    }
}

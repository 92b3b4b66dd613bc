//! Every plugin of the zoo is named by what it breaks and by nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use kms_harness::bundle::sha256;
use kms_harness::commands::calibrate::kept::Kept;
use kms_harness::commands::calibrate::show::Document;
use kms_harness::commands::calibrate::{Row, code, measure, program};
use kms_zoo::{Verdict, find, table};

use crate::common::share::{share, whole};

/// The calibration that all tests here look at. The honest plugin is the first.
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let harness = program(PathBuf::from(env!("CARGO_BIN_EXE_kms-harness")));
    measure(&share(table(), 8), &harness, None).unwrap()
});

fn told(wanted: impl Fn(&Row) -> bool) -> String {
    let rows = ROWS.iter().filter(|row| wanted(row));
    let told = rows.map(|row| {
        format!(
            "{} {}\n  breaks {:?}, from which follows {:?}\n{}",
            row.mutant.id,
            row.verdict.as_str(),
            row.mutant.breaks().collect::<Vec<_>>(),
            row.mutant.follows().collect::<Vec<_>>(),
            row.seen.text
        )
    });
    told.collect::<Vec<_>>().join("\n")
}

pub fn the_honest_plugin_passes() {
    assert_eq!(ROWS[0].mutant.id, "honest");
    assert_eq!(ROWS[0].verdict, Verdict::Passed, "{}", ROWS[0].seen.text);
}

pub fn no_mutant_survives() {
    let survivors = told(|row| row.verdict == Verdict::Survived);
    assert!(survivors.is_empty(), "{survivors}");
}

pub fn nothing_is_named_that_is_not_broken() {
    let wrong = told(|row| row.verdict == Verdict::WrongId);
    assert!(wrong.is_empty(), "{wrong}");
}

pub fn what_is_said_to_follow_does_follow() {
    let idle = told(|row| row.verdict == Verdict::NothingFollowed);
    assert!(idle.is_empty(), "{idle}");
}

/// A check that no plugin fails checks nothing.
pub fn every_check_has_been_seen_failing() {
    let checked = || kms_judge::checks().iter();
    if !whole() {
        // the calibration that is kept was made of all of them, and knows requirements
        let kept = Kept::last().unwrap_or_else(|error| panic!("{error:#}"));
        let caught: BTreeSet<_> = kept
            .result
            .mutants
            .iter()
            .flat_map(|it| &it.caught_by)
            .collect();
        let required = checked().flat_map(|check| check.requirements);
        let never: BTreeSet<_> = required
            .filter(|id| !caught.contains(&id.to_string()))
            .collect();
        assert!(never.is_empty(), "no mutant fails {never:?}");
        return;
    }
    let seen: BTreeSet<_> = ROWS.iter().flat_map(|row| &row.seen.by).collect();
    let never: Vec<_> = checked()
        .flat_map(|check| check.requirements.iter().map(|id| (check.id, *id)))
        .filter(|(check, id)| !seen.contains(&((*check).to_owned(), (*id).to_owned())))
        .collect();
    assert!(never.is_empty(), "no mutant fails {never:?}");
}

/// What reports tell of the suite is what is found now, of these requirements and this zoo.
pub fn the_calibration_that_reports_tell_is_this_one() {
    let again = "make it again: kms-harness calibrate --out reports";
    let kept = Kept::last().unwrap_or_else(|error| panic!("{error:#}; {again}"));
    assert_eq!(kept.foreign(), None, "{again}");
    assert_eq!(kept.zoo_version, kms_zoo::version(), "{again}");
    let (found, mut told) = (Document::of(&ROWS), kept.result.clone());
    told.mutants
        .retain(|it| ROWS.iter().any(|row| row.mutant.id == it.id));
    assert_eq!(told, found, "{again}");
    let digest = format!("sha256:{}", sha256(kept.result.json().unwrap().as_bytes()));
    assert_eq!(kept.digest, digest, "somebody wrote into the file");
    let told = kept.calibration();
    assert_eq!(told.mutants, table().len() as u64 - 1);
    assert_eq!((told.killed, told.survived), (told.mutants, Vec::new()));
}

/// One that is not as it should be is the end of it, and is told as what it is.
pub fn a_survivor_and_a_wrong_id_fail() {
    let row = |id, verdict| Row {
        mutant: find(id).unwrap(),
        seen: Default::default(),
        verdict,
        attempts: 1,
    };
    let mut rows = vec![
        row("honest", Verdict::Passed),
        row("version-unknown", Verdict::Caught),
    ];
    assert_eq!(code(&rows), 0);
    for (verdict, survivors, wrong) in [
        (Verdict::Survived, 1, 0),
        (Verdict::WrongId, 0, 1),
        (Verdict::NothingFollowed, 0, 1),
    ] {
        rows[1].verdict = verdict;
        assert_eq!(code(&rows), 1, "{verdict:?}");
        let document = Document::of(&rows);
        let counts = (document.survivors.len(), document.wrong.len());
        assert_eq!(counts, (survivors, wrong), "{verdict:?}");
    }
    rows[1].verdict = Verdict::Caught;
    rows[0].verdict = Verdict::WrongId;
    assert_eq!(code(&rows), 1, "an honest plugin that is named");
}

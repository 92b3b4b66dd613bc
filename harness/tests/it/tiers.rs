//! How a tier whose real part is absent shows: ignored, or failed where everything is required.

#[path = "../common/tier.rs"]
#[expect(dead_code, reason = "this is a tier's other half, the one that exits")]
mod tier;

use libtest_mimic::{Arguments, Conclusion};

fn tier_of_one(required: bool, part: Result<(), &'static str>) -> Conclusion {
    // Into a file: this test's output has closing lines of its own.
    let log = tempfile::NamedTempFile::new().unwrap();
    let arguments = Arguments {
        logfile: Some(log.path().display().to_string()),
        quiet: true,
        test_threads: Some(1),
        ..Arguments::default()
    };
    let test = tier::test_when(required, "works", part, |()| async { Ok(()) });
    libtest_mimic::run(&arguments, vec![test])
}

#[test]
fn an_absent_part_is_ignored_or_failed_and_never_passed() {
    let counts = |conclusion: Conclusion| {
        (
            conclusion.num_passed,
            conclusion.num_ignored,
            conclusion.num_failed,
        )
    };
    assert_eq!(counts(tier_of_one(false, Ok(()))), (1, 0, 0));
    assert_eq!(
        counts(tier_of_one(false, Err("there is no server"))),
        (0, 1, 0)
    );
    assert_eq!(
        counts(tier_of_one(true, Err("there is no server"))),
        (0, 0, 1)
    );
}

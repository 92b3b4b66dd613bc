//! How single facts are compared.

use std::time::Duration;

use super::super::compare::Outcome;

pub(super) fn near(what: &str, ours: Duration, theirs: Duration, late: Duration) -> Outcome {
    if ours.abs_diff(theirs) <= late {
        Outcome::Alike
    } else {
        Outcome::Different(format!("{what}: {ours:?}, recorded {theirs:?}"))
    }
}

pub(super) fn same(what: &str, ours: &str, theirs: &str) -> Outcome {
    if ours == theirs {
        Outcome::Alike
    } else {
        Outcome::Different(format!("{what}: {ours:?}, recorded {theirs:?}"))
    }
}

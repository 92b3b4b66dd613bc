//! Rehearsals, each on a simulated cluster.

#![expect(clippy::unwrap_used, reason = "tests, helpers included")]

mod faults;
mod files;
mod golden;
mod matrix;
mod oc;
mod procedures;
#[path = "../../../tests/common/share.rs"]
mod share;
mod swarm;

use kms_rehearse::options::{Options, Wish};
use kms_rehearse::rehearse;
use kms_rehearse::report::Rehearsal;

/// A wish for a procedure with few objects.
fn wish(procedure: &str) -> Wish<'_> {
    Wish {
        procedure,
        objects: Some(60),
        seed: 1,
        ..Wish::default()
    }
}

fn play(wish: &Wish<'_>) -> Rehearsal {
    let options = Options::read(wish).unwrap();
    rehearse(&options).unwrap()
}

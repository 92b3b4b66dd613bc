//! The doctor on simulated clusters, and its bundles.

#![expect(clippy::unwrap_used, reason = "tests, helpers included")]

mod bundles;
mod faults;
mod gather;
mod healthy;
mod parts;
#[path = "../../../tests/common/share.rs"]
mod share;

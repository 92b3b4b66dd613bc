//! The suite is worth what it catches: the whole zoo, judged as `kms-harness calibrate` judges it.
//!
//! One calibration for all tests here; it takes about a minute, most of it waiting.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../commands/support.rs"]
#[expect(dead_code, reason = "most of it is for other tests")]
mod support;

mod calibration;
mod commands;
mod registry;
#[path = "../common/share.rs"]
mod share;

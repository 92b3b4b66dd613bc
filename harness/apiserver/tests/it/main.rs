//! What the model must do, requirement by requirement, and on the recordings of the real code.
//! A test named `kms2_<area>_<number>_...` holds it to that requirement.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../../replay/mod.rs"]
mod replay;

mod config;
mod conn;
mod coverage;
mod health;
mod itest;
mod lab;
mod outage;
mod state;
mod traces;
mod values;
mod wire;

//! What the model must do, requirement by requirement, and on the recordings of the real code.
//! A test named `kms2_<area>_<number>_...` holds it to that requirement.

#[path = "../../replay/mod.rs"]
mod replay;

mod config;
mod conn;
mod health;
mod itest;
mod lab;
mod outage;
mod state;
mod traces;
mod values;
mod wire;

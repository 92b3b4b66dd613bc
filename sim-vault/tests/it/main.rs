//! Tests of the simulation as its users see it: the recordings, byte streams, faults, the binary.

mod binary;
mod cluster;
mod control;
mod determinism;
mod enterprise;
mod faults;
mod fuzz;
mod http;
mod model;
mod policies;
#[path = "../../examples/transcripts/replay.rs"]
mod replay;
mod rules;
mod settings;
mod transcripts;
mod wire;

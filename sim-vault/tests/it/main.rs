//! Tests of the simulation as its users see it: the recordings, byte streams, faults, the binary.

mod binary;
#[path = "../differential/call.rs"]
mod call;
mod cluster;
mod control;
mod determinism;
mod enterprise;
mod faults;
mod fuzz;
mod http;
#[path = "../differential/memory.rs"]
mod memory;
mod model;
mod policies;
#[path = "../../examples/transcripts/replay.rs"]
mod replay;
mod rules;
mod settings;
#[path = "../../../harness/tests/common/share.rs"]
#[allow(dead_code, reason = "it has no sweep to divide")]
mod share;
#[path = "../differential/stories.rs"]
mod stories;
#[path = "stories.rs"]
mod told;
mod transcripts;
mod wire;

use replay::signers;

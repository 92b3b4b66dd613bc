//! Plays a recorded trace of the real client code on the model, and compares event by event.
//!
//! The recording gives what the script did and how the plugin answered; the model has to ask the
//! same questions at the same times and come to the same results. Shared by the crate's tests and
//! by the example `traces` of `kms-harness`. Not for bytes on the wire: those are the client's.

mod compare;
mod plugin;
mod rng;
mod trace;
mod world;

pub use compare::Table;
pub use trace::Trace;

/// Plays one trace.
pub fn play(trace: &Trace) -> Table {
    world::World::new(trace).run()
}

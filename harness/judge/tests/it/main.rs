//! What holds for all checks, whatever they look at.

mod invariants;
mod memory;
mod registry;
mod scenario;
mod story;
mod vacuity;

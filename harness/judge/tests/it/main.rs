//! What holds for all checks, whatever they look at.

mod invariants;
mod registry;
mod vacuity;

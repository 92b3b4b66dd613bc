//! What holds for all checks, whatever they look at.

mod registry;
mod vacuity;

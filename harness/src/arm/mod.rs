//! Arms: the worlds that scenarios are played in.

pub mod process;

//! Chaos scenarios: the language, the plan that a seed makes of a scenario, and the engine that carries it out on any
//! [`world::World`].
//!
//! No I/O and no clock but `tokio::time`: in a runtime with a paused clock a run takes no time and repeats exactly.
//!
//! Reading order: [`fault`] (what can go wrong), [`world`] (what an arm provides), [`language`] (the files), [`seed`],
//! [`plan`] (what a seed makes of them), [`engine`], [`verdict`], [`swarm`], [`shrink`].

#![forbid(unsafe_code)]

pub mod engine;
pub mod fault;
pub mod language;
pub mod plan;
pub mod seed;
pub mod shrink;
pub mod swarm;
pub mod verdict;
pub mod world;

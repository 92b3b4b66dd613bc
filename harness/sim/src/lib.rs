//! The simulated arm: API servers, plugins and Vaults of one run in one process, in virtual time, over an in-memory
//! network.
//!
//! The plugin is the product's own source, started by the flags that an operator gives; nothing of it is replaced but
//! what its [`Env`](vault_kubernetes_kms::seam::Env) hands in. The same specification and seed give the same history,
//! event by event. What a run shows is about this source, not about a binary.
//!
//! In reading order: [`SimWorld`], `node` (a plugin and its API server), `surroundings` (what the plugin is given),
//! `socket` (the way between them), [`answers`] (altered ones), `vault`, `inject` (faults), [`planted`] (bugs
//! between a plugin and its peers), [`run`](mod@run).

#![forbid(unsafe_code)]

pub mod answers;
mod between;
mod client;
mod inject;
mod node;
pub mod planted;
pub mod run;
mod server;
mod socket;
mod surroundings;
mod tasks;
mod vault;
mod world;

pub use between::{Between, Replaced};
pub use inject::impossible;
pub use socket::Polled;
pub use world::SimWorld;

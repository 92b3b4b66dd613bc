//! Fault proxies for real sockets and real time: [`TcpProxy`] stands between a plugin and its Vault, [`SocketProxy`] on
//! the unix socket between an API server and a plugin.
//!
//! Both forward faithfully until told otherwise, count what a fault touched, and drop every connection when they are
//! dropped. They decide nothing by themselves: when a fault begins and ends is the caller's plan. Simulated networks are
//! not their business.
//!
//! Reading order: [`link`] (what can happen to bytes), [`tcp`], [`rule`] (what can happen to calls), [`socket`].

#![forbid(unsafe_code)]

mod alter;
mod cut;
pub mod link;
mod pipe;
pub mod rule;
pub mod socket;
pub mod tcp;

pub use link::{Accept, Direction, End, Rules, Touched};
pub use rule::{Action, Rule, RuleId, Seen};
pub use socket::SocketProxy;
pub use tcp::{Tap, TcpProxy};

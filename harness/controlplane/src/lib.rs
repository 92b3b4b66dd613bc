//! OpenShift's encryption controllers as pure functions over an in-memory cluster.
//!
//! Three operators share one spec; each makes keys, writes a configuration for its API server, waits until every node
//! runs it, has everything rewritten, and reports in conditions and events. This crate does the same, quirks included,
//! without I/O, threads or a clock: what a controller does is a function of the cluster and the time it is given. What
//! makes it believable is in `tests/`: recordings of the real controllers, replayed line by line.
//!
//! It is not a simulated API server and knows no plugin and no Vault: which plugins answer, which objects can be
//! rewritten and what a preflight check finds are facts that somebody else puts into it.
//!
//! Reading order: [`generation`] (who is imitated), [`object`] and [`api`] (what there is), [`key`], [`key_secret`],
//! [`encryption_config`], [`config_state`], [`desired`] (the heart), [`convergence`] (the gate), then [`cluster`] and
//! [`controller`]. [`observer`], [`union`] and [`mount`] are the operators' smaller parts. Around them: [`operand`] (pods
//! and their roll-out), [`storage`] (the migrator), [`plane`] (all of it in simulated time), [`view`] and [`invariant`] (what must hold, judged from outside).

pub mod api;
mod apply;
pub mod cluster;
pub mod config_state;
pub mod controller;
pub mod convergence;
pub mod desired;
pub mod encryption_config;
pub mod generation;
mod gojson;
pub mod invariant;
pub mod key;
pub mod key_secret;
mod migrator;
pub mod mount;
pub mod object;
pub mod observer;
pub mod operand;
pub mod plane;
mod plugin_data;
pub mod preflight;
pub mod resource;
pub mod storage;
pub mod union;
pub mod vault;
pub mod view;

pub use migrator::migration_name;

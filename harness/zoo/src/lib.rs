//! An honest KMS v2 plugin and its broken variations: what the suite is calibrated with.
//!
//! A check that no broken plugin fails checks nothing, and a suite that names the wrong requirement misleads. Each
//! [`Mutant`] is the honest plugin with one [`Bug`], some requirements that it breaks, and who has that bug; the suite
//! must name exactly those. The plugin holds its keys itself, so nothing stands behind it. It is served in this process
//! ([`served`]) or as a process of its own ([`serve`] inside, [`command`] outside), where signals, memory, arguments and
//! files are real. Mutants of the third kind stand around our own plugin in the simulation (`kms-planted`); whoever
//! links the simulation runs those.
//!
//! Not for production: who reads the state reads the data.
//!
//! Reading order: [`bug`], [`mutant`] and [`mod@table`] (what is broken, and who does that), `kms` (the keys), `plugin`,
//! `faults` and `service` (the plugin, from meaning down to bytes), [`served`], `spare`, [`serve`], [`command`] (where it
//! runs), [`judged`] (the suite on one, and the verdict).

#![forbid(unsafe_code)]

pub mod bug;
pub mod command;
mod faults;
pub mod judged;
mod kms;
pub mod mutant;
mod plugin;
pub mod serve;
pub mod served;
mod service;
mod spare;
pub mod table;

pub use bug::Bug;
pub use command::Program;
pub use judged::{Seen, Verdict};
pub use mutant::{Arm, Mutant};
pub use served::Served;
pub use table::{digest, find, table, version};

/// A credential that the plugin is given, to look for it where it must not be.
pub const CREDENTIAL: &str = "hvs.CAESIJ-planted-credential";

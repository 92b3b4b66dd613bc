//! `kms-harness`: conformance checks for any KMS v2 plugin, and the process arm that runs them.
//!
//! In reading order: [`exit`] (what callers script against), [`child`] and [`secret_file`] (what is
//! left of a run: nothing), [`vault`] (what stands behind the plugin), [`subject`] (the plugin).

pub mod child;
pub mod exit;
pub mod secret_file;
pub mod socket;
pub mod subject;
pub mod vault;

//! `kms-harness`: conformance checks for any KMS v2 plugin, and the process arm that runs them.
//!
//! In reading order: [`cli`] and [`exit`] (what callers script against), [`commands`] (one module
//! each), [`arm`] (worlds for scenarios), [`subject`] (the plugin), [`vault`] (what stands behind it), [`relay`] (fault proxies elsewhere), [`child`], [`socket`] and
//! [`secret_file`] (real processes, and nothing left of them), [`bundle`], [`plan`],
//! [`environment`], [`evidence`] (what a run leaves), [`console`] and [`interrupt`].
//!
//! Requirements, judges, stimuli and the report are crates of their own, which know nothing of
//! processes.

pub use kms_process::child;

pub mod apiserver;
pub mod arm;
pub mod bundle;
pub mod cli;
pub mod commands;
pub mod console;
pub mod environment;
pub mod evidence;
pub mod exit;
pub mod interrupt;
pub mod plan;
pub mod relay;
pub mod secret_file;
pub mod socket;
pub mod subject;
pub mod vault;

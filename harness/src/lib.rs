//! `kms-harness`: conformance checks for any KMS v2 plugin, and the process arm that runs them.

pub mod child;
pub mod exit;
pub mod secret_file;
pub mod socket;
pub mod subject;
pub mod vault;

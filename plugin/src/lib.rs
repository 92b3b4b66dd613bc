//! `vault-kubernetes-kms`: a KMS v2 plugin for the Transit engine of HashiCorp Vault and OpenBao.
//!
//! In reading order: [`seam`] (what the plugin is given), [`config`] (what it is told to do),
//! [`event`] (what it tells), [`log`] and [`metrics`] (who listens), [`socket`] and [`http`] (where
//! it is reached), [`process`] and [`run`] (how it lives as a process).

pub mod config;
pub mod event;
pub mod http;
pub mod log;
pub mod metrics;
pub mod plugin;
pub mod process;
pub mod run;
pub mod seam;
pub mod socket;

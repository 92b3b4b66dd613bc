//! `vault-kubernetes-kms`: a KMS v2 plugin for the Transit engine of HashiCorp Vault and OpenBao.
//!
//! In reading order: [`seam`] (what the plugin is given), [`config`] (what it is told to do),
//! [`event`] (what it tells).

pub mod config;
pub mod event;
pub mod plugin;
pub mod policy;
pub mod seam;
pub mod secret_file;

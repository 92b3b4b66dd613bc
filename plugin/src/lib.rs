//! `vault-kubernetes-kms`: a KMS v2 plugin for the Transit engine of HashiCorp Vault and OpenBao.
//!
//! In reading order: [`seam`] (what the plugin is given), [`config`] (what it is told to do),
//! [`event`] (what it tells), [`fault`] (what can go wrong); [`vault`] (HTTP), [`token`] and
//! [`session`] (who asks); [`key`], [`transit`] and [`keyring`] (what is asked), [`batch`] (how
//! many at once), [`health`] and [`probe`] (what Status says), [`service`], [`core`] and
//! [`grpc`] (what the API server sees, with [`kms_authority`] before it for older ones), [`plugin`] (all of it, running); [`log`] and [`metrics`] (who listens),
//! [`socket`] and [`http`] (where it is reached), [`process`] and [`run`] (how it lives as a process);
//! [`secret_file`] (credentials as files leave them), [`policy`] (what Vault must allow),
//! [`doctor`] (what is wrong before it serves).

pub mod batch;
pub mod config;
pub mod core;
pub mod doctor;
pub mod event;
pub mod fault;
pub mod grpc;
pub mod health;
pub mod http;
pub mod key;
pub mod keyring;
pub mod log;
pub mod metrics;
pub mod plugin;
pub mod policy;
pub mod probe;
pub mod process;
pub mod run;
pub mod seam;
pub mod secret_file;
pub mod service;
pub mod session;
pub mod socket;
pub mod token;
pub mod transit;
pub mod vault;

//! The plugin's integration tests: one binary, a module a subject.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod basics;
mod batch_rules;
mod bugs_auth;
mod bugs_key;
mod bugs_rpc;
mod bugs_security;
mod bugs_status;
mod config_bad;
mod config_docs;
mod config_field;
mod config_properties;
mod config_rules;
mod config_world;
mod deploy;
mod doctor;
mod http;
mod log;
mod metrics;
mod policy;
mod probe_rules;
mod process;
mod real;
mod request_rules;
mod secret_files;
mod socket;
mod token_rules;
mod world;

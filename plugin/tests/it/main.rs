//! The plugin's integration tests: one binary, a module a subject.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod adopt;
mod authority;
mod basics;
mod batch_results;
mod batch_sharing;
mod batch_world;
mod bugs_connection;
mod bugs_key;
mod bugs_login;
mod bugs_rotation;
mod bugs_rpc;
mod bugs_security;
mod bugs_status;
mod bugs_token;
mod config_bad;
mod config_bad_sources;
mod config_docs;
mod config_field;
mod config_printed;
mod config_properties;
mod config_rules;
mod config_world;
mod credentials_changed;
mod deploy;
mod doctor;
mod doctor_command;
mod doctor_samples;
mod http;
mod key_replaced;
mod log;
mod metrics;
mod more_logins;
mod policy;
mod probe_rules;
mod process;
mod process_socket;
mod real;
mod real_vault;
mod request_rules;
mod secret_files;
mod socket;
mod socket_life;
mod socket_world;
mod token_rules;
mod world;

//! A simulation of the part of HashiCorp Vault and OpenBao that a Kubernetes KMS plugin touches.
//!
//! * [`Core`] is the model: `handle(now, request) -> response`. It does no I/O, reads no clock, and draws
//!   randomness from its own seeded generator only, so equal inputs give equal answers, byte for byte.
//! * [`SimVault`] puts a model behind byte streams: HTTP/1.1 and HTTP/2, faults, a request log.
//!   Time is `tokio::time`, so it runs in real and in virtual time alike.
//! * The binary `sim-vault` is a TCP/TLS server around it with a control port.
//!
//! What a real server answers was recorded from OpenBao 2.7.2 and Vault 1.19.0; `tests/` replays those recordings.
//! This crate is no secrets manager: its keys come from a seed that anybody may know.

mod acl;
mod auth;
mod call;
mod core;
mod duration;
mod enterprise;
mod fields;
mod flavour;
mod gobase64;
mod identity;
mod json;
mod kv;
mod kv2;
mod lockout;
mod message;
mod mounts;
mod namespace;
mod node;
mod pipeline;
mod policy;
mod reply;
mod route;
mod seal;
mod sim;
mod sys;
mod token;
mod transit;
mod ttl;

pub use crate::core::{Core, Options, Storage, TokenReview};
pub use crate::flavour::Flavour;
pub use crate::message::{ClientCert, Request, Response};
pub use crate::node::{Leader, Member, Node};
pub use crate::sim::server;
pub use crate::sim::{
    Action, BoxFuture, Fault, FaultId, Hook, Logged, SimVault, TokenSettings,
    control::ControlError,
    frozen::FrozenLeader,
    init_file::{InitError, InitFile},
};

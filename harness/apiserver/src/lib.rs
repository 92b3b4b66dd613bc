//! The encryption half of kube-apiserver as a model.
//!
//! For everything that decides: the state of a KMS v2 provider, the transformers of a resource,
//! the configuration file and its reload, health checks, and the connection of the Go gRPC client.
//! Not for anything that waits or talks: sockets, HTTP/2, files, the store and the watch cache are
//! other people's. A caller hands in the time, randomness, file contents and answers, and carries
//! out the [`seam::Action`]s.

pub mod aead;
mod chain;
mod channel;
pub mod config;
pub mod coverage;
pub mod encryption;
mod expiring;
pub mod gotext;
pub mod grpc;
pub mod health;
pub mod kms;
pub mod metrics;
pub mod object;
pub mod options;
pub mod proto;
pub mod reload;
pub mod seam;
mod table;
pub mod version;

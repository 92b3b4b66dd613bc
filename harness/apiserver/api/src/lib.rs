//! One way to drive a kube-apiserver, whatever stands behind it.
//!
//! Scenarios, load, judges and differentials know [`ApiServer`] alone. Behind it stand the simulated server in
//! process, the same one as a process, a real kube-apiserver, and a cluster. This crate holds no implementation and
//! pulls in no runtime and no client.
//!
//! A refusal by the server (404, 409, 429, 500…) is data: it comes back as an [`Answer`]. [`Trouble`] means that the
//! harness could not do its job.

#![forbid(unsafe_code)]

mod answer;
mod server;
mod target;

pub use answer::{Answer, Body, WatchEvent};
pub use server::{ApiServer, Events, Pending, Trouble, Watching};
pub use target::{Call, ListOptions, Method, Resource, StoredValue, Target};

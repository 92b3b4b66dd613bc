//! The Vault behind the plugin: one seam, whatever stands behind it.
//!
//! In reading order: [`admin`] (how it is set up), [`provision`] (what a plugin needs there),
//! [`state`] (sealed, active, and how both are waited for), then the backends: [`sim`] (in this
//! process), [`server`] (a real binary; [`family`] finds it), `container` (an [`image`]; behind the feature of that name),
//! and [`external`].

pub mod admin;
pub mod certificates;
#[cfg(feature = "container")]
pub mod container;
pub mod external;
pub mod family;
pub mod image;
pub mod provision;
pub mod server;
pub mod sim;
pub mod state;

use std::path::Path;

use anyhow::Result;
use kms_conformance::BoxFuture;

use admin::Admin;

/// What a Vault calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// `openbao`, `vault` or `sim-vault`.
    pub name: String,
    /// Version, as the server gives it.
    pub version: String,
}

/// A running Vault that a plugin can be pointed at. Dropping it stops it, where it is ours.
pub trait VaultBackend {
    /// What it is.
    fn product(&self) -> &Product;

    /// Addresses for the plugin, `http[s]://host:port`; the first one is the active node when the
    /// backend has started. Never empty.
    fn addresses(&self) -> Vec<String>;

    /// CA bundle that the addresses are verified by; none for plain HTTP and the system's roots.
    fn ca(&self) -> Option<&Path>;

    /// An administrator that may do everything, at the first address.
    fn admin(&self) -> Admin;

    /// The container runtime that it runs under, if any.
    fn container_runtime(&self) -> Option<&str> {
        None
    }
}

/// A Vault that is ours to break. Each fault but the last can be taken back, and what was stored
/// before is there afterwards.
pub trait Breakable: VaultBackend {
    /// Seals the node that leads.
    fn seal(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Unseals the first node that is sealed, and waits until it serves.
    fn unseal(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Keeps connections and accepts new ones, and answers nobody.
    fn freeze(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Ends that.
    fn thaw(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Stops all nodes as a service manager would: connections end, new ones are refused.
    fn stop(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Starts them again where they were, and unseals them.
    fn start(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Has the node that leads stand still with its connections open; [`Breakable::thaw`] ends that. Others may take over.
    fn freeze_leader(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Has the node that leads give up; another one takes over, or the same one if it is alone.
    fn step_down(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Kills the node that leads; another one takes over if there is one.
    fn lose_leader(&mut self) -> BoxFuture<'_, Result<()>>;
}

//! The Vault behind the plugin: one seam, whatever stands behind it.
//!
//! In reading order: [`admin`] (how it is set up), [`provision`] (what a plugin needs there),
//! then the backends [`sim`], [`openbao`] and [`external`].

pub mod admin;
pub mod certificates;
pub mod external;
pub mod openbao;
pub mod provision;
pub mod sim;

use std::path::Path;

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
}

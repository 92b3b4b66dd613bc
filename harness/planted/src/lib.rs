//! Broken KMS v2 plugins: an honest one with a known bug around it.
//!
//! A judge that no broken plugin fails judges nothing. Each [`Variant`] is one mistake that plugins make, put between an
//! honest plugin and one of its peers: in front of its socket, where it understands gRPC, or on its way to Vault, where
//! it understands HTTP. Both work over any byte stream, so the same mistakes are made in virtual time and between real
//! processes. This is for calibration and tests; no plugin knows it.
//!
//! Reading order: [`variant`] (the mistakes), [`kms`] (in front of the socket), [`vault`] (on the way to Vault).

#![forbid(unsafe_code)]

pub mod kms;
mod memory;
mod tasks;
pub mod variant;
pub mod vault;

use std::future::Future;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub use memory::Planted;
pub use variant::{SCENARIO, Side, Variant};

/// A connection of whatever kind.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// Carries one connection until it ends; whoever gets it must run it.
pub type Carrying = Pin<Box<dyn Future<Output = ()> + Send>>;

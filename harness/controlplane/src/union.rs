//! Union deployer: several operands that share one configuration count as converged only if all run the same.

use crate::cluster::Cluster;
use crate::config_state::Panic;
use crate::convergence::{Deployed, deployed};
use crate::encryption_config::EncryptionConfiguration;

/// What all components run together: an error's text, or where the real one dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnionError {
    /// As a single deployer.
    Error(String),
    /// Some operand runs a revision without configuration.
    Panic(Panic),
}

/// Asks every component.
///
/// # Errors
///
/// See [`UnionError`].
pub fn union(cluster: &Cluster) -> Result<Deployed, UnionError> {
    let mut seen = Vec::new();
    for component in &cluster.components {
        match deployed(&cluster.api, &component.name, &component.nodes)
            .map_err(UnionError::Error)?
        {
            Deployed::NotConverged => return Ok(Deployed::NotConverged),
            Deployed::Converged(secret) => seen.push(secret),
        }
    }
    let mut first: Option<EncryptionConfiguration> = None;
    for secret in &seen {
        let secret = secret.as_ref().ok_or_else(|| {
            UnionError::Panic(Panic(
                "runtime error: invalid memory address or nil pointer dereference".to_owned(),
            ))
        })?;
        let config = EncryptionConfiguration::from_secret(secret)
            .map_err(UnionError::Error)?
            .unwrap_or_else(|| EncryptionConfiguration::new(Vec::new()));
        match &first {
            None => first = Some(config),
            Some(other) if other.resources != config.resources => {
                return Ok(Deployed::NotConverged);
            }
            Some(_) => {}
        }
    }
    Ok(seen
        .into_iter()
        .next()
        .map_or(Deployed::NotConverged, Deployed::Converged))
}

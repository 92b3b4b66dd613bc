//! The process arm: a plugin's binary, a Vault's server, real sockets and real time.
//!
//! Between the parts stand the proxies of `kms-proxy`; the API servers are simulated ones in this process, on one store.
//! What this arm cannot make happen it says before a run ([`unable`]).
//!
//! Reading order: [`vault`] (the Vault and what can be done to it), `wire` (what passes to it), `plugin` (the process),
//! `node` (a plugin between its proxies, and its API server), `probe` (the harness's own calls), `faults` (each kind),
//! [`world`] (all of it as a [`kms_scenario::world::World`]).

mod faults;
mod node;
mod plugin;
mod probe;
pub mod vault;
mod wire;
pub mod world;

use kms_scenario::fault::{Edge, Fault, Requests};

use vault::Make;

/// Why this arm cannot make a fault happen on such a Vault; nothing if it can.
#[must_use]
pub fn unable(fault: &Fault, make: &Make) -> Option<&'static str> {
    let simulated = matches!(make, Make::Simulated);
    match fault {
        Fault::ClockSkew { .. } => Some("processes share the machine's clock"),
        Fault::CaChanged => Some("the Vault of this arm speaks plain HTTP"),
        Fault::NetHalfClose(Edge::Socket, _)
        | Fault::NetPartitionOneWay(Edge::Socket, _)
        | Fault::NetBandwidth(Edge::Socket, _)
        | Fault::NetSlowReader(Edge::Socket, _) => {
            Some("the proxy on the socket knows calls, not bytes")
        }
        Fault::VaultError { .. }
        | Fault::VaultGarbage(_)
        | Fault::VaultCutBody(_)
        | Fault::VaultReset(_)
        | Fault::VaultExpireTokens
        | Fault::VaultStandbyLag
        | Fault::VaultAuditBlocked
        | Fault::VaultStorageFailed
        | Fault::ClockAdvance(_)
            if !simulated =>
        {
            Some("only the simulated Vault can be made to do that")
        }
        Fault::VaultHold(requests) | Fault::VaultSlow { requests, .. }
            if !simulated && *requests != Requests::All =>
        {
            Some("only the simulated Vault can be made to do that to some requests")
        }
        Fault::VaultStop | Fault::VaultRestart if !simulated => Some("a dev server starts empty"),
        Fault::VaultStepDown => Some("the Vault of this arm has one node"),
        _ => None,
    }
}

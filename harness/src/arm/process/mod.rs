//! The process arm: a plugin's binary, a Vault's server, real sockets and real time.
//!
//! Between the parts stand the proxies of `kms-proxy`. The API servers are simulated ones in this process on one store, or
//! real kube-apiservers on one etcd. What this arm cannot make happen it says before a run ([`able`]).
//!
//! Reading order: [`Parts`], [`vault`] (the Vault and what can be done to it), `wire` (what passes to it), [`subject`]
//! (which plugin), `plugin` (its process), `apiserver`, `node` (a plugin between its proxies), `probe` (the harness's own
//! calls), `faults` (each kind), [`world`] (all of it as a [`kms_scenario::world::World`]).

pub mod able;
mod apiserver;
mod faults;
mod node;
mod plugin;
mod probe;
pub mod subject;
pub mod vault;
pub(crate) mod wire;
pub mod world;

use crate::apiserver::choice::Choice;
use subject::Subject;
use vault::make::Make;

/// What a world of this arm is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The Vault; not looked at where the plugin runs already.
    pub vault: Make,
    /// The plugin.
    pub subject: Subject,
    /// The API servers.
    pub apiserver: Choice,
}

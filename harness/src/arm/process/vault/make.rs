//! Which Vault a run has, and how it is started or reached.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kms_scenario::world::{Flavour, VaultSpec};
use sim_vault::SimVault;
use zeroize::Zeroizing;

use crate::vault::external::External;
use crate::vault::family::Family;
use crate::vault::server::Server;
use crate::vault::sim::{Front, Sim};
use crate::vault::{Breakable, VaultBackend};
#[cfg(feature = "container")]
use crate::vault::{container::Container, image::Image};

/// Which Vault.
#[derive(Clone)]
pub enum Make {
    /// The built-in simulation, of the make that the scenario names.
    Simulated,
    /// A real server's binary.
    Real(Family, PathBuf),
    /// A real server in a container.
    #[cfg(feature = "container")]
    Container(Image),
    /// One that somebody else runs: a run works in mounts of its own and takes them away again.
    Theirs {
        /// `http[s]://HOST:PORT`, of one or more of its nodes.
        addresses: Vec<String>,
        /// What their certificates are verified by.
        ca: Option<PathBuf>,
        /// An administrator's token.
        token: Zeroizing<String>,
    },
}

impl Make {
    /// Its word for `--vault`.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Simulated => "sim".to_owned(),
            Self::Real(family, _) => family.to_string(),
            #[cfg(feature = "container")]
            Self::Container(image) => format!("container --vault-image {image}"),
            Self::Theirs { addresses, .. } => addresses.join(","),
        }
    }

    /// Whether it is the built-in one.
    #[must_use]
    pub fn simulated(&self) -> bool {
        matches!(self, Self::Simulated)
    }

    /// Starts or reaches it. What must outlive its process needs a server that stores.
    pub(super) async fn start(
        &self,
        spec: &VaultSpec,
        stored: bool,
        seed: u64,
        folder: &Path,
    ) -> Result<(Place, Vec<SimVault>)> {
        let nodes = usize::try_from(spec.nodes).context("the number of Vault's nodes")?;
        let ours = |server| (Place::Ours(server), Vec::new());
        Ok(match self {
            Self::Simulated => {
                let flavour = match spec.flavour {
                    Flavour::Openbao => sim_vault::Flavour::OpenBao,
                    Flavour::Vault => sim_vault::Flavour::Vault,
                };
                let sim = Sim::cluster(seed, flavour, Front::Own, nodes).await?;
                let models = sim.models();
                (Place::Ours(Box::new(sim)), models)
            }
            Self::Real(family, binary) if stored || nodes > 1 => {
                let server = Server::raft_in_clear(*family, binary, folder, nodes).await?;
                ours(Box::new(server))
            }
            Self::Real(family, binary) => {
                ours(Box::new(Server::dev(*family, binary, folder).await?))
            }
            #[cfg(feature = "container")]
            Self::Container(image) => ours(Box::new(Box::pin(Container::dev(image)).await?)),
            Self::Theirs {
                addresses,
                ca,
                token,
            } => {
                let external = External::connect(addresses, ca.clone(), token.clone()).await?;
                ensure!(
                    nodes <= addresses.len(),
                    "the scenario wants a Vault of {nodes} nodes, and --vault names {}",
                    addresses.len()
                );
                (Place::Theirs(Box::new(external)), Vec::new())
            }
        })
    }
}

impl fmt::Debug for Make {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word())
    }
}

/// A Vault that is ours to break.
pub type Ours = Box<dyn Breakable + Send>;

/// A Vault that runs.
pub(super) enum Place {
    /// Ours to break.
    Ours(Ours),
    /// Somebody else's.
    Theirs(Box<External>),
}

impl Place {
    pub fn backend(&self) -> &dyn VaultBackend {
        match self {
            Self::Ours(server) => server.as_ref(),
            Self::Theirs(external) => external.as_ref(),
        }
    }

    pub fn ours(self) -> Option<Ours> {
        match self {
            Self::Ours(server) => Some(server),
            Self::Theirs(_) => None,
        }
    }
}

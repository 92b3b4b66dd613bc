//! The kinds of Vault that the plugin's tests run on, and what each of them can do.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use kms_harness::vault::Breakable;
#[cfg(feature = "container")]
use kms_harness::vault::container::{self, Container};
use kms_harness::vault::family::Family;
use kms_harness::vault::image::Image;
use kms_harness::vault::server::Server;
use kms_harness::vault::sim::{Front, Sim};
use sim_vault::Flavour;

/// All of them.
pub const KINDS: [Kind; 6] = [
    Kind::Sim(Flavour::OpenBao),
    Kind::Sim(Flavour::Vault),
    Kind::Wiremock,
    Kind::Server(Family::OpenBao),
    Kind::Server(Family::Vault),
    Kind::Container,
];

/// Names the image of the container tests; `ci/docker --image` makes one and prints its name.
const IMAGE: &str = "KMS_VAULT_IMAGE";

/// A kind of Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The simulation, answering like one of the products.
    Sim(Flavour),
    /// The simulation behind wiremock.
    Wiremock,
    /// A real server's binary.
    Server(Family),
    /// A real server in a container.
    Container,
}

/// How a server runs.
#[derive(Clone, Copy, Debug)]
pub enum Setup {
    /// Plain HTTP, storage in memory.
    Dev,
    /// Raft and TLS with so many nodes. Nodes of the simulation have plain HTTP.
    Raft(usize),
}

/// Where a kind of Vault is found on this machine.
#[derive(Clone, Debug)]
pub enum Place {
    /// In this process.
    Here(Flavour, Front),
    /// A binary.
    Binary(Family, PathBuf),
    /// An image that the daemon has.
    Image(Image),
}

impl Kind {
    /// Looks for the part; why it is not there.
    pub fn find(self) -> Result<Place, String> {
        let found = match self {
            Self::Sim(flavour) => Ok(Place::Here(flavour, Front::Own)),
            Self::Wiremock => Ok(Place::Here(Flavour::OpenBao, Front::Wiremock)),
            Self::Server(family) => family.part().find().map(|file| Place::Binary(family, file)),
            Self::Container => image(),
        };
        found.map_err(|error| format!("{error:#}"))
    }

    /// The word for `--vault`; the simulation of Vault has none.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Sim(Flavour::OpenBao) => Some("sim"),
            Self::Sim(Flavour::Vault) => None,
            Self::Wiremock => Some("wiremock"),
            Self::Server(Family::OpenBao) => Some("openbao"),
            Self::Server(Family::Vault) => Some("vault"),
            Self::Container => Some("container"),
        }
    }

    /// What the server tells about itself at its address.
    pub fn products(self) -> &'static [&'static str] {
        match self {
            Self::Sim(Flavour::OpenBao) | Self::Wiremock | Self::Server(Family::OpenBao) => {
                &["openbao"]
            }
            Self::Sim(Flavour::Vault) | Self::Server(Family::Vault) => &["vault"],
            Self::Container => &["openbao", "vault"],
        }
    }

    /// The set-ups of one node. The simulation does not distinguish them.
    pub fn setups(self) -> &'static [Setup] {
        match self {
            Self::Sim(_) | Self::Wiremock => &[Setup::Dev],
            Self::Server(_) | Self::Container => &[Setup::Dev, Setup::Raft(1)],
        }
    }

    /// Whether several nodes can make a cluster.
    pub fn has_clusters(self) -> bool {
        matches!(self, Self::Sim(_) | Self::Server(_))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sim(Flavour::OpenBao) => f.write_str("sim"),
            Self::Sim(Flavour::Vault) => f.write_str("sim_hashicorp"),
            Self::Wiremock => f.write_str("wiremock"),
            Self::Server(family) => family.fmt(f),
            Self::Container => f.write_str("container"),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dev => write!(f, "dev"),
            Self::Raft(nodes) => write!(f, "raft_{nodes}"),
        }
    }
}

impl Place {
    /// A fresh Vault there.
    pub async fn start(&self, setup: Setup, folder: &Path) -> Result<Box<dyn Breakable>> {
        Ok(match (self, setup) {
            (Self::Here(flavour, front), Setup::Dev) => {
                Box::new(Sim::start(1, *flavour, *front).await?)
            }
            (Self::Here(flavour, front), Setup::Raft(nodes)) => {
                Box::new(Sim::cluster(1, *flavour, *front, nodes).await?)
            }
            (Self::Binary(family, file), Setup::Dev) => {
                Box::new(Server::dev(*family, file, folder).await?)
            }
            (Self::Binary(family, file), Setup::Raft(nodes)) => {
                Box::new(Server::raft(*family, file, folder, nodes).await?)
            }
            #[cfg(not(feature = "container"))]
            (Self::Image(_), _) => anyhow::bail!("built without the feature `container`"),
            #[cfg(feature = "container")]
            (Self::Image(image), Setup::Dev) => Box::new(Box::pin(Container::dev(image)).await?),
            #[cfg(feature = "container")]
            (Self::Image(image), Setup::Raft(_)) => {
                Box::new(Box::pin(Container::raft(image, folder)).await?)
            }
        })
    }
}

fn image() -> Result<Place> {
    let name = std::env::var(IMAGE).unwrap_or_default();
    anyhow::ensure!(
        !name.is_empty(),
        "no image for Vault in a container: run ci/docker, set DOCKER_HOST to what it prints and {IMAGE} to what ci/docker --image prints"
    );
    let image: Image = name
        .parse()
        .map_err(|error| anyhow::anyhow!("{IMAGE} is {name}: {error}"))?;
    runnable(&image)?;
    Ok(Place::Image(image))
}

#[cfg(not(feature = "container"))]
fn runnable(image: &Image) -> Result<()> {
    anyhow::bail!("{image} cannot be run: build the tests with `--features kms-harness/container`")
}

#[cfg(feature = "container")]
fn runnable(image: &Image) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(container::ready(image))
}

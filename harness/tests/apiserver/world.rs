//! Everything in one place: a store, a server, the plugin, its Vault.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::flags::Settings;
use kms_harness::apiserver::launched::{Launched, Program};
use kms_harness::apiserver::parts;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use kms_harness::vault::Breakable;
use kms_harness::vault::family::Family;
use kms_harness::vault::provision::{Access, Wanted};
use kms_harness::vault::server::Server;
use kms_harness::vault::sim::{Front, Sim};
use sim_vault::Flavour;
use tempfile::TempDir;

/// What the provider is called in every configuration here.
pub const PROVIDER: &str = "vault-kms";
/// Limit for a server to be ready: several start at once on two cores.
pub const READY: Duration = Duration::from_secs(150);

/// The real parts of this tier.
#[derive(Clone)]
pub struct Parts {
    pub server: parts::Parts,
    pub plugin: Arc<PathBuf>,
    /// OpenBao, or why there is none.
    pub bao: Result<PathBuf, String>,
}

impl Parts {
    /// Finds the server, and builds the plugin alone where it is there.
    pub fn find() -> Result<Self, String> {
        let server = parts::Parts::find().map_err(|error| format!("{error:#}"))?;
        let build = async {
            let workspace = own::workspace().context("the checkout with the plugin is gone")?;
            own::build(&workspace).await
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        match runtime.block_on(build) {
            Ok(plugin) => Ok(Self {
                server,
                plugin: Arc::new(plugin),
                bao: Family::OpenBao
                    .part()
                    .find()
                    .map_err(|error| format!("{error:#}")),
            }),
            Err(error) => panic!("{error:#}"),
        }
    }

    /// A Vault of one's own: OpenBao where it is there, else the simulated one.
    pub async fn vault(&self, seed: u64, folder: &Path) -> Result<Box<dyn Breakable>> {
        match &self.bao {
            Ok(bao) => {
                let server = Server::dev(Family::OpenBao, bao, folder).await?;
                Ok(Box::new(server))
            }
            Err(_) => sim(seed).await,
        }
    }

    /// The same, where OpenBao is there or nobody requires it.
    pub fn with_bao_if_required(self) -> Result<Self, String> {
        match &self.bao {
            Err(why) if required() => Err(why.clone()),
            _ => Ok(self),
        }
    }

    /// The same, where OpenBao is there, too.
    pub fn with_bao(self) -> Result<Self, String> {
        self.bao.clone().map(|_| self)
    }

    /// The same, where kubectl is there, too.
    pub fn with_kubectl(self) -> Result<Self, String> {
        match self.server.kubectl {
            Some(_) => Ok(self),
            None => Err("no kubectl found beside kube-apiserver or on PATH".into()),
        }
    }
}

fn required() -> bool {
    std::env::var_os("KMS_REQUIRE").is_some_and(|value| value == "all")
}

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Real,
    Simulated,
}

impl Kind {
    pub fn program(self, parts: &Parts) -> Program {
        match self {
            Self::Real => Program::real(&parts.server.kube_apiserver),
            Self::Simulated => Program {
                binary: env!("CARGO_BIN_EXE_kms-harness").into(),
                words: vec!["apiserver".into()],
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Real => "real",
            Self::Simulated => "simulated",
        })
    }
}

/// The encryption configuration of the operators' procedure: Secrets and ConfigMaps through the plugin at `socket`, old
/// data in clear.
pub fn encryption(socket: &Path) -> String {
    let providers = [kms(PROVIDER, socket), IDENTITY.to_owned()];
    configuration("secrets, configmaps", &providers)
}

/// Plain text.
pub const IDENTITY: &str = "identity: {}";

/// A KMS v2 provider.
pub fn kms(name: &str, socket: &Path) -> String {
    let socket = socket.display();
    format!("kms: {{apiVersion: v2, name: {name}, endpoint: \"unix://{socket}\", timeout: 3s}}")
}

/// An encryption configuration: the first provider writes, all of them read.
pub fn configuration(resources: &str, providers: &[String]) -> String {
    let mut text = format!(
        "kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
  - resources: [{resources}]
    providers:
"
    );
    for provider in providers {
        text.push_str(&format!("      - {provider}\n"));
    }
    text
}

/// Settings of a server on this store.
pub fn settings(etcd: &Etcd, encryption: Option<String>) -> Settings {
    Settings {
        etcd: etcd.address().to_owned(),
        etcd_prefix: "/registry".into(),
        encryption,
        reload: true,
        more: Vec::new(),
    }
}

/// A simulated Vault of one's own.
pub async fn sim(seed: u64) -> Result<Box<dyn Breakable>> {
    let sim = Sim::start(seed, Flavour::default(), Front::Own).await?;
    Ok(Box::new(sim))
}

/// The plugin on its Vault. Fields are dropped in this order.
pub struct Keeper {
    pub plugin: Running,
    pub access: Access,
    pub vault: Box<dyn Breakable>,
}

impl Keeper {
    /// Starts the plugin in the words of the operators' static pod; its files lie in `folder`.
    pub async fn start(parts: &Parts, vault: Box<dyn Breakable>, folder: &Path) -> Result<Self> {
        let access = Wanted::default().create(&vault.admin(), folder).await?;
        let values = values(vault.as_ref(), &access, folder);
        let subject = own::describe(&parts.plugin, Vocabulary::StaticPod, &values);
        let plugin = Running::start(subject, values, folder.join("plugin.log")).await?;
        Ok(Self {
            plugin,
            access,
            vault,
        })
    }
}

/// All of it. Fields are dropped in this order: first the server, then what it leans on.
pub struct World {
    pub server: Launched,
    pub etcd: Etcd,
    pub keeper: Keeper,
    pub folder: TempDir,
}

impl World {
    /// On a real OpenBao with raft storage, so that a restart loses nothing.
    pub async fn on_bao(kind: Kind, parts: &Parts) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let bao = parts.bao.as_ref().map_err(|why| anyhow!("{why}"))?;
        let vault = Server::raft(Family::OpenBao, bao, folder.path(), 1).await?;
        Self::start(kind, parts, Box::new(vault), folder).await
    }

    /// On a simulated Vault.
    pub async fn on_sim(kind: Kind, parts: &Parts) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        Self::start(kind, parts, sim(1).await?, folder).await
    }

    async fn start(
        kind: Kind,
        parts: &Parts,
        vault: Box<dyn Breakable>,
        folder: TempDir,
    ) -> Result<Self> {
        let keeper = Keeper::start(parts, vault, folder.path()).await?;
        let etcd = Etcd::start(&parts.server.etcd, folder.path()).await?;
        let settings = settings(&etcd, Some(encryption(keeper.plugin.socket())));
        let server = Launched::start(
            &kind.program(parts),
            &settings,
            &folder.path().join("server"),
        )
        .await?;
        server.ready(READY).await?;
        Ok(Self {
            server,
            etcd,
            keeper,
            folder,
        })
    }
}

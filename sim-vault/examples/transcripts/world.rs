//! The simulated server of a topic, and what happened to it between the recorded requests.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use sim_vault::{ClientCert, Flavour, Options, SimVault, Storage};
use tokio::{io::DuplexStream, task::JoinSet};

use super::outside::Outside;

/// Birth of every simulated server; the recordings' own times do not matter.
const START: u64 = 1_790_000_000;
/// Room for the largest body that a topic sends.
const PIPE: usize = 64 << 20;

/// One topic's server.
pub struct World {
    topic: String,
    vault: SimVault,
    /// Nobody listens any more.
    down: bool,
    tasks: JoinSet<()>,
}

impl World {
    pub fn new(flavour: Flavour, topic: &str, mode: &str) -> Self {
        let raft = mode.starts_with("raft");
        let vault = SimVault::new(Options {
            flavour,
            root_token: if flavour == Flavour::OpenBao {
                "s.rootrootrootrootrootroot".to_owned()
            } else {
                "hvs.rootrootrootrootrootroot".to_owned()
            },
            storage: if raft { Storage::Raft } else { Storage::Inmem },
            start_unix: START,
            initialised: topic != "sys-lifecycle",
            api_addr: "https://127.0.0.1:18300".to_owned(),
            ..Options::default()
        });
        Self {
            topic: topic.to_owned(),
            vault,
            down: false,
            tasks: JoinSet::new(),
        }
    }

    pub fn root_token(&self) -> String {
        self.vault.root_token()
    }

    /// The server's wall clock.
    pub fn unix(&self) -> u64 {
        START + self.vault.now().as_secs()
    }

    /// Waits until 0.1 s past a whole second.
    pub async fn align(&self) {
        let into = Duration::from_nanos(u64::from(self.vault.now().subsec_nanos()));
        let target = Duration::from_millis(if into <= Duration::from_millis(100) {
            100
        } else {
            1100
        });
        tokio::time::sleep(target.saturating_sub(into)).await;
    }

    /// A fresh connection to the node that a step talks to.
    pub fn connect(
        &mut self,
        _n: u64,
        cert: Option<ClientCert>,
    ) -> Result<DuplexStream, &'static str> {
        if self.down {
            return Err("ConnectionRefusedError");
        }
        let (client, server) = tokio::io::duplex(PIPE);
        let vault = self.vault.clone();
        self.tasks.spawn(async move {
            vault
                .serve_stream(server, IpAddr::V4(Ipv4Addr::LOCALHOST), cert, false)
                .await
        });
        Ok(client)
    }

    /// What the recorder did to the server before a step.
    pub async fn before(&mut self, n: u64, _outside: &Outside) {
        match (self.topic.as_str(), n) {
            ("sys-lifecycle", 124 | 135) => self.down = true,
            ("sys-lifecycle", 125) => {
                self.down = false;
                self.vault.seal();
            }
            _ => {}
        }
    }
}

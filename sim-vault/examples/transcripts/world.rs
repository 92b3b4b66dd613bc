//! The simulated servers of a topic, and what the recorder did to them between its requests.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde_json::Value;
use sim_vault::{ClientCert, Flavour, Leader, Node, Options, SimVault, Storage, TokenReview};
use tokio::{io::DuplexStream, task::JoinSet};

/// Birth of every simulated server; the recordings' own times do not matter.
const START: u64 = 1_790_000_000;
/// Room for the largest body that a topic sends.
const PIPE: usize = 64 << 20;

/// One topic's servers.
pub struct World {
    topic: String,
    flavour: Flavour,
    /// The active node.
    vault: SimVault,
    /// A standby of the same cluster.
    standby: SimVault,
    /// The step goes to the standby.
    at_standby: bool,
    /// Nobody listens any more.
    down: bool,
    tasks: JoinSet<()>,
}

fn options(flavour: Flavour, topic: &str, raft: bool) -> Options {
    let root_token = match flavour {
        Flavour::OpenBao => "s.rootrootrootrootrootroot",
        Flavour::Vault => "hvs.rootrootrootrootrootroot",
    };
    Options {
        flavour,
        root_token: root_token.to_owned(),
        storage: if raft { Storage::Raft } else { Storage::Inmem },
        start_unix: START,
        initialised: topic != "sys-lifecycle",
        api_addr: "https://127.0.0.1:18300".to_owned(),
        ..Options::default()
    }
}

impl World {
    pub fn new(flavour: Flavour, topic: &str, mode: &str) -> Self {
        // the first server of sys-limits is a dev server, the second one is described
        let raft = mode.starts_with("raft") && topic != "sys-limits";
        let vault = SimVault::new(options(flavour, topic, raft));
        let forwards_all = topic == "sys-ha-forwarding";
        let standby = vault.join(Node {
            standby: true,
            forwards_all,
            ..Node::default()
        });
        Self {
            topic: topic.to_owned(),
            flavour,
            vault,
            standby,
            at_standby: false,
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
    pub fn connect(&mut self, cert: Option<ClientCert>) -> Result<DuplexStream, &'static str> {
        if self.down {
            return Err("ConnectionRefusedError");
        }
        let (client, server) = tokio::io::duplex(PIPE);
        let vault = if self.at_standby {
            self.standby.clone()
        } else {
            self.vault.clone()
        };
        self.tasks.spawn(async move {
            vault
                .serve_stream(server, IpAddr::V4(Ipv4Addr::LOCALHOST), cert, false)
                .await
        });
        Ok(client)
    }

    /// What the recorder did to the servers before a step. Its root token changes with the server.
    pub fn before(&mut self, n: u64, step: &Value) -> Option<String> {
        let vault = self.flavour == Flavour::Vault;
        let data = &step["response"]["body"]["data"];
        match (self.topic.as_str(), n) {
            ("sys-lifecycle", 124 | 135) => self.down = true,
            ("sys-lifecycle", 125) => {
                self.down = false;
                self.vault.core(|c| c.restart(true));
            }
            ("sys-audit", n) if n == 8 + u64::from(vault) => {
                self.vault.core(|c| c.set_audit_broken(true))
            }
            ("sys-audit", n) if n == 19 + u64::from(vault) => {
                self.vault.core(|c| c.set_audit_broken(false))
            }
            ("auth-kubernetes", 18) => self.vault.core(|c| c.set_token_review(TokenReview::Fails)),
            ("sys-limits", 14) => {
                let mut options = options(self.flavour, &self.topic, true);
                options.max_request_size = 4096;
                options.max_json_strings = 20;
                options.max_json_memory = 2048;
                self.vault = SimVault::new(options);
                return Some(self.vault.root_token());
            }
            ("sys-rotate-collision", 6) if vault => self.rotate_to(data),
            ("sys-rotate-collision", 6) => {
                self.vault.rotate("transit", "kms-key");
                for _ in 0..2 {
                    self.vault
                        .core(|c| c.collide_rotation("transit", "kms-key"));
                }
            }
            ("sys-rotate-collision", 9) => self.vault.core(|c| c.restart(false)),
            ("sys-concurrency" | "sys-concurrency-raft", 9) => self.rotate_to(data),
            ("sys-storage", 11) => self.vault.set_node(|node| {
                *node = Node {
                    standby: true,
                    leader: Leader::None,
                    ..Node::default()
                }
            }),
            ("sys-ha" | "sys-ha-forwarding", n) => self.before_ha(n, step, data),
            _ => {}
        }
        None
    }

    fn before_ha(&mut self, n: u64, step: &Value, data: &Value) {
        let name = step["name"].as_str().unwrap_or_default();
        self.standby
            .set_node(|node| node.uninitialised = name.starts_with("uninitialised"));
        self.at_standby = n > 4 && !name.starts_with("active:");
        // the recorder measured rotations here
        self.rotate_to(data);
        if name.starts_with("sealed standby") {
            self.standby.set_node(|node| node.settled = true);
        }
        if name.starts_with("quorum lost") {
            let long_ago = Duration::ZERO;
            let lost = self.vault.now().saturating_sub(long_ago);
            self.standby.set_node(|node| {
                node.sealed = false;
                node.settled = true;
                node.leader = Leader::Lost(lost.saturating_sub(Duration::from_secs(20)));
            });
            self.vault.advance(Duration::from_secs(20));
            self.standby
                .set_node(|node| node.leader = Leader::Lost(lost));
        }
    }

    /// As many rotations as the recorder's observations made.
    fn rotate_to(&self, data: &Value) {
        let wanted = data["latest_version"]
            .as_u64()
            .or(data["key_version"].as_u64())
            .unwrap_or(0);
        if wanted > 3 {
            while self
                .vault
                .key_version("transit", "kms-key")
                .is_some_and(|v| v < wanted)
            {
                self.vault.rotate("transit", "kms-key");
            }
        }
    }
}

//! What the fuzz targets do with an input. The targets and an ordinary test (`tests/it/fuzz.rs`) share it.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use sim_vault::{Core, Flavour, Options, Request, SimVault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longer than any limit of a connection, in virtual time.
const FOREVER: Duration = Duration::from_secs(3_600);

/// Servers that inputs are fed to, one after the other.
pub struct Fed {
    runtime: tokio::runtime::Runtime,
    vaults: [SimVault; 2],
    cores: [Core; 2],
}

impl Default for Fed {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O");
        let options = |flavour| Options {
            flavour,
            ..Options::default()
        };
        let flavours = [Flavour::OpenBao, Flavour::Vault];
        let vaults = runtime.block_on(async {
            flavours.map(|flavour| {
                let vault = SimVault::new(options(flavour));
                vault.create_key("transit", "k", "");
                vault
            })
        });
        Self {
            runtime,
            vaults,
            cores: flavours.map(|flavour| Core::new(options(flavour))),
        }
    }
}

impl Fed {
    /// Bytes on a connection, then its end: the server answers or closes, and does not wait for ever.
    pub fn request(&mut self, bytes: &[u8]) {
        for vault in &self.vaults {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let served = vault.serve_io(server, IpAddr::V4(Ipv4Addr::LOCALHOST));
            self.runtime.block_on(async {
                let asked = async {
                    // the server may have closed already
                    let _ = client.write_all(bytes).await;
                    let _ = client.shutdown().await;
                    let mut answer = Vec::new();
                    let _ = client.read_to_end(&mut answer).await;
                    answer
                };
                let both = async { tokio::join!(served, asked).1 };
                let answer = tokio::time::timeout(FOREVER, both).await;
                let answer = answer.expect("a connection that its client has ended must end");
                assert!(
                    answer.is_empty() || answer.starts_with(b"HTTP/1."),
                    "no HTTP: {:?}",
                    String::from_utf8_lossy(&answer)
                );
            });
            vault.clear_log();
        }
    }

    /// A policy text: stored or refused with a reason.
    pub fn policy(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for core in &mut self.cores {
            let request = Request::new("PUT", "/v1/sys/policies/acl/p")
                .token("root")
                .json(&serde_json::json!({ "policy": text }));
            let answer = core.handle(Duration::ZERO, &request);
            let reason = answer.json()["errors"][0].is_string();
            assert!(
                answer.status == 204 || answer.status == 400 && reason,
                "{} {:?}",
                answer.status,
                answer.json()
            );
        }
    }
}

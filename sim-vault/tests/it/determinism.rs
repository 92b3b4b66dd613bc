//! Equal seeds give equal bytes; other seeds do not.

use std::time::Duration;

use sim_vault::{Options, SimVault};

use crate::wire::Client;

fn trace(seed: u64) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O always starts");
    runtime.block_on(async {
        let vault = SimVault::new(Options {
            seed,
            ..Options::default()
        });
        vault.create_key("transit", "k", "");
        let mut client = Client::new(&vault);
        let mut out = String::new();
        for (method, path, body) in [
            ("POST", "/v1/transit/encrypt/k", "{\"plaintext\":\"aGk=\"}"),
            ("POST", "/v1/auth/token/create", "{\"ttl\":\"1h\"}"),
            ("GET", "/v1/sys/mounts", ""),
        ] {
            client.request(method, path, body).await;
            out += &client.read(Duration::from_secs(1)).await.0;
        }
        out
    })
}

#[test]
fn the_seed_decides_every_byte() {
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

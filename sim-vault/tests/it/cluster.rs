//! Nodes of a cluster: lag, forwarding, a lost leader.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Flavour, Leader, Node, Options, Request, SimVault, Storage};

fn cluster(flavour: Flavour) -> (SimVault, SimVault) {
    let active = SimVault::new(Options {
        flavour,
        storage: Storage::Raft,
        ..Options::default()
    });
    active.create_key("transit", "k", "");
    let standby = active.join(Node {
        standby: true,
        ..Node::default()
    });
    (active, standby)
}

fn encrypt() -> Request {
    Request::new("POST", "/v1/transit/encrypt/k")
        .token("root")
        .json(&json!({ "plaintext": "aGk=" }))
}

fn version(vault: &SimVault) -> Option<u64> {
    vault.call(&encrypt()).json()["data"]["key_version"].as_u64()
}

#[tokio::test(start_paused = true)]
async fn a_lagging_standby_uses_the_old_version_and_refuses_the_new_index() {
    let (active, standby) = cluster(Flavour::OpenBao);
    standby.set_node(|n| n.lag = Duration::from_secs(2));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let rotated = active.call(&Request::new("POST", "/v1/transit/keys/k/rotate").token("root"));
    let index = rotated
        .get("X-Vault-Index")
        .expect("raft answers carry it")
        .to_owned();
    assert_eq!((version(&active), version(&standby)), (Some(2), Some(1)));
    let with_index = encrypt().header("X-Vault-Index", &index);
    let refused = standby.call(&with_index);
    assert_eq!(
        (refused.status, refused.json()),
        (429, json!({ "errors": [] }))
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(version(&standby), Some(2));
    assert_eq!(standby.call(&with_index).status, 200);
}

#[tokio::test(start_paused = true)]
async fn vaults_standbys_forward_and_never_lag() {
    let (active, standby) = cluster(Flavour::Vault);
    standby.set_node(|n| n.lag = Duration::from_secs(2));
    active.rotate("transit", "k");
    assert_eq!(version(&standby), Some(2));
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_openbao_reads_and_vault_redirects() {
    for (flavour, reads, health) in [(Flavour::OpenBao, 200, 429), (Flavour::Vault, 307, 474)] {
        let (active, standby) = cluster(flavour);
        let now = active.now();
        standby.set_node(|n| n.leader = Leader::Lost(now));
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(standby.call(&encrypt()).status, reads, "{flavour:?}");
        let write = standby.call(&Request::new("POST", "/v1/transit/keys/k/rotate").token("root"));
        assert_eq!(
            (write.status, write.get("Location").is_some()),
            (307, true),
            "{flavour:?}"
        );
        assert_eq!(
            standby.call(&Request::new("GET", "/v1/sys/health")).status,
            health,
            "{flavour:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_was_not_stored_is_lost_with_the_process() {
    let (active, _) = cluster(Flavour::OpenBao);
    active.core(|c| assert!(c.collide_rotation("transit", "k")));
    let sealed = active.call(&encrypt()).json()["data"]["ciphertext"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(sealed.starts_with("vault:v2:"));
    active.core(|c| c.restart(false));
    let decrypt = Request::new("POST", "/v1/transit/decrypt/k")
        .token("root")
        .json(&json!({ "ciphertext": sealed }));
    assert_eq!(
        active.call(&decrypt).json()["errors"][0],
        "invalid ciphertext: version is too new"
    );
    // the same number comes back with another key
    active.rotate("transit", "k");
    assert_eq!(
        active.call(&decrypt).json()["errors"][0],
        "cipher: message authentication failed"
    );
}

//! Nodes of a cluster: lag, forwarding, a lost leader.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Flavour, Leader, Member, Node, Options, Request, SimVault, Storage};

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
async fn what_a_mount_answers_has_an_index_whatever_its_status_and_a_refusal_has_none() {
    let (active, _) = cluster(Flavour::OpenBao);
    let half = json!({ "batch_input": [{ "plaintext": "!!" }, { "plaintext": "aGk=" }] });
    let whole = json!({ "plaintext": "!!" });
    for (body, dated) in [(half, true), (whole, false)] {
        let request = Request::new("POST", "/v1/transit/encrypt/k").token("root");
        let answer = active.call(&request.json(&body));
        assert_eq!(
            (answer.status, answer.get("X-Vault-Index").is_some()),
            (400, dated),
            "{body}"
        );
    }
    let help = Request::new("GET", "/v1/transit/keys/k?help=1").token("root");
    assert!(active.call(&help).get("X-Vault-Index").is_none());
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
        // only the leader could say that there is no such token
        let unknown = Request::new("GET", "/v1/transit/keys/k").token("unknown");
        assert_eq!(standby.call(&unknown).status, 307, "{flavour:?}");
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

/// Raft of three, as a cluster tells it; the first leads.
fn members(heard: [bool; 3]) -> Vec<Member> {
    let member = |(n, heard): (usize, bool)| Member {
        name: format!("node{n}"),
        api_addr: format!("http://api{n}"),
        cluster_addr: format!("cluster{n}"),
        leads: n == 0,
        heard,
    };
    heard.into_iter().enumerate().map(member).collect()
}

fn get(path: &str) -> Request {
    Request::new("GET", &format!("/v1/{path}")).token("root")
}

#[tokio::test(start_paused = true)]
async fn sealing_one_node_of_several_leaves_the_others_and_one_key_opens_it_again() {
    for flavour in [Flavour::OpenBao, Flavour::Vault] {
        let (active, standby) = cluster(flavour);
        active.core(|core| core.set_members(members([true; 3])));
        let key = active.core(|core| core.unseal_keys().remove(0));
        let seal = Request::new("PUT", "/v1/sys/seal").token("root");
        assert_eq!(active.call(&seal).status, 204, "{flavour:?}");
        standby.lead();
        assert_eq!(active.call(&encrypt()).status, 503, "{flavour:?}");
        assert_eq!(standby.call(&encrypt()).status, 200, "{flavour:?}");
        // what is sealed cannot give up leading, yet sealing it is no fault
        let step_down = Request::new("PUT", "/v1/sys/step-down").token("root");
        assert_eq!(active.call(&step_down).status, 503, "{flavour:?}");
        assert_eq!(active.call(&seal).status, 204, "{flavour:?}");
        let unseal = |key: &str| {
            let body = json!({ "key": key });
            active.call(&Request::new("PUT", "/v1/sys/unseal").json(&body))
        };
        let refused = unseal(&"00".repeat(33)).json();
        let wanted = "invalid key: failed to setup unseal key: crypto/aes: invalid key size 33";
        assert_eq!(refused["errors"][0], wanted, "{flavour:?}");
        assert_eq!(unseal(&key).json()["sealed"], false, "{flavour:?}");
        let health = active.call(&get("sys/health"));
        assert_eq!(
            health.status, 429,
            "{flavour:?}: it comes back as a standby"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_named_where_the_leader_gave_up_and_the_lost_one_where_it_died() {
    for flavour in [Flavour::OpenBao, Flavour::Vault] {
        let (active, standby) = cluster(flavour);
        active.core(|core| core.set_members(members([true, true, false])));
        let rotate = Request::new("POST", "/v1/transit/keys/k/rotate").token("root");
        let now = active.now();
        standby.set_node(|node| node.leader = Leader::Lost(now));
        let redirect = standby.call(&rotate);
        let to = redirect.get("Location").map(str::to_owned);
        assert_eq!(to.as_deref(), Some("http://api0/v1/transit/keys/k/rotate"));
        assert_eq!(
            standby.call(&get("sys/leader")).json()["leader_address"],
            "http://api0"
        );
        standby.set_node(|node| node.leader = Leader::None);
        assert_eq!(standby.call(&rotate).status, 500, "{flavour:?}");
        let leader = standby.call(&get("sys/leader")).json();
        let nobody = if flavour.is_vault() {
            json!("")
        } else {
            json!(null)
        };
        assert_eq!(leader["leader_address"], nobody, "{flavour:?}");
        let step_down = Request::new("PUT", "/v1/sys/step-down");
        assert_eq!(standby.call(&step_down).status, 500, "{flavour:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_leader_alone_knows_is_asked_of_it_and_the_rest_read_on_the_spot() {
    let (active, standby) = cluster(Flavour::OpenBao);
    active.core(|core| core.set_members(members([true, true, false])));
    let kept_here = |path: &str| {
        let request = get(path).header("X-Vault-No-Request-Forwarding", "1");
        standby.call(&request)
    };
    assert_eq!(kept_here("sys/ha-status").status, 307);
    assert_eq!(kept_here("sys/storage/raft/autopilot/state").status, 307);
    assert_eq!(kept_here("sys/storage/raft/configuration").status, 200);
    let heard = standby.call(&get("sys/ha-status")).json();
    assert_eq!(heard["data"]["nodes"].as_array().map(Vec::len), Some(2));
    let state = standby
        .call(&get("sys/storage/raft/autopilot/state"))
        .json();
    assert_eq!(state["data"]["healthy"], false);
    assert_eq!(state["data"]["failure_tolerance"], 0);
}

#[tokio::test(start_paused = true)]
async fn an_index_of_another_cluster_says_nothing_and_a_malformed_one_is_refused_sealed_or_not() {
    let (_, standby) = cluster(Flavour::OpenBao);
    // {"cluster":"a","value":"99999999"}
    let foreign = "eyJjbHVzdGVyIjoiYSIsInZhbHVlIjoiOTk5OTk5OTkifQ==";
    let with = |index: &str| encrypt().header("X-Vault-Index", index);
    assert_eq!(standby.call(&with(foreign)).status, 200);
    standby.set_node(|node| node.sealed = true);
    assert_eq!(standby.call(&with("AAAA")).status, 400);
    assert_eq!(standby.call(&with(foreign)).status, 503);
    let (_, standby) = cluster(Flavour::Vault);
    standby.set_node(|node| node.sealed = true);
    let forward = encrypt().header("X-Vault-Inconsistent", "forward-active-node");
    assert_eq!(standby.call(&forward).status, 400);
    assert_eq!(standby.call(&encrypt()).status, 503);
}

#[tokio::test(start_paused = true)]
async fn a_standby_of_vault_makes_a_success_of_a_login_that_panics() {
    let (active, standby) = cluster(Flavour::Vault);
    active.admin("POST", "sys/auth/x", &json!({ "type": "userpass" }));
    let login = Request::new("POST", "/v1/auth/x/login/u").json(&json!({ "password": { "a": 1 } }));
    assert_eq!(active.call(&login).status, 0, "the connection closes");
    let answer = standby.call(&login);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

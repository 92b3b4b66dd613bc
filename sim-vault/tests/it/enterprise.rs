//! Vault Enterprise, as its documents describe it.

use serde_json::{Value, json};
use sim_vault::{Flavour, Node, Options, Request, SimVault, Storage};
use std::time::Duration;

fn vault() -> SimVault {
    SimVault::new(Options {
        flavour: Flavour::Vault,
        enterprise: true,
        storage: Storage::Raft,
        ..Options::default()
    })
}

fn ask(vault: &SimVault, method: &str, path: &str, body: &Value) -> sim_vault::Response {
    let mut request = Request::new(method, &format!("/v1/{path}")).token(&vault.root_token());
    if !body.is_null() {
        request = request.json(body);
    }
    vault.call(&request)
}

#[tokio::test(start_paused = true)]
async fn the_licence_is_readable_and_only_there() {
    let licence = ask(&vault(), "GET", "sys/license/status", &Value::Null);
    assert_eq!(licence.status, 200);
    let features = &licence.json()["data"]["autoloaded"]["features"];
    assert!(features.as_array().unwrap().contains(&json!("Namespaces")));
    let community = SimVault::new(Options {
        flavour: Flavour::Vault,
        ..Options::default()
    });
    assert_eq!(
        ask(&community, "GET", "sys/license/status", &Value::Null).status,
        404
    );
    let health = ask(&vault(), "GET", "sys/health", &Value::Null).json();
    assert_eq!(
        (
            &health["enterprise"],
            &health["license"]["terminated"],
            &health["version"]
        ),
        (&json!(true), &json!(false), &json!("1.19.0+ent"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_header_counts_in_enterprise_alone() {
    let vault = vault();
    assert_eq!(
        ask(&vault, "POST", "sys/namespaces/admin", &Value::Null).status,
        200
    );
    let (mounted, _) = vault.admin_in(
        "admin",
        "POST",
        "sys/mounts/transit",
        &json!({ "type": "transit" }),
    );
    assert_eq!(mounted, 204);
    let (there, _) = vault.admin_in("admin", "POST", "transit/keys/k", &json!({}));
    let (elsewhere, _) = vault.admin_in("", "POST", "transit/keys/k", &json!({}));
    let (unknown, _) = vault.admin_in("nope", "POST", "transit/keys/k", &json!({}));
    assert_eq!((there, elsewhere, unknown), (200, 404, 404));
}

#[tokio::test(start_paused = true)]
async fn a_performance_standby_reads_itself_forwards_writes_and_knows_what_it_lacks() {
    let active = vault();
    active.create_key("transit", "k", "");
    tokio::time::advance(Duration::from_secs(60)).await;
    let standby = active.join(Node {
        standby: true,
        settled: true,
        lag: Duration::from_secs(10),
        ..Node::default()
    });
    let health = ask(&standby, "GET", "sys/health", &Value::Null);
    assert_eq!(
        (health.status, &health.json()["performance_standby"]),
        (473, &json!(true))
    );
    for (query, status) in [
        ("standbyok=true", 473),
        ("perfstandbyok=true", 200),
        ("performancestandbycode=299", 299),
    ] {
        let asked = ask(
            &standby,
            "GET",
            &format!("sys/health?{query}"),
            &Value::Null,
        );
        assert_eq!(asked.status, status, "{query}");
    }
    // a write goes to the active node, whatever the header says
    let rotate = Request::new("POST", "/v1/transit/keys/k/rotate")
        .token(&active.root_token())
        .header("X-Vault-No-Request-Forwarding", "1");
    assert_eq!(standby.call(&rotate).status, 200);
    let encrypt = |index: &str| {
        let mut request = Request::new("POST", "/v1/transit/encrypt/k")
            .token(&active.root_token())
            .json(&json!({ "plaintext": "" }));
        if !index.is_empty() {
            request = request.header("X-Vault-Index", index);
        }
        standby.call(&request)
    };
    // its own view is ten seconds old
    assert_eq!(encrypt("").json()["data"]["key_version"], 1);
    let latest = ask(&active, "GET", "transit/keys/k", &Value::Null);
    let index = latest.get("X-Vault-Index").unwrap().to_owned();
    let refused = encrypt(&index);
    assert_eq!(
        (refused.status, refused.json()),
        (
            412,
            json!({ "errors": ["required index state not present"] })
        )
    );
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(encrypt(&index).json()["data"]["key_version"], 2);
}

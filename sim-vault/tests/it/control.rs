//! The control API: each of its requests does what it says, each fault of its vocabulary hits, and mistakes are named.

use serde_json::{Value, json};
use sim_vault::{Request, SimVault, TokenSettings};

use crate::wire::{Client, vault};

const ROTATE: &str = "/v1/transit/keys/k/rotate";

fn ask(vault: &SimVault, method: &str, path: &str, body: &Value) -> Value {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    vault
        .control(method, path, text.as_bytes())
        .unwrap_or_else(|e| panic!("{method} {path} {body}: {e}"))
}

fn post(vault: &SimVault, path: &str, body: &Value) -> Value {
    ask(vault, "POST", path, body)
}

fn status(vault: &SimVault, path: &str) -> u16 {
    vault.call(&Request::new("GET", path).token("root")).status
}

/// What a client sees of a fault: a status (0: the end, none: silence), and whether the model acted.
#[tokio::test(start_paused = true)]
async fn every_fault_of_the_vocabulary_hits_as_often_as_it_says() {
    for (action, answer, acted) in [
        (
            json!({"status": 503, "headers": [["Retry-After", "7"]]}),
            Some(503),
            false,
        ),
        (json!({"status": 429, "body": "{}"}), Some(429), false),
        (json!({"delay_ms": 5}), Some(200), true),
        (json!("hold"), None, false),
        (json!("hold_after"), None, true),
        (json!("close_before"), Some(0), false),
        (json!("close_after"), Some(0), true),
        (json!("reset"), Some(0), false),
        (json!({"cut_body": 3}), Some(200), true),
        (json!({"garbage": "<html>"}), Some(200), true),
        (json!({"raw": "SSH-2.0-x\r\n"}), Some(0), true),
        (json!("wrong_content_length"), Some(200), true),
        (json!({"redirect": "https://other:8200"}), Some(307), false),
    ] {
        let vault = vault();
        let body = json!({"path": "/v1/transit/", "method": "POST", "skip": 1, "count": 1, "action": action});
        let id = post(&vault, "/faults", &body)["id"].as_u64().unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let mut client = Client::new(&vault);
            client.request("POST", ROTATE, "").await;
            seen.push(client.status().await);
        }
        assert_eq!(seen, [Some(200), answer, Some(200)], "{action}");
        let versions = if acted { 4 } else { 3 };
        assert_eq!(
            vault.key_version("transit", "k"),
            Some(versions),
            "{action}"
        );
        let hits = ask(&vault, "GET", &format!("/faults/{id}"), &Value::Null);
        assert_eq!(hits, json!({"hits": 1}), "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_fault_is_gone_and_the_log_tells_what_came() {
    let vault = vault();
    let fault = json!({"path": "/v1/sys/", "action": "close_before"});
    for remove in ["/faults/1", "/faults"] {
        post(&vault, "/faults", &fault);
        ask(&vault, "DELETE", remove, &Value::Null);
        let mut client = Client::new(&vault);
        client.request("GET", "/v1/sys/health", "").await;
        assert_eq!(client.status().await, Some(200), "{remove}");
    }
    let log = ask(&vault, "GET", "/log", &Value::Null);
    assert_eq!(
        (&log[0]["path"], &log[0]["status"]),
        (&json!("/v1/sys/health"), &json!(200))
    );
    ask(&vault, "DELETE", "/log", &Value::Null);
    assert_eq!(ask(&vault, "GET", "/log", &Value::Null), json!([]));
}

#[tokio::test(start_paused = true)]
async fn the_server_seals_steps_down_and_comes_back() {
    let vault = vault();
    for (away, back, code) in [("/seal", "/unseal", 503), ("/step-down", "/lead", 429)] {
        post(&vault, away, &Value::Null);
        assert_eq!(status(&vault, "/v1/sys/health"), code, "{away}");
        assert_ne!(status(&vault, "/v1/transit/keys"), 200, "{away}");
        post(&vault, back, &Value::Null);
        assert_eq!(status(&vault, "/v1/sys/health"), 200, "{back}");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_freeze_thaw_and_idle() {
    let vault = vault();
    let mut client = Client::new(&vault);
    for (freeze, answer) in [
        ("/freeze", None),
        ("/thaw", Some(200)),
        ("/freeze-existing", None),
    ] {
        post(&vault, freeze, &Value::Null);
        if freeze != "/thaw" {
            client.request("GET", "/v1/sys/health", "").await;
        }
        assert_eq!(client.status().await, answer, "{freeze}");
    }
    post(&vault, "/thaw", &Value::Null);
    assert_eq!(client.status().await, Some(200));
    post(&vault, "/close-idle-after", &json!({"seconds": 5}));
    let mut client = Client::new(&vault);
    client.request("GET", "/v1/sys/health", "").await;
    assert_eq!(client.status().await, Some(200));
    let six = std::time::Duration::from_secs(6);
    assert!(client.read(six).await.1, "it is closed");
    post(&vault, "/close-idle-after", &json!({"seconds": null}));
}

#[tokio::test(start_paused = true)]
async fn keys_and_tokens_change_under_their_users() {
    let vault = vault();
    let key = json!({"mount": "transit", "key": "k"});
    assert_eq!(post(&vault, "/rotate", &key), json!({"latest_version": 2}));
    let raise = json!({"mount": "transit", "key": "k", "min_decryption_version": 2, "min_encryption_version": 2});
    let lower = json!({"mount": "transit", "key": "k", "min_decryption_version": 1});
    for (body, least) in [(&raise, 2), (&lower, 1)] {
        post(&vault, "/versions", body);
        let shown = vault.admin("GET", "transit/keys/k", &Value::Null).1;
        assert_eq!(shown["data"]["min_decryption_version"], least);
    }
    let looks = |token: &str| {
        let request = Request::new("GET", "/v1/auth/token/lookup-self").token(token);
        vault.call(&request).status
    };
    let token = || vault.create_token(&TokenSettings::default());
    let (first, second, third) = (token(), token(), token());
    assert_eq!(post(&vault, "/expire", &json!({"token": first})), json!({}));
    assert_eq!(
        post(&vault, "/revoke", &json!({"token": second})),
        json!({"revoked": 1})
    );
    assert_eq!(
        post(&vault, "/revoke", &json!({"mount": "token"})),
        json!({"revoked": 1})
    );
    assert_eq!(
        [looks(&first), looks(&second), looks(&third), looks("root")],
        [403, 403, 403, 200]
    );
    let short = vault.create_token(&TokenSettings {
        ttl: std::time::Duration::from_secs(60),
        ..TokenSettings::default()
    });
    post(&vault, "/advance", &json!({"seconds": 59.5}));
    assert_eq!(looks(&short), 200);
    post(&vault, "/advance", &json!({"seconds": 1}));
    assert_eq!(looks(&short), 403);
    let mount = json!({"method": "POST", "path": "sys/mounts/t", "body": {"type": "transit"}});
    assert_eq!(post(&vault, "/admin", &mount)["status"], 204);
    assert_eq!(post(&vault, "/delete-key", &key), json!({"deleted": true}));
    assert_eq!(vault.key_version("transit", "k"), None);
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_named_and_change_nothing() {
    let vault = vault();
    for (path, body, named) in [
        (
            "/faults",
            "{\"path\":\"/\",\"action\":\"explode\"}",
            "action: \"explode\" is not one of",
        ),
        (
            "/faults",
            "{\"path\":\"/\",\"action\":{\"delay_ms\":\"x\"}}",
            "action:",
        ),
        (
            "/faults",
            "{\"path\":\"/\",\"action\":{\"status\":99}}",
            "action.status: 99",
        ),
        (
            "/faults",
            "{\"action\":{\"status\":503,\"retry\":1}}",
            "unknown field `retry`",
        ),
        (
            "/faults",
            "{\"path\":\"v1/\",\"action\":\"hold\"}",
            "path: \"v1/\" begins with no slash",
        ),
        ("/faults", "{\"count\":0,\"action\":\"hold\"}", "count: 0"),
        (
            "/faults",
            "{\"paht\":\"/\",\"action\":\"hold\"}",
            "unknown field `paht`",
        ),
        ("/faults", "{\"path\":\"/\"}", "missing field `action`"),
        ("/faults", "{", "body:"),
        ("/advance", "{}", "missing field `seconds`"),
        ("/advance", "{\"seconds\":-1}", "seconds: -1"),
        ("/close-idle-after", "{\"seconds\":-1}", "seconds: -1"),
        ("/revoke", "{}", "token or mount"),
        ("/expire", "{\"token\":\"none\"}", "no such token"),
        (
            "/rotate",
            "{\"mount\":\"transit\",\"key\":\"none\"}",
            "no key \"none\"",
        ),
        (
            "/delete-key",
            "{\"mount\":\"none\",\"key\":\"k\"}",
            "no key \"k\" at mount \"none\"",
        ),
        (
            "/versions",
            "{\"mount\":\"transit\",\"key\":\"k\"}",
            "one of the two",
        ),
        (
            "/versions",
            "{\"mount\":\"transit\",\"key\":\"k\",\"min_decryption_version\":9}",
            "min_decryption_version",
        ),
        ("/nowhere", "", "no such operation: POST /nowhere"),
    ] {
        let error = vault.control("POST", path, body.as_bytes());
        let error = error.expect_err(body).to_string();
        assert!(error.contains(named), "{path} {body}: {error}");
    }
    let error = vault.control("GET", "/faults/x", b"").unwrap_err();
    assert!(
        error.to_string().contains("\"x\" is not a number"),
        "{error}"
    );
    assert_eq!(status(&vault, "/v1/sys/health"), 200);
    assert_eq!(vault.key_version("transit", "k"), Some(1));
}

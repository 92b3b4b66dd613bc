//! Setting a server up: the helpers, the init file, the control API.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault, InitFile, Options, Request, SimVault, TokenSettings};

const INIT: &str = r#"
namespaces = ["admin"]

[policies]
kms = 'path "transit/encrypt/k" { capabilities = ["update"] }'

[mounts]
transit = "transit"

[auth]
approle = "approle"
userpass = "userpass"

[keys.k]
type = "aes256-gcm96"

[roles.node]
role_id = "r"
secret_id = "s"
token_policies = ["kms"]

[users.alice]
password = "pw"
token_policies = ["kms"]

[[tokens]]
id = "fixed"
policies = ["kms"]
"#;

fn login(vault: &SimVault, path: &str, body: &serde_json::Value) -> u16 {
    vault
        .call(&Request::new("POST", &format!("/v1/auth/{path}")).json(body))
        .status
}

#[tokio::test(start_paused = true)]
async fn an_init_file_makes_all_it_names() {
    let vault = SimVault::new(Options::default());
    vault.load(&InitFile::parse(INIT).unwrap()).unwrap();
    assert_eq!(
        login(
            &vault,
            "approle/login",
            &json!({ "role_id": "r", "secret_id": "s" })
        ),
        200
    );
    assert_eq!(
        login(&vault, "userpass/login/alice", &json!({ "password": "pw" })),
        200
    );
    let encrypt = Request::new("POST", "/v1/transit/encrypt/k")
        .token("fixed")
        .json(&json!({ "plaintext": "" }));
    assert_eq!(vault.call(&encrypt).status, 200);
    assert_eq!(
        vault
            .admin("GET", "sys/namespaces/admin", &serde_json::Value::Null)
            .0,
        200
    );
    assert_eq!(vault.live_tokens("node"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bad_init_file_says_where() {
    let vault = SimVault::new(Options::default());
    let unknown = InitFile::parse("[polices]\na = ''")
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("polices"), "{unknown}");
    let refused = vault
        .load(&InitFile::parse("[policies]\nkms = 'path {'").unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("policies.kms") && refused.contains("failed to parse policy"),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_are_made_and_ended_as_asked() {
    let vault = SimVault::new(Options::default());
    let token = vault.create_token(&TokenSettings {
        ttl: Duration::from_secs(60),
        num_uses: 2,
        ..TokenSettings::default()
    });
    let look = |token: &str| {
        vault
            .call(&Request::new("GET", "/v1/auth/token/lookup-self").token(token))
            .status
    };
    assert_eq!((look(&token), look(&token), look(&token)), (200, 200, 403));
    let other = vault.create_token(&TokenSettings {
        ttl: Duration::from_secs(60),
        ..TokenSettings::default()
    });
    vault.advance(Duration::from_secs(61));
    assert_eq!(look(&other), 403);
    let third = vault.create_token(&TokenSettings::default());
    assert!(vault.revoke_token(&third) && !vault.revoke_token(&third));
    vault.create_token(&TokenSettings::default());
    assert_eq!(vault.revoke_all_tokens_of("token"), 1);
    assert_eq!(look("root"), 200, "the root token is spared");
}

#[tokio::test(start_paused = true)]
async fn the_control_api_installs_faults_and_counts_their_hits() {
    let vault = SimVault::new(Options::default());
    let body = br#"{"path":"/v1/sys/","action":{"status":500,"body":"{}","headers":[["Retry-After","1"]]},"count":1}"#;
    let id = vault.control("POST", "/faults", body).unwrap()["id"]
        .as_u64()
        .unwrap();
    assert_eq!(
        vault.control("GET", &format!("/faults/{id}"), b"").unwrap(),
        json!({ "hits": 0 })
    );
    for action in [
        "\"hold\"",
        "\"close_after\"",
        "{\"delay_ms\":5}",
        "{\"cut_body\":3}",
        "{\"raw\":\"x\"}",
        "{\"redirect\":\"/\"}",
        "\"wrong_content_length\"",
    ] {
        let body = format!("{{\"path\":\"/never\",\"action\":{action}}}");
        assert!(
            vault.control("POST", "/faults", body.as_bytes()).is_ok(),
            "{action}"
        );
    }
    let admin = br#"{"method":"POST","path":"sys/mounts/t","body":{"type":"transit"}}"#;
    assert_eq!(
        vault.control("POST", "/admin", admin).unwrap()["status"],
        204
    );
    assert!(vault.control("POST", "/seal", b"").is_ok());
    assert_eq!(
        vault.call(&Request::new("GET", "/v1/sys/health")).status,
        503
    );
    assert!(vault.control("POST", "/unseal", b"").is_ok());
    assert_eq!(
        vault.control("GET", "/log", b"").unwrap()[0]["path"],
        "/v1/sys/health"
    );
    let unknown = vault
        .control(
            "POST",
            "/faults",
            b"{\"path\":\"/\",\"action\":\"explode\"}",
        )
        .unwrap_err();
    assert!(unknown.to_string().starts_with("body: "), "{unknown}");
    assert!(vault.control("GET", "/nowhere", b"").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_removed_fault_hits_no_more() {
    let vault = SimVault::new(Options::default());
    let id = vault.fault(Fault::on("", Action::CloseBefore));
    vault.clear(id);
    let mut client = crate::wire::Client::new(&vault);
    client.request("GET", "/v1/sys/health", "").await;
    assert_eq!((client.status().await, vault.hits(id)), (Some(200), 0));
}

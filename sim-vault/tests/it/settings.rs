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

/// A file, and what its one error must name: the place, and what is wrong or helps.
const BAD_FILES: &[(&str, &[&str])] = &[
    ("[polices]\na = ''", &["polices", "expected one of"]),
    ("mounts = 5", &["line 1", "mounts"]),
    ("[keys.k]\ntype = ", &["line 2"]),
    (
        "[policies]\nkms = 'path {'",
        &["policies.kms", "failed to parse policy"],
    ),
    ("[mounts]\nt = 'transitt'", &["mounts.t", "transitt"]),
    (
        "[mounts]\nsecret = 'transit'",
        &["mounts.secret", "path is already in use"],
    ),
    ("[auth]\na = 'approll'", &["auth.a", "approll"]),
    (
        "[keys.k]\ntype = 'aes256-gcm96'",
        &["[keys.k]", "\"transit\" missing in [mounts]"],
    ),
    (
        "[mounts]\ntransit = 'transit'\n[keys.k]\ntype = 'aes'",
        &["[keys.k]", "unknown key type aes"],
    ),
    (
        "[mounts]\ntransit = 'transit'\n[keys.k]\ntyp = 'aes256-gcm96'",
        &["[keys.k]", "no such field: [typ]"],
    ),
    ("[keys.k]\nmount = 5", &["[keys.k]", "mount = 5 is no text"]),
    (
        "[roles.r]\nrole_id = 'r'",
        &["[roles.r]", "\"approle\" missing in [auth]"],
    ),
    (
        "[auth]\napprole = 'approle'\n[roles.r]\ntoken_ttl = 'soon'",
        &["[roles.r]", "token_ttl", "soon"],
    ),
    (
        "[auth]\napprole = 'approle'\n[roles.r]\nrole_id = ''",
        &["[roles.r]", "role_id"],
    ),
    (
        "[auth]\nuserpass = 'userpass'\n[users.u]\ntoken_policies = ['p']",
        &["[users.u]", "password"],
    ),
    ("[[tokens]]\nttl = 'soon'", &["tokens[0]", "soon"]),
    (
        "[[tokens]]\nid = 'a'\n[[tokens]]\nid = 'a'",
        &["tokens[1]", "duplicate ID"],
    ),
    (
        "[[tokens]]\npolicy = 'p'",
        &["tokens[0]", "no such field: [policy]"],
    ),
    ("namespaces = ['a/b']", &["namespaces: a/b"]),
];

#[tokio::test(start_paused = true)]
async fn a_bad_init_file_names_the_place_and_the_fault() {
    for (text, named) in BAD_FILES {
        let vault = SimVault::new(Options::default());
        let error = match InitFile::parse(text) {
            Err(error) => error.to_string(),
            Ok(file) => vault.load(&file).expect_err(text).to_string(),
        };
        for part in *named {
            assert!(error.contains(part), "{text}\n{part}\n{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_init_file_with_namespaces_is_told_what_has_them() {
    let vault = SimVault::new(Options {
        flavour: sim_vault::Flavour::Vault,
        ..Options::default()
    });
    let file = InitFile::parse("namespaces = ['admin']").unwrap();
    let error = vault.load(&file).unwrap_err().to_string();
    assert!(
        error.contains("namespaces: admin") && error.contains("--enterprise"),
        "{error}"
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
async fn a_removed_fault_hits_no_more() {
    let vault = SimVault::new(Options::default());
    let id = vault.fault(Fault::on("", Action::CloseBefore));
    vault.clear(id);
    let mut client = crate::wire::Client::new(&vault);
    client.request("GET", "/v1/sys/health", "").await;
    assert_eq!((client.status().await, vault.hits(id)), (Some(200), 0));
}

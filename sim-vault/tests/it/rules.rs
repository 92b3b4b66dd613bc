//! Rules that the comparison with live servers showed, pinned without a server. The answers are OpenBao 2.7.2's and
//! HashiCorp Vault 1.19.0's, which agree on them.

use std::time::Duration;

use serde_json::{Value, json};
use sim_vault::{Core, Flavour, Options, Request};

/// Both flavours, each with a fresh server.
fn both(story: impl Fn(&mut Core)) {
    for flavour in [Flavour::OpenBao, Flavour::Vault] {
        story(&mut Core::new(Options {
            flavour,
            root_token: "root".to_owned(),
            ..Options::default()
        }));
    }
}

fn ask(core: &mut Core, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::new(method, &format!("/v1/{path}"))
        .token(token)
        .json(body);
    let response = core.handle(Duration::ZERO, &request);
    (response.status, response.json())
}

/// As root, and it must do.
fn root(core: &mut Core, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = ask(core, "root", method, path, body);
    assert!(status < 300, "{method} {path}: {status} {answer}");
    answer
}

/// A token of the user `u` of a fresh auth method, whose settings are `user`, and the answer to its login.
fn login(core: &mut Core, user: &Value) -> (String, Value) {
    ask(core, "root", "DELETE", "sys/auth/userpass", &Value::Null);
    root(
        core,
        "POST",
        "sys/auth/userpass",
        &json!({"type": "userpass"}),
    );
    root(core, "POST", "auth/userpass/users/u", user);
    let answer = root(
        core,
        "POST",
        "auth/userpass/login/u",
        &json!({"password": "pw"}),
    );
    let token = answer["auth"]["client_token"]
        .as_str()
        .expect("a login gives a token");
    (token.to_owned(), answer)
}

#[test]
fn a_token_whose_entity_is_gone_is_refused_everywhere() {
    both(|core| {
        let (token, login) = login(core, &json!({"password": "pw"}));
        let path = "auth/token/lookup-self";
        assert_eq!(ask(core, &token, "GET", path, &Value::Null).0, 200);
        let entity = login["auth"]["entity_id"].as_str().unwrap();
        root(
            core,
            "DELETE",
            &format!("identity/entity/id/{entity}"),
            &Value::Null,
        );
        for path in [path, "sys/internal/ui/mounts/v"] {
            let (status, answer) = ask(core, &token, "GET", path, &Value::Null);
            assert_eq!(status, 403, "{path}");
            assert!(answer.to_string().contains("permission denied"), "{answer}");
        }
    });
}

#[test]
fn a_batch_token_shows_no_explicit_max_ttl() {
    both(|core| {
        let user = json!({"password": "pw", "token_explicit_max_ttl": "3h"});
        for (kind, shown) in [("batch", 0), ("service", 10_800)] {
            let mut user = user.clone();
            user["token_type"] = kind.into();
            let (token, _) = login(core, &user);
            let (_, answer) = ask(core, &token, "GET", "auth/token/lookup-self", &Value::Null);
            assert_eq!(
                answer["data"]["explicit_max_ttl"], shown,
                "{kind}: {answer}"
            );
        }
    });
}

#[test]
fn a_batch_type_is_found_fault_with_before_the_lifetimes() {
    both(|core| {
        root(
            core,
            "POST",
            "sys/auth/userpass",
            &json!({"type": "userpass"}),
        );
        for (field, value, word) in [
            ("token_period", json!("1h"), "periodic tokens"),
            ("token_num_uses", json!(2), "limited use count"),
            (
                "token_no_default_policy",
                json!(true),
                "cannot be greater than 'token_max_ttl'",
            ),
        ] {
            let user = json!({
                "password": "pw", "token_type": "batch", "token_ttl": "2h", "token_max_ttl": "1h", field: value,
            });
            let (status, answer) = ask(core, "root", "POST", "auth/userpass/users/u", &user);
            assert_eq!(status, 400, "{field}");
            assert!(answer.to_string().contains(word), "{field}: {answer}");
        }
    });
}

#[test]
fn a_mount_named_without_its_slash_is_checked_by_that_name() {
    both(|core| {
        root(core, "POST", "sys/mounts/m", &json!({"type": "transit"}));
        for (pattern, status) in [("m/*", 403), ("m", 404)] {
            let rules = format!("path \"{pattern}\" {{ capabilities = [\"read\"] }}");
            root(core, "PUT", "sys/policies/acl/p", &json!({"policy": rules}));
            let made = root(
                core,
                "POST",
                "auth/token/create",
                &json!({"policies": ["p"]}),
            );
            let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
            let (found, answer) = ask(core, &token, "GET", "m", &Value::Null);
            assert_eq!(found, status, "{pattern}: {answer}");
        }
    });
}

#[test]
fn a_role_without_a_constraint_is_a_400_only_beside_a_warning() {
    both(|core| {
        root(
            core,
            "POST",
            "sys/auth/approle",
            &json!({"type": "approle"}),
        );
        for (kind, status) in [("default-batch", 400), ("batch", 500), ("service", 500)] {
            let role = json!({"bind_secret_id": false, "token_type": kind});
            let (found, answer) = ask(core, "root", "POST", "auth/approle/role/r", &role);
            assert_eq!(found, status, "{kind}");
            assert!(
                answer.to_string().contains("at least one constraint"),
                "{answer}"
            );
        }
    });
}

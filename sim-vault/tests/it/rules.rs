//! Rules that the comparison with live servers showed, pinned without a server. The answers are OpenBao 2.7.2's and
//! HashiCorp Vault 1.19.0's, which agree on them unless a test says otherwise. Those on policies are in [`crate::policies`].

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

/// A token of these policies alone, which is what `auth/token/create` answers with.
fn token_of(core: &mut Core, settings: &Value) -> String {
    let made = root(core, "POST", "auth/token/create", settings);
    let token = made["auth"]["client_token"].as_str();
    token.expect("a token").to_owned()
}

#[test]
fn renewal_compares_the_users_policies_without_default() {
    both(|core| {
        let (token, _) = login(
            core,
            &json!({"password": "pw", "token_policies": ["p", "q"]}),
        );
        for (policies, status) in [
            (json!(["q", "p", "p"]), 200),
            (json!(["default", "q", "p"]), 200),
            (json!(["p"]), 500),
            (json!(["p", "q", ""]), 500),
        ] {
            let user = json!({"token_policies": policies});
            root(core, "POST", "auth/userpass/users/u", &user);
            let path = "auth/token/renew-self";
            let (found, answer) = ask(core, &token, "POST", path, &json!({}));
            assert_eq!(found, status, "{policies}: {answer}");
        }
    });
}

#[test]
fn openbao_takes_another_case_for_another_policy_when_it_renews() {
    both(|core| {
        let (token, _) = login(core, &json!({"password": "pw", "token_policies": ["P"]}));
        let path = "auth/token/renew-self";
        let wanted = if core.flavour() == Flavour::OpenBao {
            500
        } else {
            200
        };
        assert_eq!(ask(core, &token, "POST", path, &json!({})).0, wanted);
    });
}

#[test]
fn a_token_of_a_role_is_renewed_by_the_roles_limits_alone() {
    both(|core| {
        let role = json!({"token_explicit_max_ttl": 60});
        root(core, "POST", "auth/token/roles/r", &role);
        let made = root(
            core,
            "POST",
            "auth/token/create/r",
            &json!({"period": "1h"}),
        );
        let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
        let path = "auth/token/renew-self";
        let answer = ask(core, &token, "POST", path, &json!({"increment": "2h"})).1;
        let text = answer["warnings"][0].as_str().unwrap_or_default();
        assert!(text.starts_with("TTL of \"2h\""), "{answer}");
        root(core, "DELETE", "auth/token/roles/r", &Value::Null);
        let (status, answer) = ask(core, &token, "POST", path, &json!({}));
        assert_eq!(status, 500);
        assert!(
            answer.to_string().contains("original token role"),
            "{answer}"
        );
    });
}

#[test]
fn a_roles_limits_do_not_reach_batch_tokens() {
    both(|core| {
        let role = json!({"token_period": "1h", "token_type": "default-batch"});
        root(core, "POST", "auth/token/roles/r", &role);
        for (kind, seconds) in [("batch", 90), ("service", 3600)] {
            let wanted = json!({"policies": ["p"], "ttl": "90", "type": kind});
            let made = root(core, "POST", "auth/token/create/r", &wanted);
            assert_eq!(made["auth"]["lease_duration"], seconds, "{kind}");
        }
    });
}

#[test]
fn root_stands_alone_and_default_can_be_declined() {
    both(|core| {
        for (wanted, policies) in [
            (json!({"policies": ["root", "p"]}), json!(["root"])),
            (
                json!({"policies": ["default", "p"], "no_default_policy": true}),
                json!(["p"]),
            ),
            (
                json!({"policies": ["default"], "no_default_policy": true}),
                json!([]),
            ),
        ] {
            let made = root(core, "POST", "auth/token/create", &wanted);
            assert_eq!(made["auth"]["policies"], policies, "{wanted}");
            let shown = made["auth"].get("token_policies");
            assert_eq!(shown.is_none(), policies == json!([]), "{made}");
        }
    });
}

#[test]
fn a_null_duration_is_as_good_as_absent_and_a_blank_is_an_item() {
    both(|core| {
        login(core, &json!({"password": "pw", "token_ttl": "10m"}));
        let path = "auth/userpass/users/u";
        let (status, answer) = ask(
            core,
            "root",
            "POST",
            path,
            &json!({"token_ttl": null, "token_max_ttl": "5m"}),
        );
        assert_eq!(status, 400, "the old ttl still counts: {answer}");
        root(core, "POST", path, &json!({"token_policies": "p,,q"}));
        let user = root(core, "GET", path, &Value::Null);
        assert_eq!(user["data"]["token_policies"], json!(["p", "", "q"]));
        let blank = json!({"token_bound_cidrs": "127.0.0.1,"});
        let (status, answer) = ask(core, "root", "POST", path, &blank);
        assert_eq!(status, 400);
        assert!(
            answer.to_string().contains("error parsing address"),
            "{answer}"
        );
    });
}

#[test]
fn capabilities_of_an_unknown_accessor_come_before_the_paths() {
    both(|core| {
        let made = root(
            core,
            "POST",
            "auth/token/create",
            &json!({"policies": ["p"]}),
        );
        let known = made["auth"]["accessor"].as_str().unwrap();
        for (accessor, paths, text) in [
            ("", json!([]), "missing accessor"),
            ("bad", json!([]), "invalid accessor"),
            (known, json!([]), "paths must be supplied"),
            (known, json!(["a", ""]), "missing path"),
        ] {
            let body = json!({"accessor": accessor, "paths": paths});
            let path = "sys/capabilities-accessor";
            let (status, answer) = ask(core, "root", "POST", path, &body);
            assert_eq!(status, 400, "{body}");
            assert!(answer.to_string().contains(text), "{body}: {answer}");
        }
        let old = json!({"paths": [], "path": ["a"]});
        let answer = root(core, "POST", "sys/capabilities-self", &old);
        assert_eq!(answer["data"]["a"], json!(["root"]));
    });
}

#[test]
fn a_refused_login_with_a_batch_token_makes_vault_panic_and_openbao_not() {
    both(|core| {
        let (token, _) = login(core, &json!({"password": "pw", "token_type": "batch"}));
        let vault = core.flavour() == Flavour::Vault;
        let none = if vault { 0 } else { 400 };
        for (name, password, status) in
            [("nobody", "pw", none), ("u", "bad", 400), ("u", "pw", 200)]
        {
            let path = format!("auth/userpass/login/{name}");
            let body = json!({"password": password});
            assert_eq!(
                ask(core, &token, "POST", &path, &body).0,
                status,
                "{name} {password}"
            );
            // without the token nothing is the matter
            assert_ne!(ask(core, "", "POST", &path, &body).0, 0);
        }
        let tune = json!({"user_lockout_config": {"lockout_disable": true}});
        root(core, "POST", "sys/auth/userpass/tune", &tune);
        let path = "auth/userpass/login/nobody";
        let body = json!({"password": "pw"});
        assert_eq!(ask(core, &token, "POST", path, &body).0, 400);
    });
}

#[test]
fn whoever_is_to_be_counted_is_asked_for_before_the_operation() {
    both(|core| {
        root(
            core,
            "POST",
            "sys/auth/approle",
            &json!({"type": "approle"}),
        );
        for (path, status) in [
            ("auth/approle/login", 500),
            ("auth/approle/login?role_id=r", 405),
        ] {
            assert_eq!(
                ask(core, "", "DELETE", path, &Value::Null).0,
                status,
                "{path}"
            );
        }
    });
}

#[test]
fn an_upserts_type_is_found_fault_with_before_the_key_is_missed() {
    both(|core| {
        root(core, "POST", "sys/mounts/m", &json!({"type": "transit"}));
        let off = json!({"disable_upsert": true});
        root(core, "POST", "m/config/keys", &off);
        for (kind, text) in [("", "unknown key type"), ("aes256-gcm96", "key not found")] {
            let body = json!({"plaintext": "aGk=", "type": kind});
            let answer = ask(core, "root", "POST", "m/encrypt/k", &body).1;
            assert!(answer.to_string().contains(text), "{kind}: {answer}");
        }
    });
}

#[test]
fn the_key_size_is_looked_at_before_the_key() {
    both(|core| {
        root(core, "POST", "sys/mounts/m", &json!({"type": "transit"}));
        for (body, status, text) in [
            (
                json!({"type": "hmac", "key_size": 31}),
                400,
                "invalid key_size 31",
            ),
            (json!({"type": "hmac"}), 500, "between 32 and 512 bytes"),
            (
                json!({"type": "aes256-gcm96", "key_size": 32}),
                400,
                "not valid for algorithm",
            ),
        ] {
            let (found, answer) = ask(core, "root", "POST", "m/keys/k", &body);
            assert_eq!(found, status, "{body}");
            assert!(answer.to_string().contains(text), "{body}: {answer}");
        }
    });
}

#[test]
fn a_batch_whose_items_cannot_have_associated_data_is_answered_with_200() {
    both(|core| {
        root(core, "POST", "sys/mounts/m", &json!({"type": "transit"}));
        root(core, "POST", "m/keys/k", &json!({"type": "ed25519"}));
        let body = json!({"batch_input": [{"plaintext": "aGk=", "associated_data": "YWFk"}]});
        let answer = root(core, "POST", "m/encrypt/k", &body);
        let error = answer["data"]["batch_results"][0]["error"].as_str();
        assert!(error.is_some_and(|e| e.contains("non-AEAD")), "{answer}");
    });
}

#[test]
fn a_roles_single_address_counts_as_a_network_of_one() {
    both(|core| {
        root(
            core,
            "POST",
            "sys/auth/approle",
            &json!({"type": "approle"}),
        );
        let role = json!({"token_bound_cidrs": "127.0.0.1"});
        let path = "auth/approle/role/r";
        root(core, "POST", path, &role);
        let shown = root(core, "GET", path, &Value::Null);
        assert_eq!(shown["data"]["secret_id_bound_cidrs"], Value::Null);
        root(core, "POST", path, &json!({"secret_id_bound_cidrs": []}));
        let shown = root(core, "GET", path, &Value::Null);
        assert_eq!(shown["data"]["secret_id_bound_cidrs"], json!([]));
        let path = "auth/approle/role/r/secret-id";
        root(
            core,
            "POST",
            path,
            &json!({"token_bound_cidrs": ["127.0.0.1/32"]}),
        );
        let other = json!({"token_bound_cidrs": ["10.0.0.0/8"]});
        let answer = ask(core, "root", "POST", path, &other).1;
        assert!(answer.to_string().contains("127.0.0.1/32"), "{answer}");
    });
}

#[test]
fn a_quota_counts_what_is_redirected_and_not_what_cannot_be_printed() {
    both(|core| {
        root(core, "POST", "sys/mounts/m", &json!({"type": "transit"}));
        let quota = json!({"path": "m/", "rate": 1, "interval": "1h"});
        root(core, "POST", "sys/quotas/rate-limit/q", &quota);
        let mut get = |path: &str| ask(core, "root", "GET", path, &Value::Null).0;
        assert_eq!(get("m/keys/a%00"), 400);
        assert_eq!((get("m//keys/a"), get("m//keys/a")), (307, 429));
    });
}

#[test]
fn a_quota_that_logs_answers_twice_to_what_cannot_be_read() {
    both(|core| {
        root(core, "POST", "sys/mounts/m", &json!({"type": "transit"}));
        let quota = json!({"path": "m/", "rate": 1, "interval": "1h"});
        root(core, "POST", "sys/quotas/rate-limit/q", &quota);
        root(core, "POST", "m/keys/a", &json!({}));
        for (logs, lines) in [(false, 1), (true, 2)] {
            let config = json!({"enable_rate_limit_audit_logging": logs});
            root(core, "POST", "sys/quotas/config", &config);
            let mut request = Request::new("POST", "/v1/m/keys/a").token("root");
            request.body = "{".into();
            let response = core.handle(Duration::ZERO, &request);
            assert_eq!(response.status, 429);
            let text = String::from_utf8_lossy(&response.body).into_owned();
            assert_eq!(text.lines().count(), lines, "{text}");
        }
    });
}

#[test]
fn revoking_a_prefix_ends_the_tokens_below_it_segment_by_segment() {
    both(|core| {
        let (token, _) = login(core, &json!({"password": "pw"}));
        let child = token_of(core, &json!({"policies": ["default"]}));
        let looks = |core: &mut Core, token: &str| {
            ask(core, token, "GET", "auth/token/lookup-self", &Value::Null).0
        };
        let path = "sys/leases/revoke-prefix/auth/userpass";
        assert_eq!(
            ask(core, &child, "POST", path, &json!({})).0,
            403,
            "it needs sudo"
        );
        root(core, "POST", &format!("{path}/log"), &json!({}));
        assert_eq!(looks(core, &token), 200);
        let (status, answer) = ask(core, "root", "POST", path, &json!({"sync": false}));
        assert_eq!((status, answer), (202, Value::Null));
        assert_eq!((looks(core, &token), looks(core, &child)), (403, 200));
        assert_eq!(ask(core, "root", "LIST", path, &Value::Null).0, 405);
        let short = "sys/revoke-force/auth/userpass";
        let known = core.flavour() == Flavour::Vault;
        let found = ask(core, "root", "POST", short, &json!({})).0;
        assert_eq!(found, if known { 204 } else { 404 });
    });
}

#[test]
fn keys_rotate_by_themselves_at_the_first_look_after_their_period() {
    both(|core| {
        root(core, "POST", "sys/mounts/m", &json!({"type": "transit"}));
        let key = json!({"auto_rotate_period": "2h"});
        root(core, "POST", "m/keys/k", &key);
        root(core, "POST", "m/keys/other", &json!({}));
        let mut latest = |hours: f64, key: &str| {
            let request = Request::new("GET", &format!("/v1/m/keys/{key}")).token("root");
            let at = Duration::from_secs_f64(hours * 3600.0);
            core.handle(at, &request).json()["data"]["latest_version"].clone()
        };
        // looks at 0:01, 1:01, 2:01, and so on
        assert_eq!(latest(2.0, "k"), 1);
        assert_eq!(latest(2.1, "k"), 2);
        assert_eq!(latest(4.01, "k"), 2);
        assert_eq!(
            latest(5.1, "k"),
            3,
            "the second is from 2:01, so due after 4:01"
        );
        assert_eq!(latest(24.0 * 365.0 * 500.0, "other"), 1);
        for period in [json!("59m"), json!(10), json!(-5), json!("soon")] {
            let body = json!({"auto_rotate_period": period});
            let found = ask(core, "root", "POST", "m/keys/k/config", &body).0;
            assert_eq!(found, 400, "{period}");
        }
    });
}

#[test]
fn a_secret_id_is_granted_no_more_than_the_systems_lifetime() {
    both(|core| {
        root(
            core,
            "POST",
            "sys/auth/approle",
            &json!({"type": "approle"}),
        );
        let role = json!({"secret_id_ttl": "9000h"});
        root(core, "POST", "auth/approle/role/r", &role);
        let path = "auth/approle/role/r/secret-id";
        let made = root(core, "POST", path, &json!({}));
        assert_eq!(made["data"]["secret_id_ttl"], 2_764_800);
        let named = json!({"secret_id": made["data"]["secret_id"]});
        let found = root(core, "POST", &format!("{path}/lookup"), &named);
        assert_eq!(found["data"]["secret_id_ttl"], 32_400_000);
    });
}

//! The doctor names each precondition that is not met, on both server families.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sim_vault::{Action, Fault, Flavour, TokenSettings};
use vault_kubernetes_kms::config::{DoctorArgs, Sample};
use vault_kubernetes_kms::doctor::{Row, Verdict, examine_vault, exit_code, json as as_json, text};

use crate::world::{Host, SEED_POLICY, World, both};

pub async fn examined(world: &World, sample: Option<Sample>) -> Vec<Row> {
    let args = DoctorArgs {
        sample,
        ..DoctorArgs::default()
    };
    examine_vault(&world.config, &args, &world.env()).await
}

/// The row of this name must be like this; returns its texts.
#[track_caller]
pub fn check(rows: &[Row], name: &str, result: Verdict, part: &str) {
    let found = rows
        .iter()
        .find(|row| row.check == name && row.result == result && format!("{row:?}").contains(part));
    assert!(
        found.is_some(),
        "no {name} {result:?} with {part:?} in\n{}",
        text(rows)
    );
}

pub fn failed(rows: &[Row]) -> Vec<&str> {
    rows.iter()
        .filter(|row| row.result == Verdict::Failed)
        .map(|row| row.check.as_str())
        .collect()
}

#[test]
fn the_seeds_policy_on_a_sound_server_has_no_finding() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let rows = examined(&world, None).await;
        assert_eq!(exit_code(&rows), 0, "{}", text(&rows));
        for name in [
            "credentials",
            "address",
            "seal",
            "login",
            "token",
            "key",
            "key-type",
            "encrypt",
            "decrypt",
            "binding",
        ] {
            check(&rows, name, Verdict::Good, "");
        }
        // The in-memory network has no TLS.
        check(&rows, "tls", Verdict::Warning, "plain HTTP");
        assert_eq!(rows.len(), 11, "{}", text(&rows));
        assert_eq!(world.logins(), 1);
    });
}

#[test]
fn an_own_token_is_revoked_where_the_policy_allows() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let policy = format!(
            "{SEED_POLICY}\npath \"auth/token/revoke-self\" {{ capabilities = [\"update\"] }}"
        );
        world.vault.put_policy("kms", &policy).unwrap();
        assert_eq!(exit_code(&examined(&world, None).await), 0);
        assert_eq!(world.vault.live_tokens("kms"), 0);
    });
}

#[test]
fn without_lookup_self_nothing_is_wrong() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let policy = SEED_POLICY
            .lines()
            .filter(|line| !line.contains("lookup-self"));
        world
            .vault
            .put_policy("kms", &policy.collect::<Vec<_>>().join("\n"))
            .unwrap();
        let rows = examined(&world, None).await;
        check(&rows, "token", Verdict::Skipped, "does not need");
        assert_eq!(exit_code(&rows), 0, "{}", text(&rows));
    });
}

#[test]
fn each_missing_right_is_named_with_its_path() {
    both(|flavour| async move {
        for (path, row, capability) in [
            ("transit/keys/kms-key", "key", "read"),
            ("transit/encrypt/kms-key", "encrypt", "update"),
            ("transit/decrypt/kms-key", "decrypt", "update"),
        ] {
            let world = World::new(flavour);
            let policy = SEED_POLICY.lines().filter(|line| !line.contains(path));
            world
                .vault
                .put_policy("kms", &policy.collect::<Vec<_>>().join("\n"))
                .unwrap();
            let rows = examined(&world, None).await;
            check(
                &rows,
                row,
                Verdict::Failed,
                &format!("permission denied on {path}"),
            );
            check(&rows, row, Verdict::Failed, capability);
            check(&rows, row, Verdict::Failed, "vault-kubernetes-kms policy");
            assert_eq!(failed(&rows), [row]);
            assert_eq!(exit_code(&rows), 1);
        }
    });
}

#[test]
fn what_lies_on_the_way_is_named_first() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.network.put("vault.sim", 8200, Host::Refuses);
        let rows = examined(&world, None).await;
        check(&rows, "address", Verdict::Failed, "http://vault.sim:8200");
        check(&rows, "login", Verdict::Unknown, "address comes first");
        assert_eq!(exit_code(&rows), 1);

        let world = World::new(flavour);
        world.network.put("vault.sim", 8200, Host::Silent);
        let rows = examined(&world, None).await;
        check(
            &rows,
            "address",
            Verdict::Failed,
            "no connection within 5000 ms",
        );

        let world = World::new(flavour);
        world.vault.seal();
        let rows = examined(&world, None).await;
        check(&rows, "seal", Verdict::Failed, "unseal it");

        let world = World::new(flavour);
        world.vault.freeze();
        let rows = examined(&world, None).await;
        check(&rows, "tls", Verdict::Failed, "no answer");

        let world = World::new(flavour);
        let elsewhere = "http://elsewhere.sim:8200/v1/auth/approle/login".to_owned();
        world.vault.fault(Fault::on(
            "/v1/auth/approle/login",
            Action::Redirect307(elsewhere),
        ));
        let rows = examined(&world, None).await;
        check(
            &rows,
            "login",
            Verdict::Failed,
            "redirects to http://elsewhere.sim:8200",
        );
        check(&rows, "key", Verdict::Unknown, "");
    });
}

#[test]
fn bad_credentials_are_told_apart() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.files.remove("/creds/secret-id");
        let rows = examined(&world, None).await;
        check(&rows, "credentials", Verdict::Failed, "/creds/secret-id");
        check(&rows, "login", Verdict::Unknown, "credentials");
        check(&rows, "seal", Verdict::Good, "");

        let world = World::new(flavour);
        world.files.write("/creds/secret-id", "canary-wrong");
        let rows = examined(&world, None).await;
        check(&rows, "login", Verdict::Failed, "rejected");
        assert!(!text(&rows).contains("canary") && !as_json(&rows).contains("canary"));
    });
}

#[test]
fn tokens_that_will_not_last_are_named() {
    both(|flavour| async move {
        let token = |settings: TokenSettings| {
            let mut world = World::new(flavour);
            let token = world.vault.create_token(&settings);
            world.use_token(&token);
            world
        };
        let kms = || TokenSettings {
            policies: vec!["kms".to_owned()],
            ttl: Duration::from_secs(7200),
            ..TokenSettings::default()
        };
        let rows = examined(&token(kms()), None).await;
        check(&rows, "token", Verdict::Good, "can be renewed");

        let rows = examined(
            &token(TokenSettings {
                num_uses: 50,
                ..kms()
            }),
            None,
        )
        .await;
        check(&rows, "token", Verdict::Failed, "uses");

        let rows = examined(
            &token(TokenSettings {
                not_renewable: true,
                ..kms()
            }),
            None,
        )
        .await;
        check(&rows, "token", Verdict::Warning, "cannot be renewed");

        let limit = Duration::from_secs(9000);
        let rows = examined(
            &token(TokenSettings {
                explicit_max_ttl: limit,
                ..kms()
            }),
            None,
        )
        .await;
        check(
            &rows,
            "token",
            Verdict::Warning,
            "ends 9000 s after its creation",
        );

        let mut world = World::new(flavour);
        let root = world.vault.root_token();
        world.use_token(&root);
        check(
            &examined(&world, None).await,
            "token",
            Verdict::Warning,
            "root token",
        );

        let world = World::new(flavour);
        world.role(json!({ "token_ttl": "20s" }));
        check(
            &examined(&world, None).await,
            "token",
            Verdict::Warning,
            "lives 20 s only",
        );
    });
}

#[test]
fn bug_030_unfit_keys_are_named() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.place.key = "kms-kye".to_owned();
        let policy = SEED_POLICY.replace("kms-key", "kms-kye");
        world.vault.put_policy("kms", &policy).unwrap();
        let rows = examined(&world, None).await;
        check(&rows, "key", Verdict::Failed, "key not found: kms-kye");
        check(&rows, "encrypt", Verdict::Unknown, "key");

        let world = World::new(flavour);
        assert!(world.vault.delete_key("transit", "kms-key"));
        let hmac = json!({ "type": "hmac", "key_size": 32 });
        world.vault.admin("POST", "transit/keys/kms-key", &hmac);
        check(
            &examined(&world, None).await,
            "key-type",
            Verdict::Failed,
            "has type hmac",
        );

        let world = World::new(flavour);
        assert!(world.vault.delete_key("transit", "kms-key"));
        let derived = json!({ "type": "aes256-gcm96", "derived": true });
        world.vault.admin("POST", "transit/keys/kms-key", &derived);
        check(
            &examined(&world, None).await,
            "key-type",
            Verdict::Failed,
            "derived",
        );
    });
}

#[test]
fn a_server_that_ignores_associated_data_is_refused() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let plaintext = STANDARD.encode("vault-kubernetes-kms doctor text");
        let answer = json!({ "data": { "plaintext": plaintext } }).to_string();
        let action = Action::Status {
            code: 200,
            body: answer.into(),
            headers: vec![],
        };
        world.vault.fault(Fault::on("/v1/transit/decrypt/", action));
        let rows = examined(&world, None).await;
        check(&rows, "decrypt", Verdict::Good, "");
        check(&rows, "binding", Verdict::Failed, "not bound to its key_id");
        assert_eq!(exit_code(&rows), 1);
    });
}

/// On community Vault the header is echoed and ignored, so a typing error in it shows nowhere.
#[test]
fn a_namespace_that_the_server_ignores_is_a_failure() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.vault.namespace = "admin".to_owned();
        world.config.vault.auth_namespace = "admin".to_owned();
        world.config.place.namespace = "admin".to_owned();
        if flavour == Flavour::Vault {
            let rows = examined(&world, None).await;
            check(
                &rows,
                "namespace",
                Verdict::Failed,
                "everything runs in the root namespace",
            );
            assert_eq!(failed(&rows), ["namespace"]);
            return;
        }
        let rows = examined(&world, None).await;
        check(&rows, "login", Verdict::Failed, "no such namespace");

        assert!(world.vault.create_namespace("admin"));
        world.move_to_namespace("admin");
        let rows = examined(&world, None).await;
        check(&rows, "namespace", Verdict::Good, "admin is used");
        assert_eq!(exit_code(&rows), 0, "{}", text(&rows));
    });
}

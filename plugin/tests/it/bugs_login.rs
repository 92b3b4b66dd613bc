//! Public bug reports about logins, roles and credentials, each as the smallest input that shows it.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Fault, Flavour, TokenSettings};
use tokio::time::Instant;
use tonic::Code;
use vault_kubernetes_kms::config::{Auth, Credential};

use crate::world::{SEED_POLICY, World, both, raw_answer, seconds};

/// A token bound to other addresses logs in well and then fails: logins that do not help are held back.
#[test]
fn bug_009_logins_that_do_not_help_are_held_back() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.role(json!({ "token_bound_cidrs": ["192.0.2.0/24"] }));
        let mut running = world.start().await;
        for _ in 0..3600 {
            assert!(running.client.encrypt(&[2; 32]).await.is_err());
            seconds(1).await;
        }
        assert!(world.logins() <= 30, "{} logins in an hour", world.logins());
        let status = running
            .client
            .status()
            .await
            .expect_err("no token is accepted");
        assert!(status.message().contains("token"), "{}", status.message());
    });
}

/// A rejected credential is a state of its own: the token in use is kept to its end, the file is
/// looked at, and no retries lock the role for every node.
#[test]
fn bug_010_a_rejected_credential_is_not_an_outage() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.role(json!({ "token_ttl": "6h" }));
        let mut running = world.start_good().await;
        seconds(60).await;
        let good = world.vault.secret_id("approle", "kms");
        world.files.write("/creds/secret-id", "dead-secret-id");
        seconds(5 * 3600).await;
        // The login before expiry has been refused; the token still lives.
        running.client.round_trip(&[1; 32]).await;
        let refused = world
            .vault
            .log()
            .iter()
            .filter(|r| r.path.contains("login") && r.status == Some(400))
            .count();
        assert!(
            (1..=12).contains(&refused),
            "{refused} refused logins in five hours"
        );
        seconds(3600).await;
        let status = running
            .client
            .status()
            .await
            .expect_err("the token is over");
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(
            status.message().contains("credential is rejected"),
            "{}",
            status.message()
        );
        world.files.write("/creds/secret-id", &good);
        running
            .client
            .wait_good(10)
            .await
            .expect("the changed file ends the pause");
        running.client.round_trip(&[1; 32]).await;
    });
}

/// Every request, login included, carries the namespace, however it was spelt.
#[test]
fn bug_013_the_login_goes_to_the_namespace() {
    let runtime = crate::world::virtual_time();
    runtime.block_on(async {
        let mut world = World::new(Flavour::OpenBao);
        assert!(
            world.vault.create_namespace("admin") && world.vault.create_namespace("admin/team-a")
        );
        let ns = "admin/team-a";
        world.move_to_namespace(ns);
        // Without the namespace the role id is unknown; the error names the namespace in use.
        let mut lost = world.start().await;
        seconds(2).await;
        let error = lost.client.status().await.expect_err("wrong namespace");
        assert!(
            error.message().contains("root namespace"),
            "{}",
            error.message()
        );
        lost.stop().await;

        world.config.vault.namespace = ns.into();
        world.config.vault.auth_namespace = ns.into();
        world.config.place.namespace = ns.into();
        world.vault.clear_log();
        let mut running = world.start_good().await;
        running.client.round_trip(&[1; 32]).await;
        running.stop().await;
        assert!(
            world
                .vault
                .log()
                .iter()
                .all(|r| r.namespace.trim_matches('/') == ns),
            "each request carries it"
        );
    });
}

/// A lagging standby is asked again inside the deadline; a login would only make it worse.
#[test]
fn bug_015_a_brand_new_token_on_a_lagging_standby() {
    both(|flavour| async move {
        // OpenBao says 429 without a text, Vault Enterprise 412.
        let lag = || match flavour {
            Flavour::OpenBao => raw_answer(429, r#"{"errors":[]}"#),
            Flavour::Vault => raw_answer(412, r#"{"errors":["required index state not present"]}"#),
        };
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        world
            .vault
            .fault(Fault::on("/v1/transit/encrypt", lag()).times(2));
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect("the third try is good");
        let lagging = world.vault.fault(Fault::on("/v1/transit/encrypt", lag()));
        let began = Instant::now();
        let error = running
            .client
            .encrypt(&[1; 32])
            .await
            .expect_err("it never catches up");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(3));
        assert!(world.vault.hits(lagging) < 12, "asked in growing pauses");
        assert_eq!(world.logins(), 1);
        world.vault.clear(lagging);
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect("the token is kept");
        assert_eq!(world.logins(), 1);
    });
}

/// A live token without rights: credentials are read again, logins are paced, Status names the path.
#[test]
fn bug_016_the_wrong_identity_is_not_kept_until_it_expires() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let right = ["/creds/role-id", "/creds/secret-id"];
        let (role_id, secret_id) = world.vault.approle(
            "approle",
            "node",
            &json!({ "token_no_default_policy": true, "token_ttl": "1h" }),
        );
        let good = world.vault.approle(
            "approle",
            "kms",
            &json!({ "token_policies": ["kms"], "token_no_default_policy": true }),
        );
        world.files.write(right[0], &role_id);
        world.files.write(right[1], &secret_id);
        let mut running = world.start().await;
        seconds(20).await;
        let error = running.client.status().await.expect_err("no rights");
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(
            error
                .message()
                .contains("permission denied on transit/keys/kms-key"),
            "{}",
            error.message()
        );
        assert!(world.logins() <= 5, "{} logins in 20 s", world.logins());
        world.files.write(right[0], &good.0);
        world.files.write(right[1], &good.1);
        running
            .client
            .wait_good(30)
            .await
            .expect("the right role is picked up");
        running.client.round_trip(&[1; 32]).await;
    });
}

/// The role is given its policy later: only a new login carries it.
#[test]
fn bug_016_a_role_that_gets_its_policy_later_heals() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.vault.approle("approle", "kms", &json!({ "token_policies": ["none"], "token_no_default_policy": true, "token_ttl": "1h" }));
        let mut running = world.start().await;
        seconds(3).await;
        running.client.status().await.expect_err("no rights");
        world.vault.admin(
            "POST",
            "auth/approle/role/kms",
            &json!({ "token_policies": ["kms"] }),
        );
        running
            .client
            .wait_good(30)
            .await
            .expect("a new login carries the policy");
    });
}

/// The seed's policy, to the letter, with and without its lookup-self stanza.
#[test]
fn bug_017_the_seeds_policy_is_enough() {
    both(|flavour| async move {
        for lookup in [true, false] {
            let world = World::new(flavour);
            let policy = if lookup {
                SEED_POLICY.to_owned()
            } else {
                let end = SEED_POLICY.find("path \"auth/").expect("its last stanza");
                SEED_POLICY[..end].to_owned()
            };
            world.vault.put_policy("kms", &policy).expect("policy");
            world.role(json!({ "token_ttl": "120s" }));
            let mut running = world.start_good().await;
            for _ in 0..600 {
                running
                    .client
                    .encrypt(&[1; 32])
                    .await
                    .expect("never fails in ten minutes");
                seconds(1).await;
            }
            assert!(
                (5..=12).contains(&world.logins()),
                "{} logins",
                world.logins()
            );
            assert_eq!(world.told.count("may not renew itself"), 1, "warned once");
            assert!(
                world.vault.count("/v1/auth/token/renew-self") <= 1,
                "a refused renewal is not repeated"
            );
        }
    });
}

/// The same with a static token, which nobody can log in for.
#[test]
fn bug_017_a_static_token_works_without_lookup_self() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world
            .vault
            .put_policy(
                "bare",
                SEED_POLICY
                    .split("path \"auth/")
                    .next()
                    .expect("first stanzas"),
            )
            .expect("policy");
        let token = world.vault.create_token(&TokenSettings {
            policies: vec!["bare".into()],
            no_default_policy: true,
            ttl: Duration::from_secs(24 * 3600),
            ..TokenSettings::default()
        });
        world.use_token(&token);
        let mut running = world.start_good().await;
        seconds(600).await;
        running.client.round_trip(&[1; 32]).await;
    });
}

/// A token file is replaced as the kubelet does it; then the old token dies.
#[test]
fn bug_020_a_token_minted_on_disk_is_picked_up() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let mint = |world: &World| {
            world.vault.create_token(&TokenSettings {
                policies: vec!["kms".into()],
                no_default_policy: true,
                ..TokenSettings::default()
            })
        };
        let (a, b) = (mint(&world), mint(&world));
        world.use_token(&a);
        let mut running = world.start_good().await;
        seconds(100).await;
        world.files.write("/creds/token", &b);
        world.vault.revoke_token(&a);
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect("read again, retried once");
        world.vault.revoke_token(&b);
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect_err("both are dead");
        seconds(5).await;
        let error = running.client.status().await.expect_err("rejected");
        assert!(
            error.message().contains("token rejected"),
            "{}",
            error.message()
        );
        assert_eq!(error.code(), Code::FailedPrecondition);
        world.vault.clear_log();
        seconds(600).await;
        assert!(
            world.vault.count("/v1/auth/token/lookup-self") <= 15,
            "the unchanged file is not tried for ever"
        );
        world.files.write("/creds/token", &mint(&world));
        running
            .client
            .wait_good(10)
            .await
            .expect("a live one in its place");
    });
}

/// A locked-out or misplaced login is told apart from an outage, and not repeated in a storm.
#[test]
fn a_login_that_is_refused_says_where_to_look() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.auth = Auth::Userpass {
            mount: "userpass".into(),
            username: Credential::File("/creds/user".into()),
            password: Credential::File("/creds/password".into()),
        };
        world.files.write("/creds/user", "alice");
        world.files.write("/creds/password", " with blanks ");
        let mut running = world.start().await;
        seconds(300).await;
        let error = running.client.status().await.expect_err("no such mount");
        assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
        assert!(
            error.message().contains("auth/userpass/login/alice"),
            "{}",
            error.message()
        );
        assert!(world.logins() <= 12, "{}", world.logins());
        world.vault.userpass(
            "userpass",
            "alice",
            " with blanks ",
            &json!({ "token_policies": ["kms"], "token_no_default_policy": true }),
        );
        running.plugin.reload();
        running
            .client
            .wait_good(5)
            .await
            .expect("SIGHUP ends the pause");
    });
}

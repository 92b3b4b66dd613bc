//! Public bug reports about logins and tokens, each as the smallest input that shows it.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault, Flavour, Hook, TokenSettings};
use tokio::time::Instant;
use tonic::Code;
use vault_kubernetes_kms::config::{Auth, Credential};

use crate::world::{World, both, seconds};

fn answer(code: u16, body: &'static str) -> Action {
    Action::Status {
        code,
        body: body.into(),
        headers: Vec::new(),
    }
}

fn seed_policy_and(path: &str) -> String {
    format!(
        "{}\npath \"{path}\" {{ capabilities = [\"update\"] }}",
        crate::world::SEED_POLICY
    )
}

fn sealed() -> Action {
    answer(503, r#"{"errors":["Vault is sealed"]}"#)
}

/// A token that dies while its renewal hangs: the first refusal logs in, once, and retries the call.
#[test]
fn bug_001_a_dead_token_is_replaced_inside_the_call_that_met_it() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world
            .vault
            .put_policy("kms", &seed_policy_and("auth/token/renew-self"))
            .expect("policy");
        world.role(json!({ "token_ttl": "60s" }));
        let mut running = world.start_good().await;
        let old = running.client.round_trip(&[1; 32]).await;
        world.vault.fault(Fault::on(
            "/v1/auth/token/renew-self",
            Action::Delay(Duration::from_secs(2)),
        ));
        seconds(3).await;
        world.vault.revoke_all_tokens_of("approle");
        let before = world.logins();
        running.client.status().await.expect("nothing is known yet");
        running
            .client
            .encrypt(&[2; 32])
            .await
            .expect("one login, one retry");
        assert_eq!(
            running
                .client
                .decrypt(&old)
                .await
                .expect("old data")
                .plaintext,
            vec![1; 32]
        );
        assert_eq!(world.logins() - before, 1);
        running.client.status().await.expect("good");
    });
}

/// Renewals that succeed without extending: the returned lease decides, not the success.
#[test]
fn bug_002_a_login_comes_before_the_max_ttl_cliff() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world
            .vault
            .put_policy("kms", &seed_policy_and("auth/token/renew-self"))
            .expect("policy");
        world.role(json!({ "token_ttl": "60s", "token_max_ttl": "150s" }));
        let mut running = world.start_good().await;
        for _ in 0..90 {
            running
                .client
                .encrypt(&[2; 32])
                .await
                .expect("no call fails");
            seconds(5).await;
        }
        assert!(
            (3..=6).contains(&world.logins()),
            "{} logins",
            world.logins()
        );
        assert!(
            world.vault.count("/v1/auth/token/renew-self") >= 3,
            "it did renew"
        );
        assert!(
            world.vault.log().iter().all(|r| r.status != Some(403)),
            "no token was used past its end"
        );
    });
}

/// Renewal is planned from the real TTL, whatever the latency.
#[test]
fn bug_004_renewal_does_not_race_the_ttl() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world
            .vault
            .put_policy("kms", &seed_policy_and("auth/token/renew-self"))
            .expect("policy");
        world.role(json!({ "token_ttl": "60s", "token_max_ttl": "24h" }));
        world.vault.advance(Duration::from_secs(2));
        let mut running = world.start_good().await;
        world.vault.fault(Fault::on(
            "/v1/auth/token/renew-self",
            Action::Delay(Duration::from_millis(300)),
        ));
        for _ in 0..600 {
            running
                .client
                .encrypt(&[2; 32])
                .await
                .expect("no call fails");
            seconds(1).await;
        }
        assert_eq!(world.logins(), 1);
        assert!(world.vault.count("/v1/auth/token/renew-self") >= 10);
    });
}

/// An outage does not cost a token that is good for hours; its secret-id could not buy another.
#[test]
fn bug_006_no_token_is_thrown_away_because_the_server_was_away() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world
            .vault
            .put_policy("kms", &seed_policy_and("auth/token/renew-self"))
            .expect("policy");
        world
            .role(json!({ "token_ttl": "3600s", "token_max_ttl": "24h", "secret_id_num_uses": 1 }));
        let mut running = world.start_good().await;
        seconds(1800).await;
        let outage = world.vault.fault(Fault::on("/v1/", sealed()));
        running
            .client
            .wait_bad(30)
            .await
            .expect("Status shows the outage");
        seconds(85).await;
        world.vault.clear(outage);
        running
            .client
            .wait_good(20)
            .await
            .expect("recovers unattended");
        running.client.round_trip(&[1; 32]).await;
        seconds(1800).await;
        running.client.round_trip(&[1; 32]).await;
        assert_eq!(world.logins(), 1, "a second login would have failed");
    });
}

/// Batch tokens: never renewed, and a failing login is backed off, for all callers together.
#[test]
fn bug_007_expired_batch_tokens_cause_no_login_storm() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.role(json!({ "token_type": "batch", "token_ttl": "120s" }));
        let mut running = world.start_good().await;
        seconds(50).await;
        let away = world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", sealed()));
        let before = world.logins();
        let mut failed = 0;
        for _ in 0..300 * 5 {
            let call = running.client.encrypt(&[2; 32]);
            failed += usize::from(call.await.is_err());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(failed > 100, "the token did end");
        let attempts = world.logins() - before;
        assert!(attempts <= 22, "{attempts} logins in five minutes");
        world.vault.clear(away);
        running
            .client
            .wait_good(75)
            .await
            .expect("within one back-off step");
        running.client.round_trip(&[1; 32]).await;
        assert_eq!(world.vault.count("/v1/auth/token/renew-self"), 0);
    });
}

/// One login serves an hour of calls, and the token is revoked at a clean stop.
#[test]
fn bug_009_leases_do_not_pile_up() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world
            .vault
            .put_policy("kms", &seed_policy_and("auth/token/revoke-self"))
            .expect("policy");
        world.role(json!({ "token_ttl": "768h" }));
        let mut running = world.start_good().await;
        for _ in 0..1000 {
            let sealed = running.client.encrypt(&[2; 32]).await.expect("encrypt");
            running.client.decrypt(&sealed).await.expect("decrypt");
            tokio::time::sleep(Duration::from_millis(3600)).await;
        }
        assert_eq!(world.logins(), 1);
        assert_eq!(world.vault.live_tokens("kms"), 1);
        let took = running.stop().await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(world.vault.live_tokens("kms"), 0, "revoked on a clean stop");
    });
}

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
        world.vault.admin_in(
            ns,
            "POST",
            "sys/mounts/transit",
            &json!({ "type": "transit" }),
        );
        world.vault.admin_in(
            ns,
            "POST",
            "transit/keys/kms-key",
            &json!({ "type": "aes256-gcm96" }),
        );
        world
            .vault
            .put_policy_in(ns, "kms", crate::world::SEED_POLICY)
            .expect("policy");
        world.vault.admin_in(
            ns,
            "POST",
            "sys/auth/approle",
            &json!({ "type": "approle" }),
        );
        world.vault.admin_in(
            ns,
            "POST",
            "auth/approle/role/kms",
            &json!({ "token_policies": ["kms"], "token_no_default_policy": true }),
        );
        let id = world
            .vault
            .admin_in(ns, "GET", "auth/approle/role/kms/role-id", &json!(null))
            .1;
        let secret = world
            .vault
            .admin_in(ns, "POST", "auth/approle/role/kms/secret-id", &json!({}))
            .1;
        world.files.write(
            "/creds/role-id",
            id["data"]["role_id"].as_str().expect("role id"),
        );
        world.files.write(
            "/creds/secret-id",
            secret["data"]["secret_id"].as_str().expect("secret id"),
        );
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
            Flavour::OpenBao => answer(429, r#"{"errors":[]}"#),
            Flavour::Vault => answer(412, r#"{"errors":["required index state not present"]}"#),
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
                crate::world::SEED_POLICY.to_owned()
            } else {
                let end = crate::world::SEED_POLICY
                    .find("path \"auth/")
                    .expect("its last stanza");
                crate::world::SEED_POLICY[..end].to_owned()
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
                crate::world::SEED_POLICY
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
            world.vault.count("/v1/auth/token/lookup-self") <= 10,
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

/// Tokens change under running calls: each request carries one whole token, and no call is lost.
#[test]
fn bug_022_calls_survive_a_token_that_changes_under_them() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let running = world.start_good().await;
        let calls: Vec<_> = (0..24_u8)
            .map(|n| {
                let mut client = running.client.clone();
                tokio::spawn(async move {
                    let began = Instant::now();
                    while began.elapsed() < Duration::from_secs(2) {
                        client.round_trip(&[n; 32]).await;
                        tokio::time::sleep(Duration::from_millis(7)).await;
                    }
                })
            })
            .collect();
        // Every token is revoked 50 ms after it was given.
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.vault.revoke_all_tokens_of("approle");
        }
        for call in calls {
            call.await.expect("no call is lost");
        }
        assert!(world.logins() >= 20);
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

/// A token that is revoked right after its login: the call that waited for it fails after its one
/// retry, and the next login is paced, since nobody has ever used the last one's token.
#[test]
fn a_token_revoked_right_after_its_login_causes_no_storm() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let revoking = Hook::new(|core| {
            assert_eq!(core.kill_tokens_of("approle"), 1, "the new token");
        });
        let revoked = world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", Action::Then(revoking)).times(1));
        world.vault.revoke_all_tokens_of("approle");
        let error = running
            .client
            .encrypt(&[1; 32])
            .await
            .expect_err("neither token lives");
        assert_eq!(world.vault.hits(revoked), 1);
        let message = error.message();
        assert!(message.contains("even after a new login"), "{message}");
        for _ in 0..30 {
            running.client.encrypt(&[1; 32]).await.expect_err("paced");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(world.logins(), 2, "one at once, no other for 4 s");
        seconds(4).await;
        running.client.round_trip(&[1; 32]).await;
        assert_eq!(world.logins(), 3);
        running.client.status().await.expect("good");
    });
}

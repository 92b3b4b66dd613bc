//! Rules of the token keeper that no public bug report stands for: what it does in the seconds
//! between a login, a refusal and the next login.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault, Flavour, TokenSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Code;

use crate::world::{Host, SEED_POLICY, World, answer, both, seconds};

fn mint(world: &World, ttl: u64) -> String {
    world.vault.create_token(&TokenSettings {
        policies: vec!["kms".into()],
        ttl: Duration::from_secs(ttl),
        no_default_policy: true,
        ..TokenSettings::default()
    })
}

/// A token that was never accepted dies while its replacement is under way: who needs one waits
/// for it instead of being turned away.
#[test]
fn a_login_under_way_is_waited_for() {
    both(|flavour| async move {
        let world = World::new(flavour);
        // The first token is denied everything, so a second login follows; it takes two seconds.
        let policy = r#"path "elsewhere" { capabilities = ["read"] }"#;
        world.vault.put_policy("kms", policy).expect("policy");
        let slow = Action::Delay(Duration::from_secs(2));
        world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", slow).after(1));
        let mut running = world.start().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.vault.put_policy("kms", SEED_POLICY).expect("policy");
        assert_eq!(world.vault.revoke_all_tokens_of("approle"), 1);
        let took = running.client.wait_good(10).await.expect("good");
        assert!(took < Duration::from_millis(1800), "{took:?}");
        assert_eq!(world.logins(), 2);
    });
}

/// The file is replaced while its old content is being refused.
#[test]
fn a_credential_that_changes_during_its_own_login_is_tried_at_once() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let good = world.vault.secret_id("approle", "kms");
        world.files.write("/creds/secret-id", "expired-long-ago");
        let slow = Action::Delay(Duration::from_secs(2));
        world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", slow).times(1));
        let mut running = world.start().await;
        seconds(1).await;
        world.files.write("/creds/secret-id", &good);
        running
            .client
            .wait_good(5)
            .await
            .expect("no pause of 15 min");
        assert_eq!(world.logins(), 2);
    });
}

/// A reload reads the file, and so does the next look at it: one try at once, since five refusals
/// lock the role for every node.
#[test]
fn bug_010_a_changed_credential_is_tried_once() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.files.write("/creds/secret-id", "expired-long-ago");
        let running = world.start().await;
        seconds(10).await;
        assert_eq!(world.logins(), 1);
        world.files.write("/creds/secret-id", "another-dead-one");
        running.plugin.reload();
        seconds(25).await;
        assert_eq!(world.logins(), 2, "after the reload");
        world.files.write("/creds/secret-id", "a-third");
        seconds(25).await;
        assert_eq!(world.logins(), 3, "without any");
    });
}

/// A static token whose file has changed is taken up although the old one still lives.
#[test]
fn bug_020_a_changed_token_file_is_taken_up_before_the_old_token_dies() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let (old, new) = (mint(&world, 3600), mint(&world, 3600));
        world.use_token(&old);
        let mut running = world.start_good().await;
        world.files.write("/creds/token", &new);
        seconds(25).await;
        assert!(world.vault.revoke_token(&old));
        running.client.round_trip(&[1; 32]).await;
        let refused = world.vault.log().iter().any(|r| r.status == Some(403));
        assert!(!refused, "no call had to meet the old token's end");
    });
}

/// A dead static token is told apart from one that was just put there.
#[test]
fn a_dead_token_says_whether_its_file_has_changed() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let token = mint(&world, 3600);
        world.use_token(&token);
        let mut running = world.start_good().await;
        world.vault.revoke_token(&token);
        running.client.encrypt(&[1; 32]).await.expect_err("dead");
        seconds(1).await;
        let error = running.client.encrypt(&[1; 32]).await.expect_err("dead");
        let message = error.message();
        assert!(message.contains("unchanged since"), "{message}");
        world.files.write("/creds/token", "hvs.another-dead-token");
        running.plugin.reload();
        seconds(1).await;
        let error = running.client.encrypt(&[1; 32]).await.expect_err("dead");
        let message = error.message();
        assert!(message.contains("token rejected;"), "{message}");
    });
}

/// A static token belongs to somebody else: it is not revoked at a stop.
#[test]
fn bug_009_a_static_token_outlives_the_plugin() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.may_also("auth/token/revoke-self");
        let token = mint(&world, 3600);
        world.use_token(&token);
        world.start_good().await.stop().await;
        assert!(world.vault.revoke_token(&token), "it still lived");
    });
}

/// Nobody calls, and the renewal is the first to hear that the token is dead.
#[test]
fn bug_001_a_renewal_that_meets_a_dead_token_logs_in_at_once() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.may_also("auth/token/renew-self");
        world.role(json!({ "token_ttl": "20s" }));
        let mut running = world.start_good().await;
        world.vault.revoke_all_tokens_of("approle");
        tokio::time::sleep(Duration::from_millis(13_300)).await;
        assert_eq!(world.vault.count("/v1/auth/token/renew-self"), 1);
        assert_eq!(world.logins(), 2, "before the next probe");
        running.client.round_trip(&[1; 32]).await;
    });
}

/// A 500 that says that the lease cannot grow is no outage: it is not asked for again.
#[test]
fn bug_002_a_lease_at_its_end_is_not_renewed_again_and_again() {
    both(|flavour| async move {
        for text in ["past the max TTL", "failed to renew entry"] {
            let world = World::new(flavour);
            world.may_also("auth/token/renew-self");
            world.role(json!({ "token_ttl": "60s" }));
            let mut running = world.start_good().await;
            let refused = world
                .vault
                .fault(Fault::on("/v1/auth/token/renew-self", answer(500, text)));
            seconds(59).await;
            assert_eq!(world.vault.hits(refused), 1, "{text}");
            assert_eq!(world.logins(), 2, "before the end");
            running.client.round_trip(&[1; 32]).await;
        }
    });
}

/// While the old token lives, a failing login is nothing that needs the server looked at.
#[test]
fn a_failing_login_beside_a_live_token_costs_no_other_request() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.role(json!({ "token_ttl": "120s" }));
        let mut running = world.start_good().await;
        let sealed = answer(503, "Vault is sealed");
        let failing = world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", sealed));
        seconds(115).await;
        assert!(world.vault.hits(failing) >= 3);
        assert_eq!(world.vault.count("/v1/sys/health"), 0);
        running.client.round_trip(&[1; 32]).await;
    });
}

/// A bare refusal of a young token is asked about once more, since the node may lag; a certain one
/// or one of an old token is not.
#[test]
fn only_a_young_token_gets_a_second_look() {
    both(|flavour| async move {
        for (age, looks) in [(1, 2), (3, 1)] {
            // Vault says beyond doubt that a token is dead.
            let looks = if flavour == Flavour::Vault { 1 } else { looks };
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            seconds(age).await;
            world.vault.revoke_all_tokens_of("approle");
            world.vault.clear_log();
            let began = Instant::now();
            running.client.encrypt(&[1; 32]).await.expect("a new token");
            let asked = world.vault.count("/v1/transit/encrypt/");
            assert_eq!(asked, looks + 1, "age {age} s");
            assert_eq!(
                began.elapsed() > Duration::from_millis(40),
                looks > 1,
                "{:?}",
                began.elapsed()
            );
        }
    });
}

/// Callers hear at once why there is no token, and in an outage that it will pass.
#[test]
fn a_held_back_login_is_named_and_classed() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.role(json!({ "token_ttl": "60s" }));
        let mut running = world.start_good().await;
        let sealed = answer(503, "Vault is sealed");
        world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", sealed));
        seconds(62).await;
        let error = running
            .client
            .encrypt(&[1; 32])
            .await
            .expect_err("no token");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert!(error.message().contains("sealed"), "{error:?}");
    });
}

/// Everything that goes to the server, as text.
fn overhear(world: &World) -> Arc<Mutex<String>> {
    let heard = Arc::new(Mutex::new(String::new()));
    let (sender, mut accepted) = mpsc::unbounded_channel();
    world.network.put("vault.sim", 8200, Host::Raw(sender));
    let (vault, text) = (world.vault.clone(), heard.clone());
    tokio::spawn(async move {
        while let Some(client) = accepted.recv().await {
            let (vault, text) = (vault.clone(), text.clone());
            let (near, far) = tokio::io::duplex(256 * 1024);
            tokio::spawn(async move { vault.serve_io(far, [10, 0, 0, 1].into()).await });
            let (mut from_client, mut to_client) = tokio::io::split(client);
            let (mut from_server, mut to_server) = tokio::io::split(near);
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    let bytes = &buffer[..length];
                    text.lock()
                        .expect("no panic")
                        .push_str(&String::from_utf8_lossy(bytes));
                    to_server.write_all(bytes).await.expect("it reads");
                }
            });
        }
    });
    heard
}

/// The index of a login goes with what follows, so that a node that lags behind says so instead of
/// refusing a token that it does not know yet; the key document's follows it.
#[test]
fn bug_015_requests_carry_the_index_of_the_login_and_of_the_key() {
    crate::world::virtual_time().block_on(async {
        let mut world = World::new(Flavour::OpenBao);
        world.vault = sim_vault::SimVault::new(sim_vault::Options {
            storage: sim_vault::Storage::Raft,
            ..sim_vault::Options::default()
        });
        world.vault.unseal();
        assert!(world.vault.create_key("transit", "kms-key", "aes256-gcm96"));
        world.vault.put_policy("kms", SEED_POLICY).expect("policy");
        world.role(json!({}));
        let heard = overhear(&world);
        let mut running = world.start_good().await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        seconds(21).await;
        running.client.round_trip(&[1; 32]).await;
        let heard = heard.lock().expect("no panic").to_lowercase();
        let mut sent = heard.split("/v1/").skip(1);
        let login = sent.next().expect("a request");
        assert!(login.starts_with("auth/approle/login"), "{login}");
        assert!(!login.contains("x-vault-index"), "nothing is known yet");
        let index = |request: &str| {
            let value = request.split("x-vault-index: ").nth(1)?;
            value.lines().next().map(str::to_owned)
        };
        let indices: Vec<_> = sent.map(index).collect();
        assert!(indices.iter().all(Option::is_some), "{indices:?}");
        assert_ne!(indices.first(), indices.last(), "that of the newer key");
    });
}

/// A policy that is given back heals the token in use: the login that was planned is not made.
#[test]
fn bug_016_a_right_that_came_back_needs_no_login() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.role(json!({ "token_ttl": "24h" }));
        let mut running = world.start_good().await;
        let without = SEED_POLICY.replace("transit/decrypt/", "elsewhere/decrypt/");
        world.vault.put_policy("kms", &without).expect("policy");
        running.client.wait_bad(25).await.expect("it shows");
        seconds(30).await;
        let logins = world.logins();
        assert!((2..=5).contains(&logins), "{logins}");
        world.vault.put_policy("kms", SEED_POLICY).expect("policy");
        running.client.wait_good(10).await.expect("heals");
        seconds(1200).await;
        assert_eq!(world.logins(), logins);
    });
}

//! Public bug reports about the lives of tokens, each as the smallest input that shows it.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault, Hook};
use tokio::time::Instant;

use crate::world::{World, both, sealed, seconds};

/// A token that dies while its renewal hangs: the first refusal logs in, once, and retries the call.
#[test]
fn bug_001_a_dead_token_is_replaced_inside_the_call_that_met_it() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.may_also("auth/token/renew-self");
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
        world.may_also("auth/token/renew-self");
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
        world.may_also("auth/token/renew-self");
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
        world.may_also("auth/token/renew-self");
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
        world.may_also("auth/token/revoke-self");
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

//! Public bug reports about Status, health and observability, each as the smallest input that shows it.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault};
use tokio::time::Instant;
use tonic::Code;

use crate::world::{Host, SEED_POLICY, World, both, sealed, seconds};

/// The credential is dead at boot; ten minutes later an operator puts a good one in its place.
#[test]
fn bug_072_starts_without_a_good_credential_and_recovers_unattended() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let good = world.vault.secret_id("approle", "kms");
        world.files.write("/creds/secret-id", "expired-long-ago");
        let mut running = world.start().await;
        seconds(600).await;
        let error = running.client.status().await.expect_err("no credential");
        assert!(
            error.message().contains("credential is rejected"),
            "{}",
            error.message()
        );
        assert_eq!(
            world.logins(),
            1,
            "five refusals would lock the role for every node"
        );
        world.files.write("/creds/secret-id", &good);
        running
            .client
            .wait_good(10)
            .await
            .expect("within one back-off step");
        running.client.round_trip(&[1; 32]).await;
    });
}

/// No server at the start: Status answers, and the plugin serves when the server comes.
#[test]
fn avail_04_starts_without_vault() {
    both(|flavour| async move {
        let world = World::new(flavour);
        world.network.put("vault.sim", 8200, Host::Refuses);
        let mut running = world.start().await;
        seconds(300).await;
        let error = running.client.status().await.expect_err("nobody there");
        assert_eq!(error.code(), Code::Unavailable);
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect_err("nobody there");
        world
            .network
            .put("vault.sim", 8200, Host::Serves(world.vault.clone()));
        let took = running.client.wait_good(75).await.expect("unattended");
        assert!(
            took <= Duration::from_secs(73),
            "one back-off step of the login: {took:?}"
        );
        running.client.round_trip(&[1; 32]).await;
    });
}

/// Each right is lost alone: Status names the operation within one period and heals as fast.
#[test]
fn bug_103_a_lost_right_shows_whichever_it_is() {
    both(|flavour| async move {
        for (path, capability) in [
            ("transit/decrypt/kms-key", "update"),
            ("transit/encrypt/kms-key", "update"),
            ("transit/keys/kms-key", "read"),
        ] {
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            seconds(60).await;
            let without: String = SEED_POLICY
                .lines()
                .filter(|l| !l.contains(path))
                .collect::<Vec<_>>()
                .join("\n");
            world.vault.put_policy("kms", &without).expect("policy");
            running
                .client
                .wait_bad(21)
                .await
                .expect("within one period");
            let error = running
                .client
                .status()
                .await
                .expect_err("a right is missing");
            assert_eq!(error.code(), Code::FailedPrecondition);
            assert!(
                error.message().contains(path) && error.message().contains(capability),
                "{}",
                error.message()
            );
            world.vault.put_policy("kms", SEED_POLICY).expect("policy");
            running.client.wait_good(21).await.expect("heals as fast");
            running.client.round_trip(&[1; 32]).await;
        }
    });
}

/// Throttling is no reason to die, and the probe itself backs off.
#[test]
fn bug_104_throttling_makes_the_probe_back_off() {
    both(|flavour| async move {
        for retry_after in [None, Some("14")] {
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            let headers = retry_after
                .map(|s: &str| ("Retry-After".to_owned(), s.to_owned()))
                .into_iter()
                .collect();
            let body = r#"{"errors":["request path \"transit/keys/kms-key\": rate limit quota exceeded"]}"#;
            let quota = world.vault.fault(Fault::on(
                "/v1/transit/",
                Action::Status {
                    code: 429,
                    body: body.into(),
                    headers,
                },
            ));
            world.vault.clear_log();
            running
                .client
                .wait_bad(40)
                .await
                .expect("Status tells the truth");
            seconds(300).await;
            let most = if retry_after.is_some() { 40 } else { 140 };
            assert!(
                world.requests() <= most,
                "{} requests in 5 min, {retry_after:?}",
                world.requests()
            );
            assert_eq!(world.logins(), 0, "throttling is no login's business");
            world.vault.clear(quota);
            running
                .client
                .wait_good(20)
                .await
                .expect("within AVAIL-01's time");
        }
    });
}

/// One corrupt object, asked for ten times a second among healthy calls.
#[test]
fn bug_105_one_corrupt_object_changes_nothing() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let good = running.client.round_trip(&[1; 32]).await;
        let mut bad = good.clone();
        let mut text = bad.ciphertext.to_vec();
        let at = text.len() - 10;
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        bad.ciphertext = text.into();
        let damage = running.client.clone();
        let asking = tokio::spawn(async move {
            let mut client = damage;
            for _ in 0..300 {
                let error = client.decrypt(&bad).await.expect_err("corrupt");
                assert_eq!(error.code(), Code::InvalidArgument);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        for _ in 0..600 {
            running.client.decrypt(&good).await.expect("unharmed");
            running.client.status().await.expect("good");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        asking.await.expect("no panic");
        assert_eq!(world.told.count("StatusChanged { ok: false"), 0);
    });
}

/// The server hangs for the probe only: Status still answers at once, one probe at a time.
#[test]
fn bug_108_a_hanging_probe_hangs_nobody() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let good = running.client.round_trip(&[1; 32]).await;
        let hang = world
            .vault
            .fault(Fault::on("/v1/transit/keys/", Action::Hold));
        for _ in 0..300 {
            let began = Instant::now();
            let _ = running.client.status().await;
            assert!(began.elapsed() < Duration::from_millis(1), "from memory");
            running
                .client
                .decrypt(&good)
                .await
                .expect("real traffic is unaffected");
            seconds(1).await;
        }
        let error = running
            .client
            .status()
            .await
            .expect_err("the key cannot be read");
        assert!(
            error.message().contains("read_key fails since"),
            "{}",
            error.message()
        );
        assert!(
            world.vault.hits(hang) <= 300 / 4,
            "one probe at a time: {}",
            world.vault.hits(hang)
        );
        world.vault.clear(hang);
        running.client.wait_good(20).await.expect("heals");
    });
}

/// However many ask for Status: at most 12 requests a minute idle, 60 in an outage.
#[test]
fn bug_109_callers_do_not_multiply_requests() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed_value = running.client.round_trip(&[1; 32]).await;
        world.vault.clear_log();
        for _ in 0..600 {
            for _ in 0..3 {
                running.client.status().await.expect("good");
                running.plugin.readiness().expect("good");
            }
            seconds(1).await;
        }
        assert!(
            world.requests() <= 120,
            "{} requests in ten idle minutes",
            world.requests()
        );

        world.vault.fault(Fault::on("/v1/", sealed()));
        running.client.wait_bad(30).await.expect("an outage");
        world.vault.clear_log();
        for _ in 0..600 {
            let _ = running.client.encrypt(&[1; 32]).await;
            let _ = running.client.decrypt(&sealed_value).await;
            let _ = running.client.status().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!(
            world.requests() <= 5 * 60,
            "{} requests in five minutes of outage",
            world.requests()
        );
    });
}

/// Exactly one failed call in the story, with the ids that tie it to the server's log.
#[test]
fn bug_111_a_failed_call_carries_its_ids() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        world
            .vault
            .fault(Fault::on("/v1/transit/encrypt", sealed()).times(1));
        world.told.clear();
        running
            .client
            .encrypt(&[0xab; 32])
            .await
            .expect_err("sealed");
        let calls: Vec<_> = world
            .told
            .lines()
            .into_iter()
            .filter(|l| l.starts_with("Call {"))
            .collect();
        assert_eq!(calls.len(), 1, "{calls:?}");
        for word in [
            "u-123",
            "http_status: 503",
            "method: Encrypt",
            "code: 14",
            "remedy: \"sealed\"",
        ] {
            assert!(calls[0].contains(word), "{word} in {}", calls[0]);
        }
        let id = calls[0]
            .split("request_id: ")
            .nth(1)
            .and_then(|t| t.split(',').next())
            .expect("an id");
        assert_ne!(id, "0");
        let request = world
            .told
            .lines()
            .into_iter()
            .find(|l| l.starts_with("VaultRequest") && l.contains(id));
        assert!(
            request.is_some_and(|l| l.contains("op: Encrypt") && l.contains("503")),
            "the same id on the request"
        );
    });
}

/// Under load an outage shows within five seconds, whichever way the server goes.
#[test]
fn an_outage_shows_within_five_seconds_under_load() {
    both(|flavour| async move {
        for how in 0..4 {
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            let value = running.client.round_trip(&[1; 32]).await;
            let load = running.client.clone();
            let calls = tokio::spawn(async move {
                loop {
                    let (mut client, value) = (load.clone(), value.clone());
                    tokio::spawn(async move {
                        let _ = client.encrypt(&[1; 32]).await;
                        let _ = client.decrypt(&value).await;
                    });
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            });
            seconds(5).await;
            match how {
                0 => world.vault.freeze(),
                1 => drop(world.vault.fault(Fault::on("/v1/", sealed()))),
                2 => {
                    world.network.put("vault.sim", 8200, Host::Refuses);
                    world.vault.close_idle_after(Some(Duration::from_millis(1)));
                    world.vault.fault(Fault::on("/v1/", Action::CloseBefore));
                }
                _ => drop(world.vault.fault(Fault::on(
                    "/v1/transit/",
                    Action::Status {
                        code: 500,
                        body: r#"{"errors":["internal error"]}"#.into(),
                        headers: Vec::new(),
                    },
                ))),
            }
            let took = running.client.wait_bad(10).await.expect("it shows");
            assert!(took <= Duration::from_secs(5), "case {how}: {took:?}");
            calls.abort();
        }
    });
}

/// Sealed for a while: Status is back within AVAIL-01's twenty seconds of the heal.
#[test]
fn a_healed_server_shows_within_twenty_seconds() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let before = running.client.status().await.expect("good").key_id;
        for outage_s in [5, 30, 300, 3600] {
            world.vault.seal();
            seconds(outage_s).await;
            world.vault.unseal();
            let took = running.client.wait_good(30).await.expect("heals");
            assert!(
                took <= Duration::from_secs(20),
                "after {outage_s} s: {took:?}"
            );
            assert_eq!(
                running.client.status().await.expect("good").key_id,
                before,
                "key_id never flaps"
            );
            running.client.round_trip(&[1; 32]).await;
        }
    });
}

/// A probe alone, without any load, sees what is wrong and says it in the right form.
#[test]
fn sickness_is_an_error_never_a_healthz() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        world.vault.admin(
            "POST",
            "transit/keys/kms-key/config",
            &json!({ "deletion_allowed": true }),
        );
        assert!(world.vault.delete_key("transit", "kms-key"));
        running
            .client
            .wait_bad(30)
            .await
            .expect("seen by the probe");
        for _ in 0..100 {
            match running.client.status().await {
                Ok(status) => assert_eq!(status.healthz, "ok"),
                Err(error) => assert!(!error.message().is_empty()),
            }
            seconds(1).await;
        }
    });
}

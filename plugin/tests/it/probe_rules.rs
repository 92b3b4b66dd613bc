//! Rules of the probe and of taking a key up that no public bug report stands for: when it comes,
//! what it proves, and what it says.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault, Flavour};
use tonic::Code;
use vault_kubernetes_kms::config::Place;

use crate::world::{SEED_POLICY, World, answer, both, sealed, seconds};

fn plaintext(base64: &str) -> Action {
    Action::Status {
        code: 200,
        body: json!({ "data": { "plaintext": base64 } })
            .to_string()
            .into(),
        headers: Vec::new(),
    }
}

/// Seconds from each reading of the key to the next.
fn pauses(world: &World) -> Vec<f64> {
    let at: Vec<Duration> = world
        .vault
        .log()
        .iter()
        .filter(|r| r.path.starts_with("/v1/transit/keys/"))
        .map(|r| r.at)
        .collect();
    at.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect()
}

/// 1, 2, 3 and again 3 s after failures, 15 to 20 s while good, and from the beginning next time.
#[test]
fn pauses_grow_while_it_fails_and_begin_anew() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        for _ in 0..2 {
            world.vault.clear_log();
            let fails = world
                .vault
                .fault(Fault::on("/v1/transit/keys/", sealed()).times(6));
            seconds(60).await;
            assert_eq!(world.vault.hits(fails), 6);
            let pauses: Vec<f64> = pauses(&world).into_iter().map(f64::round).collect();
            assert_eq!(pauses[..6], [1.0, 2.0, 3.0, 3.0, 3.0, 3.0]);
            assert!(pauses[6..].iter().all(|p| (15.0..=20.0).contains(p)));
            running.client.status().await.expect("good");
        }
        assert_eq!(world.vault.count("/v1/sys/health"), 0, "there is a token");
    });
}

/// A quota that asks for an hour is asked about again within AVAIL-01's time.
#[test]
fn bug_104_no_retry_after_is_longer_than_fifteen_seconds() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let _running = world.start_good().await;
        world.vault.clear_log();
        let text = "request path \"transit/keys/kms-key\": rate limit quota exceeded";
        let mut quota = answer(429, text);
        if let Action::Status { headers, .. } = &mut quota {
            headers.push(("Retry-After".into(), "3600".into()));
        }
        world
            .vault
            .fault(Fault::on("/v1/transit/keys/", quota).times(4));
        seconds(90).await;
        let pauses = pauses(&world);
        assert!(
            pauses[..4].iter().all(|p| (14.9..=15.1).contains(p)),
            "{pauses:?}"
        );
    });
}

/// A failing call brings the probe forward, once a second at most; one that is wrong in itself does
/// not.
#[test]
fn a_failing_call_brings_the_probe_forward() {
    both(|flavour| async move {
        for (action, sooner) in [
            (sealed(), true),
            (answer(400, "cipher: message authentication failed"), false),
        ] {
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            let value = running.client.round_trip(&[1; 32]).await;
            seconds(2).await;
            world.vault.clear_log();
            let text = value.ciphertext.clone();
            let fault = Fault::on("/v1/transit/decrypt", action)
                .body(move |body| body.windows(text.len()).any(|w| w == text));
            world.vault.fault(fault.times(3));
            for _ in 0..3 {
                running.client.decrypt(&value).await.expect_err("fails");
            }
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(world.vault.count("/v1/transit/keys/"), 0, "not at once");
            seconds(2).await;
            let probes = world.vault.count("/v1/transit/keys/");
            assert_eq!(probes > 0, sooner, "{probes} probes");
        }
    });
}

/// A server that serves and refuses logins all the same gains nothing by the probe's looking.
#[test]
fn bug_007_a_server_that_only_refuses_logins_is_not_stormed() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let refusing = world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", sealed()));
        let mut running = world.start().await;
        seconds(300).await;
        let logins = world.vault.hits(refusing);
        assert!((6..=14).contains(&logins), "{logins} in five minutes");
        let error = running.client.status().await.expect_err("no token");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert!(error.message().contains("login"), "{error:?}");
    });
}

/// Documents of former places are read once.
#[test]
fn former_places_are_read_once() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let policy = [SEED_POLICY, &SEED_POLICY.replace("kms-key", "old")].concat();
        world.vault.put_policy("kms", &policy).expect("policy");
        assert!(world.vault.create_key("transit", "old", "aes256-gcm96"));
        world.config.decrypt_only = vec![Place {
            key: "old".into(),
            ..world.config.place.clone()
        }];
        let _running = world.start_good().await;
        seconds(120).await;
        assert_eq!(world.vault.count("/v1/transit/keys/old"), 1);
        assert_eq!(world.told.count("FormerPlace { index: 0, ok: true"), 1);
    });
}

/// A former key that is not fit says nothing about the current one.
#[test]
fn an_unfit_former_key_never_changes_status() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let policy = [SEED_POLICY, &SEED_POLICY.replace("kms-key", "old")].concat();
        world.vault.put_policy("kms", &policy).expect("policy");
        let settings = json!({ "type": "ed25519" });
        world.vault.admin("POST", "transit/keys/old", &settings);
        world.config.decrypt_only = vec![Place {
            key: "old".into(),
            ..world.config.place.clone()
        }];
        let mut running = world.start_good().await;
        seconds(40).await;
        running.client.status().await.expect("good");
        running.client.round_trip(&[1; 32]).await;
        assert!(world.told.count("FormerPlace { index: 0, ok: false") >= 1);
    });
}

/// A version is taken up only after encrypt, decrypt and the refusal of changed associated data.
#[test]
fn bug_030_nothing_is_taken_up_that_has_not_proved_itself() {
    both(|flavour| async move {
        // Which of the two Decrypts of a take-up goes wrong, how, and what is said of it.
        let unsound = "does not undo encrypt";
        let unbound = "ignores associated data";
        for (nth, action, words, code) in [
            (0, plaintext("AAAA"), unsound, Code::FailedPrecondition),
            (1, plaintext("AAAA"), unbound, Code::FailedPrecondition),
            (0, sealed(), "sealed", Code::Unavailable),
            (1, sealed(), "sealed", Code::Unavailable),
        ] {
            let world = World::new(flavour);
            let once = Fault::on("/v1/transit/decrypt", action).after(nth).times(1);
            world.vault.fault(once);
            let mut running = world.start().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let error = running.client.status().await.expect_err(words);
            assert_eq!(error.code(), code, "{nth}: {error:?}");
            if code == Code::FailedPrecondition {
                assert!(error.message().contains(words), "{error:?}");
            }
            running.client.encrypt(&[1; 32]).await.expect_err("not yet");
            assert_eq!(world.told.count("KeyTaken"), 0);
            running.client.wait_good(10).await.expect("the next probe");
            running.client.round_trip(&[1; 32]).await;
        }
    });
}

/// The same while a version is in use: a round trip that gives other bytes is no round trip.
#[test]
fn a_decrypt_that_gives_other_bytes_shows() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let other = world
            .vault
            .fault(Fault::on("/v1/transit/decrypt", plaintext("AAAA")));
        running
            .client
            .wait_bad(21)
            .await
            .expect("by the next probe");
        let error = running.client.status().await.expect_err("unsound");
        assert!(
            error.message().contains("does not undo encrypt"),
            "{error:?}"
        );
        world.vault.clear(other);
        running.client.wait_good(10).await.expect("heals");
    });
}

/// One line for an outage and one for its end, however long it lasts.
#[test]
fn changes_of_status_are_told_once() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        world.told.clear();
        world.vault.seal();
        seconds(120).await;
        running.client.encrypt(&[1; 32]).await.expect_err("sealed");
        world.vault.unseal();
        running.client.wait_good(20).await.expect("heals");
        seconds(60).await;
        assert_eq!(world.told.count("StatusChanged { ok: false"), 1);
        assert_eq!(world.told.count("StatusChanged { ok: true"), 1);
    });
}

/// What Vault refused before it was sealed may be mended by now: what has to be done is to unseal it. Then it says what
/// it says by then.
#[test]
fn what_a_sealed_vault_refused_before_is_told_no_more() {
    both(|flavour| async move {
        for refuses in ["soft-delete", "delete", "keys/", "encrypt/", "decrypt/"] {
            if refuses == "soft-delete" && flavour != Flavour::OpenBao {
                continue;
            }
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            world.told.clear();
            let key = "transit/keys/kms-key";
            match refuses {
                "soft-delete" => {
                    let path = format!("{key}/soft-delete");
                    world.vault.admin("DELETE", &path, &json!(null));
                }
                "delete" => {
                    let allowed = json!({"deletion_allowed": true});
                    world
                        .vault
                        .admin("POST", &format!("{key}/config"), &allowed);
                    assert!(world.vault.delete_key("transit", "kms-key"));
                }
                right => {
                    let lines = SEED_POLICY.lines();
                    let left: Vec<_> = lines.filter(|line| !line.contains(right)).collect();
                    world
                        .vault
                        .put_policy("kms", &left.join("\n"))
                        .expect("policy");
                }
            }
            running.client.wait_bad(25).await.expect("it shows");
            let before = running.client.status().await.expect_err(refuses);
            assert_eq!(before.code(), Code::FailedPrecondition, "{before:?}");

            world.vault.seal();
            seconds(15).await;
            let encrypt = running.client.encrypt(&[1; 32]).await;
            let status = running.client.status().await;
            for error in [status.expect_err("Status"), encrypt.expect_err("Encrypt")] {
                assert!(error.message().contains("sealed"), "{refuses}: {error:?}");
                assert!(
                    !error.message().contains(before.message()),
                    "{refuses}: {error:?}"
                );
            }

            world.vault.unseal();
            seconds(20).await;
            let after = running.client.status().await.expect_err(refuses);
            assert_eq!(after.message(), before.message(), "{refuses}");
            let told = world.told.count("StatusChanged { ok: false");
            assert_eq!(told, 3, "{refuses}: one line for each");
        }
    });
}

/// The text of Status names the newest fault, and the time of the first.
#[test]
fn status_says_what_fails_now_and_since_when() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        world
            .vault
            .fault(Fault::on("/v1/transit/keys/", sealed()).times(3));
        let broken = answer(500, "internal error");
        world.vault.fault(Fault::on("/v1/transit/keys/", broken));
        running.client.wait_bad(30).await.expect("it shows");
        let message = || async {
            let mut client = running.client.clone();
            client
                .status()
                .await
                .expect_err("an outage")
                .message()
                .to_owned()
        };
        let first = message().await;
        seconds(30).await;
        let later = message().await;
        assert!(
            first.contains("sealed") && later.contains("internal error"),
            "{later}"
        );
        let since = |text: &str| text.split(": ").next().map(str::to_owned);
        assert_eq!(since(&first), since(&later));
    });
}

//! Rules of many calls at once that no public bug report stands for: what becomes of the results of
//! a request, and what they say about the server.

use sim_vault::{Action, Fault};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use vault_kubernetes_kms::config::Place;

use crate::batch_world::{gathered, ms, on_plaintext, on_value};
use crate::world::{SEED_POLICY, World, answer, both, seconds};

/// A node that has not seen a version yet is asked twice more; then it is the object's fault, and
/// nothing is asked past the deadline.
#[test]
fn bug_035_an_unseen_version_is_asked_for_again_but_not_for_ever() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        let unseen = || answer(400, "invalid ciphertext: version is too new");
        world.vault.fault(on_value(&sealed, unseen()).times(2));
        running
            .client
            .decrypt(&sealed)
            .await
            .expect("the third time");
        let never = world.vault.fault(on_value(&sealed, unseen()));
        let error = running.client.decrypt(&sealed).await.expect_err("never");
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        assert_eq!(world.vault.hits(never), 3);
        let mut hasty = running.client.clone();
        hasty.timeout = ms(80);
        let error = hasty.decrypt(&sealed).await.expect_err("no time");
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        assert_eq!(world.vault.hits(never), 4, "no pause would fit");
        running.client.status().await.expect("the server is fine");
    });
}

/// A node that does not know the pinned version yet is asked again inside the deadline.
#[test]
fn bug_035_a_pin_that_a_node_does_not_know_is_tried_again() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let text = "requested version for encryption is higher than the latest key version";
        let lagging = world
            .vault
            .fault(on_plaintext(1, answer(400, text)).times(3));
        running.client.round_trip(&[1; 32]).await;
        assert_eq!(world.vault.hits(lagging), 3);
        let never = world.vault.fault(on_plaintext(2, answer(400, text)));
        let error = running.client.encrypt(&[2; 32]).await.expect_err("never");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert!(world.vault.hits(never) < 10, "in growing pauses");
        running.client.status().await.expect("good");
    });
}

/// The answer was under way when the plugin took up a newer version: the API server would throw an
/// answer under the old key_id away, so it is made again.
#[test]
fn bug_037_an_answer_that_status_has_overtaken_is_made_again() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let slow = world
            .vault
            .fault(on_plaintext(9, Action::Delay(ms(2000))).times(1));
        let mut client = running.client.clone();
        let call = tokio::spawn(async move { client.encrypt(&[9; 32]).await });
        sleep(ms(10)).await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        running.plugin.reload();
        let sealed = call.await.expect("no panic").expect("encrypt");
        assert_eq!(world.vault.hits(slow), 1);
        let status = running.client.status().await.expect("good");
        assert_eq!(sealed.key_id, status.key_id);
        assert!(sealed.ciphertext.starts_with(b"vault:v2:"));
    });
}

/// Callers who give up on a server that hangs are evidence; callers who never waited are none.
#[test]
fn only_who_has_waited_counts_against_the_server() {
    both(|flavour| async move {
        for (patience, calls, sick) in [(1500, 2, true), (50, 80, false)] {
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            let sealed = running.client.round_trip(&[1; 32]).await;
            world.vault.fault(on_value(&sealed, Action::Hold));
            for _ in 0..calls {
                let call = running.client.decrypt(&sealed);
                timeout(ms(patience), call).await.expect_err("given up");
            }
            sleep(ms(50)).await;
            let status = running.client.status().await;
            assert_eq!(status.is_err(), sick, "{patience} ms: {status:?}");
        }
    });
}

/// What fails at a former place is that place's business, whatever it is.
#[test]
fn a_former_place_that_refuses_says_nothing_about_the_current_one() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let old = SEED_POLICY.replace("kms-key", "old");
        let policy = |old: &str| format!("{SEED_POLICY}\n{old}");
        world
            .vault
            .put_policy("kms", &policy(&old))
            .expect("policy");
        assert!(world.vault.create_key("transit", "old", "aes256-gcm96"));
        let current = world.config.place.clone();
        let former = Place {
            key: "old".into(),
            ..current.clone()
        };
        world.config.place = former.clone();
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        running.stop().await;

        world.config.place = current;
        world.config.decrypt_only = vec![former];
        let mut running = world.start_good().await;
        running.client.decrypt(&sealed).await.expect("readable");
        let sick = world.vault.fault(Fault::on(
            "/v1/transit/decrypt/old",
            answer(503, "Vault is sealed"),
        ));
        world.vault.clear_log();
        for _ in 0..5 {
            running.client.decrypt(&sealed).await.expect_err("sealed");
            seconds(1).await;
        }
        let probes = world.vault.count("/v1/transit/keys/kms-key");
        assert_eq!(probes, 0, "nothing to look at");
        assert_eq!(world.vault.hits(sick), 5, "and it is not held back");
        running.client.status().await.expect("good");
        world.vault.clear(sick);
        let without = old.replace("path \"transit/decrypt/old\"", "path \"elsewhere\"");
        world
            .vault
            .put_policy("kms", &policy(&without))
            .expect("policy");
        let error = running.client.decrypt(&sealed).await.expect_err("denied");
        assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
        running.client.status().await.expect("good");
        running.client.round_trip(&[1; 32]).await;

        // Nor the other way round: what the current place lacks holds nothing back here.
        let without = SEED_POLICY.replace("transit/decrypt/", "elsewhere/decrypt/");
        let policy = format!("{without}\n{old}");
        world.vault.put_policy("kms", &policy).expect("policy");
        running.client.wait_bad(25).await.expect("it shows");
        for _ in 0..5 {
            running.client.decrypt(&sealed).await.expect("readable");
        }
    });
}

/// A refused batch goes out in halves and then one by one; a server that cannot serve is asked once.
#[test]
fn a_refused_batch_is_halved_once_and_a_sick_server_is_not_multiplied() {
    both(|flavour| async move {
        let items = |body: &[u8]| {
            let word = br#""ciphertext""#;
            body.windows(word.len()).filter(|w| w == word).count()
        };
        let too_large = || answer(413, "request body too large");
        for (action, refused_above, requests, all_good) in [
            (too_large(), 4, 1 + 2, true),
            (too_large(), 1, 1 + 2 + 8, true),
            (answer(503, "Vault is sealed"), 0, 1, false),
        ] {
            let mut world = World::new(flavour);
            world.config.max_in_flight = 1;
            let mut running = world.start_good().await;
            let mut sealed = Vec::new();
            for n in 0..8 {
                sealed.push(running.client.round_trip(&[n; 32]).await);
            }
            world.vault.clear_log();
            let fault = Fault::on("/v1/transit/decrypt", action)
                .body(move |body| items(body) > refused_above);
            world.vault.fault(fault);
            let results = gathered(&world, &running.client, &sealed).await;
            let sent = world.vault.count("/v1/transit/decrypt/");
            assert_eq!(sent, requests, "refused above {refused_above}");
            assert!(results.iter().all(|r| r.is_ok() == all_good), "{results:?}");
        }
    });
}

/// A batch in which something succeeded shows that the server serves, whatever else is in it.
#[test]
fn bug_105_a_batch_with_a_damaged_object_is_good_evidence() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.max_in_flight = 1;
        let mut running = world.start_good().await;
        let good = running.client.round_trip(&[1; 32]).await;
        let mut damaged = running.client.round_trip(&[2; 32]).await;
        let mut text = damaged.ciphertext.to_vec();
        let at = text.len() - 10;
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        damaged.ciphertext = text.into();
        // The probe would be evidence, too: its Encrypt gets no answer.
        let own = b"dmF1bHQta3ViZXJuZXRlcy1r";
        world.vault.fault(
            Fault::on("/v1/transit/encrypt", Action::Hold)
                .body(move |body| body.windows(own.len()).any(|w| w == own)),
        );
        let began = Instant::now();
        for fails_at in [0, 2600] {
            sleep(ms(fails_at).saturating_sub(began.elapsed())).await;
            let sealed = answer(503, "Vault is sealed");
            world.vault.fault(on_value(&good, sealed).times(1));
            running.client.decrypt(&good).await.expect_err("sealed");
            if fails_at == 0 {
                sleep(ms(1500)).await;
                let both = [good.clone(), damaged.clone()];
                let results = gathered(&world, &running.client, &both).await;
                assert!(results[0].is_ok() && results[1].is_err(), "{results:?}");
            }
        }
        running.client.status().await.expect("it served in between");
    });
}

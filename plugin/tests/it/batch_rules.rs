//! Rules of many calls at once that no public bug report stands for: who shares a request, who
//! waits, and what is left to whom.

use std::time::Duration;

use kms_v2_api::EncryptResponse;
use serde_json::json;
use sim_vault::{Action, Fault, FaultId};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use vault_kubernetes_kms::config::Place;

use crate::world::{Client, SEED_POLICY, World, both, seconds};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn answer(code: u16, text: &str) -> Action {
    Action::Status {
        code,
        body: json!({ "errors": [text] }).to_string().into(),
        headers: Vec::new(),
    }
}

/// A fault on the Decrypts of one value alone: the probe has values of its own.
fn on_value(sealed: &EncryptResponse, action: Action) -> Fault {
    let text = sealed.ciphertext.clone();
    Fault::on("/v1/transit/decrypt", action)
        .body(move |body| body.windows(text.len()).any(|w| w == text))
}

/// A fault on the Encrypts of `[n; 32]` alone.
fn on_plaintext(n: u8, action: Action) -> Fault {
    let text = [base64_of_three(n), base64_of_three(n)].concat();
    Fault::on("/v1/transit/encrypt", action)
        .body(move |body| body.windows(text.len()).any(|w| w == text.as_bytes()))
}

fn base64_of_three(n: u8) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u32::from_be_bytes([0, n, n, n]);
    [18, 12, 6, 0]
        .map(|shift| char::from(LETTERS[(bits >> shift & 63) as usize]))
        .iter()
        .collect()
}

fn decrypting(client: &Client, sealed: &EncryptResponse) -> JoinHandle<Result<(), tonic::Status>> {
    let (mut client, sealed) = (client.clone(), sealed.clone());
    tokio::spawn(async move { client.decrypt(&sealed).await.map(drop) })
}

/// Decrypts never take the last place, and all of them together leave two to probe and login.
#[test]
fn places_are_left_to_encrypt_to_the_probe_and_to_a_login() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.max_in_flight = 5;
        let mut running = world.start_good().await;
        let mut sealed = Vec::new();
        for n in 0..8 {
            sealed.push(running.client.round_trip(&[n; 32]).await);
        }
        let held: Vec<FaultId> = sealed
            .iter()
            .map(|sealed| world.vault.fault(on_value(sealed, Action::Hold)))
            .collect();
        let asked = |ids: &[FaultId]| ids.iter().map(|id| world.vault.hits(*id)).sum::<u64>();
        for sealed in &sealed {
            decrypting(&running.client, sealed);
            sleep(ms(10)).await;
        }
        assert_eq!(
            asked(&held),
            2,
            "of five places two are reserved, one is Encrypt's"
        );
        running
            .client
            .encrypt(&[9; 32])
            .await
            .expect("it has a place");
        let writes = [10, 11, 12].map(|n| world.vault.fault(on_plaintext(n, Action::Hold)));
        for n in [10, 11, 12] {
            let mut client = running.client.clone();
            tokio::spawn(async move { client.encrypt(&[n; 32]).await });
            sleep(ms(10)).await;
        }
        assert_eq!(asked(&writes), 1, "three in all");
    });
}

/// What waits because all places are taken goes on when one is free.
#[test]
fn a_free_place_is_used_at_once() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.max_in_flight = 1;
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        world
            .vault
            .fault(on_plaintext(2, Action::Delay(ms(1000))).times(1));
        let mut client = running.client.clone();
        let slow = tokio::spawn(async move { client.encrypt(&[2; 32]).await });
        sleep(ms(10)).await;
        let began = Instant::now();
        running.client.decrypt(&sealed).await.expect("after it");
        let took = began.elapsed();
        assert!((ms(900)..ms(1100)).contains(&took), "{took:?}");
        slow.await.expect("no panic").expect("encrypt");
    });
}

/// Of two callers with one request the first goes away; the request stays for the other.
#[test]
fn a_caller_that_leaves_takes_no_other_along() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        let slow = on_value(&sealed, Action::Delay(ms(1000)));
        let slow = world.vault.fault(slow);
        let mut first = running.client.clone();
        let leaving = sealed.clone();
        let left = tokio::spawn(async move {
            timeout(ms(300), first.decrypt(&leaving))
                .await
                .expect_err("it leaves")
        });
        sleep(ms(100)).await;
        running.client.decrypt(&sealed).await.expect("its own time");
        left.await.expect("no panic");
        assert_eq!(world.vault.hits(slow), 1);
    });
}

/// The caller whose request they share has less time: the other one asks again.
#[test]
fn a_shared_requests_end_is_not_the_end_of_who_has_more_time() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        let held = world.vault.fault(on_value(&sealed, Action::Hold).times(1));
        let mut hasty = running.client.clone();
        hasty.timeout = ms(500);
        let first = decrypting(&hasty, &sealed);
        sleep(ms(100)).await;
        running.client.decrypt(&sealed).await.expect("asked again");
        assert_eq!(world.vault.hits(held), 1);
        let error = first
            .await
            .expect("no panic")
            .expect_err("its time is over");
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error:?}");
        assert!(error.message().contains("vault.sim:8200"), "{error:?}");
    });
}

/// Of equal calls that wait for a place the longest deadline is the request's.
#[test]
fn the_longest_deadline_of_equal_calls_counts() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.max_in_flight = 1;
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        world
            .vault
            .fault(on_plaintext(2, Action::Delay(ms(300))).times(1));
        let slow = world
            .vault
            .fault(on_value(&sealed, Action::Delay(ms(1000))));
        let mut client = running.client.clone();
        tokio::spawn(async move { client.encrypt(&[2; 32]).await });
        sleep(ms(10)).await;
        let mut hasty = running.client.clone();
        hasty.timeout = ms(700);
        decrypting(&hasty, &sealed);
        sleep(ms(10)).await;
        running.client.decrypt(&sealed).await.expect("in its time");
        assert_eq!(world.vault.hits(slow), 1, "one request was enough");
    });
}

/// A call that has its answer is not joined, although its batch goes on for another one's sake.
#[test]
fn a_finished_call_is_not_joined() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.max_in_flight = 1;
        let mut running = world.start_good().await;
        let good = running.client.round_trip(&[1; 32]).await;
        let unseen = running.client.round_trip(&[3; 32]).await;
        world
            .vault
            .fault(on_plaintext(2, Action::Delay(ms(300))).times(1));
        let results = json!({ "data": { "batch_results": [
            { "plaintext": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=" },
            { "error": "invalid ciphertext: version is too new" },
        ] } });
        let batch = world.vault.fault(
            Fault::on(
                "/v1/transit/decrypt",
                Action::Garbage(results.to_string().into()),
            )
            .body(|body| body.starts_with(br#"{"batch_input""#))
            .times(1),
        );
        let mut client = running.client.clone();
        tokio::spawn(async move { client.encrypt(&[2; 32]).await });
        sleep(ms(10)).await;
        let first = decrypting(&running.client, &good);
        sleep(ms(1)).await;
        let second = decrypting(&running.client, &unseen);
        first.await.expect("no panic").expect("answered");
        assert_eq!(world.vault.hits(batch), 1, "both in one request");
        let began = Instant::now();
        running.client.decrypt(&good).await.expect("a new request");
        assert!(began.elapsed() < ms(500), "{:?}", began.elapsed());
        second.await.expect("no panic").expect("asked again");
    });
}

/// A call that was given up while it waited for a place is never sent.
#[test]
fn bug_058_what_nobody_waits_for_is_not_sent() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.max_in_flight = 1;
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        world
            .vault
            .fault(on_plaintext(2, Action::Delay(ms(1000))).times(1));
        let sent = world
            .vault
            .fault(on_value(&sealed, Action::Delay(Duration::ZERO)));
        let mut client = running.client.clone();
        let slow = tokio::spawn(async move { client.encrypt(&[2; 32]).await });
        sleep(ms(10)).await;
        let waiting = running.client.decrypt(&sealed);
        timeout(ms(100), waiting).await.expect_err("given up");
        slow.await.expect("no panic").expect("encrypt");
        seconds(1).await;
        assert_eq!(world.vault.hits(sent), 0);
        running.client.decrypt(&sealed).await.expect("a later one");
        assert_eq!(world.vault.hits(sent), 1);
    });
}

/// A call that is alone goes out at once, however many there were before.
#[test]
fn a_lone_call_is_never_held_back() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        for n in 0..20 {
            running.client.round_trip(&[n; 32]).await;
        }
        let began = Instant::now();
        running.client.round_trip(&[1; 32]).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    });
}

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

/// A call that comes at the very moment when an equal one is given up does not share its fate.
#[test]
fn a_given_up_request_is_not_joined() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        for moment in 0..40 {
            let held = world.vault.fault(on_value(&sealed, Action::Hold).times(1));
            let given_up = decrypting(&running.client, &sealed);
            sleep(ms(50)).await;
            given_up.abort();
            for _ in 0..moment {
                tokio::task::yield_now().await;
            }
            let mut client = running.client.clone();
            client.timeout = ms(900);
            client.decrypt(&sealed).await.expect("asked by itself");
            assert_eq!(world.vault.hits(held), 1, "{moment}");
            world.vault.clear(held);
        }
    });
}

/// Two requests of a kind go out without waiting for company.
#[test]
fn the_second_call_is_not_held_back_either() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let mut sealed = Vec::new();
        for n in 0..10 {
            sealed.push(running.client.round_trip(&[n; 32]).await);
        }
        world
            .vault
            .fault(Fault::on("/v1/transit/decrypt", Action::Delay(ms(20))));
        let first = decrypting(&running.client, &sealed[0]);
        sleep(ms(5)).await;
        let began = Instant::now();
        running.client.decrypt(&sealed[1]).await.expect("decrypt");
        assert_eq!(began.elapsed(), ms(20));
        first.await.expect("no panic").expect("decrypt");
    });
}

/// Distinct Decrypts that are gathered while the one place is taken.
async fn gathered(
    world: &World,
    client: &Client,
    sealed: &[EncryptResponse],
) -> Vec<Result<(), tonic::Status>> {
    world
        .vault
        .fault(on_plaintext(200, Action::Delay(ms(100))).times(1));
    let mut other = client.clone();
    let slow = tokio::spawn(async move { other.encrypt(&[200; 32]).await });
    sleep(ms(10)).await;
    let calls: Vec<_> = sealed.iter().map(|s| decrypting(client, s)).collect();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.expect("no panic"));
    }
    slow.await.expect("no panic").expect("encrypt");
    results
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

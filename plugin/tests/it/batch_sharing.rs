//! Rules of many calls at once that no public bug report stands for: who shares a request, who
//! waits, and what is left to whom.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault, FaultId};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::batch_world::{decrypting, ms, on_plaintext, on_value};
use crate::world::{World, both, seconds};

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

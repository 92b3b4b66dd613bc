//! The plugin serves: what a healthy one does on a healthy server.

use std::time::Duration;

use sim_vault::{Action, Fault};
use tokio::time::Instant;

use crate::world::{World, both, seconds};

#[test]
fn serves_on_the_seeds_policy_and_reports_one_key_id() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let status = running.client.status().await.expect("good");
        assert_eq!(
            (status.version.as_str(), status.healthz.as_str()),
            ("v2", "ok")
        );
        let sealed = running.client.round_trip(&[7; 32]).await;
        assert_eq!(sealed.key_id, status.key_id);
        assert!(sealed.ciphertext.starts_with(b"vault:v1:"));
        let other = running.client.round_trip(&[7; 32]).await;
        assert_ne!(sealed.ciphertext, other.ciphertext, "KMS2-RT-03");
        assert_eq!(world.logins(), 1);
    });
}

#[test]
fn a_restarted_plugin_reads_what_the_first_wrote_under_the_same_key_id() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut first = world.start_good().await;
        let sealed = first.client.round_trip(&[1; 32]).await;
        first.stop().await;
        let mut second = world.start_good().await;
        assert_eq!(
            second.client.status().await.expect("good").key_id,
            sealed.key_id
        );
        assert_eq!(
            second
                .client
                .decrypt(&sealed)
                .await
                .expect("decrypt")
                .plaintext,
            vec![1; 32]
        );
    });
}

/// What takes over at the socket has calls before it has read the key: they wait for that, whichever they are.
#[test]
fn calls_that_come_with_the_start_wait_for_the_first_read() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let slow = Action::Delay(Duration::from_millis(200));
        world.vault.fault(Fault::on("/v1/", slow));
        let mut first = world.start().await;
        let sealed = first.client.encrypt(&[1; 32]).await.expect("encrypt");
        first.stop().await;
        let mut second = world.start().await;
        let opened = second.client.decrypt(&sealed).await.expect("decrypt");
        assert_eq!(opened.plaintext, vec![1; 32]);
        assert_eq!(world.vault.count("/v1/transit/keys/"), 2, "the probes' own");
    });
}

/// They wait no longer than they may, and no request of their own follows a read that failed.
#[test]
fn calls_that_come_with_a_bad_start_end_in_time() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let held = world
            .vault
            .fault(Fault::on("/v1/transit/keys/", Action::Hold));
        let mut running = world.start().await;
        let began = Instant::now();
        let error = running.client.encrypt(&[1; 32]).await.expect_err("held");
        assert_eq!(error.code(), tonic::Code::DeadlineExceeded, "{error:?}");
        assert!(began.elapsed() < running.client.timeout);
        let probes = world.vault.hits(held);
        let error = running.client.encrypt(&[]).await.expect_err("empty");
        assert_eq!(error.code(), tonic::Code::InvalidArgument, "{error:?}");
        assert_eq!(world.vault.hits(held), probes, "looked at here");
    });
}

#[test]
fn two_nodes_read_each_other_at_once_after_a_rotation() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let (mut a, mut b) = (world.start_good().await, world.start_good().await);
        seconds(1).await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        // Only one of them has seen the new version.
        let mut newer = None;
        for _ in 0..250 {
            seconds(0).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let sealed = a.client.encrypt(&[2; 32]).await.expect("encrypt");
            if sealed.ciphertext.starts_with(b"vault:v2:") {
                newer = Some(sealed);
                break;
            }
        }
        let newer = newer.expect("the new version is taken up within 25 s");
        assert_eq!(
            b.client.decrypt(&newer).await.expect("at once").plaintext,
            vec![2; 32]
        );
        let ids = [&mut a, &mut b].map(|r| r.client.clone());
        seconds(25).await;
        for mut client in ids {
            assert_eq!(client.status().await.expect("good").key_id, newer.key_id);
        }
    });
}

#[test]
fn a_thousand_decrypts_at_once_are_few_requests_and_none_fails() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let mut sealed = Vec::new();
        for n in 0..1000_u32 {
            sealed.push(
                running
                    .client
                    .encrypt(&n.to_be_bytes())
                    .await
                    .expect("encrypt"),
            );
        }
        world.vault.clear_log();
        let calls: Vec<_> = sealed
            .into_iter()
            .enumerate()
            .map(|(n, sealed)| {
                let mut client = running.client.clone();
                tokio::spawn(async move {
                    let opened = client.decrypt(&sealed).await.expect("decrypt");
                    assert_eq!(opened.plaintext, (n as u32).to_be_bytes().to_vec());
                })
            })
            .collect();
        for call in calls {
            call.await.expect("no call fails");
        }
        let requests = world.vault.count("/v1/transit/decrypt/");
        assert!(requests <= 20, "{requests} requests");
        assert!(world.vault.log().iter().all(|r| r.items <= 249));
    });
}

#[test]
fn equal_decrypts_in_flight_share_one_request() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.encrypt(&[3; 32]).await.expect("encrypt");
        world.vault.clear_log();
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let (mut client, sealed) = (running.client.clone(), sealed.clone());
                tokio::spawn(
                    async move { client.decrypt(&sealed).await.expect("decrypt").plaintext },
                )
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.expect("no panic"), vec![3; 32]);
        }
        let requests = world.vault.count("/v1/transit/decrypt/");
        assert!(requests <= 3, "{requests} requests for 100 equal calls");
        assert!(world.told.count("Coalesced") >= 97);
    });
}

//! A key that goes away or becomes another one under its name while the plugin runs.

use std::time::Duration;

use serde_json::json;
use sim_vault::Action;
use tonic::Code;

use crate::batch_world::on_plaintext;
use crate::world::{World, both, seconds};

fn allow_deletion(world: &World) {
    let allowed = json!({ "deletion_allowed": true });
    assert!(world.vault.set_key_config("transit", "kms-key", &allowed));
}

/// The key is deleted and created again under its name: other ids, and Status says what happened.
#[test]
fn a_key_that_was_re_created_is_named_as_such() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let old = running.client.round_trip(&[1; 32]).await;
        allow_deletion(&world);
        seconds(5).await;
        assert!(world.vault.delete_key("transit", "kms-key"));
        assert!(world.vault.create_key("transit", "kms-key", "aes256-gcm96"));
        running.client.wait_bad(25).await.expect("seen");
        let error = running.client.status().await.expect_err("replaced");
        assert_eq!(error.code(), Code::FailedPrecondition);
        let error = running.client.decrypt(&old).await.expect_err("another key");
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        seconds(60).await;
        let error = running.client.status().await.expect_err("still");
        assert!(
            error.message().contains("was replaced"),
            "{}",
            error.message()
        );
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect_err("nothing is written under a key nobody chose");
        world
            .vault
            .rotate("transit", "kms-key")
            .expect("rotated on purpose");
        running.client.wait_good(10).await.expect("accepted");
        assert_ne!(
            running.client.status().await.expect("good").key_id,
            old.key_id
        );
    });
}

/// BUG-131: a plugin that starts when the key is another one already knows no other: Status is good
/// for the new key, and what the old one wrote is the object's own fault.
#[test]
fn bug_131_a_plugin_that_starts_with_the_new_key_is_good_for_it() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let old = running.client.round_trip(&[1; 32]).await;
        allow_deletion(&world);
        seconds(5).await;
        assert!(world.vault.delete_key("transit", "kms-key"));
        assert!(world.vault.create_key("transit", "kms-key", "aes256-gcm96"));
        running
            .client
            .wait_bad(25)
            .await
            .expect("replaced under it");
        running.stop().await;
        let mut running = world.start_good().await;
        let new = running.client.round_trip(&[2; 32]).await;
        assert_ne!(new.key_id, old.key_id);
        let error = running.client.decrypt(&old).await.expect_err("another key");
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        running.client.status().await.expect("one object's fault");
    });
}

/// Once the key was missed, whoever missed it, nothing is encrypted before it has been read again:
/// a key that was made anew meanwhile would be used under the old one's key_id.
#[test]
fn a_key_that_was_missed_is_read_again_before_anything_is_encrypted() {
    both(|flavour| async move {
        for by_probe in [true, false] {
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            let old = running.client.round_trip(&[1; 32]).await;
            allow_deletion(&world);
            // A second, so that the new key is not of the same one.
            seconds(2).await;
            assert!(world.vault.delete_key("transit", "kms-key"));
            if by_probe {
                running.plugin.reload();
                running.client.wait_bad(25).await.expect("missed");
            } else {
                running.client.encrypt(&[2; 32]).await.expect_err("missed");
            }
            assert!(world.vault.create_key("transit", "kms-key", "aes256-gcm96"));
            for _ in 0..200 {
                let sealed = running.client.encrypt(&[2; 32]).await;
                assert!(sealed.is_err(), "under {:?}", sealed.map(|s| s.key_id));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            world.vault.rotate("transit", "kms-key").expect("accepted");
            running.client.wait_good(10).await.expect("accepted");
            let new = running.client.round_trip(&[2; 32]).await;
            assert_ne!(new.key_id, old.key_id);
        }
    });
}

/// The answer of an Encrypt is on its way while the key is missed and made anew: it is not given out.
#[test]
fn an_answer_that_overtakes_the_loss_of_the_key_is_not_passed_on() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let running = world.start_good().await;
        allow_deletion(&world);
        seconds(2).await;
        let slow = Action::Delay(Duration::from_millis(2500));
        let slow = world.vault.fault(on_plaintext(9, slow).times(1));
        let mut client = running.client.clone();
        let late = tokio::spawn(async move { client.encrypt(&[9; 32]).await });
        seconds(1).await;
        assert_eq!(world.vault.hits(slow), 1);
        assert!(world.vault.delete_key("transit", "kms-key"));
        let mut client = running.client.clone();
        client.encrypt(&[2; 32]).await.expect_err("missed");
        assert!(world.vault.create_key("transit", "kms-key", "aes256-gcm96"));
        let late = late.await.expect("no panic");
        assert!(late.is_err(), "under {:?}", late.map(|s| s.key_id));
    });
}

//! Public bug reports about versions of the key and what is pinned to them, each as the smallest input
//! that shows it.

use kms_v2_api::EncryptResponse;
use serde_json::json;
use sim_vault::{Action, Core, Fault, Request};
use tonic::Code;
use vault_kubernetes_kms::key::id::{binding, key_id};

use crate::world::{World, both, seconds};

/// A server that ignores the pin and answers with the latest version, or an older one: such an
/// answer is not passed on under the key_id that was asked for.
#[test]
fn bug_037_an_answer_of_another_version_is_not_passed_on() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        seconds(21).await;
        let asked = running.client.status().await.expect("good").key_id;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        for (made_with, expected) in [(1, 2), (3, 3)] {
            let body = json!({
                "plaintext": "CQkJCQ==",
                "associated_data": binding(&asked),
                "key_version": made_with,
            });
            let (status, answer) = world.vault.admin("POST", "transit/encrypt/kms-key", &body);
            assert_eq!(status, 200, "{answer}");
            let answer = Action::Garbage(answer.to_string().into());
            let ignored = world
                .vault
                .fault(Fault::on("/v1/transit/encrypt/kms-key", answer).times(1));
            let sealed = running.client.encrypt(&[9; 4]).await.expect("asked again");
            assert_eq!(world.vault.hits(ignored), 1);
            assert_eq!(version_of(&world, &sealed), expected);
        }
    });
}

/// What `Core` is told by an operator who rotates the key.
pub fn rotate(core: &mut Core) {
    let request = Request::new("POST", "/v1/transit/keys/kms-key/rotate").token(core.root_token());
    let answer = core.handle(core.now(), &request);
    assert!(answer.status < 300, "{}", answer.status);
}

/// The version in the label of a ciphertext, made sure of: the server decrypts it so, bound to its
/// key_id, and that key_id is the one of this version.
pub fn version_of(world: &World, sealed: &EncryptResponse) -> u64 {
    let text = std::str::from_utf8(&sealed.ciphertext).expect("text");
    let label = text.split(':').nth(1).expect("a label");
    let number: u64 = label.trim_start_matches('v').parse().expect("a version");
    let (_, document) = world
        .vault
        .admin("GET", "transit/keys/kms-key", &json!(null));
    let created = document["data"]["keys"][number.to_string()].to_string();
    assert_eq!(
        sealed.key_id,
        key_id(&world.config.place, number, &created),
        "version {number}"
    );
    let body = json!({ "ciphertext": text, "associated_data": binding(&sealed.key_id) });
    let (status, answer) = world.vault.admin("POST", "transit/decrypt/kms-key", &body);
    assert_eq!(status, 200, "version {number}: {answer}");
    number
}

/// A rotation is seen within the stated time although the key's name is the same.
#[test]
fn bug_040_a_rotation_shows_within_the_probes_time() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let old = running.client.round_trip(&[1; 32]).await;
        seconds(61).await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        seconds(21).await;
        let status = running.client.status().await.expect("good");
        assert_ne!(status.key_id, old.key_id);
        let new = running.client.round_trip(&[2; 32]).await;
        assert_eq!(new.key_id, status.key_id);
        assert!(new.ciphertext.starts_with(b"vault:v2:"));
        assert_eq!(
            running
                .client
                .decrypt(&old)
                .await
                .expect("old data")
                .plaintext,
            vec![1; 32]
        );
    });
}

/// The minimum is raised above the version in use: read again, taken up, no call fails.
#[test]
fn a_refused_pin_is_taken_up_within_the_call() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        assert!(world.vault.set_key_config(
            "transit",
            "kms-key",
            &json!({ "min_encryption_version": 2 })
        ));
        let sealed = running
            .client
            .encrypt(&[1; 32])
            .await
            .expect("re-read, taken up, repeated");
        assert!(sealed.ciphertext.starts_with(b"vault:v2:"));
        assert_eq!(
            running.client.status().await.expect("good").key_id,
            sealed.key_id
        );
    });
}

/// A raised min_decryption_version makes one object unreadable, not the plugin sick; lowering it
/// helps at once.
#[test]
fn a_version_below_the_minimum_is_the_objects_fault() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let old = running.client.round_trip(&[1; 32]).await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        seconds(21).await;
        assert!(world.vault.set_key_config(
            "transit",
            "kms-key",
            &json!({ "min_decryption_version": 2 })
        ));
        seconds(21).await;
        let error = running.client.decrypt(&old).await.expect_err("too old");
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("too old"), "{}", error.message());
        running.client.status().await.expect("good");
        assert!(world.vault.set_key_config(
            "transit",
            "kms-key",
            &json!({ "min_decryption_version": 1 })
        ));
        running
            .client
            .decrypt(&old)
            .await
            .expect("no negative caching");
    });
}

//! Public bug reports about Transit keys and their ids, each as the smallest input that shows it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault, Flavour, Hook};
use tonic::Code;
use vault_kubernetes_kms::config::Place;

use crate::bugs_rotation::{rotate, version_of};
use crate::world::{SEED_POLICY, World, both, seconds};

/// A misspelt key name must never be created by encrypting with it.
#[test]
fn bug_023_a_misspelt_key_is_never_created() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world
            .vault
            .put_policy(
                "kms",
                r#"path "transit/*" { capabilities = ["create", "update", "read"] }"#,
            )
            .expect("policy");
        world.config.place.key = "kms-kye".into();
        let mut running = world.start().await;
        seconds(5).await;
        let error = running.client.status().await.expect_err("no such key");
        assert_eq!(error.code(), Code::FailedPrecondition);
        for word in ["kms-kye", "transit"] {
            assert!(error.message().contains(word), "{}", error.message());
        }
        running.client.encrypt(&[1; 32]).await.expect_err("refused");
        let (_, keys) = world.vault.admin("LIST", "transit/keys", &json!(null));
        assert_eq!(
            keys["data"]["keys"],
            json!(["kms-key"]),
            "one key, as before"
        );
        assert_eq!(world.vault.count("/v1/transit/encrypt/"), 0);
        // It was never good, and is told all the same: once, with what to do.
        let lines = world.told.lines();
        let told: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("StatusChanged { ok: false"))
            .collect();
        let [told] = told[..] else { panic!("{told:?}") };
        for word in ["kms-kye", "check -transit-mount, -transit-key"] {
            assert!(told.contains(word), "{told}");
        }
    });
}

/// 404 on the key is an answer, not a crash; the plugin heals when the key is there.
#[test]
fn bug_028_a_missing_key_is_a_status_and_heals() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.place.key = "later".into();
        world
            .vault
            .put_policy("kms", &SEED_POLICY.replace("kms-key", "later"))
            .expect("policy");
        let mut running = world.start().await;
        seconds(4).await;
        for _ in 0..3 {
            let error = running.client.status().await.expect_err("missing");
            assert!(error.message().contains("later"), "{}", error.message());
        }
        running.client.encrypt(&[1; 32]).await.expect_err("missing");
        assert!(world.vault.create_key("transit", "later", "aes256-gcm96"));
        running
            .client
            .wait_good(5)
            .await
            .expect("good without a restart");
    });
}

/// Keys of the wrong kind are refused by name, type and remedy before anything is encrypted.
#[test]
fn bug_030_unfit_keys_are_refused_at_start() {
    both(|flavour| async move {
        let cases = [
            (json!({ "type": "ed25519" }), "ed25519"),
            (json!({ "type": "rsa-2048" }), "rsa-2048"),
            (
                json!({ "type": "aes256-gcm96", "derived": true }),
                "derived",
            ),
        ];
        for (settings, word) in cases {
            let mut world = World::new(flavour);
            let (status, _) = world.vault.admin("POST", "transit/keys/unfit", &settings);
            assert_eq!(status, 200);
            world
                .vault
                .put_policy("kms", &SEED_POLICY.replace("kms-key", "unfit"))
                .expect("policy");
            world.config.place.key = "unfit".into();
            let mut running = world.start().await;
            seconds(4).await;
            let error = running.client.status().await.expect_err("unfit");
            assert_eq!(error.code(), Code::FailedPrecondition);
            assert!(
                error.message().contains(word) && error.message().contains("unfit"),
                "{}",
                error.message()
            );
            assert_eq!(world.vault.count("/v1/transit/encrypt/"), 0);
        }
        for kind in ["aes128-gcm96", "chacha20-poly1305"] {
            let mut world = World::new(flavour);
            assert!(world.vault.create_key("transit", "other", kind));
            world
                .vault
                .put_policy("kms", &SEED_POLICY.replace("kms-key", "other"))
                .expect("policy");
            world.config.place.key = "other".into();
            world.start_good().await.client.round_trip(&[1; 32]).await;
        }
    });
    crate::world::virtual_time().block_on(async {
        // Soft deletion is OpenBao's alone.
        let world = World::new(Flavour::OpenBao);
        let mut running = world.start_good().await;
        let (status, _) =
            world
                .vault
                .admin("DELETE", "transit/keys/kms-key/soft-delete", &json!(null));
        assert!(status < 300, "{status}");
        running
            .client
            .wait_bad(25)
            .await
            .expect("seen by the next probe");
        let error = running.client.status().await.expect_err("soft-deleted");
        assert_eq!(error.code(), Code::FailedPrecondition);
        world.vault.admin(
            "POST",
            "transit/keys/kms-key/soft-delete-restore",
            &json!({}),
        );
        running.client.wait_good(10).await.expect("restored");
    });
}

/// A rotation between any two requests: the version that made a ciphertext is the one that its
/// key_id stands for, and Status and Encrypt switch together.
#[test]
fn bug_037_key_id_belongs_to_the_ciphertext() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let mut versions = BTreeSet::new();
        for round in 0..12 {
            // The key is rotated as soon as one of the probe's requests has its answer.
            let (path, skip) = [
                ("/v1/transit/keys/kms-key", 0),
                ("/v1/transit/encrypt/kms-key", 0),
                ("/v1/transit/encrypt/kms-key", 3),
                ("/v1/transit/decrypt/kms-key", 0),
            ][round % 4];
            let rotation = Fault::on(path, Action::Then(Hook::new(rotate)));
            let rotation = world.vault.fault(rotation.after(skip).times(1));
            running.plugin.reload();
            for _ in 0..50 {
                let before = running.client.status().await.expect("good").key_id;
                let sealed = running.client.encrypt(&[9; 32]).await.expect("encrypt");
                versions.insert(version_of(&world, &sealed));
                let after = running.client.status().await.expect("good").key_id;
                assert!(
                    [&before, &after].contains(&&sealed.key_id),
                    "Encrypt uses what Status reports"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(world.vault.hits(rotation), 1, "{path}");
        }
        assert!(
            versions.len() >= 8,
            "taken up, most of them one by one: {versions:?}"
        );
    });
}

/// Eleven versions, three of them of one second: eleven ids, each reported by Status and Encrypt.
#[test]
fn bug_038_ids_do_not_come_from_clocks_or_string_order() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let (mut ids, mut written) = (BTreeSet::new(), Vec::new());
        for n in 1..=11 {
            if n > 1 {
                // v9, v10 and v11 are born in one second.
                if n < 10 {
                    seconds(60).await;
                }
                world.vault.rotate("transit", "kms-key").expect("rotated");
                // The next Encrypt meets a refused pin and takes the version up at once.
                assert!(world.vault.set_key_config(
                    "transit",
                    "kms-key",
                    &json!({ "min_encryption_version": n })
                ));
            }
            let sealed = running.client.encrypt(&[1; 32]).await.expect("encrypt");
            assert_eq!(version_of(&world, &sealed), n);
            let status = running.client.status().await.expect("good").key_id;
            assert_eq!(status, sealed.key_id);
            assert!(ids.insert(status), "version {n} has an id of its own");
            written.push(sealed);
        }
        let (_, document) = world
            .vault
            .admin("GET", "transit/keys/kms-key", &json!(null));
        let born = |n: &str| document["data"]["keys"][n].as_u64().expect("a second");
        assert_eq!([born("9"), born("10")], [born("11"); 2], "one second");
        for sealed in &written {
            running.client.decrypt(sealed).await.expect("readable");
        }
    });
}

/// Key A, then B, then A again with another epoch: a third id, and everything stays readable.
#[test]
fn bug_039_going_back_to_an_earlier_key_gives_a_new_id() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let policy: String = ["kms-key", "kms-b"]
            .map(|k| SEED_POLICY.replace("kms-key", k))
            .concat();
        world.vault.put_policy("kms", &policy).expect("policy");
        assert!(world.vault.create_key("transit", "kms-b", "aes256-gcm96"));
        let place = |key: &str, epoch: &str| Place {
            namespace: String::new(),
            mount: "transit".into(),
            key: key.into(),
            epoch: epoch.into(),
        };
        let phases = [
            (place("kms-key", ""), vec![]),
            (place("kms-b", ""), vec![place("kms-key", "")]),
            (
                place("kms-key", "3"),
                vec![place("kms-b", ""), place("kms-key", "")],
            ),
        ];
        let (mut ids, mut written) = (BTreeSet::new(), Vec::new());
        for (current, former) in phases {
            world.config.place = current;
            world.config.decrypt_only = former;
            let mut running = world.start_good().await;
            seconds(1).await;
            assert!(
                ids.insert(running.client.status().await.expect("good").key_id),
                "never a second time"
            );
            written.push(
                running
                    .client
                    .encrypt(&[written.len() as u8; 32])
                    .await
                    .expect("encrypt"),
            );
            for (n, sealed) in written.iter().enumerate() {
                assert_eq!(
                    running
                        .client
                        .decrypt(sealed)
                        .await
                        .expect("readable")
                        .plaintext,
                    vec![n as u8; 32]
                );
            }
            running.stop().await;
        }
        // Without the former places, what they wrote is refused by name, not guessed at.
        world.config.decrypt_only.clear();
        let mut running = world.start_good().await;
        for sealed in &written[..2] {
            let error = running
                .client
                .decrypt(sealed)
                .await
                .expect_err("unreadable");
            assert_eq!(error.code(), Code::InvalidArgument);
        }
    });
}

/// A former place that is gone has its own event and never changes Status.
#[test]
fn a_former_place_that_fails_never_changes_status() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.decrypt_only = vec![Place {
            namespace: String::new(),
            mount: "old".into(),
            key: "gone".into(),
            epoch: String::new(),
        }];
        let mut running = world.start_good().await;
        seconds(300).await;
        running.client.status().await.expect("good");
        running.client.round_trip(&[1; 32]).await;
        assert!(world.told.count("FormerPlace { index: 0, ok: false") >= 1);
    });
}

//! Rules of single requests and calls that no public bug report stands for: lengths at their edges,
//! quotas, versions that are not known, what is remembered of callers.

use std::time::Duration;

use kms_v2_api::{DecryptRequest, EncryptResponse};
use serde_json::json;
use sim_vault::{Action, Fault};
use tokio::time::Instant;
use tonic::Code;
use vault_kubernetes_kms::config::Place;
use vault_kubernetes_kms::core::Core;
use vault_kubernetes_kms::key::id::{binding, key_id};

use crate::world::{SEED_POLICY, World, both, seconds, virtual_time};

fn answer(code: u16, text: &str, retry_after: Option<&str>) -> Action {
    let headers = retry_after.map(|s| ("Retry-After".to_owned(), s.to_owned()));
    Action::Status {
        code,
        body: json!({ "errors": [text] }).to_string().into(),
        headers: headers.into_iter().collect(),
    }
}

const QUOTA: &str = "request path \"transit/encrypt/kms-key\": rate limit quota exceeded";

/// A quota that names a time is waited for when that fits; without a time, or with none, the call
/// ends at once instead of adding to the load.
#[test]
fn bug_104_a_quota_is_waited_for_when_it_says_how_long() {
    both(|flavour| async move {
        for (retry_after, waits) in [(Some("1"), true), (Some("0"), false), (None, false)] {
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            let quota = answer(429, QUOTA, retry_after);
            let quota = Fault::on("/v1/transit/encrypt", quota).times(1);
            let quota = world.vault.fault(quota);
            let began = Instant::now();
            let result = running.client.encrypt(&[1; 32]).await;
            assert_eq!(world.vault.hits(quota), 1, "{retry_after:?}");
            if waits {
                result.expect("asked again");
                assert!(began.elapsed() >= Duration::from_millis(500));
            } else {
                let error = result.expect_err("over the quota");
                assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
            }
            seconds(3).await;
            running.client.status().await.expect("one is no outage");
        }
    });
}

/// The longest plaintext whose ciphertext fits, and one byte more.
#[test]
fn kms2_enc_05_lengths_are_refused_at_their_edge_and_not_before() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        running.client.round_trip(&[1; 719]).await;
        running.client.round_trip(&[1; 1]).await;
        world.vault.clear_log();
        let error = running.client.encrypt(&[1; 720]).await.expect_err("long");
        assert_eq!(error.code(), Code::InvalidArgument);
        let sealed = |length: usize| DecryptRequest {
            ciphertext: format!("vault:v1000:{}", "A".repeat(length - 12)).into(),
            uid: "u".into(),
            key_id: key_id(&world.config.place, 1000, "1"),
            annotations: [("format.vault-kubernetes-kms".to_owned(), "1".into())].into(),
        };
        let error = running
            .client
            .decrypt_raw(sealed(1028))
            .await
            .expect_err("long");
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        assert_eq!(world.requests(), 0, "neither was sent");
        let error = running
            .client
            .decrypt_raw(sealed(1024))
            .await
            .expect_err("unknown");
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        assert!(world.requests() > 0, "1024 bytes may be one of ours");
    });
}

/// What `version` of the key made of a plaintext, on some other node.
fn sealed_elsewhere(world: &World, place: &Place, version: u64) -> EncryptResponse {
    let path = format!("transit/keys/{}", place.key);
    let (_, document) = world.vault.admin("GET", &path, &json!(null));
    let created = document["data"]["keys"][version.to_string()].to_string();
    let id = key_id(place, version, &created);
    let body =
        json!({ "plaintext": "AQEBAQ==", "associated_data": binding(&id), "key_version": version });
    let path = format!("transit/encrypt/{}", place.key);
    let (_, answer) = world.vault.admin("POST", &path, &body);
    let text = answer["data"]["ciphertext"].as_str().expect("a ciphertext");
    EncryptResponse {
        ciphertext: text.to_owned().into(),
        key_id: id,
        annotations: [("format.vault-kubernetes-kms".to_owned(), "1".into())].into(),
    }
}

/// A version that was not seen yet: read once for all, and a value that does not belong to it is
/// refused here; a value that does is asked about even when the key cannot be read.
#[test]
fn kms2_dec_07_an_unseen_version_is_looked_up() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        seconds(6).await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        let newer = sealed_elsewhere(&world, &world.config.place, 2);
        let mut foreign = newer.clone();
        foreign.key_id = key_id(&world.config.place, 2, "another time");
        world.vault.clear_log();
        let error = running.client.decrypt(&foreign).await.expect_err("foreign");
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        assert_eq!(
            world.vault.count("/v1/transit/decrypt/"),
            2,
            "the take-up's own"
        );
        running.client.decrypt(&newer).await.expect("ours");

        // No more than one reading in five seconds, however many ask.
        seconds(6).await;
        let mut unknown = newer.clone();
        unknown.ciphertext = String::from_utf8(unknown.ciphertext.to_vec())
            .expect("text")
            .replace("vault:v2:", "vault:v7:")
            .into();
        unknown.key_id = key_id(&world.config.place, 7, "1");
        world.vault.clear_log();
        for _ in 0..40 {
            let error = running.client.decrypt(&unknown).await.expect_err("unknown");
            assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        }
        let began = world.vault.log().first().map(|r| r.at).unwrap_or_default();
        let took = world.vault.now() - began;
        let reads = world.vault.count("/v1/transit/keys/");
        let most = took.as_secs() / 5 + 2 + took.as_secs() / 15;
        assert!(reads as u64 <= most, "{reads} readings in {took:?}");

        // The key cannot be read now; the value may be ours all the same.
        seconds(6).await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        let newest = sealed_elsewhere(&world, &world.config.place, 3);
        let unread = answer(503, "Vault is sealed", None);
        world
            .vault
            .fault(Fault::on("/v1/transit/keys/", unread).times(1));
        running
            .client
            .decrypt(&newest)
            .await
            .expect("bound by its key_id");
    });
}

/// Before the key was ever read: without a server that is a matter of time, without a right to
/// read the key the value is asked about all the same.
#[test]
fn kms2_dec_07_a_value_before_the_key_was_read() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let sealed = sealed_elsewhere(&world, &world.config.place, 1);
        let unread = answer(503, "Vault is sealed", None);
        let unread = world.vault.fault(Fault::on("/v1/transit/", unread));
        let mut running = world.start().await;
        seconds(1).await;
        let error = running.client.decrypt(&sealed).await.expect_err("unread");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        running.stop().await;
        world.vault.clear(unread);

        let world = World::new(flavour);
        let sealed = sealed_elsewhere(&world, &world.config.place, 1);
        let without = SEED_POLICY.replace("transit/keys/", "elsewhere/keys/");
        world.vault.put_policy("kms", &without).expect("policy");
        let mut running = world.start().await;
        seconds(1).await;
        running
            .client
            .decrypt(&sealed)
            .await
            .expect("it may decrypt");
        running.client.status().await.expect_err("but not serve");
    });
}

/// A value that may belong to several places is asked for at each of them.
#[test]
fn bug_039_every_place_that_may_have_made_a_value_is_asked() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let names = ["kms-key", "old-a", "old-b"];
        let policy = names.map(|name| SEED_POLICY.replace("kms-key", name));
        world
            .vault
            .put_policy("kms", &policy.concat())
            .expect("policy");
        for name in &names[1..] {
            assert!(world.vault.create_key("transit", name, "aes256-gcm96"));
        }
        let place = |name: &str| Place {
            key: name.into(),
            ..world.config.place.clone()
        };
        let former = [place("old-a"), place("old-b")];
        world.config.decrypt_only = former.to_vec();
        let mut running = world.start_good().await;
        seconds(6).await;
        // All three are read now, and so not again for five seconds.
        let mut unknown = sealed_elsewhere(&world, &former[1], 1);
        unknown.ciphertext = "vault:v9:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
        unknown.key_id = key_id(&former[1], 9, "1");
        running
            .client
            .decrypt(&unknown)
            .await
            .expect_err("nobody's");
        world.vault.rotate("transit", "old-b").expect("rotated");
        let sealed = sealed_elsewhere(&world, &former[1], 2);
        running
            .client
            .decrypt(&sealed)
            .await
            .expect("the third place's");
        running.client.status().await.expect("good");
    });
}

/// A caller's uid goes into the log without what could break a line, and not without end.
#[test]
fn bug_111_a_uid_is_fit_for_a_log_line() {
    virtual_time().block_on(async {
        let world = World::new(sim_vault::Flavour::OpenBao);
        let core = Core::new(world.config.clone(), world.env());
        assert_eq!(core.uid("a\r\n\tb\u{7f}"), "ab");
        assert_eq!(core.uid(&"x".repeat(200)), "x".repeat(64));
        assert_ne!(core.uid(""), core.uid(""), "none given: one of ours");
    });
}

/// The probe's limit is the longest that callers have named lately, within reason.
#[test]
fn the_longest_limit_of_callers_is_remembered_for_ten_minutes() {
    virtual_time().block_on(async {
        let world = World::new(sim_vault::Flavour::OpenBao);
        let core = Core::new(world.config.clone(), world.env());
        let secs = Duration::from_secs;
        assert_eq!(core.caller_limit(), secs(3), "the API server's default");
        core.note_caller_limit(secs(1));
        assert_eq!(core.caller_limit(), secs(1));
        core.note_caller_limit(secs(10));
        core.note_caller_limit(secs(2));
        assert_eq!(core.caller_limit(), secs(10));
        seconds(601).await;
        core.note_caller_limit(secs(2));
        assert_eq!(core.caller_limit(), secs(2));
        core.note_caller_limit(secs(86_400));
        assert_eq!(core.caller_limit(), secs(60));
        let core = Core::new(world.config.clone(), world.env());
        core.note_caller_limit(Duration::from_millis(1));
        assert_eq!(core.caller_limit(), Duration::from_millis(500));
    });
}

/// Numbers alone say nothing: a value belongs to the place whose key_id it carries, and one whose
/// key_id is known for another version belongs nowhere.
#[test]
fn kms2_dec_05_places_are_told_apart_by_key_id() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let policy = [SEED_POLICY, &SEED_POLICY.replace("kms-key", "old")].concat();
        world.vault.put_policy("kms", &policy).expect("policy");
        assert!(world.vault.create_key("transit", "old", "aes256-gcm96"));
        let old = Place {
            key: "old".into(),
            ..world.config.place.clone()
        };
        world.config.decrypt_only = vec![old.clone()];
        world.vault.rotate("transit", "kms-key").expect("rotated");
        let mut running = world.start_good().await;
        let current = running.client.round_trip(&[1; 32]).await;
        seconds(6).await;
        // A version of the former key that was not seen, with a number that is known of the current.
        world.vault.rotate("transit", "old").expect("rotated");
        let sealed = sealed_elsewhere(&world, &old, 2);
        running
            .client
            .decrypt(&sealed)
            .await
            .expect("the former key's");
        let mut relabelled = current;
        relabelled.ciphertext = String::from_utf8(relabelled.ciphertext.to_vec())
            .expect("text")
            .replace("vault:v2:", "vault:v9:")
            .into();
        world.vault.clear_log();
        let error = running
            .client
            .decrypt(&relabelled)
            .await
            .expect_err("nowhere");
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        assert_eq!(world.requests(), 0);
    });
}

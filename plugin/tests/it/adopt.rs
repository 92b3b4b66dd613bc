//! Taking over from the community plugin: what it wrote is read, what is written in the first phase
//! it could read, and nothing else is taken for either.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_v2_api::{DecryptRequest, EncryptResponse};
use serde_json::json;
use sim_vault::{Fault, Flavour};
use tonic::Code;
use vault_kubernetes_kms::config::{Adopt, DoctorArgs};
use vault_kubernetes_kms::doctor;
use vault_kubernetes_kms::key::id::{FORMAT_ANNOTATION, key_id_in};

use crate::world::{Running, World, both, sealed, seconds};

const PHASES: [Option<Adopt>; 3] = [None, Some(Adopt::Community), Some(Adopt::CommunityFinal)];

fn world(flavour: Flavour, adopt: Option<Adopt>) -> World {
    let mut world = World::new(flavour);
    world.config.adopt = adopt;
    world
}

/// Another start of the plugin, in another phase.
async fn go_on(world: &mut World, running: Running, adopt: Option<Adopt>) -> Running {
    running.stop().await;
    world.config.adopt = adopt;
    world.start_good().await
}

/// What the community plugin writes: the plain ciphertext, and a key_id that is no hash.
fn by_community(world: &World, plaintext: &[u8], key_id: Option<&str>) -> DecryptRequest {
    let body = json!({ "plaintext": STANDARD.encode(plaintext) });
    let (status, answer) = world.vault.admin("POST", "transit/encrypt/kms-key", &body);
    assert_eq!(status, 200, "{answer}");
    let text = answer["data"]["ciphertext"].as_str().expect("a ciphertext");
    let version = answer["data"]["key_version"].to_string();
    DecryptRequest {
        ciphertext: text.to_owned().into(),
        uid: "u".into(),
        key_id: key_id.map_or(version, str::to_owned),
        annotations: [].into(),
    }
}

/// What the community plugin makes of a value: it looks at the ciphertext alone.
fn read_by_community(world: &World, value: &EncryptResponse) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(&value.ciphertext).expect("text");
    let body = json!({ "ciphertext": text });
    let (status, answer) = world.vault.admin("POST", "transit/decrypt/kms-key", &body);
    let plaintext = answer["data"]["plaintext"].as_str();
    let plaintext = plaintext.map(|text| STANDARD.decode(text).expect("base64"));
    plaintext.filter(|_| status == 200)
}

fn request(value: &EncryptResponse) -> DecryptRequest {
    DecryptRequest {
        ciphertext: value.ciphertext.clone(),
        uid: "u".into(),
        key_id: value.key_id.clone(),
        annotations: value.annotations.clone(),
    }
}

/// A cluster goes over without re-encrypting first, can go back during the first phase, and ends
/// bound; every change of phase is a change of key_id.
#[test]
fn a_cluster_goes_over_and_back_and_over() {
    both(|flavour| async move {
        let mut world = world(flavour, Some(Adopt::Community));
        let old = by_community(&world, &[1; 32], None);
        let (_, document) = world
            .vault
            .admin("GET", "transit/keys/kms-key", &json!(null));
        let created = document["data"]["keys"]["1"].to_string();
        let older = by_community(&world, &[2; 32], Some(&created));

        let mut running = world.start_good().await;
        for (value, plaintext) in [(&old, [1; 32]), (&older, [2; 32])] {
            let read = running.client.decrypt_raw(value.clone()).await;
            assert_eq!(read.expect("the other's").plaintext, plaintext.to_vec());
        }
        let first = running.client.round_trip(&[3; 32]).await;
        assert_eq!(first.annotations[FORMAT_ANNOTATION], "0");
        assert_eq!(
            read_by_community(&world, &first),
            Some(vec![3; 32]),
            "the way back"
        );

        let mut running = go_on(&mut world, running, Some(Adopt::CommunityFinal)).await;
        let last = running.client.round_trip(&[4; 32]).await;
        assert_eq!(last.annotations[FORMAT_ANNOTATION], "1");
        assert_eq!(read_by_community(&world, &last), None, "bound");
        running
            .client
            .decrypt(&first)
            .await
            .expect("the phase before");
        running
            .client
            .decrypt_raw(old.clone())
            .await
            .expect("the other's");

        // Still in the first phase, or again: another node may be in the second.
        let mut running = go_on(&mut world, running, Some(Adopt::Community)).await;
        running
            .client
            .decrypt(&last)
            .await
            .expect("the phase after");
        let again = running.client.round_trip(&[5; 32]).await;
        assert_eq!(
            again.key_id, first.key_id,
            "the same phase, the same key_id"
        );

        let mut running = go_on(&mut world, running, None).await;
        let after = running.client.round_trip(&[6; 32]).await;
        running.client.decrypt(&last).await.expect("bound");
        assert_eq!(
            after.key_id, last.key_id,
            "nothing is stale for dropping -adopt"
        );
        for value in [old, older, request(&first)] {
            let error = running.client.decrypt_raw(value).await.expect_err("over");
            assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        }
        let ids: BTreeSet<_> = [first.key_id, last.key_id].into();
        assert_eq!(ids.len(), 2, "each phase has its own");
    });
}

/// HashiCorp's key_id as a public log shows it: base64 of a protobuf that names place and version.
fn by_hashicorp(world: &World, plaintext: &[u8], key: &str, version: u8) -> DecryptRequest {
    let mut message = Vec::new();
    for (field, text) in (1..).zip(["v1", "https://vault.sim:8200", "transit", key]) {
        message.extend([field << 3 | 2, u8::try_from(text.len()).expect("short")]);
        message.extend(text.as_bytes());
    }
    message.extend([6 << 3, version]);
    by_community(world, plaintext, Some(&STANDARD.encode(message)))
}

/// What names this key and this version is read, also of a version that was not seen yet; what names another is not, and
/// neither is the community plugin's.
#[test]
fn hashicorps_values_are_read_behind_its_own_word() {
    both(|flavour| async move {
        for adopt in [Adopt::HashiCorp, Adopt::HashiCorpFinal] {
            let mut world = world(flavour, Some(adopt));
            let mut running = world.start_good().await;
            let first = by_hashicorp(&world, &[1; 32], "kms-key", 1);
            let read = running.client.decrypt_raw(first.clone()).await;
            assert_eq!(read.expect("theirs").plaintext, vec![1; 32]);
            for other in [
                by_hashicorp(&world, &[1; 32], "kms-kye", 1),
                by_hashicorp(&world, &[1; 32], "kms-key", 2),
                by_community(&world, &[1; 32], None),
            ] {
                let said = other.key_id.clone();
                let error = running.client.decrypt_raw(other).await.expect_err(&said);
                assert_eq!(error.code(), Code::InvalidArgument, "{said}: {error:?}");
            }
            let mine = running.client.round_trip(&[2; 32]).await;
            let final_phase = adopt == Adopt::HashiCorpFinal;
            assert_eq!(
                mine.annotations[FORMAT_ANNOTATION],
                if final_phase { "1" } else { "0" }
            );
            assert_eq!(read_by_community(&world, &mine).is_none(), final_phase);
            world.vault.rotate("transit", "kms-key").expect("rotated");
            let second = by_hashicorp(&world, &[3; 32], "kms-key", 2);
            let read = running.client.decrypt_raw(second).await;
            assert_eq!(read.expect("not seen yet").plaintext, vec![3; 32]);
            running.client.status().await.expect("good");

            let mut running = go_on(&mut world, running, Some(Adopt::Community)).await;
            let error = running
                .client
                .decrypt_raw(first)
                .await
                .expect_err("another's");
            assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        }
    });
}

/// Versions of the key go on in every phase, and each has ids of its own.
#[test]
fn a_rotation_in_the_first_phase_is_taken_up() {
    both(|flavour| async move {
        let world = world(flavour, Some(Adopt::Community));
        let mut running = world.start_good().await;
        let old = running.client.round_trip(&[1; 32]).await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        let foreign = by_community(&world, &[2; 32], None);
        assert_eq!(foreign.key_id, "2");
        running
            .client
            .decrypt_raw(foreign)
            .await
            .expect("a version that was not seen yet");
        seconds(25).await;
        let new = running.client.round_trip(&[3; 32]).await;
        assert_ne!(new.key_id, old.key_id);
        assert!(new.ciphertext.starts_with(b"vault:v2:"));
        running.client.decrypt(&old).await.expect("readable");
    });
}

/// Whoever can write to etcd cannot pass one kind of value off as another, nor name another version.
#[test]
fn values_are_read_as_what_they_are_alone() {
    both(|flavour| async move {
        for adopt in PHASES {
            let mut world = world(flavour, Some(Adopt::CommunityFinal));
            let mut running = world.start_good().await;
            let bound = request(&running.client.round_trip(&[1; 32]).await);
            let mut running = go_on(&mut world, running, Some(Adopt::Community)).await;
            let unbound = request(&running.client.round_trip(&[2; 32]).await);
            let foreign = by_community(&world, &[3; 32], None);
            let mut running = go_on(&mut world, running, adopt).await;
            seconds(1).await;
            world.vault.clear_log();
            let with = |value: &DecryptRequest, key_id: &str, format: Option<&'static str>| {
                let mut value = value.clone();
                value.key_id = key_id.to_owned();
                value.annotations.clear();
                if let Some(format) = format {
                    value
                        .annotations
                        .insert(FORMAT_ANNOTATION.to_owned(), format.into());
                }
                value
            };
            for forged in [
                with(&bound, &bound.key_id, Some("0")),
                with(&bound, &bound.key_id, None),
                with(&bound, &unbound.key_id, Some("1")),
                with(&unbound, &unbound.key_id, Some("1")),
                with(&unbound, &bound.key_id, Some("0")),
                with(&unbound, &unbound.key_id, None),
                with(&foreign, "2", None),
                with(&foreign, "01", None),
                with(&foreign, "", None),
                with(&foreign, "99999999999999999999999", None),
                with(&foreign, "1", Some("2")),
            ] {
                let said = format!("{adopt:?} {} {:?}", forged.key_id, forged.annotations);
                let error = running.client.decrypt_raw(forged).await.expect_err(&said);
                assert_eq!(error.code(), Code::InvalidArgument, "{said}: {error:?}");
            }
            assert_eq!(
                world.vault.count("/v1/transit/decrypt"),
                0,
                "known without Vault"
            );
            running.client.status().await.expect("good");
        }
    });
}

/// Another node writes with a version that this one has not seen. Nothing binds the value to its
/// key_id, so it is not tried at a guess: it waits for the key's document.
#[test]
fn an_unbound_value_of_an_unseen_version_waits_for_the_document() {
    both(|flavour| async move {
        let world = world(flavour, Some(Adopt::Community));
        let mut running = world.start_good().await;
        world.vault.rotate("transit", "kms-key").expect("rotated");
        let mut other = world.start_good().await;
        let value = request(&other.client.round_trip(&[1; 32]).await);
        let mut forged = value.clone();
        forged.key_id = key_id_in("0", &world.config.place, 2, "1");
        // The document was read a moment ago, and cannot be told to be old.
        let error = running.client.decrypt_raw(value.clone()).await;
        let error = error.expect_err("not seen yet");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        seconds(6).await;
        let away = Fault::on("/v1/transit/keys/", sealed());
        let away = world.vault.fault(away);
        let error = running.client.decrypt_raw(value.clone()).await;
        let error = error.expect_err("no document");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        // The community plugin's key_id says what the label says, so nothing is to be looked up.
        let foreign = by_community(&world, &[2; 32], None);
        running.client.decrypt_raw(foreign).await.expect("read");
        world.vault.clear(away);
        seconds(6).await;
        let error = running
            .client
            .decrypt_raw(forged)
            .await
            .expect_err("forged");
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        running.client.decrypt_raw(value).await.expect("read");
    });
}

/// The first phase is told: the doctor warns of it, and counts tell who still reads such values.
#[test]
fn the_first_phase_is_told_by_the_doctor_and_by_events() {
    both(|flavour| async move {
        for adopt in PHASES {
            let world = world(flavour, adopt);
            let rows =
                doctor::examine_vault(&world.config, &DoctorArgs::default(), &world.env()).await;
            let binding = rows
                .iter()
                .find(|row| row.check == "binding")
                .expect("a row");
            let warned = binding.remedy.contains("community,final");
            assert_eq!(warned, adopt == Some(Adopt::Community), "{binding:?}");
            assert!(
                rows.iter()
                    .all(|row| row.check != "encrypt" || row.remedy.is_empty())
            );
        }
        let world = world(flavour, Some(Adopt::Community));
        let mut running = world.start_good().await;
        running.client.round_trip(&[1; 32]).await;
        let foreign = by_community(&world, &[2; 32], None);
        running.client.decrypt_raw(foreign).await.expect("read");
        assert_eq!(world.told.count("UnboundRead { foreign: false }"), 1);
        assert_eq!(world.told.count("UnboundRead { foreign: true }"), 1);
    });
}

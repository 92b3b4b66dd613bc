//! The doctor and old data: what must stay readable, and what would make it so.

use kms_v2_api::EncryptResponse;
use prost::Message;
use vault_kubernetes_kms::config::{Place, Sample};
use vault_kubernetes_kms::doctor::{Verdict, exit_code, text};

use crate::doctor::{check, examined, failed};
use crate::world::{SEED_POLICY, World, both};

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
    #[prost(string, tag = "2")]
    key_id: String,
    #[prost(bytes = "vec", tag = "3")]
    seed: Vec<u8>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    annotations: std::collections::BTreeMap<String, Vec<u8>>,
}

/// A value as `etcdctl get --print-value-only` prints it.
fn stored(sealed: &EncryptResponse) -> Vec<u8> {
    let annotations = sealed.annotations.iter();
    let stored = Stored {
        data: vec![7; 100],
        key_id: sealed.key_id.clone(),
        seed: sealed.ciphertext.to_vec(),
        annotations: annotations
            .map(|(name, value)| (name.clone(), value.to_vec()))
            .collect(),
    };
    let mut value = b"k8s:enc:kms:v2:1_secrets:".to_vec();
    value.extend(stored.encode_to_vec());
    value.push(b'\n');
    value
}

#[test]
fn bug_039_old_data_is_readable_or_the_doctor_says_what_would_make_it_so() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.encrypt(&[1; 32]).await.unwrap();
        running.stop().await;
        let by_id = || Some(Sample::KeyId(sealed.key_id.clone()));
        let by_file = || Some(Sample::File("/value".into()));
        let put = |world: &World, value: &[u8]| world.files.write_bytes("/value", value);
        put(&world, &stored(&sealed));
        for sample in [by_id(), by_file()] {
            let rows = examined(&world, sample).await;
            check(&rows, "sample", Verdict::Good, "the configured key");
            assert_eq!(exit_code(&rows), 0);
        }

        // A rotation changes nothing about it.
        world.vault.rotate("transit", "kms-key").unwrap();
        check(
            &examined(&world, by_file()).await,
            "sample",
            Verdict::Good,
            "version 1",
        );

        // Another epoch makes it foreign, and the old one named makes it readable again.
        let old = world.config.place.clone();
        world.config.place.epoch = "2".to_owned();
        for sample in [by_id(), by_file()] {
            let rows = examined(&world, sample).await;
            check(&rows, "sample", Verdict::Failed, "-decrypt-only=");
            assert_eq!(failed(&rows), ["sample"]);
        }
        world.config.decrypt_only = vec![old];
        for sample in [by_id(), by_file()] {
            let rows = examined(&world, sample).await;
            check(&rows, "sample", Verdict::Good, "-decrypt-only place 1");
            check(&rows, "decrypt-only-1", Verdict::Good, "is allowed");
            assert_eq!(exit_code(&rows), 0, "{}", text(&rows));
        }

        let mut damaged = sealed.clone();
        let mut bytes = damaged.ciphertext.to_vec();
        let at = bytes.len() - 8;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        damaged.ciphertext = bytes.into();
        put(&world, &stored(&damaged));
        check(
            &examined(&world, by_file()).await,
            "sample",
            Verdict::Failed,
            "damaged",
        );

        for (value, part) in [
            (&b"k8s:enc:aescbc:v1:key1:xxxx"[..], "encrypted with aescbc"),
            (b"k8s\0\n\x0c\n\x02v1", "not encrypted"),
            (b"k8s:enc:kms:v2:1_secrets", "ends within"),
            (b"k8s:enc:kms:v2:1_secrets:\x0a\xff", "cut or damaged"),
        ] {
            put(&world, value);
            let rows = examined(&world, by_file()).await;
            check(&rows, "sample", Verdict::Unknown, part);
            assert_eq!(exit_code(&rows), 3);
        }
        world.files.remove("/value");
        check(
            &examined(&world, by_file()).await,
            "sample",
            Verdict::Unknown,
            "/value",
        );
        let foreign = Some(Sample::KeyId("1".to_owned()));
        check(
            &examined(&world, foreign).await,
            "sample",
            Verdict::Failed,
            "another plugin",
        );
    });
}

#[test]
fn a_former_place_that_cannot_be_read_is_a_failure() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.decrypt_only = vec![Place {
            namespace: String::new(),
            mount: "transit".to_owned(),
            key: "older-key".to_owned(),
            epoch: String::new(),
        }];
        let rows = examined(&world, None).await;
        check(
            &rows,
            "decrypt-only-1",
            Verdict::Failed,
            "transit/keys/older-key",
        );
        assert_eq!(failed(&rows), ["decrypt-only-1"]);

        // Readable, but nothing may be decrypted.
        assert!(world.vault.create_key("transit", "older-key", ""));
        let read = format!(
            "{SEED_POLICY}\npath \"transit/keys/older-key\" {{ capabilities = [\"read\"] }}"
        );
        world.vault.put_policy("kms", &read).unwrap();
        let rows = examined(&world, None).await;
        check(
            &rows,
            "decrypt-only-1",
            Verdict::Failed,
            "transit/decrypt/older-key",
        );
    });
}

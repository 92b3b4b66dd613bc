//! Messages of the plugin API (KMS2-WIRE), stored objects and their bytes (OBJ, ETCD, CRYPTO, VER).

use std::collections::BTreeMap;
use std::path::Path;

use kms_apiserver::aead::{self, Gcm};
use kms_apiserver::gotext::hex;
use kms_apiserver::grpc::Method;
use kms_apiserver::object::{self, EncryptedObject, SourceType};
use kms_apiserver::proto::{self, DecodeError, EncryptAnswer, StatusAnswer};
use kms_apiserver::version::Version;
use serde_json::Value;

use crate::lab::{CONFIG, KEY, Lab, Mode, field, options, put, secrets};

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../vectors-own.json")).unwrap();
    file["own"].as_array().unwrap().clone()
}

fn bytes_of(vector: &Value, field: &str) -> Vec<u8> {
    unhex(vector[field].as_str().unwrap())
}

#[test]
fn kms2_wire_01_the_three_paths() {
    let paths = [Method::Status, Method::Encrypt, Method::Decrypt].map(Method::path);
    assert_eq!(
        paths,
        [
            "/v2.KeyManagementService/Status",
            "/v2.KeyManagementService/Encrypt",
            "/v2.KeyManagementService/Decrypt"
        ]
    );
}

#[test]
fn kms2_wire_02_a_status_request_is_empty() {
    let lab = Lab::started();
    assert_eq!(lab.calls[0].method, Method::Status);
    assert!(lab.calls[0].request.is_empty());
}

#[test]
fn kms2_wire_03_a_status_answer_by_field_number() {
    let answer = StatusAnswer::decode(&unhex("0a02763212026f6b1a056b65792d31")).unwrap();
    let told = (
        answer.version.as_str(),
        answer.healthz.as_str(),
        answer.key_id.as_str(),
    );
    assert_eq!(told, ("v2", "ok", "key-1"));
}

#[test]
fn kms2_wire_04_an_encrypt_request_by_field_number() {
    assert_eq!(
        proto::encrypt_request(&[1, 2], "u"),
        unhex("0a0201021201 75".replace(' ', "").as_str())
    );
}

#[test]
fn kms2_wire_05_an_encrypt_answer_by_field_number() {
    let answer = EncryptAnswer::decode(&unhex("0a01ff12016b1a080a03612e62120101")).unwrap();
    assert_eq!(
        (answer.ciphertext, answer.key_id.as_str()),
        (vec![0xff], "k")
    );
    assert_eq!(
        answer.annotations,
        BTreeMap::from([("a.b".to_owned(), vec![1])])
    );
}

#[test]
fn kms2_wire_06_a_decrypt_request_by_field_number() {
    let annotations = BTreeMap::from([("a.b".to_owned(), vec![1])]);
    let request = proto::decrypt_request(&[0xff], "u", "k", &annotations);
    assert_eq!(hex(&request), "0a01ff1201751a016b22080a03612e62120101");
}

#[test]
fn kms2_wire_07_a_decrypt_answer_has_one_field() {
    let answer = proto::decode_decrypt_answer(&unhex("0a02010212016b")).unwrap();
    assert_eq!(*answer, vec![1, 2]);
}

#[test]
fn kms2_wire_08_bad_utf8_is_an_rpc_failure() {
    let mut lab = Lab::new();
    lab.plugin().status = Mode::Says(unhex("0a02763212026f6b1a01ff"));
    lab.ready(CONFIG, options(37));
    let text = lab.probe().unwrap_err();
    assert!(text.contains("code = Internal desc = grpc: failed to unmarshal the received message: string field contains invalid UTF-8"), "{text}");
}

#[test]
fn kms2_wire_09_unknown_fields_are_skipped_and_the_last_scalar_wins() {
    let decode = |text: &str| StatusAnswer::decode(&unhex(text));
    assert_eq!(
        decode("0a02763212026f6b1a016b7a027a7a").unwrap().key_id,
        "k"
    );
    assert_eq!(decode("1a016a1a016b").unwrap().key_id, "k");
    // Another wire type is an unknown field.
    assert_eq!(decode("08021a016b").unwrap().version, "");
    for broken in ["0a057632", "ffffff", "00", "0c", "1a"] {
        assert_eq!(decode(broken), Err(DecodeError::Malformed), "{broken}");
    }
    // Groups nest without costing stack.
    let deep = [vec![0x7b; 9_000], vec![0x7c; 9_000]].concat();
    assert!(StatusAnswer::decode(&deep).is_ok());
    assert!(StatusAnswer::decode(&[0x7b; 1_000_000]).is_err());
}

#[test]
fn kms2_wire_10_the_largest_answer() {
    for (length, good) in [(4_194_304, true), (4_194_305, false)] {
        let mut lab = Lab::new();
        let mut answer = unhex("0a02763212026f6b1a056b65792d31");
        let filler = length - answer.len() - 5;
        put(&mut answer, 15, &vec![0; filler]);
        assert_eq!(answer.len(), length);
        lab.plugin().status = Mode::Says(answer);
        lab.ready(CONFIG, options(37));
        let told = lab.probe();
        assert_eq!(told.is_ok(), good, "{told:?}");
        if let Err(text) = told {
            assert!(text.contains("code = ResourceExhausted desc = grpc: received message larger than max (4194305 vs. 4194304)"), "{text}");
        }
    }
}

#[test]
fn kms2_wire_11_map_entries_have_both_fields() {
    let annotations = BTreeMap::from([("a.b".to_owned(), Vec::new())]);
    let request = proto::decrypt_request(&[], "", "", &annotations);
    assert_eq!(hex(&request), "22070a03612e621200");
    // And both may be absent when they are read; so does the older library write the object.
    let object = EncryptedObject::decode(&unhex("22050a03612e62"), Version::NEWEST).unwrap();
    assert_eq!(object.annotations, annotations);
    for (minor, stored) in [(33, "22050a03612e62"), (34, "22070a03612e621200")] {
        let mut bytes = Vec::new();
        let version = Version::new(minor).unwrap();
        object::encode(
            &mut bytes,
            version,
            &[],
            "",
            &[],
            &annotations,
            SourceType::AesGcmKey,
        );
        assert_eq!(hex(&bytes), stored, "1.{minor}");
    }
}

#[test]
fn kms2_obj_01_the_own_vectors_byte_for_byte() {
    for vector in vectors() {
        let object = EncryptedObject::decode(&bytes_of(&vector, "object_hex"), Version::NEWEST);
        let object = object.unwrap();
        object.validate().unwrap();
        assert_eq!(object.key_id, vector["key_id"].as_str().unwrap_or("k1"));
        assert_eq!(
            i64::from(object.source_type),
            vector["type"].as_i64().unwrap()
        );
        let mut bytes = Vec::new();
        object::encode(
            &mut bytes,
            Version::NEWEST,
            &object.data,
            &object.key_id,
            &object.source,
            &object.annotations,
            object.known_type().unwrap(),
        );
        assert_eq!(bytes, bytes_of(&vector, "object_hex"), "{}", vector["name"]);
    }
}

#[test]
fn kms2_cache_07_the_cache_key_of_the_own_vectors() {
    for vector in vectors() {
        let object = EncryptedObject::decode(&bytes_of(&vector, "object_hex"), Version::NEWEST);
        let object = object.unwrap();
        let key = object::cache_key_bytes(
            object.source_type as u32,
            &object.source,
            &object.key_id,
            &object.annotations,
        );
        assert_eq!(
            key,
            bytes_of(&vector, "cache_key_hex"),
            "{}",
            vector["name"]
        );
        assert_eq!(
            object.cache_key().to_vec(),
            bytes_of(&vector, "cache_key_sha256")
        );
    }
}

/// A server whose plugin unwraps the vectors' seeds.
fn reader(vector: &Value, minor: u8) -> Lab {
    let mut lab = Lab::new();
    let config = CONFIG.replace("name: lab", "name: demo");
    let seed = if vector["type"] == 1 {
        "seed_hex"
    } else {
        "key_hex"
    };
    let mut answer = Vec::new();
    put(&mut answer, 1, &bytes_of(vector, seed));
    lab.plugin().decrypt = Mode::Says(answer);
    let key_id = if minor < 29 { "v2beta1" } else { "v2" };
    key_id.clone_into(&mut lab.plugin().version);
    lab.ready(&config, options(minor));
    lab
}

#[test]
fn kms2_etcd_01_the_prefix_chooses_the_provider() {
    for vector in vectors() {
        let mut lab = reader(&vector, 37);
        let stored = bytes_of(&vector, "etcd_value_hex");
        assert_eq!(
            lab.read(&stored).unwrap().bytes,
            b"hi",
            "{}",
            vector["name"]
        );
        let renamed = [b"k8s:enc:kms:v2:dema:", &stored[20..]].concat();
        assert_eq!(lab.read(&renamed).unwrap_err(), "no matching prefix found");
        let written = lab.write(b"hi").unwrap();
        assert!(written.starts_with(b"k8s:enc:kms:v2:demo:"));
    }
}

#[test]
fn kms2_etcd_02_a_value_is_bound_to_its_key() {
    for vector in vectors() {
        let mut lab = reader(&vector, 37);
        let stored = bytes_of(&vector, "etcd_value_hex");
        let elsewhere = lab.read_on(0, &secrets(), &KEY[1..], &stored);
        assert_eq!(elsewhere.unwrap_err(), aead::AUTH_FAILED);
        assert!(lab.read(&stored).is_ok());
    }
}

#[test]
fn kms2_crypto_01_the_key_is_hkdf_expand_alone() {
    for vector in vectors().iter().filter(|vector| vector["type"] == 1) {
        let info = bytes_of(vector, "info_hex").try_into().unwrap();
        let key = aead::derive(&bytes_of(vector, "seed_hex"), &info).unwrap();
        assert_eq!(key.to_vec(), bytes_of(vector, "dek_hex"));
    }
    assert!(
        aead::derive(&[0; 31], &[0; 32])
            .unwrap_err()
            .contains("invalid seed length 31")
    );
    // A longer seed is used whole, not cut.
    let (long, cut) = (
        aead::derive(&[7; 40], &[0; 32]),
        aead::derive(&[7; 32], &[0; 32]),
    );
    assert_ne!(long.unwrap(), cut.unwrap());
}

#[test]
fn kms2_crypto_02_a_type_0_value_is_plain_gcm() {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector["type"] == 0).unwrap();
    let gcm = Gcm::new(&bytes_of(vector, "key_hex")).unwrap();
    let mut data = Vec::new();
    let nonce = bytes_of(vector, "nonce_hex").try_into().unwrap();
    gcm.seal(&mut data, nonce, KEY.as_bytes(), b"hi").unwrap();
    assert_eq!(data[12..], bytes_of(vector, "ciphertext_and_tag_hex"));
    assert_eq!(nonce[4..], 1_000_000_001u64.to_le_bytes());
}

#[test]
fn kms2_crypto_03_a_type_1_value_is_info_nonce_ciphertext_tag() {
    let vectors = vectors();
    let vector = &vectors[0];
    let data = bytes_of(vector, "encrypted_data_hex");
    assert_eq!(data.len(), 2 + 60);
    let (info, sealed) = aead::split_info(&data).unwrap();
    assert_eq!(info.to_vec(), bytes_of(vector, "info_hex"));
    let gcm = Gcm::new(&bytes_of(vector, "dek_hex")).unwrap();
    assert_eq!(gcm.open(KEY.as_bytes(), sealed).unwrap(), b"hi");
    let mut lab = Lab::started();
    let stored = lab.write(b"hi").unwrap();
    let object = EncryptedObject::decode(&stored["k8s:enc:kms:v2:lab:".len()..], Version::NEWEST);
    assert_eq!(object.unwrap().data.len(), 62);
}

/// One flipped byte anywhere, a cut value, or the other type: never a value.
#[test]
fn kms2_crypto_04_every_damage_is_noticed() {
    for vector in vectors() {
        let stored = bytes_of(&vector, "etcd_value_hex");
        let object = EncryptedObject::decode(&bytes_of(&vector, "object_hex"), Version::NEWEST);
        let object = object.unwrap();
        let start = stored
            .windows(object.data.len())
            .position(|part| part == object.data)
            .unwrap();
        let mut lab = reader(&vector, 37);
        for at in start..start + object.data.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 1;
            assert_eq!(
                lab.read(&damaged).unwrap_err(),
                aead::AUTH_FAILED,
                "byte {at}"
            );
        }
        for (kind, other) in [(0, SourceType::HkdfSeed), (1, SourceType::AesGcmKey)] {
            if vector["type"] != kind {
                continue;
            }
            let mut bytes = b"k8s:enc:kms:v2:demo:".to_vec();
            let object::EncryptedObject {
                data,
                key_id,
                source,
                annotations,
                ..
            } = &object;
            object::encode(
                &mut bytes,
                Version::NEWEST,
                data,
                key_id,
                source,
                annotations,
                other,
            );
            assert!(lab.read(&bytes).is_err());
        }
    }
}

#[test]
fn kms2_ver_01_1_27_takes_a_seed_for_a_key() {
    let vector = &vectors()[0];
    let stored = bytes_of(vector, "etcd_value_hex");
    assert_eq!(
        reader(vector, 27).read(&stored).unwrap_err(),
        aead::AUTH_FAILED
    );
    assert_eq!(reader(vector, 28).read(&stored).unwrap().bytes, b"hi");
}

#[test]
fn kms2_ver_02_type_0_stays_readable() {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector["type"] == 0).unwrap();
    for minor in 27..=37 {
        let read = reader(vector, minor).read(&bytes_of(vector, "etcd_value_hex"));
        assert_eq!(read.unwrap().bytes, b"hi", "1.{minor}");
    }
}

#[test]
fn kms2_ver_03_the_constants() {
    use kms_apiserver::kms;
    let seconds = [
        kms::POLL,
        kms::FAST_POLL,
        kms::WRITE_TTL,
        kms::SEED_TTL,
        kms::GOOD_RESULT,
        kms::BAD_RESULT,
        kms::PATH_TTL,
        kms::CONNECT_LIMIT,
    ]
    .map(|time| time.as_secs());
    assert_eq!(seconds, [60, 10, 180, 86_400, 20, 3, 600, 20]);
    let sizes = [
        object::MAX_KEY_ID,
        object::MAX_SOURCE,
        object::MAX_ANNOTATIONS,
    ];
    assert_eq!(sizes, [1024, 1024, 32_768]);
}

/// Records that kube-apiserver 1.27.0 and 1.28.0 wrote must stay readable; they are third-party
/// data, so they are read where the contract's folder stands beside the checkout.
#[test]
fn kms2_itest_10_records_of_old_servers() {
    let shared = std::env::var("KMS_SHARED").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        Into::into,
    );
    let Ok(text) = std::fs::read_to_string(shared.join("contract/kmsv2-vectors.json")) else {
        let required = std::env::var("KMS_REQUIRE").is_ok_and(|what| what == "all");
        assert!(!required, "no contract/kmsv2-vectors.json in {shared:?}");
        return;
    };
    let file: Value = serde_json::from_str(&text).unwrap();
    let mut read = 0;
    for vector in file["upstream"].as_array().unwrap() {
        let Some(path) = vector["path"].as_str() else {
            let sealed = bytes_of(vector, "encrypted_data_hex");
            let aad = vector["aad_ascii"].as_str().unwrap().as_bytes();
            let opened = match vector["key_ascii"].as_str() {
                Some(key) => Gcm::new(key.as_bytes()).unwrap().open(aad, &sealed),
                None => {
                    let (info, rest) = aead::split_info(&sealed).unwrap();
                    let key = aead::derive(&bytes_of(vector, "seed_hex"), info).unwrap();
                    Gcm::new(&*key).unwrap().open(aad, rest)
                }
            };
            assert_eq!(
                opened.unwrap(),
                vector["plaintext_ascii"].as_str().unwrap().as_bytes()
            );
            read += 1;
            continue;
        };
        let mut lab = Lab::new();
        *lab.plugin() = crate::lab::Plugin::mock();
        let config = CONFIG.replace("name: lab", "name: kms-provider");
        lab.ready(&config, options(37));
        let plain = lab.read_on(0, &secrets(), path, &bytes_of(vector, "etcd_value_hex"));
        assert!(
            plain.unwrap().bytes.starts_with(b"k8s\0"),
            "{}",
            vector["name"]
        );
        let asked = &lab.calls.last().unwrap().request;
        assert_eq!(
            field(asked, 1),
            vector["encrypted_dek_source_ascii"]
                .as_str()
                .unwrap()
                .as_bytes()
        );
        read += 1;
    }
    assert_eq!(read, 4);
}

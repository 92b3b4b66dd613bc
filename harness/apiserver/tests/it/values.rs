//! Writes, reads, staleness and caches (KMS2-WRITE, DEC, STALE, CACHE).

use std::time::Duration;

use kms_apiserver::encryption::Read;
use kms_apiserver::grpc::{Code, Method};
use kms_apiserver::object::{self, SourceType};
use kms_apiserver::seam::GroupResource;
use kms_apiserver::version::Version;

use crate::lab::{
    CONFIG, KEY, Lab, Mode, Plugin, SOCKET, field, millis, options, put, seconds, secrets,
};
use crate::state::object_of;

const TWO: &str = "/run/kms/two.sock";

/// A configuration with these providers, in this order: names of KMS plugins, or whole entries.
fn providers(list: &[&str]) -> String {
    let mut text = CONFIG.split("      - kms:").next().unwrap().to_owned();
    for name in list {
        text.push_str(&match *name {
            "identity" => "      - identity: {}\n".to_owned(),
            "lab" => {
                format!("      - kms: {{apiVersion: v2, name: lab, endpoint: 'unix://{SOCKET}'}}\n")
            }
            "two" => {
                format!("      - kms: {{apiVersion: v2, name: two, endpoint: 'unix://{TWO}'}}\n")
            }
            cipher => format!("      - {cipher}\n"),
        });
    }
    text
}

const CIPHERS: [&str; 3] = ["aescbc", "aesgcm", "secretbox"];

fn cipher(kind: &str, names: &[&str]) -> String {
    let secret = |name: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode([name.as_bytes()[0]; 32])
    };
    let keys: Vec<String> = names
        .iter()
        .map(|name| format!("{{name: {name}, secret: {}}}", secret(name)))
        .collect();
    format!("{kind}: {{keys: [{}]}}", keys.join(", "))
}

fn two_plugins() -> Lab {
    let mut lab = Lab::new();
    lab.plugins.insert(TWO.to_owned(), Plugin::default());
    lab
}

/// A value that another server wrote: cold on the one that is returned.
fn cold(value: &[u8]) -> (Lab, Vec<u8>) {
    let mut lab = Lab::started();
    let stored = lab.write(value).unwrap();
    lab.ready(CONFIG, options(37));
    (lab, stored)
}

#[test]
fn kms2_write_01_a_write_makes_no_call() {
    let mut lab = Lab::started();
    let calls = lab.calls.len();
    lab.kill(SOCKET);
    for _ in 0..100 {
        lab.write(b"x").unwrap();
    }
    assert_eq!((lab.calls.len(), lab.dials.len()), (calls, 1));
    let name = "apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"lab\"}";
    assert_eq!(lab.metric(name), Some(1.0), "the seed goes into the cache");
}

#[test]
fn kms2_write_02_the_first_provider_writes_whatever_its_health() {
    let mut lab = two_plugins();
    lab.plugin().encrypt = Mode::Fails(Code::INTERNAL);
    lab.ready(&providers(&["lab", "two", "identity"]), options(37));
    assert_eq!(
        lab.write(b"x").unwrap_err(),
        "got unexpected nil transformer"
    );
}

#[test]
fn local_ciphers_round_trip_and_rotate_their_keys() {
    for kind in CIPHERS {
        let mut lab = Lab::new();
        lab.ready(
            &providers(&[&cipher(kind, &["a"]), "identity"]),
            options(37),
        );
        for length in [0, 1, 15, 16, 17, 1000] {
            let value = vec![7; length];
            let stored = lab.write(&value).unwrap();
            assert!(stored.starts_with(format!("k8s:enc:{kind}:v1:a:").as_bytes()));
            let plain = lab.read(&stored).unwrap();
            assert_eq!(
                (plain.bytes, plain.stale),
                (value, false),
                "{kind} {length}"
            );
        }
        let stored = lab.write(b"old").unwrap();
        lab.ready(
            &providers(&[&cipher(kind, &["b", "a"]), "identity"]),
            options(37),
        );
        assert!(
            lab.read(&stored).unwrap().stale,
            "{kind}: of the second key"
        );
        lab.ready(
            &providers(&[&cipher(kind, &["b"]), "identity"]),
            options(37),
        );
        let missing = lab.read(&stored).unwrap_err();
        assert!(
            missing.starts_with("no matching key was found for the provided "),
            "{missing}"
        );
        // The same name for another key.
        let renamed = cipher(kind, &["b"]).replace("name: b", "name: a");
        lab.ready(&providers(&[&renamed]), options(37));
        assert!(lab.read(&stored).is_err(), "{kind}: of another key");
    }
}

/// Values that other implementations made: AES-CBC and AES-GCM by an independent library, and
/// NaCl's own test of secretbox.
#[test]
fn local_ciphers_open_foreign_values() {
    use kms_apiserver::aead::{Cbc, Gcm, Secretbox};
    let unhex = |text: &str| -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    // NIST SP 800-38A, F.2.1, with a block of padding made for it.
    let key = unhex("2b7e151628aed2a6abf7158809cf4f3c");
    let mut sealed = Vec::new();
    let iv = unhex("000102030405060708090a0b0c0d0e0f")
        .try_into()
        .unwrap();
    let plain = unhex("6bc1bee22e409f96e93d7e117393172a");
    Cbc::new(&key).unwrap().seal(&mut sealed, iv, &plain);
    assert_eq!(sealed[16..32], unhex("7649abac8119b246cee98e9b12e9197d"));
    assert_eq!(Cbc::new(&key).unwrap().open(&sealed).unwrap(), plain);
    // The GCM specification's test case 2.
    let gcm = Gcm::new(&[0; 16]).unwrap();
    let sealed = unhex(
        "0000000000000000000000000388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
    );
    assert_eq!(gcm.open(&[], &sealed).unwrap(), [0; 16]);
    // The first bytes of the NaCl paper's example.
    let key = unhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
    let nonce = unhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
        .try_into()
        .unwrap();
    let message = unhex(
        "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
    );
    let mut sealed = Vec::new();
    Secretbox::new(&key.try_into().unwrap())
        .seal(&mut sealed, nonce, &message)
        .unwrap();
    assert_eq!(sealed[24..40], unhex("f3ffc7703f9400e52a7dfb4b3d3305d9"));
}

#[test]
fn kms_v1_is_refused_with_its_reason() {
    let config = CONFIG.replace("apiVersion: v2", "apiVersion: v1");
    let error = Lab::new().try_load(&config, options(37)).unwrap_err();
    assert!(error.contains("KMSv1 is deprecated"), "{error}");
    let mut allowed = options(37);
    allowed.kms_v1 = Some(true);
    let mut lab = Lab::new();
    lab.ready(&config, allowed);
    assert!(
        lab.write(b"x")
            .unwrap_err()
            .contains("KMS v1 is not emulated")
    );
    assert!(
        lab.read(b"k8s:enc:kms:v1:lab:x")
            .unwrap_err()
            .contains("KMS v1 is not emulated")
    );
}

#[test]
fn kms2_dec_01_decrypt_gets_what_encrypt_gave() {
    let mut lab = Lab::new();
    lab.plugin()
        .annotations
        .insert("a.b".to_owned(), vec![1, 2]);
    lab.ready(CONFIG, options(37));
    let stored = lab.write(b"x").unwrap();
    lab.ready(CONFIG, options(37));
    lab.read(&stored).unwrap();
    let object = object_of(&stored);
    let asked = &lab.calls.last().unwrap().request;
    assert_eq!(field(asked, 1), object.source);
    assert_eq!(field(asked, 3), b"key-1");
    let entry = field(asked, 4);
    assert_eq!(
        (field(&entry, 1), field(&entry, 2)),
        (b"a.b".to_vec(), vec![1, 2])
    );
    assert_ne!(field(asked, 2), Vec::<u8>::new());
}

#[test]
fn kms2_dec_02_seeds_of_at_least_32_bytes() {
    for (length, error) in [
        (0, "invalid seed length 0 used for key generation"),
        (31, "invalid seed length 31 used for key generation"),
        (33, "cipher: message authentication failed"),
    ] {
        let (mut lab, stored) = cold(b"x");
        let mut answer = Vec::new();
        put(&mut answer, 1, &vec![1; length]);
        lab.plugin().decrypt = Mode::Says(answer);
        assert_eq!(lab.read(&stored).unwrap_err(), error);
        lab.read(&stored).unwrap_err();
        // What could not be used is not kept.
        assert_eq!(lab.count(Method::Decrypt), if length < 32 { 2 } else { 1 });
    }
}

#[test]
fn kms2_dec_03_one_wrong_answer_poisons_the_seed() {
    let (mut lab, stored) = cold(b"x");
    let mut wrong = Vec::new();
    put(&mut wrong, 1, &[7; 32]);
    lab.plugin().decrypt = Mode::Says(wrong);
    let error = "cipher: message authentication failed";
    assert_eq!(lab.read(&stored).unwrap_err(), error);
    lab.plugin().decrypt = Mode::Well;
    for _ in 0..24 {
        lab.run(seconds(3_599));
        assert_eq!(lab.read(&stored).unwrap_err(), error);
        lab.write(b"y").unwrap();
    }
    assert_eq!(lab.count(Method::Decrypt), 1);
    lab.run(seconds(60));
    assert_eq!(
        lab.read(&stored).unwrap_err(),
        error,
        "24 h are over, but nothing collected it"
    );
    lab.write(b"y").unwrap();
    assert!(lab.read(&stored).is_ok());
    // The switch, for a server where the bug is fixed.
    let mut fixed = options(37);
    fixed.cache_unproven_seeds = false;
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.ready(CONFIG, fixed);
    let mut wrong = Vec::new();
    put(&mut wrong, 1, &[7; 32]);
    lab.plugin().decrypt = Mode::Says(wrong);
    assert_eq!(lab.read(&stored).unwrap_err(), error);
    lab.plugin().decrypt = Mode::Well;
    assert_eq!(lab.read(&stored).unwrap().bytes, b"x");
    assert!(lab.read(&stored).is_ok());
    assert_eq!(
        lab.count(Method::Decrypt),
        2,
        "what has opened a value is kept"
    );
}

#[test]
fn kms2_dec_08_equal_calls_are_not_merged() {
    let (mut lab, stored) = cold(b"x");
    lab.plugin().delay.insert("Decrypt", millis(200));
    let now = lab.at();
    let mut reads = Vec::new();
    for _ in 0..100 {
        let server = &mut lab.servers[1];
        let Read::Need(pending) = server.read(now, &secrets(), KEY, &stored) else {
            panic!("cold")
        };
        let call = server.decrypt(now, &pending, None);
        reads.push((call, pending));
    }
    lab.pump(1);
    assert_eq!(lab.count(Method::Decrypt), 100, "all in flight at once");
    lab.run(millis(200));
    for (call, pending) in reads {
        let outcome = lab.decrypted(1, call).unwrap();
        let now = lab.at();
        assert!(matches!(
            lab.servers[1].supply(now, pending, outcome),
            Read::Plain(_)
        ));
    }
    lab.read(&stored).unwrap();
    assert_eq!(lab.count(Method::Decrypt), 100);
    let size = "apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"lab\"}";
    assert_eq!(lab.metric(size), Some(1.0));
}

#[test]
fn kms2_dec_09_decrypt_inherits_the_readers_context() {
    let (mut lab, stored) = cold(b"x");
    lab.plugin().decrypt = Mode::Hangs;
    let began = lab.now;
    for (deadline, cancel, text, after) in [
        (None, true, "code = Canceled desc = context canceled", 100),
        (
            Some(500),
            false,
            "code = DeadlineExceeded desc = context deadline exceeded",
            500,
        ),
        (
            Some(60_000),
            false,
            "code = DeadlineExceeded desc = context deadline exceeded",
            3_000,
        ),
        (
            Some(0),
            false,
            "code = DeadlineExceeded desc = context deadline exceeded",
            0,
        ),
    ] {
        let now = lab.at();
        let deadline = deadline.map(|after| now.mono + millis(after));
        let server = &mut lab.servers[1];
        let Read::Need(pending) = server.read(now, &secrets(), KEY, &stored) else {
            panic!("cold")
        };
        let call = server.decrypt(now, &pending, deadline);
        lab.pump(1);
        if cancel {
            lab.run(millis(100));
            let now = lab.at();
            lab.servers[1].cancel_decrypt(now, &pending, call);
            lab.pump(1);
        }
        let outcome = lab.wait(|lab| lab.decrypted(1, call));
        assert!(outcome.unwrap_err().to_string().ends_with(text));
        assert_eq!(lab.now - now.mono, millis(after));
    }
    assert_eq!(
        lab.count(Method::Decrypt),
        3,
        "a context that is over sends nothing"
    );
    assert_eq!(lab.now - began, millis(3_600));
}

#[test]
fn kms2_dec_10_the_order_of_a_read() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.plugin().encrypt = Mode::Fails(Code::INTERNAL);
    lab.ready(CONFIG, options(37));
    // Malformed comes before the missing state, which comes before Decrypt.
    assert_eq!(
        lab.read(b"k8s:enc:kms:v2:lab:").unwrap_err(),
        "encrypted data is empty"
    );
    assert_eq!(
        lab.read(&stored).unwrap_err(),
        "got unexpected nil transformer"
    );
    assert_eq!(lab.count(Method::Decrypt), 0);
    // With a state: the miss is counted before the call, the key_id after it, also if the value
    // does not open.
    lab.plugin().encrypt = Mode::Well;
    lab.ready(CONFIG, options(37));
    let mut damaged = stored.clone();
    damaged[60] ^= 1;
    lab.read(&damaged).unwrap_err();
    let total = lab.server().metrics();
    assert!(total.contains("cache_misses_total 1"));
    assert!(total.contains("transformation_type=\"from_storage\"} 1"));
}

#[test]
fn kms2_dec_11_limits_are_checked_on_every_read() {
    let mut lab = Lab::started();
    let object = object_of(&lab.write(b"x").unwrap());
    let make = |key_id: &str, source: &[u8], data: &[u8]| {
        let mut stored = b"k8s:enc:kms:v2:lab:".to_vec();
        let none = std::collections::BTreeMap::new();
        let version = Version::NEWEST;
        object::encode(
            &mut stored,
            version,
            data,
            key_id,
            source,
            &none,
            SourceType::HkdfSeed,
        );
        stored
    };
    let long = "k".repeat(1025);
    for (stored, error) in [
        (
            make(&long, &object.source, &object.data),
            "failed to validate key id: keyID is 1025 bytes, which exceeds the max size of 1024",
        ),
        (
            make("k", &[], &object.data),
            "failed to validate encrypted DEK source: encrypted DEK source is empty",
        ),
        (
            make("k", &[1; 1025], &object.data),
            "failed to validate encrypted DEK source: encrypted DEK source is 1025 bytes, which exceeds the max size of 1024",
        ),
        (make("k", &object.source, &[]), "encrypted data is empty"),
    ] {
        assert_eq!(lab.read(&stored).unwrap_err(), error);
    }
    assert_eq!(lab.count(Method::Decrypt), 0, "no RPC");
    let cut = make("key-1", &object.source, &object.data[..43]);
    assert_eq!(
        lab.read(&cut).unwrap_err(),
        "the stored data was shorter than the required size"
    );
    let mut wide = make("key-1", &object.source, &object.data);
    wide.truncate(wide.len() - 1);
    wide.extend([0x81, 0x80, 0x80, 0x80, 0x10]);
    assert!(lab.read(&wide).is_ok(), "2^32 + 1 reads as 1");
}

#[test]
fn kms2_dec_12_codes_are_only_text() {
    for code in (1..=16).chain([99]) {
        let (mut lab, stored) = cold(b"x");
        lab.plugin().decrypt = Mode::Fails(Code(code));
        let name = Code(code).name();
        let expected =
            format!("failed to decrypt DEK, error: rpc error: code = {name} desc = told to fail");
        assert_eq!(lab.read(&stored).unwrap_err(), expected);
        assert_eq!(lab.count(Method::Decrypt), 1, "no retry");
        lab.plugin().decrypt = Mode::Well;
        assert!(lab.read(&stored).is_ok(), "nothing is permanent");
    }
    assert_eq!(Code(99).name(), "Code(99)");
}

#[test]
fn kms2_stale_01_another_key_id_or_type_is_stale() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    assert!(!lab.read(&stored).unwrap().stale);
    lab.ready(CONFIG, options(37));
    assert!(!lab.read(&stored).unwrap().stale, "another seed is not");
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.run(seconds(60));
    assert!(lab.read(&stored).unwrap().stale);
    let mut keys = options(37);
    keys.seed_mode = Some(false);
    "key-1".clone_into(&mut lab.plugin().key_id);
    lab.ready(CONFIG, keys);
    assert!(lab.read(&stored).unwrap().stale, "another type");
}

#[test]
fn kms2_stale_02_what_the_first_provider_does_not_read_is_stale() {
    let mut lab = two_plugins();
    lab.ready(&providers(&["lab", "identity"]), options(37));
    let stored = lab.write(b"x").unwrap();
    assert!(lab.read(b"plain").unwrap().stale);
    lab.ready(&providers(&["two", "lab", "identity"]), options(37));
    let plain = lab.read(&stored).unwrap();
    assert!(plain.stale && plain.bytes == b"x");
    lab.ready(&providers(&["identity", "lab"]), options(37));
    assert!(lab.read(&stored).unwrap().stale);
    assert!(!lab.read(b"plain").unwrap().stale);
}

#[test]
fn kms2_stale_03_staleness_compares_with_the_state() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.plugin().encrypt = Mode::Fails(Code::INTERNAL);
    lab.run(seconds(400));
    assert!(lab.write(b"x").is_err(), "expired");
    assert!(!lab.read(&stored).unwrap().stale);
}

#[test]
fn kms2_stale_05_when_a_rotation_is_seen() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.run(seconds(1));
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.run(seconds(58));
    assert!(!lab.read(&stored).unwrap().stale);
    lab.run(seconds(1));
    assert!(
        lab.read(&stored).unwrap().stale,
        "within a minute, and long before 3"
    );
}

#[test]
fn kms2_cache_01_every_seed_is_kept() {
    let mut lab = Lab::new();
    let stored: Vec<Vec<u8>> = (0..200)
        .map(|_| {
            lab.ready(CONFIG, options(37));
            lab.write(b"x").unwrap()
        })
        .collect();
    lab.ready(CONFIG, options(37));
    let before = lab.count(Method::Decrypt);
    for _ in 0..2 {
        for value in &stored {
            lab.read(value).unwrap();
        }
    }
    assert_eq!(lab.count(Method::Decrypt) - before, 200);
    let size = "apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"lab\"}";
    assert_eq!(lab.metric(size), Some(200.0));
}

#[test]
fn kms2_cache_02_an_entry_goes_at_the_first_insert_after_24_h() {
    let (mut lab, stored) = cold(b"x");
    lab.read(&stored).unwrap();
    lab.run(seconds(25 * 3600));
    lab.read(&stored).unwrap();
    assert_eq!(lab.count(Method::Decrypt), 1, "expired, and still served");
    lab.write(b"y").unwrap();
    lab.read(&stored).unwrap();
    assert_eq!(lab.count(Method::Decrypt), 2);
    // Exactly 24 h old: gone at the insert; a look-up has renewed nothing.
    lab.run(seconds(12 * 3600));
    lab.read(&stored).unwrap();
    lab.run(seconds(12 * 3600) - Duration::from_nanos(1));
    lab.write(b"y").unwrap();
    lab.read(&stored).unwrap();
    assert_eq!(lab.count(Method::Decrypt), 2);
    lab.run(Duration::from_nanos(1));
    lab.write(b"y").unwrap();
    lab.read(&stored).unwrap();
    assert_eq!(lab.count(Method::Decrypt), 3);
}

#[test]
fn kms2_cache_03_a_lost_key_shows_up_to_a_day_later() {
    let (mut lab, stored) = cold(b"x");
    lab.read(&stored).unwrap();
    lab.plugin().decrypt = Mode::Fails(Code(9));
    for hour in 1..=26 {
        lab.run(seconds(3600));
        lab.write(b"y").unwrap();
        assert_eq!(lab.read(&stored).is_ok(), hour < 24, "hour {hour}");
    }
}

#[test]
fn kms2_cache_04_the_own_seed_is_cached_by_the_first_write() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.kill(SOCKET);
    assert!(lab.read(&stored).is_ok());
    assert_eq!(lab.count(Method::Decrypt), 0);
    // Before its first write a server has to ask even for a seed that it holds.
    let mut lab = Lab::started();
    let object = object_of(&stored);
    let seed = lab.plugin().seeds[0].clone();
    let info = [7; 32];
    let mut data = info.to_vec();
    let key = kms_apiserver::aead::derive(&seed, &info).unwrap();
    let gcm = kms_apiserver::aead::Gcm::new(&*key).unwrap();
    gcm.seal(&mut data, [1; 12], KEY.as_bytes(), b"x").unwrap();
    let mut forged = b"k8s:enc:kms:v2:lab:".to_vec();
    let none = std::collections::BTreeMap::new();
    let wrapped = lab.plugin().wrap(&seed);
    let version = Version::NEWEST;
    object::encode(
        &mut forged,
        version,
        &data,
        &object.key_id,
        &wrapped,
        &none,
        SourceType::HkdfSeed,
    );
    lab.read(&forged).unwrap();
    assert_eq!(lab.count(Method::Decrypt), 1);
}

#[test]
fn kms2_cache_05_alternating_infos_at_one_path() {
    let mut lab = Lab::started();
    let (one, two) = (lab.write(b"one").unwrap(), lab.write(b"two").unwrap());
    for _ in 0..3 {
        assert_eq!(lab.read(&one).unwrap().bytes, b"one");
        assert_eq!(lab.read(&two).unwrap().bytes, b"two");
        lab.run(seconds(601));
    }
}

#[test]
fn kms2_cache_06_a_reload_begins_with_empty_caches() {
    let mut lab = Lab::started();
    let mut reloading = options(37);
    reloading.reload = true;
    lab.ready(CONFIG, reloading);
    let server = lab.servers.len() - 1;
    let stored = lab.write(b"x").unwrap();
    lab.read(&stored).unwrap();
    let (encrypts, decrypts) = (lab.count(Method::Encrypt), lab.count(Method::Decrypt));
    lab.files[server] = Ok(format!("{CONFIG}# changed\n"));
    lab.run(seconds(60));
    lab.read(&stored).unwrap();
    assert_eq!(lab.count(Method::Encrypt), encrypts + 1);
    assert_eq!(lab.count(Method::Decrypt), decrypts + 1);
}

#[test]
fn a_read_survives_the_reload_that_overtakes_it() {
    let (mut lab, stored) = cold(b"x");
    let mut reloading = options(37);
    reloading.reload = true;
    let server = lab.ready(CONFIG, reloading);
    lab.plugin().delay.insert("Decrypt", millis(2_500));
    lab.files[server] = Ok(format!("{CONFIG}# changed\n"));
    lab.run(seconds(59));
    let now = lab.at();
    let Read::Need(pending) = lab.servers[server].read(now, &secrets(), KEY, &stored) else {
        panic!("cold")
    };
    let call = lab.servers[server].decrypt(now, &pending, None);
    lab.pump(server);
    lab.run(seconds(2));
    assert_eq!(lab.reloads.len(), 1);
    let outcome = lab.wait(|lab| lab.decrypted(server, call));
    lab.run(seconds(30));
    let now = lab.at();
    let read = lab.servers[server].supply(now, pending, outcome);
    assert!(matches!(read, Read::Plain(plain) if plain.bytes == b"x"));
}

#[test]
fn a_resource_without_a_rule_passes_through() {
    let mut lab = Lab::started();
    let maps = GroupResource::core("configmaps");
    let stored = lab.write_on(0, &maps, KEY, b"plain").unwrap();
    assert_eq!(stored, b"plain");
    assert!(!lab.read_on(0, &maps, KEY, &stored).unwrap().stale);
    let encrypted = lab.write(b"x").unwrap();
    let error = lab.read_on(0, &maps, KEY, &encrypted).unwrap_err();
    assert_eq!(error, "identity transformer tried to read encrypted data");
}

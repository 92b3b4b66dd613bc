//! What upstream's own integration test asserts (KMS2-ITEST), with a Rust copy of its mock plugin
//! (KMS2-MOCK-02), an in-memory store and a clock of its own.

use std::collections::{BTreeMap, BTreeSet};

use kms_apiserver::aead;
use kms_apiserver::grpc::{Code, Method};

use crate::lab::{CONFIG, KEY, Lab, Plugin, SOCKET, options, seconds, secrets};
use crate::state::object_of;

/// A store with upstream's rule for updates: what is the same and not stale is not written.
struct Store {
    lab: Lab,
    revision: u64,
    values: BTreeMap<String, (u64, Vec<u8>)>,
}

impl Store {
    fn new(minor: u8) -> Self {
        let mut lab = Lab::new();
        *lab.plugin() = Plugin::mock();
        lab.ready(CONFIG, options(minor));
        Store {
            lab,
            revision: 0,
            values: BTreeMap::new(),
        }
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let server = self.lab.servers.len() - 1;
        let stored = self.lab.write_on(server, &secrets(), key, value)?;
        self.revision += 1;
        self.values.insert(key.to_owned(), (self.revision, stored));
        Ok(())
    }

    fn get(&mut self, key: &str) -> Result<Vec<u8>, String> {
        let server = self.lab.servers.len() - 1;
        let (_, stored) = self.values[key].clone();
        let plain = self.lab.read_on(server, &secrets(), key, &stored)?;
        Ok(plain.bytes)
    }

    /// An update that changes nothing; the revision after it.
    fn touch(&mut self, key: &str) -> Result<u64, String> {
        let server = self.lab.servers.len() - 1;
        let (_, stored) = self.values[key].clone();
        let plain = self.lab.read_on(server, &secrets(), key, &stored)?;
        if plain.stale {
            self.put(key, &plain.bytes)?;
        }
        Ok(self.values[key].0)
    }

    fn raw(&self, key: &str) -> &[u8] {
        &self.values[key].1
    }
}

#[test]
fn kms2_itest_01_what_stands_in_the_store() {
    let mut store = Store::new(37);
    store.put(KEY, b"clear").unwrap();
    let object = object_of(store.raw(KEY));
    assert_eq!(object.source_type, 1);
    let seed = store.lab.plugin().unwrap(&object.source).unwrap();
    assert_eq!(
        seed,
        store.lab.plugin().seeds[0],
        "the seed that the plugin saw"
    );
    assert_eq!(object.source.len(), 44, "in base64");
    let (info, sealed) = aead::split_info(&object.data).unwrap();
    let gcm = aead::Gcm::new(&*aead::derive(&seed, info).unwrap()).unwrap();
    assert_eq!(gcm.open(KEY.as_bytes(), sealed).unwrap(), b"clear");
    assert_eq!(store.get(KEY).unwrap(), b"clear");
    let annotation = &object.annotations["local-kek.kms.kubernetes.io"];
    assert_eq!(annotation, b"encrypted-local-kek");
}

#[test]
fn kms2_itest_02_metric_lines_after_a_create_and_two_reads() {
    let mut store = Store::new(37);
    store.put(KEY, b"clear").unwrap();
    store.get(KEY).unwrap();
    store.get(KEY).unwrap();
    let page = store.lab.server().metrics();
    let key =
        "key_id_hash=\"sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b\"";
    let id = "apiserver_id_hash=\"sha256:a51146d38077ff992eba84cf1d5e9b249073503eb74868699016153b031a38f7\"";
    let total = format!(
        "apiserver_envelope_encryption_key_id_hash_total{{{id},{key},provider_name=\"lab\",transformation_type="
    );
    for line in [
        "apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"lab\"} 1".to_owned(),
        format!("{total}\"from_storage\"}} 2"),
        format!("{total}\"to_storage\"}} 1"),
    ] {
        assert!(page.lines().any(|other| other == line), "{line}\n{page}");
    }
}

#[test]
fn kms2_itest_03_a_new_key_id_makes_one_update_write() {
    let mut store = Store::new(37);
    store.put(KEY, b"clear").unwrap();
    let before = object_of(store.raw(KEY));
    assert_eq!(store.touch(KEY), Ok(1));
    "2".clone_into(&mut store.lab.plugin().key_id);
    let mut waited = 0;
    while store.touch(KEY) == Ok(1) {
        store.lab.run(seconds(1));
        waited += 1;
        assert!(waited <= 60, "within a minute");
    }
    assert_eq!(store.touch(KEY), Ok(2), "and the next does not");
    let after = object_of(store.raw(KEY));
    assert_eq!(after.key_id, "2");
    assert_ne!(after.source, before.source);
}

#[test]
fn kms2_itest_04_a_failing_plugin() {
    let mut store = Store::new(37);
    store.put(KEY, b"clear").unwrap();
    store.lab.plugin().fail(Some(Code(9)));
    store.lab.run(seconds(100));
    store.put("/registry/secrets/default/second", b"x").unwrap();
    assert_eq!(store.touch(KEY), Ok(1));
    store.lab.run(seconds(300));
    let error = store
        .put("/registry/secrets/default/third", b"x")
        .unwrap_err();
    assert!(error.starts_with("encryptedDEKSource with keyID hash \"sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b\" expired at "), "{error}");
    assert_eq!(store.touch(KEY), Ok(1), "it writes nothing, so it succeeds");
    store.lab.plugin().fail(None);
    store.lab.run(seconds(180));
    store.put("/registry/secrets/default/third", b"x").unwrap();
    assert_eq!(store.touch(KEY), Ok(1), "untouched data keeps its revision");
}

#[test]
fn kms2_itest_05_another_seed_mode_makes_data_stale() {
    let mut store = Store::new(37);
    store.put(KEY, b"clear").unwrap();
    store.lab.server().set_seed_mode(Some(false));
    store.lab.run(seconds(60));
    assert_eq!(store.touch(KEY), Ok(2), "with the same key_id");
    let object = object_of(store.raw(KEY));
    assert_eq!((object.source_type, object.key_id.as_str()), (0, "1"));
    store.lab.server().set_seed_mode(None);
    store.lab.run(seconds(60));
    assert_eq!(store.touch(KEY), Ok(3));
    assert_eq!(object_of(store.raw(KEY)).source_type, 1);
}

#[test]
fn kms2_itest_06_a_thousand_writes_share_a_seed() {
    let key = |at: u32| format!("/registry/secrets/default/pod-{at}");
    let mut store = Store::new(37);
    let (mut sources, mut infos) = (BTreeSet::new(), BTreeSet::new());
    for at in 0..1000 {
        store.put(&key(at), b"x").unwrap();
        let object = object_of(store.raw(&key(at)));
        let (info, nonce) = (object.data[..32].to_vec(), object.data[32..36].to_vec());
        assert_ne!(info, [0; 32]);
        assert_ne!(nonce, [0; 4]);
        infos.insert(info);
        sources.insert(object.source);
    }
    assert_eq!((sources.len(), infos.len()), (1, 1000));
    assert_eq!(store.lab.count(Method::Encrypt), 1);
    // As keys: a counter from 1000000001 upward, in little-endian order.
    let mut store = Store::new(37);
    store.lab.server().set_seed_mode(Some(false));
    store.lab.run(seconds(60));
    for at in 0..1000u32 {
        store.put(&key(at), b"x").unwrap();
        let object = object_of(store.raw(&key(at)));
        let counter = 1_000_000_001 + u64::from(at);
        assert_eq!(object.data[4..12], counter.to_le_bytes());
    }
}

#[test]
fn kms2_itest_07_two_plugins_in_one_check() {
    let mut lab = Lab::new();
    let second = "/run/kms/two.sock";
    *lab.plugin() = Plugin::mock();
    lab.plugins.insert(second.to_owned(), Plugin::mock());
    let config = CONFIG.replace(
        "      - identity",
        &format!("      - kms: {{apiVersion: v2, name: two, endpoint: 'unix://{second}'}}\n      - identity"),
    );
    lab.ready(&config, options(37));
    assert_eq!(lab.server().check_names(), ["kms-providers"]);
    lab.plugin().fail(Some(Code(9)));
    lab.run(seconds(61));
    let text = lab.probe().unwrap_err();
    assert!(
        text.starts_with("kms-provider-0: ") && !text.contains("kms-provider-1"),
        "{text}"
    );
    lab.plugins.get_mut(second).unwrap().fail(Some(Code(9)));
    lab.run(seconds(61));
    let text = lab.probe().unwrap_err();
    assert!(
        text.starts_with("[kms-provider-0: ") && text.contains(", kms-provider-1: "),
        "{text}"
    );
    lab.plugin().fail(None);
    lab.run(seconds(61));
    assert!(lab.probe().unwrap_err().starts_with("kms-provider-1: "));
}

#[test]
fn kms2_itest_08_one_client_for_each_entry() {
    let mut lab = Lab::new();
    let config = CONFIG.replace("[secrets]", "[secrets, configmaps, '*.apps']");
    lab.ready(&config, options(37));
    lab.run(seconds(600));
    assert_eq!(lab.dials.len(), 1, "for all its resources");
}

#[test]
fn kms2_itest_09_a_restarted_server_reads_old_data() {
    let mut store = Store::new(37);
    store.put(KEY, b"clear").unwrap();
    store.lab.ready(CONFIG, options(37));
    assert_eq!(store.get(KEY).unwrap(), b"clear");
    assert_eq!(store.lab.count(Method::Decrypt), 1);
    assert_eq!(store.touch(KEY), Ok(1), "another seed is not stale");
    store.lab.kill(SOCKET);
    assert_eq!(store.get(KEY).unwrap(), b"clear");
}

#[test]
fn kms2_write_04_an_update_that_changes_nothing_needs_no_seed() {
    let mut store = Store::new(37);
    store.put(KEY, b"clear").unwrap();
    store
        .put("/registry/secrets/default/stale", b"clear")
        .unwrap();
    "2".clone_into(&mut store.lab.plugin().key_id);
    store.lab.run(seconds(60));
    store.touch(KEY).unwrap();
    store.lab.kill(SOCKET);
    store.lab.run(seconds(200));
    assert_eq!(store.touch(KEY), Ok(3));
    let error = store.touch("/registry/secrets/default/stale").unwrap_err();
    assert!(
        error.contains("expired"),
        "a stale value has to be written: {error}"
    );
}

#[test]
fn kms2_stale_04_one_rewrite_is_enough() {
    let mut store = Store::new(37);
    store.put(KEY, b"clear").unwrap();
    "2".clone_into(&mut store.lab.plugin().key_id);
    store.lab.run(seconds(60));
    assert_eq!(store.get(KEY).unwrap(), b"clear", "reading changes nothing");
    assert_eq!(
        (store.revision, store.touch(KEY), store.touch(KEY)),
        (1, Ok(2), Ok(2))
    );
}

//! Status, Encrypt and the write state (KMS2-STATUS, ENC, STATE).

use std::collections::BTreeMap;
use std::time::Duration;

use kms_apiserver::grpc::{Code, Method};
use kms_apiserver::object::{self, EncryptedObject};
use kms_apiserver::version::Version;

use crate::lab::{CONFIG, Lab, Mode, SOCKET, field, millis, options, put, seconds};

/// The object behind the prefix of the usual provider.
pub fn object_of(stored: &[u8]) -> EncryptedObject {
    let body = stored.strip_prefix(b"k8s:enc:kms:v2:lab:").unwrap();
    EncryptedObject::decode(body, Version::NEWEST).unwrap()
}

fn is_uuid_v4(uid: &[u8]) -> bool {
    uid.len() == 36
        && uid[14] == b'4'
        && b"89ab".contains(&uid[19])
        && uid.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
        })
}

#[test]
fn kms2_status_01_versions_by_server() {
    for (minor, version, good) in [
        (27, "v2beta1", true),
        (28, "v2", false),
        (28, "v2beta1", true),
        (29, "v2", true),
        (37, "v2beta1", true),
        (37, "v2alpha1", false),
        (37, "V2", false),
    ] {
        let mut lab = Lab::new();
        version.clone_into(&mut lab.plugin().version);
        lab.ready(CONFIG, options(minor));
        let told = lab.probe();
        assert_eq!(told.is_ok(), good, "1.{minor} {version}: {told:?}");
        if let Err(text) = told {
            let wanted = if minor < 29 { "v2beta1" } else { "v2" };
            let end = format!("expected KMSv2 API version {wanted}, got {version}");
            assert!(text.ends_with(&end), "{text}");
        }
    }
}

#[test]
fn kms2_status_02_the_first_version_is_kept() {
    let mut lab = Lab::new();
    "v2beta1".clone_into(&mut lab.plugin().version);
    lab.ready(CONFIG, options(37));
    "v2".clone_into(&mut lab.plugin().version);
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.run(seconds(60));
    let text = lab.probe().unwrap_err();
    assert!(text.ends_with("KMSv2 API version should not change after the initial status response version v2beta1, got v2"), "{text}");
    assert_eq!(
        object_of(&lab.write(b"x").unwrap()).key_id,
        "key-2",
        "acted on all the same"
    );
    "v2beta1".clone_into(&mut lab.plugin().version);
    lab.run(seconds(11));
    assert!(lab.probe().is_ok(), "the first version heals");
    lab.plugin().version = "v2".to_owned();
    lab.ready(CONFIG, options(37));
    assert!(lab.probe().is_ok(), "a fresh server does not know of it");
}

#[test]
fn kms2_status_03_healthz_is_exactly_ok() {
    for healthz in ["", "OK", " ok", "sick"] {
        let mut lab = Lab::new();
        healthz.clone_into(&mut lab.plugin().healthz);
        lab.ready(CONFIG, options(37));
        let end = format!("error: got unexpected healthz status: {healthz}");
        assert!(lab.probe().unwrap_err().ends_with(&end));
    }
}

#[test]
fn kms2_status_04_key_ids_of_1_to_1024_bytes() {
    for (length, label) in [
        (0, Some("empty")),
        (1, None),
        (1024, None),
        (1025, Some("too_long")),
    ] {
        let mut lab = Lab::new();
        lab.plugin().key_id = "k".repeat(length);
        lab.ready(CONFIG, options(37));
        assert_eq!(lab.probe().is_ok(), label.is_none(), "{length}");
        if let Some(label) = label {
            let name = format!(
                "apiserver_envelope_encryption_invalid_key_id_from_status_total{{error=\"{label}\",provider_name=\"lab\"}}"
            );
            assert_eq!(lab.metric(&name), Some(1.0));
        }
    }
}

#[test]
fn kms2_status_05_any_text_may_be_a_key_id() {
    for key_id in [" ", "a:b/c d\n\0", "キー", "\u{1f511}"] {
        let mut lab = Lab::new();
        key_id.clone_into(&mut lab.plugin().key_id);
        lab.ready(CONFIG, options(37));
        let stored = lab.write(b"x").unwrap();
        assert_eq!(object_of(&stored).key_id, key_id);
    }
}

#[test]
fn kms2_status_09_the_poll_times() {
    let mut lab = Lab::new();
    lab.plugin().delay.insert("Status", seconds(2));
    lab.load(CONFIG, options(37));
    lab.run(seconds(130));
    assert_eq!(
        lab.times(Method::Status),
        [0, 62, 122].map(seconds),
        "from the end of the load"
    );
    // Failing: 10 s after the end of each failed check; then the old phase again.
    lab.plugin().status = Mode::Hangs;
    lab.run(seconds(80));
    assert_eq!(lab.times(Method::Status)[3..], [182, 195, 205].map(seconds));
    lab.plugin().status = Mode::Well;
    lab.run(seconds(100));
    assert_eq!(lab.times(Method::Status)[6..], [215, 242, 302].map(seconds));
}

#[test]
fn kms2_status_10_two_loops_after_a_failed_start() {
    // It always fails at once: the second loop falls into the cache.
    let mut lab = Lab::new();
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    lab.load(CONFIG, options(37));
    lab.run(seconds(100));
    let times: Vec<u64> = lab
        .times(Method::Status)
        .iter()
        .map(Duration::as_secs)
        .collect();
    assert_eq!(times, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    // It hung, and then fails at once: two calls in each 10 s.
    let mut lab = Lab::new();
    lab.plugin().status = Mode::Hangs;
    lab.load(CONFIG, options(37));
    lab.run(seconds(74));
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    lab.run(seconds(30));
    let times: Vec<u64> = lab
        .times(Method::Status)
        .iter()
        .map(Duration::as_secs)
        .collect();
    assert!(times.ends_with(&[83, 86, 93, 96, 103]), "{times:?}");
}

#[test]
fn kms2_status_11_results_are_kept_for_20_s_and_3_s() {
    let mut lab = Lab::started();
    for _ in 0..1200 {
        lab.run(millis(50));
        lab.probe().unwrap();
    }
    let times: Vec<u64> = lab
        .times(Method::Status)
        .iter()
        .map(Duration::as_secs)
        .collect();
    assert_eq!(
        times,
        [0, 20, 40, 60],
        "a result exactly 20 s old is used no more"
    );
    lab.plugin().healthz = "sick".to_owned();
    lab.run(seconds(20));
    let before = lab.count(Method::Status);
    for _ in 0..600 {
        lab.run(millis(50));
        lab.probe().unwrap_err();
    }
    assert_eq!(
        lab.count(Method::Status) - before,
        10,
        "3 s, and a result exactly 3 s old is used no more"
    );
}

#[test]
fn kms2_status_12_one_check_at_a_time() {
    let mut lab = Lab::started();
    lab.run(seconds(21));
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.plugin().delay = BTreeMap::from([("Status", seconds(1)), ("Encrypt", seconds(1))]);
    let probes: Vec<_> = (0..5).map(|_| lab.begin_probe(None)).collect();
    lab.run(seconds(5));
    for probe in probes {
        let (at, result) = lab.probed(probe).unwrap();
        assert_eq!((at, result), (seconds(23), Ok(())));
    }
    assert_eq!(
        (lab.count(Method::Status), lab.count(Method::Encrypt)),
        (2, 2)
    );
}

#[test]
fn kms2_status_13_a_sick_plugin_never_lets_the_seed_expire() {
    let mut lab = Lab::new();
    "sick".clone_into(&mut lab.plugin().healthz);
    lab.ready(CONFIG, options(37));
    assert_eq!(lab.count(Method::Encrypt), 1, "a seed is made even so");
    for _ in 0..10 {
        lab.run(seconds(60));
        assert!(lab.write(b"x").is_ok());
        assert!(lab.probe().is_err());
    }
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.run(seconds(11));
    assert_eq!(object_of(&lab.write(b"x").unwrap()).key_id, "key-2");
    // All faults are told together.
    "v9".clone_into(&mut lab.plugin().version);
    lab.plugin().key_id.clear();
    lab.run(seconds(11));
    let text = lab.probe().unwrap_err();
    assert!(text.ends_with("error: [got unexpected healthz status: sick, expected KMSv2 API version v2, got v9, got invalid KMSv2 KeyID hash \"\": keyID is empty]"), "{text}");
    // The switch, for a server where the bug is fixed.
    let mut fixed = options(37);
    fixed.act_on_sick_status = false;
    let mut lab = Lab::new();
    lab.ready(CONFIG, fixed);
    "sick".clone_into(&mut lab.plugin().healthz);
    lab.run(seconds(181));
    assert!(lab.write(b"x").unwrap_err().contains("expired"));
    assert_eq!(lab.count(Method::Encrypt), 1);
}

#[test]
fn kms2_status_14_a_failed_status_does_nothing_else() {
    let mut lab = Lab::started();
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.run(seconds(180));
    assert!(lab.write(b"x").is_ok());
    lab.run(Duration::from_nanos(1));
    assert!(lab.write(b"x").is_err(), "no extension");
    assert_eq!(lab.count(Method::Encrypt), 1, "no Encrypt");
}

#[test]
fn kms2_status_16_an_impatient_prober_breaks_a_rotation() {
    let mut lab = Lab::started();
    lab.run(seconds(21));
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.plugin().delay.insert("Encrypt", millis(500));
    let probe = lab.begin_probe(None);
    lab.run(millis(100));
    let now = lab.at();
    lab.server().cancel_probe(now, probe);
    lab.pump(0);
    let text = lab.probed(probe).unwrap().1.unwrap_err();
    assert!(text.contains("errGen=failed to encrypt DEK, error: rpc error: code = Canceled desc = context canceled"), "{text}");
    assert_eq!(
        lab.cancelled,
        [millis(21_100)],
        "the plugin sees the stream reset"
    );
    lab.run(millis(2_900));
    assert_eq!(lab.probe().unwrap_err(), text, "remembered for 3 s");
    lab.run(millis(100));
    lab.probe().unwrap();
    assert_eq!(object_of(&lab.write(b"x").unwrap()).key_id, "key-2");
    // One who has gone while others waited cancels nothing but its own turn.
    lab.run(seconds(21));
    lab.plugin().delay.insert("Status", seconds(1));
    let (first, second) = (lab.begin_probe(None), lab.begin_probe(None));
    let now = lab.at();
    lab.server().cancel_probe(now, second);
    lab.run(seconds(2));
    assert!(lab.probed(first).unwrap().1.is_ok() && lab.probed(second).unwrap().1.is_ok());
}

#[test]
fn kms2_enc_01_encrypt_once_for_each_start_and_key_id() {
    let mut lab = Lab::started();
    for _ in 0..1000 {
        lab.write(b"x").unwrap();
    }
    lab.run(seconds(600));
    assert_eq!(lab.count(Method::Encrypt), 1);
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.run(seconds(120));
    assert_eq!(lab.count(Method::Encrypt), 2);
}

#[test]
fn kms2_enc_02_encrypt_is_given_32_random_bytes() {
    let mut lab = Lab::started();
    lab.ready(CONFIG, options(37));
    let seeds = &lab.plugin().seeds;
    assert_eq!((seeds[0].len(), seeds[1].len()), (32, 32));
    assert_ne!(seeds[0], seeds[1]);
}

#[test]
fn kms2_enc_03_a_fresh_uid_for_each_call() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    for _ in 0..20 {
        lab.ready(CONFIG, options(37));
        lab.read(&stored).unwrap();
    }
    let calls = lab
        .calls
        .iter()
        .filter(|call| call.method != Method::Status);
    let uids: Vec<Vec<u8>> = calls.map(|call| field(&call.request, 2)).collect();
    assert_eq!(uids.len(), 41);
    assert!(uids.iter().all(|uid| is_uuid_v4(uid)));
    let distinct: std::collections::BTreeSet<_> = uids.iter().collect();
    assert_eq!(distinct.len(), uids.len());
}

/// Starts with a good key-1, then lets Encrypt of key-2 answer this.
fn rotate_into(answer: &[u8]) -> Lab {
    let mut lab = Lab::started();
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.plugin().encrypt = Mode::Says(answer.to_vec());
    lab.run(seconds(60));
    lab
}

#[test]
fn kms2_enc_05_wrapped_seeds_of_1_to_1024_bytes() {
    for (length, good) in [(0, false), (1, true), (1024, true), (1025, false)] {
        let mut answer = Vec::new();
        put(&mut answer, 1, &vec![1; length]);
        put(&mut answer, 2, b"key-2");
        assert_eq!(rotate_into(&answer).probe().is_ok(), good, "{length}");
    }
}

#[test]
fn kms2_enc_06_another_key_id_is_thrown_away() {
    let mut lab = Lab::started();
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.plugin().encrypt_key_id = Some("key-1".to_owned());
    lab.run(seconds(100));
    let text = lab.probe().unwrap_err();
    assert!(text.contains("errGen=<nil>"), "{text}");
    assert_eq!(lab.count(Method::Encrypt), 6, "again at each poll");
    assert_eq!(object_of(&lab.write(b"x").unwrap()).key_id, "key-1");
    lab.run(seconds(81));
    assert!(
        lab.write(b"x").unwrap_err().contains("expired"),
        "and not extended"
    );
}

#[test]
fn kms2_enc_07_annotation_keys_are_domain_names() {
    let check =
        |key: &str| object::validate_annotations(&BTreeMap::from([(key.to_owned(), Vec::new())]));
    let long = format!("{}.{}", "a".repeat(63), "b".repeat(63));
    for good in [
        "a.b",
        "a.com.",
        "10.0.0.1",
        "1.2",
        "a-b.c",
        &long,
        &format!("{long}.{long}")[..253],
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "", "a", ".", ".a.b", "a..b", "a.b..", "A.b", "a_b.c", "a/b.c", "*.b.c", "a@b.c", "-a.b",
        "a-.b", "a b.c",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
    assert!(check(&"a.".repeat(128)).is_err());
    assert_eq!(check("").unwrap_err(), "annotations: Required value");
    assert!(check("a.b..").unwrap_err().contains("\"a.b.\""));
    assert!(check(&format!("{}.b", "a".repeat(64))).is_err());
}

#[test]
fn kms2_enc_08_annotations_of_32_kib_in_total() {
    let of = |length| BTreeMap::from([("a.b".to_owned(), vec![0; length])]);
    assert_eq!(object::validate_annotations(&of(32_765)), Ok(()));
    let text = object::validate_annotations(&of(32_766)).unwrap_err();
    assert_eq!(
        text,
        "total size of annotations is 32769, which exceeds the max size of 32768"
    );
    let many = (0..4000)
        .map(|at| (format!("a{at:04}.b"), Vec::new()))
        .collect();
    assert_eq!(object::validate_annotations(&many), Ok(()));
}

#[test]
fn kms2_enc_09_a_bad_answer_keeps_the_old_state() {
    let mut bad_annotation = Vec::new();
    put(&mut bad_annotation, 1, b"bad");
    for (fields, group) in [
        (
            vec![(2, b"key-2".to_vec())],
            "failed to validate encrypted DEK source",
        ),
        (vec![(1, vec![1])], "failed to validate key id"),
        (
            vec![(1, vec![1]), (2, b"key-2".to_vec()), (3, bad_annotation)],
            "failed to validate annotations",
        ),
    ] {
        let mut answer = Vec::new();
        for (number, bytes) in fields {
            put(&mut answer, number, &bytes);
        }
        let mut lab = rotate_into(&answer);
        let text = lab.probe().unwrap_err();
        assert!(text.contains(&format!("errGen={group}")), "{text}");
        assert_eq!(object_of(&lab.write(b"x").unwrap()).key_id, "key-1");
    }
    // Only the first group that is wrong is told.
    let text = object::validate_parts(&[], "", &BTreeMap::new()).unwrap_err();
    assert_eq!(
        text,
        "failed to validate encrypted DEK source: encrypted DEK source is empty"
    );
}

#[test]
fn kms2_enc_11_no_round_trip_is_made() {
    let mut lab = Lab::new();
    lab.plugin().decrypt = Mode::Fails(Code::INTERNAL);
    lab.ready(CONFIG, options(37));
    lab.probe().unwrap();
    let stored = lab.write(b"x").unwrap();
    assert!(lab.read(&stored).is_ok(), "it looks perfect");
    assert_eq!(lab.count(Method::Decrypt), 0);
    lab.ready(CONFIG, options(37));
    assert!(lab.read(&stored).is_err(), "until the server starts again");
}

#[test]
fn kms2_enc_12_an_echoed_seed_is_accepted() {
    let mut lab = Lab::started();
    "key-2".clone_into(&mut lab.plugin().key_id);
    let mut answer = Vec::new();
    put(&mut answer, 1, &[0; 32]);
    put(&mut answer, 2, b"key-2");
    lab.plugin().encrypt = Mode::Says(answer);
    lab.run(seconds(60));
    lab.probe().unwrap();
}

#[test]
fn kms2_state_01_seed_and_key_id_change_together() {
    let mut lab = Lab::started();
    lab.run(seconds(59));
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.plugin().delay.insert("Encrypt", seconds(2));
    let mut seen = BTreeMap::new();
    for _ in 0..40 {
        lab.run(millis(100));
        let object = object_of(&lab.write(b"x").unwrap());
        let source = seen
            .entry(object.key_id)
            .or_insert_with(|| object.source.clone());
        assert_eq!(*source, object.source);
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn kms2_state_02_the_expiry_counts_from_before_encrypt() {
    let mut lab = Lab::started();
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.plugin().delay.insert("Encrypt", millis(2_500));
    lab.run(seconds(63));
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    lab.run(seconds(177));
    assert!(lab.write(b"x").is_ok());
    lab.run(Duration::from_nanos(1));
    assert!(
        lab.write(b"x").is_err(),
        "180 s after Status, not after Encrypt"
    );
}

#[test]
fn kms2_state_03_expiry_is_strict_and_only_for_writes() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    lab.wall = Duration::from_secs(946_684_800);
    lab.run(seconds(180));
    assert!(lab.write(b"x").is_ok());
    lab.run(Duration::from_nanos(1));
    let text = lab.write(b"x").unwrap_err();
    assert!(text.starts_with("encryptedDEKSource with keyID hash \"sha256:be2974546978e3739e6d6da85c4be9f334ce32df2b9fd4b6ff1b55c0d57e9d44\" expired at "), "{text}");
    assert!(
        text.ends_with("(current time is 2000-01-01T00:03:00Z)"),
        "{text}"
    );
    assert!(lab.read(&stored).is_ok());
}

#[test]
fn kms2_state_04_an_expired_seed_is_revived() {
    let mut lab = Lab::started();
    let before = object_of(&lab.write(b"x").unwrap());
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    lab.run(seconds(300));
    assert!(lab.write(b"x").is_err());
    lab.plugin().status = Mode::Well;
    lab.run(seconds(10));
    assert_eq!(object_of(&lab.write(b"x").unwrap()).source, before.source);
    assert_eq!(lab.count(Method::Encrypt), 1);
}

#[test]
fn kms2_state_05_back_to_the_old_key_before_a_rotation_succeeded() {
    let mut lab = Lab::started();
    let before = object_of(&lab.write(b"x").unwrap());
    "key-2".clone_into(&mut lab.plugin().key_id);
    lab.plugin().encrypt = Mode::Fails(Code::INTERNAL);
    lab.run(seconds(100));
    "key-1".clone_into(&mut lab.plugin().key_id);
    lab.run(seconds(200));
    let after = object_of(&lab.write(b"x").unwrap());
    assert_eq!(after.source, before.source, "the old seed goes on");
}

#[test]
fn kms2_state_06_a_b_a_makes_three_seeds_and_hides_the_first() {
    let mut lab = Lab::started();
    let first = lab.write(b"x").unwrap();
    let mut sources = vec![object_of(&first).source];
    for key_id in ["B", "key-1"] {
        key_id.clone_into(&mut lab.plugin().key_id);
        lab.run(seconds(60));
        sources.push(object_of(&lab.write(b"x").unwrap()).source);
    }
    assert!(sources[0] != sources[1] && sources[1] != sources[2] && sources[0] != sources[2]);
    assert!(
        !lab.read(&first).unwrap().stale,
        "written under another seed, and not stale"
    );
}

#[test]
fn kms2_state_07_nothing_goes_before_the_first_seed() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.plugin().encrypt = Mode::Fails(Code::INTERNAL);
    lab.ready(CONFIG, options(37));
    assert_eq!(
        lab.write(b"x").unwrap_err(),
        "got unexpected nil transformer"
    );
    assert_eq!(
        lab.read(&stored).unwrap_err(),
        "got unexpected nil transformer"
    );
}

#[test]
fn kms2_state_08_a_jump_of_the_wall_clock_expires_nothing() {
    let mut lab = Lab::started();
    lab.wall += seconds(10 * 365 * 86_400);
    assert!(lab.write(b"x").is_ok());
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    lab.wall = Duration::ZERO;
    lab.run(seconds(181));
    assert!(lab.write(b"x").is_err(), "nor does it keep anything alive");
}

#[test]
fn kms2_state_09_every_start_makes_its_own_seed() {
    let mut lab = Lab::started();
    let mut sources = std::collections::BTreeSet::new();
    for _ in 0..10 {
        lab.ready(CONFIG, options(37));
        let object = object_of(&lab.write(b"x").unwrap());
        assert_eq!(object.key_id, "key-1");
        sources.insert(object.source);
    }
    assert_eq!(sources.len(), 10);
    lab.kill(SOCKET);
    assert!(lab.write(b"x").is_ok());
}

//! Starts and outages (KMS2-START, OUT).

use std::time::Duration;

use kms_apiserver::grpc::{Code, Method};

use crate::lab::{CONFIG, Lab, Mode, Plugin, SOCKET, millis, options, seconds};
use crate::state::object_of;

const TWO: &str = "/run/kms/two.sock";

fn with_two(timeout: &str) -> String {
    CONFIG.replace(
        "      - identity",
        &format!("      - kms: {{apiVersion: v2, name: two, endpoint: 'unix://{TWO}', timeout: {timeout}}}\n      - identity"),
    )
}

#[test]
fn kms2_start_01_a_load_blocks_for_each_provider_in_turn() {
    let mut lab = Lab::new();
    lab.plugin().status = Mode::Hangs;
    lab.plugins.insert(TWO.to_owned(), Plugin::default());
    lab.plugins.get_mut(TWO).unwrap().up = false;
    lab.load(&with_two("2s"), options(37));
    lab.run(seconds(10));
    assert_eq!(lab.started[&0], seconds(5));
    assert_eq!(
        lab.dials[1],
        (seconds(3), TWO.to_owned()),
        "one after another"
    );
    // Status and Encrypt each have the whole timeout.
    let mut lab = Lab::new();
    lab.plugin().delay = [("Status", millis(2_900)), ("Encrypt", millis(2_900))].into();
    lab.load(CONFIG, options(37));
    lab.run(seconds(10));
    assert_eq!(lab.started[&0], millis(5_800));
    assert!(lab.write(b"x").is_ok());
}

#[test]
fn kms2_start_02_what_stops_a_start() {
    for (config, minor, error) in [
        (String::new(), 37, "is empty"),
        ("# nothing".to_owned(), 37, "Object 'Kind' is missing"),
        (
            CONFIG.replace("name: lab", "name: lab\n          foo: 1"),
            31,
            "unknown field \"resources[0].providers[0].kms.foo\"",
        ),
        (
            CONFIG.replace("apiVersion: v2\n", "timeout: 3s\n"),
            29,
            "KMSv1 is deprecated",
        ),
    ] {
        let told = Lab::new().try_load(&config, options(minor)).unwrap_err();
        assert!(told.contains(error), "{told}");
    }
    // Older ones are lenient, or have v1 on.
    let unknown = CONFIG.replace("name: lab", "name: lab\n          foo: 1");
    assert!(Lab::new().try_load(&unknown, options(30)).is_ok());
    let v1 = CONFIG.replace("apiVersion: v2\n", "timeout: 3s\n");
    assert!(Lab::new().try_load(&v1, options(28)).is_ok());
}

#[test]
fn kms2_start_03_plain_data_is_readable_before_the_first_seed() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.plugin().up = false;
    lab.load(CONFIG, options(37));
    lab.run(seconds(3));
    assert_eq!(
        lab.read(&stored).unwrap_err(),
        "got unexpected nil transformer"
    );
    assert_eq!(
        lab.write(b"x").unwrap_err(),
        "got unexpected nil transformer"
    );
    assert_eq!(lab.read(b"plain").unwrap().bytes, b"plain");
}

#[test]
fn kms2_start_04_recovery_waits_for_dial_and_tick() {
    // Dials fall at 0, 1, 2.6, 5.16, 9.26, 15.8, 26.3 s; ticks at 13, 23, 33 s, each waiting 3 s.
    for (back, good) in [(6_000, 13_000), (25_000, 33_000), (14_000, 15_810)] {
        let mut lab = Lab::new();
        lab.plugin().up = false;
        lab.load(CONFIG, options(37));
        lab.run(millis(back));
        lab.revive(SOCKET);
        lab.run(seconds(60));
        let first = lab.times(Method::Status)[0];
        assert!(
            first.abs_diff(millis(good)) < millis(10),
            "{back}: {first:?}"
        );
    }
    // A probe each second is sooner: a bad result is kept for 3 s only.
    let mut lab = Lab::new();
    lab.plugin().up = false;
    lab.load(CONFIG, options(37));
    for second in 0..40 {
        if second == 25 {
            lab.revive(SOCKET);
        }
        lab.run(seconds(1));
        lab.begin_probe(None);
    }
    let first = lab.times(Method::Status)[0];
    assert!(first < seconds(30), "{first:?}");
}

#[test]
fn kms2_out_01_an_outage_after_a_good_start() {
    let mut lab = Lab::started();
    let other = lab.write(b"other").unwrap();
    lab.ready(CONFIG, options(37));
    let own = lab.write(b"own").unwrap();
    lab.run(seconds(61));
    lab.kill(SOCKET);
    lab.run(seconds(179));
    assert!(lab.write(b"x").is_ok());
    lab.run(seconds(1));
    assert!(lab.write(b"x").unwrap_err().contains("expired"));
    assert_eq!(lab.read(&own).unwrap().bytes, b"own", "cached reads go on");
    let began = lab.now;
    assert!(lab.read(&other).unwrap_err().contains("DeadlineExceeded"));
    assert_eq!(
        lab.now - began,
        seconds(3),
        "others wait for the timeout each"
    );
}

#[test]
fn kms2_out_02_a_probe_shadows_a_tick() {
    let mut lab = Lab::started();
    lab.run(seconds(41));
    lab.probe().unwrap();
    lab.run(millis(78_000));
    lab.kill(SOCKET);
    lab.run(millis(102_000));
    assert_eq!(lab.now, seconds(221));
    assert_eq!(lab.times(Method::Status), [0, 41].map(seconds));
    assert!(lab.write(b"x").is_ok());
    lab.run(Duration::from_nanos(1));
    assert!(lab.write(b"x").is_err(), "102 s after the plugin died");
}

#[test]
fn kms2_out_03_the_way_back_waits_for_the_pause() {
    let mut lab = Lab::started();
    lab.run(seconds(119));
    let before = object_of(&lab.write(b"x").unwrap()).source;
    lab.kill(SOCKET);
    lab.run(seconds(116));
    lab.revive(SOCKET);
    // Without jitter the dials after 60 + 112.9 s are at 172.9 and 241.6 s after the first.
    let mut refused = Vec::new();
    while lab.now < seconds(400) {
        if lab.write(b"x").is_err() {
            refused.push(lab.now);
        }
        lab.run(seconds(1));
    }
    assert_eq!(
        refused.first(),
        Some(&seconds(241)),
        "180 s after the last good Status"
    );
    let last = *refused.last().unwrap();
    assert!((seconds(301)..seconds(304)).contains(&last), "{last:?}");
    assert_eq!(
        object_of(&lab.write(b"x").unwrap()).source,
        before,
        "the old seed, no Encrypt"
    );
    assert_eq!(lab.count(Method::Encrypt), 1);
}

#[test]
fn kms2_out_04_error_answers_have_no_pause() {
    let mut lab = Lab::started();
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    lab.run(seconds(200));
    lab.plugin().status = Mode::Well;
    lab.run(seconds(10));
    assert!(lab.write(b"x").is_ok());
    assert_eq!(lab.dials.len(), 1);
}

#[test]
fn kms2_out_05_slower_than_the_timeout_is_a_failure() {
    for (status, encrypt, good) in [(2_900, 2_900, true), (3_100, 0, false), (0, 3_100, false)] {
        let mut lab = Lab::new();
        lab.plugin().delay = [("Status", millis(status)), ("Encrypt", millis(encrypt))].into();
        lab.load(CONFIG, options(37));
        lab.run(seconds(9));
        assert_eq!(lab.write(b"x").is_ok(), good, "{status} {encrypt}");
    }
}

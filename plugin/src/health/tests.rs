//! What each piece of evidence says, and for how long.

use super::*;

fn sealed() -> Fault {
    Fault::Sealed { status: 503 }
}

fn healthy() -> Health {
    let mut health = Health::default();
    health.probe_good();
    health
}

fn fail(health: &mut Health, op: VaultOp, fault: &Fault, began: Instant, now: Instant) {
    health.bad(op, fault, began, now, || "2026-01-01T00:00:00Z".to_owned());
}

#[test]
fn one_failure_is_no_outage_two_apart_are() {
    let (mut health, t) = (healthy(), Instant::now());
    let at = |ms| t + Duration::from_millis(ms);
    fail(&mut health, VaultOp::Encrypt, &sealed(), at(0), at(1));
    fail(&mut health, VaultOp::Encrypt, &sealed(), at(1900), at(1999));
    assert_eq!(health.status(), Ok(()));
    assert!(health.is_suspicious());
    fail(&mut health, VaultOp::Encrypt, &sealed(), at(1999), at(2000));
    let sick = health.status().expect_err("an outage");
    assert_eq!(sick.code, Code::Unavailable);
    assert!(
        sick.text.contains("since 2026-01-01T00:00:00Z") && sick.text.contains("sealed"),
        "{}",
        sick.text
    );
    health.good(VaultOp::Decrypt);
    assert!(
        health.status().is_err(),
        "another operation's success heals nothing"
    );
    health.good(VaultOp::Encrypt);
    assert_eq!(health.status(), Ok(()));
}

#[test]
fn a_call_that_hung_for_three_seconds_counts_from_its_beginning() {
    let (mut health, t) = (healthy(), Instant::now());
    let at = |ms| t + Duration::from_millis(ms);
    let hung = Fault::Timeout {
        address: "a".into(),
        limit: Duration::from_secs(3),
    };
    fail(&mut health, VaultOp::Decrypt, &hung, at(0), at(3000));
    fail(&mut health, VaultOp::Decrypt, &hung, at(20), at(3020));
    assert!(health.status().is_err());
}

#[test]
fn a_definite_fault_shows_at_once_and_only_a_whole_probe_ends_it() {
    let (mut health, t) = (healthy(), Instant::now());
    let fault = Fault::Denied {
        path: "transit/decrypt/k".into(),
        capability: "update",
        namespace: String::new(),
    };
    fail(&mut health, VaultOp::Decrypt, &fault, t, t);
    let sick = health.status().expect_err("definite");
    assert_eq!(sick.code, Code::FailedPrecondition);
    assert!(sick.text.contains("transit/decrypt/k"));
    health.good(VaultOp::Decrypt);
    assert!(health.status().is_err());
    health.probe_good();
    assert_eq!(health.status(), Ok(()));
}

/// What Vault said before it was sealed may be mended by now, and is not what has to be done.
#[test]
fn the_newest_reason_is_told() {
    let t = Instant::now();
    let at = |ms| t + Duration::from_millis(ms);
    let denied = Fault::Denied {
        path: "transit/decrypt/k".into(),
        capability: "update",
        namespace: String::new(),
    };
    let told = |health: &Health, code: Code, words: &str| {
        let sick = health.status().expect_err(words);
        assert_eq!(sick.code, code, "{}", sick.text);
        assert!(sick.text.contains(words), "{}", sick.text);
    };
    for started in [true, false] {
        let mut health = if started {
            healthy()
        } else {
            Health::default()
        };
        health.unfit("key k is soft-deleted".into(), at(0));
        fail(&mut health, VaultOp::ReadKey, &sealed(), at(1000), at(1000));
        told(&health, Code::FailedPrecondition, "soft-deleted");
        fail(&mut health, VaultOp::ReadKey, &sealed(), at(3000), at(3000));
        told(&health, Code::Unavailable, "sealed");
        for op in [VaultOp::Encrypt, VaultOp::Decrypt] {
            fail(&mut health, op, &denied, at(4000), at(4000));
            told(&health, Code::FailedPrecondition, "transit/decrypt/k");
        }
        // it goes on, and so it is not newer
        fail(&mut health, VaultOp::ReadKey, &sealed(), at(5000), at(5000));
        told(&health, Code::FailedPrecondition, "transit/decrypt/k");
        health.good(VaultOp::ReadKey);
        fail(&mut health, VaultOp::ReadKey, &sealed(), at(6000), at(6000));
        fail(&mut health, VaultOp::ReadKey, &sealed(), at(8000), at(8000));
        told(&health, Code::Unavailable, "sealed");
        let refused = health.admit(VaultOp::Encrypt, at(8000));
        let refused = refused.expect_err("the key has not been read").to_string();
        assert!(refused.contains("sealed"), "{refused}");
        assert!(health.admit(VaultOp::Decrypt, at(8000)).is_ok(), "a trial");
        let refused = health.admit(VaultOp::Decrypt, at(8001));
        let refused = refused.expect_err("one only").to_string();
        assert!(refused.contains("sealed"), "{refused}");
        health.good(VaultOp::ReadKey);
        told(&health, Code::FailedPrecondition, "transit/decrypt/k");
    }
}

/// A key that may be another one stays out of use, whatever is met after it.
#[test]
fn a_later_fault_does_not_bring_an_unfit_key_back() {
    let (mut health, t) = (healthy(), Instant::now());
    health.unfit("key k was replaced".into(), t);
    let denied = Fault::Denied {
        path: "transit/decrypt/k".into(),
        capability: "update",
        namespace: String::new(),
    };
    fail(&mut health, VaultOp::Decrypt, &denied, t, t);
    for s in [0, 5, 60] {
        let refused = health.admit(VaultOp::Encrypt, t + Duration::from_secs(s));
        let refused = refused.expect_err("the key has not been read");
        assert!(
            refused.to_string().contains("transit/decrypt/k"),
            "{refused}"
        );
    }
}

#[test]
fn bug_105_a_bad_object_is_no_evidence() {
    let (mut health, t) = (healthy(), Instant::now());
    for s in 0..100 {
        let now = t + Duration::from_secs(s);
        fail(
            &mut health,
            VaultOp::Decrypt,
            &Fault::Data("damaged".into()),
            now,
            now,
        );
        fail(&mut health, VaultOp::Decrypt, &Fault::Full(4096), now, now);
    }
    assert!(!health.is_suspicious());
}

#[test]
fn in_a_known_outage_one_call_in_four_seconds_tries() {
    let (mut health, t) = (healthy(), Instant::now());
    let at = |ms| t + Duration::from_millis(ms);
    fail(&mut health, VaultOp::Encrypt, &sealed(), at(0), at(0));
    fail(&mut health, VaultOp::Encrypt, &sealed(), at(2000), at(2000));
    let mut admitted = 0;
    for ms in (2000..62_000).step_by(10) {
        admitted += usize::from(health.admit(VaultOp::Encrypt, at(ms)).is_ok());
    }
    assert_eq!(admitted, 15);
    assert!(
        health.admit(VaultOp::Decrypt, at(0)).is_ok(),
        "the other operation is free"
    );
}

#[test]
fn what_is_denied_is_tried_now_and_then_and_the_rest_goes_on() {
    let (mut health, t) = (healthy(), Instant::now());
    let denied = Fault::Denied {
        path: "transit/decrypt/k".into(),
        capability: "update",
        namespace: String::new(),
    };
    fail(&mut health, VaultOp::Decrypt, &denied, t, t);
    assert!(health.admit(VaultOp::Decrypt, t).is_ok(), "a trial");
    let held = health.admit(VaultOp::Decrypt, t).expect_err("one only");
    assert!(held.to_string().contains("transit/decrypt/k"), "{held}");
    for _ in 0..3 {
        assert!(health.admit(VaultOp::Encrypt, t).is_ok());
    }
    health.unfit("key k was replaced".into(), t);
    let refused = health.admit(VaultOp::Encrypt, t).expect_err("unfit");
    assert_eq!(refused.weight(), Weight::Definite);
    assert!(health.admit(VaultOp::Decrypt, t).is_ok(), "old values");
}

#[test]
fn with_a_missing_key_nothing_is_encrypted_whichever_operation_met_it() {
    let t = Instant::now();
    let missing = Fault::Key("key not found: k".into());
    for op in OPS {
        let mut health = healthy();
        fail(&mut health, op, &missing, t, t);
        for s in [0, 5, 60] {
            let at = t + Duration::from_secs(s);
            let refused = health
                .admit(VaultOp::Encrypt, at)
                .expect_err("not read again");
            assert!(refused.to_string().contains("key not found"), "{refused}");
        }
        health.good(op);
        assert!(health.key_is_fit().is_err(), "one success is no reading");
        health.probe_good();
        assert_eq!(health.admit(VaultOp::Encrypt, t), Ok(()));
    }
}

/// A key that was never right is told as one that went wrong is: once, and once more when it will not pass.
#[test]
fn what_stands_in_the_way_from_the_start_is_news_once() {
    let t = Instant::now();
    let mut health = Health::default();
    let steps = [
        (Some(sealed()), true),
        (Some(sealed()), false),
        (Some(Fault::Quota { retry_after: None }), false),
        (Some(Fault::Key("key not found: k".into())), true),
        (Some(Fault::Key("key not found: k".into())), false),
        (Some(sealed()), false),
        (None, true),
        (None, false),
    ];
    for (step, (fault, news)) in steps.into_iter().enumerate() {
        let before = health.status();
        match fault {
            Some(fault) => fail(&mut health, VaultOp::ReadKey, &fault, t, t),
            None => health.probe_good(),
        }
        assert_eq!(is_news(&before, &health.status()), news, "step {step}");
    }
}

#[test]
fn before_the_start_status_says_what_stands_in_its_way() {
    let (mut health, t) = (Health::default(), Instant::now());
    assert!(
        health
            .status()
            .expect_err("nothing yet")
            .text
            .contains("not been read")
    );
    fail(&mut health, VaultOp::ReadKey, &sealed(), t, t);
    let sick = health.status().expect_err("sealed");
    assert_eq!(sick.code, Code::Unavailable);
    assert!(sick.text.contains("sealed"), "{}", sick.text);
}

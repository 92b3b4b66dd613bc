//! Facts that both arms of chaos runs are told by.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_history::chaos::{AuditFact, Entry, Event, FaultStep, OpEnd, Phase, RpcEnd, VaultPath};
use kms_history::chaos_file::{self, Header};
use kms_history::search::holds;

#[test]
fn calls_are_told_apart_by_their_paths_whatever_a_mount_is_called() {
    for (path, is) in [
        ("/v1/auth/approle/login", VaultPath::Login),
        ("/v1/auth/userpass/login/kms-node-0", VaultPath::Login),
        ("/v1/team/auth/approle/login", VaultPath::Login),
        ("/v1/auth/token/renew-self", VaultPath::Renew),
        ("/v1/auth/token/lookup-self", VaultPath::Lookup),
        ("/v1/auth/token/revoke-self", VaultPath::Revoke),
        ("/v1/transit/keys/kms-key", VaultPath::KeyRead),
        ("/v1/transit/encrypt/kms-key", VaultPath::Encrypt),
        ("/v1/transit/decrypt/kms-key?x=1", VaultPath::Decrypt),
        ("transit/decrypt/kms-key", VaultPath::Decrypt),
        ("/v1/keys/encrypt/kms-key", VaultPath::Encrypt),
        ("/v1/encrypt/keys/login", VaultPath::KeyRead),
        ("/v1/transit/keys/encrypt", VaultPath::KeyRead),
        ("/v1/sys/health", VaultPath::Other),
        ("/v1/", VaultPath::Other),
    ] {
        assert_eq!(VaultPath::of(path), is, "{path}");
    }
}

#[test]
fn bytes_are_found_at_both_ends_and_nothing_is_nowhere() {
    assert!(holds(b"abc", b"ab") && holds(b"abc", b"bc") && holds(b"abc", b"abc"));
    assert!(!holds(b"abc", b"ac") && !holds(b"ab", b"abc") && !holds(b"abc", b""));
}

fn file() -> (Header, Vec<Entry>) {
    let header = Header {
        format: chaos_file::FORMAT.to_owned(),
        version: chaos_file::VERSION,
        scenario: "id = \"a\"\n".to_owned(),
        seed: u64::MAX,
        arm: "sim".to_owned(),
        replay: "again".to_owned(),
        digest: "00".to_owned(),
        trouble: None,
        wall_seconds: 0.25,
    };
    let end = RpcEnd::Failed {
        code: "Unavailable".to_owned(),
        message: "two\nlines".to_owned(),
    };
    let planned = FaultStep::Planned {
        at: Duration::from_nanos(1_000_000_001),
        length: None,
        what: "vault-seal".to_owned(),
        nodes: vec![0, 2],
        key_changes: 3,
        hinders_rpcs: true,
    };
    let fact = AuditFact {
        object: "o".to_owned(),
        prefix: String::new(),
        key_id: Some("k".to_owned()),
        fresh: OpEnd::Indeterminate {
            code: 500,
            message: String::new(),
        },
        clear: true,
    };
    let events = [
        Event::Phase(Phase::Heal),
        Event::Polled { end },
        Event::VaultCalls(BTreeMap::from([(VaultPath::KeyRead, 7)])),
        Event::Fault {
            id: "f".to_owned(),
            step: planned,
        },
        Event::PluginStarted,
        Event::Audit(fact),
        Event::Provider("k8s:enc:kms:v2:kms:".to_owned()),
        Event::Seen {
            place: "log of kms".to_owned(),
            text: "vault is sealed".to_owned(),
        },
    ];
    let entries = (1..).zip(events).map(|(at, event)| Entry {
        at: Duration::from_nanos(at),
        node: Some(1).filter(|_| at % 2 == 0),
        event,
    });
    (header, entries.collect())
}

#[test]
fn a_chaos_run_is_read_as_it_was_written() {
    let (header, entries) = file();
    let text = chaos_file::write(&header, &entries).unwrap();
    assert_eq!(text.lines().count(), 1 + entries.len());
    assert_eq!(chaos_file::read(&text).unwrap(), (header, entries));
}

#[test]
fn what_is_no_chaos_run_is_refused_with_its_line() {
    let (header, entries) = file();
    let text = chaos_file::write(&header, &entries).unwrap();
    for (wrong, needle) in [
        (String::new(), "line 1: the file is empty"),
        ("{}\n".to_owned(), "line 1: this is no kms-chaos file"),
        (text.replace("\"version\":1", "\"version\":9"), "version 9"),
        (text.replace("plugin-started", "plugin-began"), "line 6"),
        (text.replace("\"node\":1", "\"note\":1"), "line 3"),
    ] {
        let error = chaos_file::read(&wrong).unwrap_err();
        assert!(error.contains(needle), "{error}");
    }
}

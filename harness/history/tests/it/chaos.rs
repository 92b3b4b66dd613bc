//! Facts that both arms of chaos runs are told by.

use kms_history::chaos::VaultPath;
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

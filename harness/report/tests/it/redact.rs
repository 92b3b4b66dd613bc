//! Helpers that keep secrets and people out of reports.

use kms_report::redact::{REDACTED, endpoint, leaks, path, url, value};

#[test]
fn paths_outside_of_public_folders_lose_their_folders() {
    assert_eq!(path("/run/kms/kms.sock"), "/run/kms/kms.sock");
    assert_eq!(path("/etc/kubernetes/enc.yaml"), "/etc/kubernetes/enc.yaml");
    assert_eq!(path("/srv/customer-x/kms.sock"), "[redacted]/kms.sock");
    assert_eq!(path("/srv/customer-x/"), "[redacted]/customer-x");
    assert_eq!(path("/runner/customer-x/kms.sock"), "[redacted]/kms.sock");
    assert_eq!(
        path("/tmp/../srv/customer-x/kms.sock"),
        "[redacted]/kms.sock"
    );
    assert_eq!(path("kms.sock"), "kms.sock");
}

#[test]
fn endpoints_keep_their_form() {
    assert_eq!(endpoint("unix:///run/kms.sock"), "unix:///run/kms.sock");
    assert_eq!(
        endpoint("unix:///srv/customer-x/kms.sock"),
        "unix://[redacted]/kms.sock"
    );
    assert_eq!(endpoint("unix:///@kms"), "unix:///@kms");
    assert_eq!(
        endpoint("https://user:pass@vault:8200/v1"),
        "https://vault:8200"
    );
    assert_eq!(endpoint("nonsense"), REDACTED);
}

#[test]
fn urls_lose_credentials_path_query_and_fragment() {
    for secret in [
        "https://user:hunter2@vault.example:8200/v1?token=hunter2#hunter2",
        "https://hunter2@vault.example:8200",
        "https://a@hunter2@vault.example:8200?hunter2",
    ] {
        assert_eq!(url(secret), "https://vault.example:8200", "{secret}");
    }
    assert_eq!(url("http://[::1]:8200/"), "http://[::1]:8200");
    assert_eq!(url("hunter2"), REDACTED);
    assert_eq!(url("https://hunter2 hunter2/"), REDACTED);
    assert_eq!(url("https://"), REDACTED);
}

#[test]
fn only_listed_options_show_their_value() {
    assert_eq!(value(&["seed", "profile"], "seed", "42"), "42");
    assert_eq!(value(&["seed", "profile"], "token", "hunter2"), REDACTED);
    assert_eq!(value(&[], "seed", "42"), REDACTED);
}

#[test]
fn planted_secrets_are_found_by_number() {
    let markers = ["hunter2", "absent", "", "s.TOKEN"];
    assert_eq!(leaks(b"log: hunter2 and s.TOKEN", &markers), [0, 3]);
    assert_eq!(leaks(b"", &markers), [0usize; 0]);
    assert_eq!(leaks(b"\xff\x00hunter2\xff", &markers), [0]);
}

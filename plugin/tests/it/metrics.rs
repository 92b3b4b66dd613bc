//! What is counted, and that nobody can make it grow.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use vault_kubernetes_kms::config::{
    Auth, Config, Credential, LogFormat, LogLevel, Place, StatusVersion, Tls, Vault, VaultAddress,
};
use vault_kubernetes_kms::event::{Event, Method, VaultOp};
use vault_kubernetes_kms::metrics::Metrics;
use vault_kubernetes_kms::seam::{HostPort, Observer};

/// A configuration that nothing is served from.
pub fn config() -> Config {
    Config {
        socket: PathBuf::from("/run/kms.sock"),
        socket_mode: 0o600,
        socket_group: None,
        vault: Vault {
            addresses: vec![VaultAddress {
                https: true,
                at: HostPort {
                    host: "vault.example.com".to_owned(),
                    port: 8200,
                },
                prefix: String::new(),
            }],
            namespace: String::new(),
            auth_namespace: String::new(),
            connect_timeout: Duration::from_secs(5),
            tls: Tls::default(),
            proxy: None,
        },
        place: Place {
            namespace: String::new(),
            mount: "transit".to_owned(),
            key: "kms-key".to_owned(),
            epoch: String::new(),
        },
        decrypt_only: vec![],
        auth: Auth::Token {
            token: Credential::File(PathBuf::from("/token")),
        },
        status_version: StatusVersion::V2,
        health: None,
        metrics: None,
        log_level: LogLevel::Info,
        log_format: LogFormat::Json,
        max_in_flight: 16,
        max_waiting: 4096,
        revoke_on_exit: true,
        adopt: None,
    }
}

fn series(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect()
}

fn call<'a>(
    method: Method,
    code: u32,
    uid: &'a str,
    message: &'a str,
    remedy: &'static str,
) -> Event<'a> {
    Event::Call {
        method,
        code,
        uid,
        request_id: 1,
        http_status: 500,
        latency: Duration::from_millis(3),
        key_id: uid,
        message,
        remedy,
    }
}

#[track_caller]
fn check(metrics: &Metrics, line: &str) {
    let text = metrics.encode();
    assert!(
        text.lines()
            .any(|is| is == format!("vault_kubernetes_kms_{line}")),
        "{line} is not in\n{text}"
    );
}

#[test]
fn kms2_obs_02_series_stay_bounded_whatever_callers_and_vault_do() {
    let metrics = Metrics::new(&config());
    let round = |salt: &str| {
        for number in 0..1000 {
            let text = format!("{salt} error {number}");
            for method in [Method::Status, Method::Encrypt, Method::Decrypt] {
                metrics.event(&call(method, number, &text, &text, "data"));
                metrics.event(&call(method, number, &text, &text, "unheard of"));
            }
            metrics.event(&Event::VaultRequest {
                request_id: 7,
                op: VaultOp::Decrypt,
                http_status: u16::try_from(number).unwrap(),
                latency: Duration::from_secs(1),
                items: 3,
            });
            metrics.event(&Event::KeyTaken {
                version: u64::from(number),
                key_id: &text,
            });
            metrics.event(&Event::Notice {
                warn: true,
                text: &text,
            });
        }
        metrics.encode()
    };
    let (first, second) = (round("first"), round("second"));
    let rename = |text: &str| text.replace("first error", "second error");
    assert_eq!(series(&rename(&first)), series(&second));
    assert!(series(&second).len() < 1000, "{}", series(&second).len());
    assert_eq!(second.matches("key_info{").count(), 1);
}

#[test]
fn every_series_is_named_and_there_from_the_start() {
    let text = Metrics::new(&config()).encode();
    for name in series(&text) {
        assert!(name.starts_with("vault_kubernetes_kms_"), "{name}");
    }
    // A rate sees the first failure only if the series was there before.
    for line in [
        "requests_total{method=\"Decrypt\",code=\"UNAVAILABLE\"} 0",
        "request_failures_total{method=\"Decrypt\",remedy=\"data\"} 0",
        "vault_requests_total{operation=\"login\",status=\"4xx\"} 0",
        "logins_total{result=\"failed\"} 0",
        "token_renewals_total{result=\"failed\"} 0",
        "socket_rebinds_total 0",
        "healthy 0",
        "waiting_calls_limit 4096",
        "tls_verification_disabled 0",
    ] {
        assert!(
            text.contains(&format!("vault_kubernetes_kms_{line}\n")),
            "{line}"
        );
    }
    assert!(text.contains("process_max_fds"));
    assert!(text.contains("process_resident_memory_bytes"));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn every_event_moves_its_metric() {
    let metrics = Metrics::new(&config());
    metrics.event(&call(Method::Encrypt, 0, "u", "", "none"));
    metrics.event(&call(Method::Decrypt, 3, "u", "not ours", "data"));
    check(&metrics, "requests_total{method=\"Encrypt\",code=\"OK\"} 1");
    check(
        &metrics,
        "requests_total{method=\"Decrypt\",code=\"INVALID_ARGUMENT\"} 1",
    );
    check(
        &metrics,
        "request_failures_total{method=\"Decrypt\",remedy=\"data\"} 1",
    );
    check(
        &metrics,
        "request_failures_total{method=\"Encrypt\",remedy=\"none\"} 0",
    );
    check(
        &metrics,
        "request_duration_seconds_bucket{le=\"0.005\",method=\"Encrypt\",code=\"OK\"} 1",
    );
    check(
        &metrics,
        "request_duration_seconds_count{method=\"Decrypt\",code=\"INVALID_ARGUMENT\"} 1",
    );

    for (http_status, items) in [(200, 1), (204, 7), (429, 1), (503, 1), (0, 1), (403, 1)] {
        metrics.event(&Event::VaultRequest {
            request_id: 7,
            op: VaultOp::Decrypt,
            http_status,
            latency: Duration::from_millis(20),
            items,
        });
    }
    for (status, count) in [("2xx", 2), ("429", 1), ("5xx", 1), ("none", 1), ("4xx", 1)] {
        check(
            &metrics,
            &format!("vault_requests_total{{operation=\"decrypt\",status=\"{status}\"}} {count}"),
        );
    }
    check(
        &metrics,
        "vault_request_duration_seconds_count{operation=\"decrypt\"} 6",
    );
    check(&metrics, "vault_batches_total 1");
    check(&metrics, "vault_batched_calls_total 7");

    let ttl = Duration::from_secs(3600);
    let detail = "";
    metrics.event(&Event::Login {
        ok: true,
        ttl,
        detail,
    });
    metrics.event(&Event::Login {
        ok: false,
        ttl,
        detail,
    });
    metrics.event(&Event::Renewal {
        ok: true,
        ttl: ttl / 2,
        detail,
    });
    metrics.event(&Event::TokenExpiry {
        unix: 1_795_694_400,
    });
    check(&metrics, "logins_total{result=\"ok\"} 1");
    check(&metrics, "logins_total{result=\"failed\"} 1");
    check(&metrics, "token_renewals_total{result=\"ok\"} 1");
    check(&metrics, "token_ttl_seconds 1800");
    check(&metrics, "token_expiry_timestamp_seconds 1795694400");

    metrics.event(&Event::StatusChanged { ok: true, detail });
    metrics.event(&Event::KeyTaken {
        version: 3,
        key_id: "v1.abc",
    });
    metrics.event(&Event::FormerPlace {
        index: 1,
        ok: true,
        detail,
    });
    metrics.event(&Event::Coalesced);
    metrics.event(&Event::Waiting { calls: 12 });
    metrics.event(&Event::SocketRebound);
    metrics.event(&Event::Notice {
        warn: true,
        text: "",
    });
    check(&metrics, "healthy 1");
    check(&metrics, "key_version 3");
    check(&metrics, "key_info{key_id=\"v1.abc\"} 1");
    check(&metrics, "former_place_readable{place=\"1\"} 1");
    check(&metrics, "coalesced_calls_total 1");
    check(&metrics, "waiting_calls 12");
    check(&metrics, "socket_rebinds_total 1");
    check(&metrics, "warnings_total 1");
    metrics.event(&Event::StatusChanged {
        ok: false,
        detail: "sealed",
    });
    check(&metrics, "healthy 0");
}

//! What good input comes to: precedence, spellings, defaults, and what people get to read.

use std::time::Duration;

use vault_kubernetes_kms::config::{Auth, Config, Credential, LogFormat, LogLevel, Place, Secret};

use crate::config_world::{BASE, base_and, resolved};

fn with(args: &[&str]) -> Config {
    resolved(args, BASE).config
}

#[test]
fn defaults() {
    let config = with(&[]);
    assert_eq!(config.socket.to_str(), Some("/var/run/kmsplugin/kms.sock"));
    assert_eq!((config.socket_mode, config.socket_group), (0o600, None));
    assert_eq!(config.vault.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.vault.namespace, "");
    assert_eq!(config.vault.proxy, None);
    assert!(!config.vault.tls.skip_verify);
    assert_eq!(config.health, config.metrics, "one listener");
    assert_eq!(
        (config.log_level, config.log_format),
        (LogLevel::Info, LogFormat::Json)
    );
    assert_eq!((config.max_in_flight, config.max_waiting), (16, 4096));
    assert!(config.revoke_on_exit && config.decrypt_only.is_empty());
}

#[test]
fn a_flag_beats_our_variable_beats_the_clients_beats_the_default() {
    let client = ("VAULT_NAMESPACE", "from-client");
    let own = ("VAULT_KUBE_KMS_VAULT_NAMESPACE", "from-own");
    let namespace = |args: &[&str], env: &[_]| resolved(args, env).config.vault.namespace;
    assert_eq!(namespace(&[], BASE), "");
    assert_eq!(namespace(&[], &base_and(&[client])), "from-client");
    assert_eq!(
        namespace(&[], &base_and(&[("BAO_NAMESPACE", "from-bao")])),
        "from-bao"
    );
    assert_eq!(namespace(&[], &base_and(&[client, own])), "from-own");
    assert_eq!(
        namespace(&["-vault-namespace=from-flag"], &base_and(&[client, own])),
        "from-flag"
    );
    assert_eq!(
        namespace(&["-vault-namespace="], &base_and(&[client])),
        "",
        "empty is the root namespace"
    );
}

#[test]
fn a_stronger_source_hides_a_weaker_ones_mistake_and_other_form() {
    let config = resolved(&["-token=hvs.CANARY"], BASE).config;
    assert_eq!(
        config.auth,
        Auth::Token {
            token: Credential::Inline(Secret::new("hvs.CANARY".into()))
        }
    );
    let config = resolved(
        &["-transit-key=good"],
        &base_and(&[("VAULT_KUBE_KMS_LOG_LEVEL", "")]),
    )
    .config;
    assert_eq!(config.place.key, "good", "an empty variable is unset");
    resolved(
        &["-vault-address=https://v"],
        &base_and(&[("VAULT_ADDR", "nonsense://")]),
    );
}

#[test]
fn dashes_blanks_and_switches() {
    for args in [
        &["-tls-skip-verify", "-transit-key=k"][..],
        &["--tls-skip-verify=true", "--transit-key", "k"],
        &["-tls-skip-verify", "true", "-transit-key", "k"],
        &[
            "-tls-skip-verify=1",
            "serve",
            "-transit-key=k",
            "-transit-key=k",
        ],
    ] {
        let config = with(args);
        assert!(config.vault.tls.skip_verify, "{args:?}");
        assert_eq!(config.place.key, "k", "{args:?}");
    }
    for args in [
        &["-tls-skip-verify=false"][..],
        &["-tls-skip-verify", "false"],
        &["-tls-skip-verify=F"],
    ] {
        assert!(
            !with(args).vault.tls.skip_verify,
            "{args:?}: the value counts"
        );
    }
    assert!(!with(&["-revoke-on-exit=false"]).revoke_on_exit);
}

#[test]
fn a_secret_may_look_like_an_option_or_a_placeholder() {
    for password in [
        "-CANARY-starts-with-a-dash",
        "a=b=CANARY",
        "<CANARY!>",
        "\"CANARY\"",
        " CANARY ",
    ] {
        let resolved = resolved(
            &[
                "-auth-method=userpass",
                "-userpass-username=u",
                "-userpass-password",
                password,
            ],
            BASE,
        );
        let Auth::Userpass {
            password: Credential::Inline(kept),
            ..
        } = resolved.config.auth
        else {
            panic!("{password}");
        };
        assert_eq!(kept.expose(), password, "kept to the byte");
    }
}

#[test]
fn bug_013_three_spellings_of_a_namespace_are_one() {
    for spelling in [
        "admin/team-a",
        "/admin/team-a/",
        "admin/team-a/",
        "/admin/team-a",
    ] {
        let config = with(&["-vault-namespace", spelling]);
        assert_eq!(config.vault.namespace, "admin/team-a", "{spelling}");
        assert_eq!(
            config.vault.auth_namespace, "admin/team-a",
            "{spelling}: the login goes there too"
        );
        assert_eq!(config.place.namespace, "admin/team-a", "{spelling}");
    }
    for root in ["", "/", "root"] {
        assert_eq!(
            with(&["-vault-namespace", root]).vault.namespace,
            "",
            "{root:?}"
        );
    }
    let config = with(&[
        "-vault-namespace=admin/team-a",
        "-vault-auth-namespace=/admin/",
    ]);
    assert_eq!(config.vault.auth_namespace, "admin");
    let config = with(&["-vault-namespace=admin", "-vault-auth-namespace="]);
    assert_eq!(
        config.vault.auth_namespace, "",
        "empty is the root namespace, not the other's"
    );
    for (place, auth, warned) in [
        ("admin/a", "admin", false),
        ("admin", "admin/a", true),
        ("administrator", "admin", true),
    ] {
        let resolved = resolved(
            &["-vault-namespace", place, "-vault-auth-namespace", auth],
            BASE,
        );
        assert_eq!(
            resolved.warnings.iter().any(|w| w.contains("not below it")),
            warned,
            "{place} {auth}"
        );
    }
}

#[test]
fn bug_119_the_longest_socket_path_still_fits() {
    let path = format!("/{}", "s".repeat(106));
    let config = with(&["-socket", &format!("unix://{path}")]);
    assert_eq!(config.socket.to_str(), Some(path.as_str()));
}

#[test]
fn bug_121_names_that_transit_takes() {
    for key in ["k", "kms-key", "Kms_Key.2", "1", "_", "a..b"] {
        assert_eq!(with(&["-transit-key", key]).place.key, key);
    }
    for (mount, kept) in [
        ("/transit/", "transit"),
        ("team/transit", "team/transit"),
        ("a.b-c_d~e", "a.b-c_d~e"),
    ] {
        assert_eq!(with(&["-transit-mount", mount]).place.mount, kept);
    }
    let config = with(&["-vault-key-path=/a/keys/b/keys/c/"]);
    assert_eq!(
        (config.place.mount.as_str(), config.place.key.as_str()),
        ("a/keys/b", "c"),
        "the last /keys/ counts"
    );
}

#[test]
fn bug_099_both_spellings_in_a_credential_folder() {
    for folder in ["/dir/under", "/dir/hyphen", "/dir/same"] {
        let role = format!("-approle-role-id-path={folder}");
        let config = with(&[
            "-auth-method=approle",
            &role,
            "-approle-secret-id-path=/s/secret-id",
        ]);
        let Auth::AppRole { role_id, .. } = config.auth else {
            panic!("{folder}")
        };
        assert_eq!(
            role_id,
            Credential::File(folder.into()),
            "looked up anew at each login"
        );
    }
}

#[test]
fn addresses() {
    let of = |value: &str| -> Vec<String> {
        with(&["-vault-address", value])
            .vault
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(
        of("HTTPS://Vault.Example.com"),
        ["https://vault.example.com:443"]
    );
    assert_eq!(
        of("https://a:1/, https://b/prefix/"),
        ["https://a:1", "https://b:443/prefix"]
    );
    assert_eq!(
        of("https://[2001:db8::1]:8200"),
        ["https://[2001:db8::1]:8200"]
    );
    for loopback in [
        "http://127.0.0.1:8200",
        "http://localhost:8200",
        "http://[::1]:8200",
        "http://127.9.9.9:1",
    ] {
        let resolved = resolved(&["-vault-address", loopback], BASE);
        assert_eq!(of(loopback), [loopback]);
        assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    }
    let resolved = resolved(
        &["-vault-address=http://vault:8200", "-allow-plaintext-vault"],
        BASE,
    );
    assert!(
        resolved.warnings[0].contains("http://vault:8200 is not encrypted"),
        "{:?}",
        resolved.warnings
    );
}

#[test]
fn proxies() {
    let env = |more: &[_]| resolved(&[], &base_and(more)).config.vault.proxy;
    let proxy = env(&[
        ("HTTPS_PROXY", "http://user:p%40CANARY@Proxy:3128/"),
        ("no_proxy", "10.0.0.0/8,.svc"),
    ])
    .unwrap();
    assert_eq!((proxy.at.host.as_str(), proxy.at.port), ("proxy", 3128));
    assert_eq!(proxy.credentials, Some(Secret::new("user:p@CANARY".into())));
    assert_eq!(proxy.no_proxy, "10.0.0.0/8,.svc");
    let proxy = env(&[("https_proxy", "proxy:8080")]).unwrap();
    assert_eq!(
        (proxy.at.host.as_str(), proxy.at.port, proxy.credentials),
        ("proxy", 8080, None)
    );
    let both = env(&[("https_proxy", "lower"), ("HTTPS_PROXY", "upper")]).unwrap();
    assert_eq!((both.at.host.as_str(), both.at.port), ("upper", 80));
    let plain = resolved(
        &["-vault-address=http://localhost"],
        &base_and(&[("HTTPS_PROXY", "socks5://x")]),
    );
    assert_eq!(plain.config.vault.proxy, None, "it is for https alone");
}

#[test]
fn durations() {
    for (text, expected) in [
        ("5s", Duration::from_secs(5)),
        ("250ms", Duration::from_millis(250)),
        ("0.5s", Duration::from_millis(500)),
        (".5s", Duration::from_millis(500)),
        ("1m", Duration::from_secs(60)),
        ("0m10s500ms", Duration::from_millis(10_500)),
        ("1500000us", Duration::from_millis(1_500)),
        ("200000000ns", Duration::from_millis(200)),
    ] {
        assert_eq!(
            with(&["-vault-connection-timeout", text])
                .vault
                .connect_timeout,
            expected,
            "{text}"
        );
    }
}

#[test]
fn listeners() {
    let health = |args: &[&str]| with(args).health.map(|at| at.to_string());
    assert_eq!(
        health(&["-health-port=9000"]).as_deref(),
        Some("0.0.0.0:9000")
    );
    assert_eq!(
        health(&["-health-address=:9000"]).as_deref(),
        Some("0.0.0.0:9000")
    );
    assert_eq!(
        health(&["-health-address=[::]:9000"]).as_deref(),
        Some("[::]:9000")
    );
    assert_eq!(
        health(&["-health-address=localhost:9000"]).as_deref(),
        Some("127.0.0.1:9000")
    );
    for off in ["-health-port=0", "-health-address=off"] {
        assert_eq!(health(&[off]), None, "{off}");
    }
    assert_eq!(
        health(&["-health-port=9000", "-health-address=0.0.0.0:9000"]).as_deref(),
        Some("0.0.0.0:9000")
    );
}

/// vault-kube-kms's health port is 8081, which is the default of metrics here.
#[test]
fn a_listener_on_all_addresses_never_meets_a_default_on_its_port() {
    let resolved = resolved(&["-health-port=8081"], BASE);
    assert_eq!(resolved.config.metrics, None);
    assert!(
        resolved.warnings[0].contains("metrics are off"),
        "{:?}",
        resolved.warnings
    );
    let config = with(&["-metrics-address=:8081"]);
    assert_eq!(config.health, config.metrics);
    let config = with(&["-health-port=8082"]);
    assert_ne!(config.health, config.metrics);
    assert!(config.metrics.is_some());
}

#[test]
fn log_words_of_other_products() {
    for (word, level) in [
        ("warning", LogLevel::Warn),
        ("WARN", LogLevel::Warn),
        ("panic", LogLevel::Error),
        ("debug-extended", LogLevel::Trace),
        ("0", LogLevel::Info),
        ("1", LogLevel::Debug),
        ("5", LogLevel::Trace),
    ] {
        assert_eq!(with(&["-log-level", word]).log_level, level, "{word}");
    }
}

#[test]
fn former_places() {
    let config = with(&[
        "-vault-namespace=admin",
        "-key-id-epoch=2",
        "-decrypt-only=namespace=admin,key=kms-key",
        "-decrypt-only",
        "namespace=/old/,mount=/t/,key=k,epoch=1; namespace=,key=other",
    ]);
    let place = |namespace: &str, mount: &str, key: &str, epoch: &str| Place {
        namespace: namespace.into(),
        mount: mount.into(),
        key: key.into(),
        epoch: epoch.into(),
    };
    assert_eq!(config.place, place("admin", "transit", "kms-key", "2"));
    assert_eq!(
        config.decrypt_only,
        [
            place("admin", "transit", "kms-key", ""),
            place("old", "t", "k", "1"),
            place("", "transit", "other", ""),
        ],
        "parts left out are as in unset options, never as in the current place"
    );
    let by_env = resolved(&[], &base_and(&[("VAULT_KMS_DECRYPT_ONLY", "key=a;key=b")])).config;
    assert_eq!(by_env.decrypt_only.len(), 2);
}

#[test]
fn tls_files_that_can_be_used() {
    let resolved = resolved(
        &[
            "-tls-ca-file=/tls/partly.pem",
            "-tls-client-cert=/tls/cert.pem",
            "-tls-client-key=/tls/key.pem",
        ],
        BASE,
    );
    assert_eq!(
        resolved.config.vault.tls.client,
        Some(("/tls/cert.pem".into(), "/tls/key.pem".into()))
    );
    assert!(
        resolved.warnings[0].contains("/tls/partly.pem: 1 of its certificates"),
        "{:?}",
        resolved.warnings
    );
}

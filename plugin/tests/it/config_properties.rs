//! Whatever is given: no panic, no empty refusal, one line an error, no secret shown.

use std::sync::OnceLock;

use proptest::prelude::*;
use vault_kubernetes_kms::config::options::{OPTIONS, Secrecy};

use crate::config_world::{BASE, Files, attempt, files};

fn option_name() -> impl Strategy<Value = String> {
    let names: Vec<String> = OPTIONS
        .iter()
        .flat_map(|o| o.names())
        .map(|(n, _)| n.to_owned())
        .collect();
    prop_oneof![
        6 => proptest::sample::select(names),
        1 => "[a-z<>_-]{0,12}",
        1 => "\\PC{0,8}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "",
        "true",
        "false",
        "unix:///a/b",
        "https://v",
        "http://v",
        "token",
        "approle",
        "userpass",
        "5s",
        "1.s",
        "0600",
        "v2",
        "key=a",
        "namespace=a,key=b;key=c",
        "/s/token",
        "/s/empty",
        "/dir/both",
        "/tls/ca.pem",
        "/tls/key.pem",
        "127.0.0.1:1",
        "[::1]:2",
        "<x>",
        "$(x)",
        "\"",
        "<",
        "$()",
        "0",
        "99999999999999999999",
        "a/keys/b",
        "CANARY",
    ];
    prop_oneof![
        4 => proptest::sample::select(KNOWN).prop_map(str::to_owned),
        1 => "\\PC{0,20}",
        1 => "[a-z0-9:/@.%?#,;=\\[\\]-]{0,24}",
        1 => any::<String>(),
    ]
}

fn argument() -> impl Strategy<Value = Vec<String>> {
    let dashes = proptest::sample::select(&["-", "--", "", "---", "–"][..]);
    (dashes, option_name(), value(), 0..4u8).prop_map(|(dashes, name, value, form)| match form {
        0 => vec![format!("{dashes}{name}")],
        1 => vec![format!("{dashes}{name}"), value],
        2 => vec![value],
        _ => vec![format!("{dashes}{name}={value}")],
    })
}

/// Every secret option with the canary in it, in a form that may be right or wrong.
fn secret() -> impl Strategy<Value = Vec<String>> {
    let secrets: Vec<&str> = OPTIONS
        .iter()
        .filter(|o| o.secrecy != Secrecy::Public)
        .map(|o| o.name)
        .collect();
    let around = proptest::sample::select(&["", " ", "\n", "\t", "<", "é", "-", "$("][..]);
    (
        proptest::sample::select(secrets),
        around.clone(),
        around,
        any::<bool>(),
    )
        .prop_map(|(name, before, after, one)| {
            let value = format!("{before}CANARY{after}");
            if one {
                vec![format!("-{name}={value}")]
            } else {
                vec![format!("-{name}"), value]
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_command_line_panics(args in proptest::collection::vec(argument(), 0..8), complete: bool) {
        // Secrets among random arguments are covered below; here a canary may be anybody's value.
        let args: Vec<String> = args.concat().into_iter().map(|a| a.replace("CANARY", "word")).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let base: &[(&str, &str)] = if complete { BASE } else { &[] };
        let _ = std::hint::black_box(attempt(&args, base, files_once()));
    }

    #[test]
    fn no_secret_is_shown(secrets in proptest::collection::vec(secret(), 1..4), complete: bool) {
        let args = secrets.concat();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let base: &[(&str, &str)] = if complete { BASE } else { &[] };
        let _ = std::hint::black_box(attempt(&args, base, files_once()));
    }

    #[test]
    fn no_environment_panics(
        variables in proptest::collection::vec(("(VAULT_KMS_|VAULT_KUBE_KMS_|VAULT_|BAO_|)[A-Z_0-9]{0,16}", value()), 0..6),
        proxy in proptest::option::of(value()),
    ) {
        let mut env: Vec<(&str, &str)> = BASE.to_vec();
        env.extend(variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).filter(|(n, _)| !n.contains("CANARY")));
        env.extend(proxy.as_deref().map(|proxy| ("HTTPS_PROXY", proxy)));
        let env: Vec<(&str, String)> = env.into_iter().map(|(n, v)| (n, v.replace("CANARY", "word"))).collect();
        let env: Vec<(&str, &str)> = env.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let _ = std::hint::black_box(attempt(&[], &env, files_once()));
    }

    #[test]
    fn a_proxys_password_is_never_shown(before in "[a-z:/@%.,]{0,6}", after in "[a-z:/@%.,?#]{0,6}", scheme: bool) {
        let scheme = if scheme { "http://" } else { "" };
        let value = format!("{scheme}user:{before}CANARY{after}@proxy:3128");
        let mut env = BASE.to_vec();
        env.push(("HTTPS_PROXY", &value));
        let _ = std::hint::black_box(attempt(&[], &env, files_once()));
        let address = format!("https://user:{before}CANARY{after}@vault:8200");
        let _ = std::hint::black_box(attempt(&["-vault-address", &address], BASE, files_once()));
    }
}

/// Keys are made once: thousands of cases need the same files.
fn files_once() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(files)
}

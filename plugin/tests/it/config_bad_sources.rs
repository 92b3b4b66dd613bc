//! Bad input that comes from the environment, from nowhere, or as several mistakes together.

use crate::config_bad::one;
use crate::config_world::{BASE, base_and, lines, refused};

#[test]
#[rustfmt::skip]
fn bug_100_the_environment() {
    for (name, value, problem, fix) in [
        ("VAULT_KMS_VAULT_ADRESS", "x", "sets no option", "VAULT_KMS_VAULT_ADDRESS"),
        ("VAULT_KUBE_KMS_TRANSIT_KYE", "x", "sets no option", "VAULT_KUBE_KMS_TRANSIT_KEY"),
        ("VAULT_KMS_TOKN", "CANARY", "sets no option", "VAULT_KMS_TOKEN"),
        ("VAULT_KMS_", "x", "sets no option", "unset it"),
        ("VAULT_KMS_WIBBLE_WOBBLE", "CANARY", "sets no option", "unset it"),
        ("VAULT_KMS_SAMPLE", "x", "sets no option", "unset it"),
        ("VAULT_KMS_ADOPT", "x", "no plugin that can be taken over from", "community"),
        ("VAULT_KMS_DISABLE_V2", "1", "KMS v2 only", "leave it out"),
        ("VAULT_SKIP_VERIFY", "1", "is refused", "unset it"),
        ("VAULT_SKIP_VERIFY", "false", "is refused", "unset it"),
        ("BAO_SKIP_VERIFY", "true", "is refused", "-tls-ca-file"),
        ("VAULT_KMS_LOG_LEVEL", "loud", "no log level", "trace"),
        ("VAULT_CACERT", "/tls/none.pem", "does not exist", "mount it"),
        ("BAO_TLS_SERVER_NAME", "a:1", "no host name", "without scheme"),
        ("VAULT_NAMESPACE", "a b", "\" \"", "letters"),
        ("VAULT_KUBE_KMS_SOCKET", "kms.sock", "no address of a unix socket", "unix:///path"),
        ("HTTPS_PROXY", "socks5://proxy:1080", "\"socks5\"", "http://host:port"),
        ("HTTPS_PROXY", "https://proxy", "\"https\"", "http://host:port"),
        ("https_proxy", "http://u:CANARY@:3128", "no address of a proxy", "http://host:port"),
        ("HTTPS_PROXY", "http://CAN/CANARY:x@proxy:1", "", "http://host:port"),
        ("HTTPS_PROXY", "http://u:%zzCANARY@proxy:1", "percent-encoded", "%XX"),
        ("HTTPS_PROXY", "http://proxy:99999", "port", "http://host:port"),
        ("HTTPS_PROXY", "http://proxy/path", "path", "http://host:port"),
    ] {
        one(&[], &base_and(&[(name, value)]), name, problem, fix);
    }
}

#[test]
fn two_variables_that_disagree() {
    for (more, field, problem) in [
        (
            &[("VAULT_KUBE_KMS_TRANSIT_KEY", "other")][..],
            "VAULT_KMS_TRANSIT_KEY",
            "VAULT_KUBE_KMS_TRANSIT_KEY",
        ),
        (
            &[("VAULT_NAMESPACE", "a"), ("BAO_NAMESPACE", "b")][..],
            "BAO_NAMESPACE",
            "VAULT_NAMESPACE",
        ),
        (
            &[("VAULT_KMS_TOKEN", "CANARY")][..],
            "VAULT_KMS_TOKEN",
            "VAULT_KMS_TOKEN_PATH are both given",
        ),
    ] {
        let fix = if problem.contains("both") {
            "keep the file"
        } else {
            "keep one"
        };
        one(&[], &base_and(more), field, problem, fix);
    }
}

#[test]
fn a_variable_that_is_not_text() {
    use std::os::unix::ffi::OsStringExt;
    let broken = std::ffi::OsString::from_vec(b"\xff\xfe".to_vec());
    let files = crate::config_world::files();
    let env = vec![(
        std::ffi::OsString::from("VAULT_KMS_TRANSIT_KEY"),
        broken.clone(),
    )];
    let errors =
        vault_kubernetes_kms::config::resolve(Vec::<String>::new(), env, &files).unwrap_err();
    assert!(
        lines(&errors).contains("VAULT_KMS_TRANSIT_KEY: is not UTF-8; "),
        "{}",
        lines(&errors)
    );
    let errors = vault_kubernetes_kms::config::resolve(vec![broken], BASE.iter().copied(), &files)
        .unwrap_err();
    assert_eq!(
        lines(&errors),
        "argument 1: is not UTF-8; write it anew; it was probably pasted in another encoding"
    );
}

#[test]
fn nothing_given_names_everything_that_is_missing() {
    let errors = refused(&[], &[("VAULT_TOKEN", "CANARY")]);
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(
        fields,
        ["-vault-address", "-transit-key", "-auth-method"],
        "{}",
        lines(&errors)
    );
    assert!(
        errors[2].fix.contains("VAULT_TOKEN is not read"),
        "{}",
        errors[2]
    );
}

#[test]
fn several_mistakes_are_told_together() {
    let errors = refused(
        &[
            "-vault-adress=x",
            "-socket=kms.sock",
            "-max-in-flight=0",
            "-token-path=/s/empty",
            "-debug=7",
        ],
        BASE,
    );
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "-vault-adress",
            "-debug",
            "-socket",
            "-token-path",
            "-max-in-flight"
        ]
    );
}

#[test]
fn credentials_of_two_methods_without_a_method() {
    let env = &[("VAULT_ADDR", "https://v"), ("VAULT_KMS_TRANSIT_KEY", "k")];
    one(
        &[
            "-approle-role-id=CANARY",
            "-approle-secret-id=CANARY",
            "-token=CANARY",
        ],
        env,
        "-auth-method",
        "credentials of two methods",
        "approle or token",
    );
    one(
        &["-token=CANARY"],
        env,
        "-auth-method",
        "is missing",
        "-auth-method=token",
    );
    one(
        &["-userpass-username=CANARY"],
        env,
        "-auth-method",
        "is missing",
        "-auth-method=userpass",
    );
}

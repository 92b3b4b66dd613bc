//! What a good configuration makes the plugin say: warnings, subcommands, every value and its origin.

use vault_kubernetes_kms::config::{Command, DoctorArgs, Findings, Sample, settings_line};

use crate::config_world::{BASE, CANARY, base_and, fit_for_a_log, printed, refused, resolved};

#[test]
fn warnings() {
    let warns = |args: &[&str], env: &[_], text: &str| {
        let warnings = resolved(args, &base_and(env)).warnings;
        assert!(
            warnings.iter().any(|w| w.contains(text)),
            "{args:?}: wants {text:?}: {warnings:?}"
        );
    };
    warns(
        &["-token=hvs.CANARY"],
        &[],
        "-token puts a secret on the command line",
    );
    warns(
        &["-socket-mode=0666"],
        &[],
        "every user of this host decrypt",
    );
    warns(&["-socket-group=kms"], &[], "use 0660");
    warns(
        &["-auth-mount=x"],
        &[],
        "-auth-mount has no effect with the token method",
    );
    warns(
        &["-approle-role-id=CANARY"],
        &[],
        "-approle-role-id has no effect with the token method",
    );
    warns(&["-userpass-mount=x"], &[], "-userpass-mount has no effect");
    warns(
        &["-vault-address=http://localhost", "-tls-sni=x"],
        &[],
        "-tls-sni has no effect: no address is https",
    );
    warns(
        &[],
        &[("VAULT_CAPATH", "/etc/ssl")],
        "VAULT_CAPATH is not read",
    );
    warns(
        &[],
        &[("BAO_CLIENT_TIMEOUT", "5")],
        "BAO_CLIENT_TIMEOUT is not read",
    );
    let quiet = resolved(
        &[],
        &base_and(&[("VAULT_KMS_TOKEN_RENEWAL", "1"), ("OTHER_TOKEN", "CANARY")]),
    );
    assert_eq!(quiet.warnings.len(), 1, "{:?}", quiet.warnings);
}

#[test]
fn subcommands() {
    assert_eq!(resolved(&["serve"], BASE).command, Command::Serve);
    let doctor = |args: &[&str]| match resolved(args, BASE).command {
        Command::Doctor(args) => args,
        other => panic!("{other:?}"),
    };
    assert_eq!(doctor(&["doctor"]), DoctorArgs::default());
    assert_eq!(
        doctor(&[
            "-sample=v1.abc_-",
            "doctor",
            "--apiserver-version",
            "v1.28.3"
        ]),
        DoctorArgs {
            sample: Some(Sample::KeyId("v1.abc_-".into())),
            kubernetes: Some((1, 28)),
            format: Findings::Text,
        }
    );
    assert_eq!(
        doctor(&["doctor", "-sample=./v.bin"]).sample,
        Some(Sample::File("./v.bin".into()))
    );
    assert_eq!(doctor(&["doctor", "-format=json"]).format, Findings::Json);
    assert_eq!(
        doctor(&["doctor", "-sample=3"]).sample,
        Some(Sample::KeyId("3".into()))
    );
}

#[test]
fn version_and_help_win_over_mistakes() {
    for args in [
        &["version"][..],
        &["-version"],
        &["--version", "-wibble"],
        &["-socket=x", "-version=true"],
    ] {
        let (text, _) = printed(args, &[("VAULT_KMS_WIBBLE", "x")]);
        assert!(
            text.starts_with(concat!("vault-kubernetes-kms ", env!("CARGO_PKG_VERSION"))),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }
    for args in [&["help"][..], &["-h"], &["--help"], &["doctor", "-help"]] {
        let (text, _) = printed(args, &[]);
        assert!(
            text.contains("-listen-address, -socket=<unix:///path>"),
            "{text}"
        );
    }
    assert_eq!(resolved(&["-version=false"], BASE).command, Command::Serve);
}

#[test]
fn config_check_says_every_value_and_where_it_is_from() {
    let args = [
        "config",
        "check",
        "-socket=unix:///run/k.sock",
        "-key-id-epoch=2",
        "-decrypt-only=key=kms-key",
    ];
    let (text, warnings) = printed(&args, &base_and(&[("VAULT_CACERT", "/tls/ca.pem")]));
    for line in [
        "-listen-address",
        "unix:///run/k.sock  [-socket]",
        "/tls/ca.pem  [VAULT_CACERT]",
        "kms-key  [VAULT_KMS_TRANSIT_KEY]",
        "transit  [default]",
        "key=kms-key  [-decrypt-only]",
        "/s/token  [VAULT_KMS_TOKEN_PATH]",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(warnings.is_empty());
    assert!(
        !refused(&["config", "check", "-debug=7"], BASE).is_empty(),
        "it checks"
    );
}

#[test]
fn bug_114_nothing_that_is_printed_holds_a_secret() {
    let resolved = resolved(
        &[
            "-auth-method=approle",
            "-approle-role-id=role-CANARY",
            "-approle-secret-id=CANARY",
            "-token=CANARY",
        ],
        &[
            ("VAULT_ADDR", "https://v"),
            ("VAULT_KMS_TRANSIT_KEY", "k"),
            ("VAULT_KMS_USERPASS_PASSWORD", "CANARY"),
            ("HTTPS_PROXY", "http://u:CANARY@proxy"),
        ],
    );
    let line = settings_line(&resolved.settings);
    fit_for_a_log(&line);
    fit_for_a_log(&format!("{resolved:?}"));
    assert!(line.contains("-approle-secret-id=(set) (flag)"), "{line}");
    assert!(
        line.contains("-vault-address=https://v (VAULT_ADDR)"),
        "{line}"
    );
    assert!(line.contains("-socket-mode=0600,"), "{line}");
    let (text, _) = printed(&["config", "check", "-token=CANARY"], BASE);
    assert!(
        !text.contains(CANARY) && text.contains("(set)  [-token]"),
        "{text}"
    );
}

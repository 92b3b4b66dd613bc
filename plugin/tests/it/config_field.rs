//! Command lines as the field has them: the procedure operators follow, OpenShift's sidecars, and
//! the two products' own words.

use std::path::PathBuf;

use vault_kubernetes_kms::config::{
    Auth, Command, Credential, LogLevel, Origin, Secret, StatusVersion,
};

use crate::config_world::{lines, refused, resolved};

/// Arguments of the static pod in OKD's page, as printed there.
const AS_PRINTED: &[&str] = &[
    "-vault-address=<https://vault.example.com:8200>",
    "-<vault_namespace>=admin",
    "-auth-method=userpass",
    "-userpass-username=<vault_username>",
    "-userpass-password=<vault_password>",
    "-transit-mount=transit",
    "-transit-key=kms-key",
    "-socket=unix:///var/run/kmsplugin/kms.sock",
];

#[test]
fn the_static_pod_as_printed_gets_an_error_for_each_line_left_to_fill_in() {
    let errors = refused(AS_PRINTED, &[]);
    let all = lines(&errors);
    assert_eq!(errors.len(), 4, "{all}");
    for (field, fix) in [
        (
            "-<vault_namespace>",
            "-vault-namespace was meant: write -vault-namespace=admin, or leave the line out",
        ),
        (
            "-vault-address",
            "as in -vault-address=https://vault.example.com:8200",
        ),
        ("-userpass-username", "write your own value in its place"),
        ("-userpass-password", "write your own value in its place"),
    ] {
        let error = errors.iter().find(|error| error.field == field);
        let error = error.unwrap_or_else(|| panic!("{field} has no error:\n{all}"));
        assert!(error.problem.contains("placeholder"), "{error}");
        assert!(error.fix.contains(fix), "{error}");
    }
}

#[test]
fn the_static_pod_filled_in_starts() {
    let filled: Vec<String> = AS_PRINTED
        .iter()
        .map(|line| {
            line.replace("<vault_namespace>", "vault-namespace")
                .replace("<vault_username>", "kms-plugin")
                .replace("<vault_password>", "CANARY")
                .replace(['<', '>'], "")
        })
        .collect();
    let args: Vec<&str> = filled.iter().map(String::as_str).collect();
    let resolved = resolved(&args, &[]);
    let config = &resolved.config;
    assert_eq!(resolved.command, Command::Serve);
    assert_eq!(config.socket, PathBuf::from("/var/run/kmsplugin/kms.sock"));
    assert_eq!(
        config.vault.addresses[0].to_string(),
        "https://vault.example.com:8200"
    );
    assert_eq!(
        (
            config.vault.namespace.as_str(),
            config.vault.auth_namespace.as_str()
        ),
        ("admin", "admin")
    );
    assert_eq!(
        (config.place.mount.as_str(), config.place.key.as_str()),
        ("transit", "kms-key")
    );
    assert_eq!(
        config.auth,
        Auth::Userpass {
            mount: "userpass".into(),
            username: Credential::Inline(Secret::new("kms-plugin".into())),
            password: Credential::Inline(Secret::new("CANARY".into())),
        }
    );
    assert_eq!(resolved.warnings.len(), 1, "{:?}", resolved.warnings);
    assert!(resolved.warnings[0].contains("use -userpass-password-path=FILE"));
}

#[test]
fn openshift_sidecar_arguments() {
    let resolved = resolved(
        &[
            "-listen-address=unix:///var/run/kmsplugin/kms-7.sock",
            "-vault-address=https://vault.example.com:8200",
            "-vault-key-path=transit/ocp/keys/kms-key",
            "-approle-role-id=5f2c4f0e-role",
            "-approle-secret-id-path=/s/secret-id",
            "-tls-ca-file=/tls/ca.pem",
            "-tls-sni=vault.internal",
            "-vault-namespace=admin/team-a",
            "-vault-auth-namespace=admin",
            "-metrics-port=0",
        ],
        &[],
    );
    let config = resolved.config;
    assert_eq!(
        resolved.warnings,
        Vec::<String>::new(),
        "what the operator writes is not warned about"
    );
    assert_eq!(
        config.socket,
        PathBuf::from("/var/run/kmsplugin/kms-7.sock")
    );
    assert_eq!(
        (config.place.mount.as_str(), config.place.key.as_str()),
        ("transit/ocp", "kms-key")
    );
    assert_eq!(config.place.namespace, "admin/team-a");
    assert_eq!(config.vault.auth_namespace, "admin");
    assert_eq!(config.vault.tls.ca_file, Some("/tls/ca.pem".into()));
    assert_eq!(config.vault.tls.sni.as_deref(), Some("vault.internal"));
    assert_eq!(config.metrics, None);
    assert_eq!(config.health, Some("127.0.0.1:8081".parse().unwrap()));
    assert_eq!(
        config.auth,
        Auth::AppRole {
            mount: "approle".into(),
            role_id: Credential::Inline(Secret::new("5f2c4f0e-role".into())),
            secret_id: Credential::File("/s/secret-id".into()),
            wrapped: false,
        },
        "approle is understood from the role id"
    );
}

#[test]
fn vault_kube_kms_vocabulary() {
    let resolved = resolved(
        &[
            "--listen-address",
            "unix:///tmp/vault-kube-kms.socket",
            "--vault-address",
            "https://vault:8200",
            "--vault-connection-timeout",
            "10s",
            "--vault-key-path",
            "transit/keys/k",
            "--auth-method",
            "approle",
            "--auth-mount",
            "approle-k8s/",
            "--approle-role-id",
            "role",
            "--approle-secret-id-path",
            "/s/secret-id",
            "--tls-skip-verify",
            "--metrics-port",
            "8080",
            "--health-port",
            "8082",
            "--disable-runtime-metrics",
            "--zap-log-level",
            "debug-extended",
        ],
        &[],
    );
    let config = resolved.config;
    assert_eq!(config.vault.connect_timeout.as_secs(), 10);
    assert_eq!(
        config.health,
        Some("0.0.0.0:8082".parse().unwrap()),
        "kubelet probes come from outside"
    );
    assert_eq!(config.metrics, Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(config.log_level, LogLevel::Trace);
    assert!(config.vault.tls.skip_verify);
    assert!(matches!(config.auth, Auth::AppRole { mount, .. } if mount == "approle-k8s"));
    let warnings = resolved.warnings.join("\n");
    assert!(
        warnings.contains("--disable-runtime-metrics has no effect"),
        "{warnings}"
    );
    assert!(
        warnings.contains("-tls-skip-verify: the server is not verified"),
        "{warnings}"
    );
}

#[test]
fn community_plugin_vocabulary() {
    let resolved = resolved(
        &[
            "-socket=unix:///opt/kms/vaultkms.socket",
            "-vault-address=https://vault:8200",
            "-vault-ca-cert=/tls/ca.pem",
            "-transit-key=kms",
            "-auth-method=approle",
            "-approle-mount=kms-approle",
            "-approle-role-id=role",
            "-approle-secret-id=CANARY",
            "-token-refresh-interval=60s",
            "-token-renewal=3600",
            "-force-socket-overwrite",
            "-disable-v1=true",
            "-disable-v2=false",
            "-health-port=8080",
            "-debug",
        ],
        &[],
    );
    let config = resolved.config;
    assert!(matches!(config.auth, Auth::AppRole { mount, .. } if mount == "kms-approle"));
    assert_eq!(config.log_level, LogLevel::Debug);
    assert_eq!(config.health, Some("0.0.0.0:8080".parse().unwrap()));
    assert_eq!(config.place.mount, "transit");
    for name in [
        "-token-refresh-interval",
        "-token-renewal",
        "-force-socket-overwrite",
        "-disable-v1",
    ] {
        let line = format!("{name} has no effect: ");
        assert!(
            resolved.warnings.iter().any(|w| w.starts_with(&line)),
            "{name}: {:?}",
            resolved.warnings
        );
    }
    assert!(
        resolved
            .warnings
            .iter()
            .any(|w| w.contains("use -approle-secret-id-path=FILE"))
    );
}

#[test]
fn community_plugin_environment() {
    let resolved = resolved(
        &[],
        &[
            ("VAULT_KMS_VAULT_ADDRESS", "https://vault:8200"),
            ("VAULT_KMS_TRANSIT_KEY", "kms"),
            ("VAULT_KMS_AUTH_METHOD", "token"),
            ("VAULT_KMS_TOKEN", "hvs.CANARY\n"),
            ("VAULT_KMS_SOCKET", "unix:///opt/kms/vaultkms.socket"),
            ("VAULT_KMS_STATUS_VERSION", "v2beta1"),
        ],
    );
    assert_eq!(
        resolved.config.auth,
        Auth::Token {
            token: Credential::Inline(Secret::new("hvs.CANARY".into()))
        },
        "a line end from a Secret is cut"
    );
    assert_eq!(resolved.config.status_version, StatusVersion::V2Beta1);
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    let socket = resolved
        .settings
        .iter()
        .find(|s| s.option.name == "listen-address")
        .unwrap();
    assert_eq!(socket.origin, Origin::Given("VAULT_KMS_SOCKET".into()));
}

/// A Service called `vault-kms` makes the kubelet set these in every pod of its namespace.
#[test]
fn variables_that_kubernetes_makes_for_services_are_no_options() {
    let env = crate::config_world::base_and(&[
        ("VAULT_KMS_SERVICE_HOST", "10.0.0.1"),
        ("VAULT_KMS_SERVICE_PORT", "8200"),
        ("VAULT_KMS_SERVICE_PORT_HTTPS", "8200"),
        ("VAULT_KMS_PORT", "tcp://10.0.0.1:8200"),
        ("VAULT_KMS_PORT_8200_TCP", "tcp://10.0.0.1:8200"),
        ("VAULT_KMS_PORT_8200_TCP_PROTO", "tcp"),
        ("VAULT_KMS_PORT_8200_TCP_PORT", "8200"),
        ("VAULT_KMS_PORT_8200_TCP_ADDR", "10.0.0.1"),
        ("VAULT_KMS_HEALTH_PORT", "tcp://10.0.0.2:80"),
        ("VAULT_KMS_HEALTH_PORT_80_TCP", "tcp://10.0.0.2:80"),
    ]);
    let resolved = resolved(&[], &env);
    assert_eq!(
        resolved.config.health,
        Some("127.0.0.1:8081".parse().unwrap())
    );
    let errors = refused(
        &[],
        &crate::config_world::base_and(&[("VAULT_KMS_PORT_8200_TLS", "x")]),
    );
    assert_eq!(errors.len(), 1, "only that form is let through");
}

/// The arguments in a manifest of `deploy/`: list items under `command:` that begin with a dash.
fn shipped(file: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .filter(|item| item.starts_with('-'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_shipped_static_pod_names_what_is_left_to_fill_in_and_then_starts() {
    let printed = shipped("static-pod.yaml");
    let args: Vec<&str> = printed.iter().map(String::as_str).collect();
    let open = args.iter().filter(|arg| arg.contains('<')).count();
    let errors = refused(&args, &[]);
    assert_eq!(errors.len(), open, "{}", lines(&errors));
    assert!(
        errors.iter().all(|e| e.problem.contains("placeholder")),
        "{}",
        lines(&errors)
    );

    let filled: Vec<String> = printed
        .iter()
        .map(|arg| arg.replace(['<', '>'], ""))
        .collect();
    let args: Vec<&str> = filled.iter().map(String::as_str).collect();
    let resolved = resolved(&args, &[]);
    assert_eq!(resolved.warnings, Vec::<String>::new());
    assert_eq!(resolved.config.place.key, "kms-key");
}

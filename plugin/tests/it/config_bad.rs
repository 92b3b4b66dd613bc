//! Bad input, one mistake a row: exactly one error, which names the field, what is wrong and what
//! to do, on one line and without any secret (every secret here holds a canary). The tables are laid
//! out by hand, a row a line.

use crate::config_world::{BASE, lines, refused};

/// Arguments over a complete environment; field; part of the problem; part of the fix.
pub type Row = (
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
);

pub fn check(rows: &[Row]) {
    for (args, field, problem, fix) in rows {
        one(args, BASE, field, problem, fix);
    }
}

pub fn one(args: &[&str], env: &[(&str, &str)], field: &str, problem: &str, fix: &str) {
    let errors = refused(args, env);
    let all = lines(&errors);
    assert_eq!(
        errors.len(),
        1,
        "{args:?} {env:?}: one mistake, one error:\n{all}"
    );
    assert_eq!(errors[0].field, field, "{args:?} {env:?}: {all}");
    assert!(
        errors[0].problem.contains(problem),
        "{args:?} {env:?}: wants {problem:?}: {all}"
    );
    assert!(
        errors[0].fix.contains(fix),
        "{args:?} {env:?}: wants {fix:?}: {all}"
    );
}

#[test]
#[rustfmt::skip]
fn the_command_line() {
    check(&[
        (&["-vault-adress=x"], "-vault-adress", "is not an option", "-vault-address"),
        (&["--vault_address=x"], "--vault_address", "is not an option", "-vault-address"),
        (&["-Vault-Address=x"], "-Vault-Address", "is not an option", "-vault-address"),
        (&["-namespace=x"], "-namespace", "is not an option", "-vault-namespace"),
        (&["-vault-ca-crt=x"], "-vault-ca-crt", "is not an option", "the community plugin's name"),
        (&["-approle-secret-id-pth=x"], "-approle-secret-id-pth", "is not an option", "vault-kube-kms's name"),
        (&["-tokn=CANARY"], "-tokn", "is not an option", "-token"),
        (&["-tokn", "CANARY"], "-tokn", "is not an option", "-token"),
        (&["-token.CANARY"], "-token…", "is not an option", "write -token=VALUE"),
        (&["-userpass-passwordCANARY"], "-userpass-password…", "is not an option", "write -userpass-password=VALUE"),
        (&["-wibble"], "-wibble", "is not an option", "-help"),
        (&["-key-uri=x"], "-key-uri", "Google's", "-transit-key"),
        (&["-key=arn"], "-key", "aws-encryption-provider", "-transit-key"),
        (&["-keyvault-name=x"], "-keyvault-name", "Azure's", "-transit-mount"),
        (&["-config=/etc/x.yaml"], "-config", "bao-kms-provider", "no configuration file"),
        (&["-zap-devel"], "-zap-devel", "vault-kube-kms", "-log-format"),
        (&["-adopt="], "-adopt", "is empty", "leave it out"),
        (&["-adopt=falco"], "-adopt", "no plugin that can be taken over from", "community,final"),
        (&["-adopt=hashicorp,last"], "-adopt", "no plugin that can be taken over from", "hashicorp,final"),
        (&["-disable-v2"], "-disable-v2", "KMS v2 only", "leave it out"),
        (&["-disable-v2=true"], "-disable-v2", "KMS v2 only", "leave it out"),
        (&["-vault-address"], "-vault-address", "has no value", "-vault-address=VALUE"),
        (&["-vault-namespace", "-debug"], "-vault-namespace", "has no value", "=VALUE"),
        (&["---transit-key=x"], "---…", "more than two dashes", "one or two"),
        (&["-vault-namespace admin"], "-vault-namespace", "one argument", "two items"),
        (&["-token CANARY"], "-token", "one argument", "two items"),
        (&["–vault-namespace=admin"], "argument 1", "typographic dash", "-vault-namespace"),
        (&["vault-namespace=admin"], "argument 1", "without its dash", "-vault-namespace"),
        (&["-debug", "CANARY"], "argument 2", "may be a secret", "-option=VALUE"),
        (&["docter"], "docter", "is not a subcommand", "doctor"),
        (&["serve", "doctor"], "doctor", "second subcommand", "give one"),
        (&["config"], "config", "half a subcommand", "config check"),
        (&["-<vault_namespace>=admin"], "-<vault_namespace>", "placeholder", "-vault-namespace=admin"),
        (&["-<vault_token>=CANARY"], "-<vault_token>", "placeholder", "option's name"),
        (&["-<token>=CANARY"], "-<token>", "placeholder", "-token=VALUE"),
        (&["-sample=3"], "-sample", "belongs to the subcommand doctor", "run doctor"),
        (&["-without-lookup-self"], "-without-lookup-self", "subcommand policy", "run policy"),
    ]);
}

#[test]
#[rustfmt::skip]
fn contradictions() {
    check(&[
        (&["-socket=unix:///a/k.sock", "-listen-address=unix:///b/k.sock"], "-socket", "-listen-address", "keep one"),
        (&["-vault-ca-cert=/tls/ca.pem", "-tls-ca-file=/tls/cert.pem"], "-vault-ca-cert", "-tls-ca-file", "keep one"),
        (&["-transit-key=a", "-vault-key-path=transit/keys/b"], "-transit-key", "-vault-key-path", "keep one"),
        (&["-transit-mount=a", "-vault-key-path=b/keys/kms-key"], "-transit-mount", "-vault-key-path", "keep one"),
        (&["-health-port=8080", "-health-address=127.0.0.1:8080"], "-health-port", "-health-address", "keep one"),
        (&["-metrics-port=0", "-metrics-address=127.0.0.1:9"], "-metrics-port", "-metrics-address", "keep one"),
        (&["-debug", "-log-level=warn"], "-debug", "-log-level", "keep one"),
        (&["-log-level=info", "-zap-log-level=debug"], "-log-level", "-zap-log-level", "keep one"),
        (&["-transit-key=a", "-transit-key=b"], "-transit-key", "given twice", "keep one"),
        (&["-token=CANARY1", "-token=CANARY2"], "-token", "given twice", "keep one"),
        (&["-token=CANARY", "-token-path=/s/token"], "-token", "-token-path are both given", "keep the file"),
        (&["-auth-method=userpass", "-userpass-username=u", "-userpass-password=CANARY", "-userpass-password-path=/s/password"], "-userpass-password", "-userpass-password-path are both given", "keep the file"),
        (&["-auth-method=approle", "-approle-role-id=CANARY", "-approle-secret-id=CANARY", "-auth-mount=a", "-approle-mount=b"], "-auth-mount", "-approle-mount name different mounts", "keep one"),
    ]);
}

#[test]
fn bug_119_an_over_long_socket_path_is_refused_before_bind() {
    let path = "s".repeat(107);
    let problem = "108 bytes, and the system allows 107";
    let argument = format!("-socket=unix:///{path}");
    one(&[&argument], BASE, "-socket", problem, "shorter path");
}

#[test]
#[rustfmt::skip]
fn the_socket() {
    check(&[
        (&["-socket="], "-socket", "is empty", "give it a value"),
        (&["-socket=/run/kms.sock"], "-socket", "without its scheme", "unix:///run/kms.sock"),
        (&["-socket=unix://run/kms.sock"], "-socket", "not an absolute path", "unix:///path"),
        (&["-socket=unix:/run/kms.sock"], "-socket", "three slashes", "unix:///run/kms.sock"),
        (&["-socket=unix:"], "-socket", "has no path", "unix:///path"),
        (&["-socket=unix://"], "-socket", "has no path", "unix:///path"),
        (&["-socket=kms.sock"], "-socket", "no address of a unix socket", "unix:///path"),
        (&["-socket=unix://@kms"], "-socket", "no permissions", "unix:///path"),
        (&["-socket=unix:///@kms"], "-socket", "no permissions", "unix:///path"),
        (&["-socket=@kms"], "-socket", "no permissions", "unix:///path"),
        (&["-socket=tcp://127.0.0.1:1"], "-socket", "\"tcp\"", "unix:///path"),
        (&["-socket=unix:///run/kms/"], "-socket", "names a folder", "file's name"),
        (&["-socket=unix:///run/../kms.sock"], "-socket", "..", "without them"),
        (&["-socket=unix:///run/k\nms.sock"], "-socket", "control characters", "unix:///path"),
        (&["-listen-address=<socket>"], "-listen-address", "placeholder \"<socket>\"", "your own value"),
        (&["-socket-mode=rw"], "-socket-mode", "not an octal mode", "0600"),
        (&["-socket-mode=0800"], "-socket-mode", "not an octal mode", "0600"),
        (&["-socket-mode=4600"], "-socket-mode", "beyond 0777", "0600"),
        (&["-socket-mode=0444"], "-socket-mode", "nobody connect", "0600"),
        (&["-socket-group=4294967295"], "-socket-group", "no name or number", "number of a group"),
        (&["-socket-group=a/b"], "-socket-group", "no name or number", "number of a group"),
        (&["-status-version=v1"], "-status-version", "no version that Status", "v2beta1"),
    ]);
}

#[test]
#[rustfmt::skip]
fn the_address_of_vault() {
    let many: Vec<String> = (1..=17).map(|n| format!("https://v{n}")).collect();
    one(
        &["-vault-address", &many.join(",")],
        BASE,
        "-vault-address",
        "more than 16",
        "load balancer",
    );
    check(&[
        (&["-vault-address="], "-vault-address", "is empty", "give it a value"),
        (&["-vault-address=vault.example.com:8200"], "-vault-address", "no scheme", "https://host:port"),
        (&["-vault-address=ftp://vault"], "-vault-address", "\"ftp\"", "https://host:port"),
        (&["-vault-address=unix:///run/agent.sock"], "-vault-address", "no host", "https://host:port"),
        (&["-vault-address=https://"], "-vault-address", "no host", "https://host:port"),
        (&["-vault-address=https://:8200"], "-vault-address", "no host", "https://host:port"),
        (&["-vault-address=https://vault:0"], "-vault-address", "port", "1 to 65535"),
        (&["-vault-address=https://vault:65536"], "-vault-address", "port", "1 to 65535"),
        (&["-vault-address=https://vault:+1"], "-vault-address", "port", "1 to 65535"),
        (&["-vault-address=https://vault:"], "-vault-address", "port", "1 to 65535"),
        (&["-vault-address=https://root:CANARY@vault"], "-vault-address", "user name or password", "take it out"),
        (&["-vault-address=https://root:CA,CANARY@vault"], "-vault-address", "user name or password", "take it out"),
        (&["-vault-address=root:CANARY@vault"], "-vault-address", "user name or password", "take it out"),
        (&["-vault-address=https://vault?token=CANARY"], "-vault-address", "query", "before the ?"),
        (&["-vault-address=vault?token=CANARY"], "-vault-address", "no scheme", "https://host:port"),
        (&["-vault-address=https://vault/#CANARY"], "-vault-address", "fragment", "before the #"),
        (&["-vault-address=https://vault/v1"], "-vault-address", "/v1", "before /v1"),
        (&["-vault-address=https://vault/v1/transit"], "-vault-address", "/v1", "before /v1"),
        (&["-vault-address=https://vault/ui/"], "-vault-address", "web interface", "before /ui"),
        (&["-vault-address=https://vault/a/../b"], "-vault-address", "not plain", "leave the path out"),
        (&["-vault-address=https://va ult"], "-vault-address", "blanks", "https://host:port"),
        (&["-vault-address=https://va\u{1}ult"], "-vault-address", "control characters", "https://host:port"),
        (&["-vault-address=https://10.0.0.256"], "-vault-address", "no name or address", "https://host:port"),
        (&["-vault-address=https://-vault"], "-vault-address", "no name or address", "https://host:port"),
        (&["-vault-address=https://::1:8200"], "-vault-address", "without brackets", "[2001:db8::1]"),
        (&["-vault-address=https://[::1:8200"], "-vault-address", "without its ]", "[2001:db8::1]"),
        (&["-vault-address=https://[fe80::1%eth0]"], "-vault-address", "no IPv6 address", "without a zone"),
        (&["-vault-address=https://[::1]8200"], "-vault-address", "between ]", "https://host:port"),
        (&["-vault-address=https://a,https://a:443"], "-vault-address", "twice", "once"),
        (&["-vault-address=https://a,,https://b"], "-vault-address", "empty address", "https://host:port"),
        (&["-vault-address=http://vault:8200"], "-vault-address", "not encrypted", "-allow-plaintext-vault"),
        (&["-vault-address=https://a,http://b"], "-vault-address", "http://b:80", "https://"),
        (&["-vault-address=\"https://vault\""], "-vault-address", "quotes", "no shell"),
        (&["-vault-address=<https://vault.example.com:8200>"], "-vault-address", "placeholder", "=https://vault.example.com:8200"),
        (&["-vault-address=https://<vault.example.com>:8200"], "-vault-address", "placeholder", "=https://vault.example.com:8200"),
        (&["-vault-address=$(VAULT_ADDR)"], "-vault-address", "variable's name", "under env"),
        (&["-vault-address=${VAULT_ADDR}"], "-vault-address", "variable's name", "$(NAME)"),
        (&["-vault-connection-timeout=5"], "-vault-connection-timeout", "no unit", "5s"),
        (&["-vault-connection-timeout=fast"], "-vault-connection-timeout", "not a duration", "5s"),
        (&["-vault-connection-timeout=5s5"], "-vault-connection-timeout", "not a duration", "5s"),
        (&["-vault-connection-timeout=-5s"], "-vault-connection-timeout", "negative", "5s"),
        (&["-vault-connection-timeout=5d"], "-vault-connection-timeout", "not a duration", "5s"),
        (&["-vault-connection-timeout=0s"], "-vault-connection-timeout", "not between", "from 100ms to 60s"),
        (&["-vault-connection-timeout=2h"], "-vault-connection-timeout", "not between", "from 100ms to 60s"),
        (&["-vault-connection-timeout=99999999999999999999h"], "-vault-connection-timeout", "not a duration", "5s"),
        (&["-allow-plaintext-vault=maybe"], "-allow-plaintext-vault", "neither true nor false", "true or false"),
    ]);
}

#[test]
#[rustfmt::skip]
fn tls() {
    check(&[
        (&["-tls-ca-file=/tls/none.pem"], "-tls-ca-file", "/tls/none.pem: the file does not exist", "mount it"),
        (&["-vault-ca-cert=/tls/empty.pem"], "-vault-ca-cert", "/tls/empty.pem: the file is empty", "PEM"),
        (&["-tls-ca-file=/tls/garbage.pem"], "-tls-ca-file", "holds no PEM certificate", "authority"),
        (&["-tls-ca-file=/tls/key.pem"], "-tls-ca-file", "private key and no certificate", "authority"),
        (&["-tls-ca-file=/tls/der.pem"], "-tls-ca-file", "DER, not PEM", "openssl x509"),
        (&["-tls-ca-file=/tls/cut.pem"], "-tls-ca-file", "damaged PEM", "export it anew"),
        (&["-tls-ca-file=/tls/no-x509.pem"], "-tls-ca-file", "no certificate that can be read", "export"),
        (&["-tls-ca-file=/tls/denied.pem"], "-tls-ca-file", "may not be read", "plugin's user"),
        (&["-tls-ca-file=/tls/huge.pem"], "-tls-ca-file", "longer than", "certificates that are needed"),
        (&["-tls-ca-file=/tls"], "-tls-ca-file", "is not a regular file", "PEM file itself"),
        (&["-tls-ca-file=https://ca/x.pem"], "-tls-ca-file", "URL, not a path", "path of a file"),
        (&["-tls-ca-file=-----BEGIN CERTIFICATE-----"], "-tls-ca-file", "certificate or key itself", "write it to a file"),
        (&["-tls-sni=https://vault"], "-tls-sni", "no host name", "without scheme"),
        (&["-tls-sni=vault:8200"], "-tls-sni", "no host name", "without scheme and port"),
        (&["-tls-client-cert=/tls/cert.pem"], "-tls-client-cert", "without its key", "-tls-client-key"),
        (&["-tls-client-key=/tls/key.pem"], "-tls-client-key", "without its certificate", "-tls-client-cert"),
        (&["-tls-client-cert=/tls/cert.pem", "-tls-client-key=/tls/other-key.pem"], "-tls-client-key", "does not belong", "key that the certificate"),
        (&["-tls-client-cert=/tls/cert.pem", "-tls-client-key=/tls/encrypted.pem"], "-tls-client-key", "passphrase", "decrypt it"),
        (&["-tls-client-cert=/tls/cert.pem", "-tls-client-key=/tls/odd-key.pem"], "-tls-client-key", "kind that cannot be used", "RSA"),
        (&["-tls-client-cert=/tls/cert.pem", "-tls-client-key=/tls/cert.pem"], "-tls-client-key", "certificate and no private key", "swapped"),
        (&["-tls-client-cert=/tls/cert.pem", "-tls-client-key=/tls/garbage.pem"], "-tls-client-key", "no PEM private key", "PEM file"),
        (&["-tls-client-cert=/tls/key.pem", "-tls-client-key=/tls/cert.pem"], "-tls-client-cert", "private key and no certificate", "client's certificate"),
        (&["-tls-client-cert=/tls/no-x509.pem", "-tls-client-key=/tls/key.pem"], "-tls-client-cert", "cannot be read", "export"),
        (&["-tls-client-cert=/tls/none.pem", "-tls-client-key=/tls/key.pem"], "-tls-client-cert", "does not exist", "create"),
        (&["-tls-skip-verify=yes"], "-tls-skip-verify", "neither true nor false", "true or false"),
    ]);
}

#[test]
#[rustfmt::skip]
fn bug_121_key_mount_and_namespace_names() {
    let long_key = "k".repeat(513);
    one(
        &["-transit-key", &long_key],
        BASE,
        "-transit-key",
        "longer than 512",
        "letters",
    );
    let long_mount = "m".repeat(1025);
    one(
        &["-transit-mount", &long_mount],
        BASE,
        "-transit-mount",
        "longer than 1024",
        "letters",
    );
    check(&[
        (&["-transit-key="], "-transit-key", "is empty", "give it a value"),
        (&["-transit-key=../../secret/data/x"], "-transit-key", "holds a slash", "-transit-mount"),
        (&["-transit-key=.."], "-transit-key", "no name that Transit takes", "letters"),
        (&["-transit-key=-kms"], "-transit-key", "no name that Transit takes", "letters"),
        (&["-transit-key=kms."], "-transit-key", "no name that Transit takes", "letters"),
        (&["-transit-key=kms key"], "-transit-key", "no name that Transit takes", "letters"),
        (&["-transit-key=kms?x=1"], "-transit-key", "no name that Transit takes", "letters"),
        (&["-transit-key=kms%2fx"], "-transit-key", "no name that Transit takes", "letters"),
        (&["-transit-key=kms\u{0}x"], "-transit-key", "no name that Transit takes", "letters"),
        (&["-transit-key=schlüssel"], "-transit-key", "no name that Transit takes", "letters"),
        (&["-transit-mount=/"], "-transit-mount", "names no mount", "transit"),
        (&["-transit-mount=a/../b"], "-transit-mount", ". or .. part", "single slashes"),
        (&["-transit-mount=a//b"], "-transit-mount", "empty part", "single slashes"),
        (&["-transit-mount=transit?list=true"], "-transit-mount", "\"?\"", "letters"),
        (&["-transit-mount=tran\tsit"], "-transit-mount", "control characters", "letters"),
        (&["-transit-mount=v1/transit"], "-transit-mount", "v1/", "leave v1/ out"),
        (&["-transit-mount=trans*"], "-transit-mount", "\"*\"", "letters"),
        (&["-vault-key-path=kms-key"], "-vault-key-path", "no /keys/", "<mount>/keys/<key>"),
        (&["-vault-key-path=keys/kms-key"], "-vault-key-path", "no mount", "<mount>/keys/<key>"),
        (&["-vault-key-path=transit/keys/a/b"], "-vault-key-path", "slash in the key's name", "<mount>/keys/<key>"),
        (&["-vault-key-path=v1/transit/keys/a"], "-vault-key-path", "v1/", "<mount>/keys/<key>"),
        (&["-vault-key-path=t/keys/a?b"], "-vault-key-path", "no name that Transit takes", "letters"),
        (&["-vault-key-path=<mount>/keys/<key>"], "-vault-key-path", "placeholder", "angle brackets"),
        (&["-vault-namespace=admin/../root"], "-vault-namespace", ". or .. part", "single slashes"),
        (&["-vault-namespace=ad min"], "-vault-namespace", "\" \"", "letters"),
        (&["-vault-namespace=<namespace>"], "-vault-namespace", "placeholder", "angle brackets"),
        (&["-vault-auth-namespace=a\u{7f}"], "-vault-auth-namespace", "control characters", "letters"),
        (&["-key-id-epoch=two words"], "-key-id-epoch", "not a word", "letters"),
    ]);
}

#[test]
#[rustfmt::skip]
fn former_places() {
    check(&[
        (&["-decrypt-only="], "-decrypt-only", "is empty", "give it a value"),
        (&["-decrypt-only=kms-key"], "-decrypt-only", "part without =", "namespace=N"),
        (&["-decrypt-only=mount=transit"], "-decrypt-only", "names no key", "only key is required"),
        (&["-decrypt-only=key=a,key=b"], "-decrypt-only", "key twice", "namespace=N"),
        (&["-decrypt-only=key=a,path=b"], "-decrypt-only", "\"path\" is no part", "namespace=N"),
        (&["-decrypt-only=key=a/b"], "-decrypt-only", "key: \"a/b\" holds a slash", "alone"),
        (&["-decrypt-only=key=a,mount=.."], "-decrypt-only", "mount:", "single slashes"),
        (&["-decrypt-only=key=kms-key"], "-decrypt-only", "place in use", "leave it out"),
        (&["-decrypt-only=key=kms-key,mount=/transit/"], "-decrypt-only", "place in use", "leave it out"),
        (&["-decrypt-only=key=a", "-decrypt-only=key=a,mount=transit"], "-decrypt-only", "given twice", "keep one"),
        (&["-vault-namespace=admin", "-decrypt-only=key=a"], "-decrypt-only", "names no namespace", "namespace=admin"),
    ]);
}

#[test]
#[rustfmt::skip]
fn listeners_log_and_limits() {
    check(&[
        (&["-health-port=http"], "-health-port", "not a port", "1 to 65535"),
        (&["-health-port=65536"], "-health-port", "not a port", "1 to 65535"),
        (&["-health-port=-1"], "-health-port", "not a port", "1 to 65535"),
        (&["-metrics-port=127.0.0.1:8080"], "-metrics-port", "not a port", "-address"),
        (&["-health-address=8081"], "-health-address", "no port", "or off"),
        (&["-health-address=127.0.0.1:0"], "-health-address", "port 0", "or off"),
        (&["-health-address=127.0.0.1:x"], "-health-address", "no valid port", "or off"),
        (&["-health-address=vault.example.com:8081"], "-health-address", "no IP address", "or off"),
        (&["-health-address=::1:8081"], "-health-address", "without brackets", "[::1]:8081"),
        (&["-metrics-address=http://127.0.0.1:1"], "-metrics-address", "has a scheme", "or off"),
        (&["-health-port=9000", "-metrics-port=9000"], "-health-port", "-metrics-port want port 9000", "same address"),
        (&["-log-level=loud"], "-log-level", "no log level", "trace"),
        (&["-zap-log-level=loud"], "-zap-log-level", "no log level", "trace"),
        (&["-debug=loud"], "-debug", "neither true nor false", "true or false"),
        (&["-log-format=xml"], "-log-format", "no log format", "json or text"),
        (&["-max-in-flight=0"], "-max-in-flight", "1 to 1024", "1 to 1024"),
        (&["-max-in-flight=1025"], "-max-in-flight", "1 to 1024", "1 to 1024"),
        (&["-max-in-flight=+4"], "-max-in-flight", "1 to 1024", "1 to 1024"),
        (&["-max-waiting=ten"], "-max-waiting", "1 to 1000000", "1 to 1000000"),
        (&["-max-waiting=99999999999999999999999"], "-max-waiting", "1 to 1000000", "whole number"),
        (&["-revoke-on-exit=no"], "-revoke-on-exit", "neither true nor false", "true or false"),
        (&["doctor", "-sample=a b"], "-sample", "neither a key_id", "./value.bin"),
        (&["doctor", "-apiserver-version=1"], "-apiserver-version", "no", "1.29"),
        (&["doctor", "-apiserver-version=one.two"], "-apiserver-version", "not a Kubernetes version", "1.29"),
    ]);
}

#[test]
#[rustfmt::skip]
fn logins() {
    check(&[
        (&["-auth-method=jwt"], "-jwt-path", "is missing", "-jwt-path=FILE"),
        (&["-auth-method=jwt", "-jwt-path=/s/token"], "-jwt-path", "is no JWT", "write the JWT"),
        (&["-auth-method=cert"], "-tls-client-cert", "is missing: the cert method", "-tls-client-key=FILE"),
        (&["-auth-method=kubernetes", "-kubernetes-role=r", "-kubernetes-token-path=/s/jwt"], "-auth-method=kubernetes", "needs this plugin to start", "-serves-another-cluster"),
        (&["-auth-method=kubernetes", "-serves-another-cluster", "-kubernetes-token-path=/s/jwt"], "-kubernetes-role", "is missing", "the role in Vault"),
        (&["-auth-method=kubernetes", "-serves-another-cluster", "-kubernetes-role=r"], "-kubernetes-token-path", "does not exist", "mount it"),
        (&["-auth-method=ldap"], "-auth-method", "no method of this plugin", "approle"),
        (&["-auth-method=AppRole"], "-auth-method", "no method of this plugin", "approle"),
        (&["-auth-method="], "-auth-method", "is empty", "leave it out"),
        (&["-auth-method=approle", "-approle-role-id=r"], "-approle-secret-id", "is missing", "-approle-secret-id-path=FILE"),
        (&["-auth-method=approle", "-approle-secret-id-path=/s/secret-id"], "-approle-role-id", "is missing", "-approle-role-id-path=FILE"),
        (&["-auth-method=userpass", "-userpass-username=u"], "-userpass-password", "is missing", "-userpass-password-path=FILE"),
        (&["-auth-method=userpass", "-userpass-password=CANARY"], "-userpass-username", "is missing", "-userpass-username-path=FILE"),
        (&["-token="], "-token", "is empty", "give it a value"),
        (&["-token=<vault_token>"], "-token", "placeholder", "your own value"),
        (&["-token=$(CANARY)"], "-token", "variable's name", "under env"),
        (&["-token=CAN ARY CANARY"], "-token", "no token has", "token alone"),
        (&["-token=CANARY\u{7}x"], "-token", "control character at byte 6", "token alone"),
        (&["-token=   "], "-token", "only blanks", "token alone"),
        (&["-auth-method=userpass", "-userpass-username=../CANARY", "-userpass-password=CANARY"], "-userpass-username", "no user name has", "user name alone"),
        (&["-auth-method=approle", "-approle-role-id=CANARY", "-approle-secret-id=CANARY", "-auth-mount=auth/approle"], "-auth-mount", "auth/", "write approle"),
        (&["-auth-method=userpass", "-userpass-username=u", "-userpass-password=CANARY", "-userpass-mount=a?b"], "-userpass-mount", "\"?\"", "letters"),
    ]);
}

#[test]
#[rustfmt::skip]
fn bug_012_credential_files() {
    check(&[
        (&["-token-path=/s/none"], "-token-path", "/s/none: the file does not exist", "mount it"),
        (&["-token-path=/s/empty"], "-token-path", "/s/empty: the token in it is empty", "nothing else"),
        (&["-token-path=/s/blank"], "-token-path", "/s/blank: the token in it holds only blanks", "nothing else"),
        (&["-token-path=/s/tab"], "-token-path", "/s/tab: the token in it holds a control character", "nothing else"),
        (&["-token-path=/s/two-lines"], "-token-path", "/s/two-lines: the token in it holds 2 lines", "nothing else"),
        (&["-token-path=/s/long"], "-token-path", "/s/long: the file is too long", "value alone"),
        (&["-token-path=/s/binary"], "-token-path", "/s/binary: the token in it is not UTF-8", "nothing else"),
        (&["-token-path=/s/utf16"], "-token-path", "/s/utf16: the token in it is UTF-16", "nothing else"),
        (&["-token-path=/s/inner-blank"], "-token-path", "/s/inner-blank: the token in it holds a blank", "nothing else"),
        (&["-token-path=/s/denied"], "-token-path", "/s/denied: the file may not be read", "plugin's user"),
        (&["-token-path=/dir/hyphen"], "-token-path", "no token; found: role-id, secret-id", "name the file token"),
        (&["-auth-method=userpass", "-userpass-username-path=/s/path-like", "-userpass-password=CANARY"], "-userpass-username-path", "/s/path-like: the user name in it", "nothing else"),
        (&["-auth-method=userpass", "-userpass-username=u", "-userpass-password-path=/s/tab"], "-userpass-password-path", "/s/tab: the password in it holds a control", "nothing else"),
    ]);
}

#[test]
#[rustfmt::skip]
fn bug_099_credential_folders() {
    const S: &str = "-approle-secret-id-path=/s/secret-id";
    const M: &str = "-auth-method=approle";
    check(&[
        (&[M, S, "-approle-role-id-path=/dir/both"], "-approle-role-id-path", "/dir/both: role-id and role_id differ", "keep role-id"),
        (&[M, S, "-approle-role-id-path=/dir/only-secret"], "-approle-role-id-path", "no role-id or role_id; found: secret-id", "name the file role-id"),
        (&[M, S, "-approle-role-id-path=/dir/upper"], "-approle-role-id-path", "found: ROLE_ID, SECRET_ID", "name the file role-id"),
        (&[M, S, "-approle-role-id-path=/dir/empty-role"], "-approle-role-id-path", "/dir/empty-role/role-id: the role id in it holds only blanks", "nothing else"),
        (&[M, "-approle-role-id=CANARY", "-approle-secret-id-path=/dir/upper"], "-approle-secret-id-path", "no secret-id or secret_id; found: ROLE_ID", "secret-id"),
        (&[M, S, "-approle-role-id="], "-approle-role-id", "is empty", "give it a value"),
    ]);
}

//! The one table of options. Parser, environment, `-help`, the README's table and the line of the
//! resolved configuration all come from it. It says nothing about what a value means: that is
//! [`super::resolve`]'s business, except for shorthands, which are rewritten to other options here.

use super::error::Bad;
use super::shorthand;

/// Prefixes of the plugin's own environment variables, in the order they are documented.
pub const ENV_PREFIXES: [&str; 2] = ["VAULT_KMS_", "VAULT_KUBE_KMS_"];

/// Canonical names and values that a shorthand stands for.
pub type Rewritten = Result<Vec<(&'static str, String)>, Bad>;

/// How a value is written; decides the word shown in `-help` and whether a value may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off; the value may be left out.
    Switch,
    /// Anything else; the word stands for the value in `-help`.
    Value(&'static str),
}

/// How carefully a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// May be shown.
    Public,
    /// Never shown, no warning when it stands on the command line (OpenShift puts the role id there).
    Quiet,
    /// Never shown, warned about on the command line.
    Secret,
}

/// What holds when the option is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value, parsed like a given one.
    Value(&'static str),
    /// Something a value cannot say; for people only.
    Note(&'static str),
}

/// What giving the option does.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Sets a field of the configuration.
    Used,
    /// Stands for other options.
    Shorthand(fn(&str) -> Rewritten),
    /// Accepted for other products' sake; the text says why nothing follows from it.
    NoEffect(&'static str),
    /// An error when it is on: problem and fix.
    Refused(&'static str, &'static str),
    /// Belongs to one subcommand.
    Only(&'static str),
    /// Is a subcommand itself.
    Subcommand,
}

/// Whose word an option's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Ours alone.
    Own,
    /// The community plugin's, as on OKD's page.
    Community,
    /// HashiCorp's vault-kube-kms, as OpenShift's sidecars use it.
    HashiCorp,
    /// Both products have it.
    Both,
}

impl Vocabulary {
    /// For messages.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Own => "an option of this plugin",
            Self::Community => "the community plugin's name",
            Self::HashiCorp => "vault-kube-kms's name",
            Self::Both => "a name that the community plugin and vault-kube-kms share",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Canonical name, without dashes.
    pub name: &'static str,
    /// Whose name that is.
    pub vocabulary: Vocabulary,
    /// Other names of the same option.
    pub aliases: &'static [(&'static str, Vocabulary)],
    /// Heading it stands under in `-help`.
    pub group: &'static str,
    /// How the value is written.
    pub kind: Kind,
    /// What holds without it.
    pub fallback: Fallback,
    /// One sentence.
    pub help: &'static str,
    /// The Vault client's own variables that set it, weaker than those with our prefixes.
    pub client_env: &'static [&'static str],
    /// How carefully its value is kept.
    pub secrecy: Secrecy,
    /// May be given several times, all counting.
    pub repeatable: bool,
    /// An empty value means something.
    pub may_be_empty: bool,
    /// What it does.
    pub effect: Effect,
}

impl OptionSpec {
    const fn new(
        group: &'static str,
        name: &'static str,
        vocabulary: Vocabulary,
        kind: Kind,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            vocabulary,
            aliases: &[],
            group,
            kind,
            fallback: Fallback::Note("none"),
            help,
            client_env: &[],
            secrecy: Secrecy::Public,
            repeatable: false,
            may_be_empty: false,
            effect: Effect::Used,
        }
    }

    const fn also(mut self, aliases: &'static [(&'static str, Vocabulary)]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.fallback = Fallback::Value(value);
        self
    }

    const fn without(mut self, note: &'static str) -> Self {
        self.fallback = Fallback::Note(note);
        self
    }

    const fn env(mut self, names: &'static [&'static str]) -> Self {
        self.client_env = names;
        self
    }

    const fn secrecy(mut self, secrecy: Secrecy) -> Self {
        self.secrecy = secrecy;
        self
    }

    const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    const fn or_empty(mut self) -> Self {
        self.may_be_empty = true;
        self
    }

    const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Every name, the canonical one first, with whose it is.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, Vocabulary)> + use<> {
        std::iter::once((self.name, self.vocabulary)).chain(self.aliases.iter().copied())
    }

    /// Whether the environment may set it: what steers a subcommand comes from the command line alone.
    pub fn in_environment(&self) -> bool {
        !matches!(self.effect, Effect::Only(_) | Effect::Subcommand)
    }

    /// Whether its value may appear in a message.
    pub fn is_public(&self) -> bool {
        self.secrecy == Secrecy::Public
    }
}

/// The row that has this name, canonical or not.
pub fn find(name: &str) -> Option<&'static OptionSpec> {
    OPTIONS
        .iter()
        .find(|spec| spec.names().any(|(known, _)| known == name))
}

/// The name of an option's variable with one of our prefixes.
pub fn variable(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.to_ascii_uppercase().replace('-', "_"))
}

const SOCKET: &str = "Socket";
const VAULT: &str = "Vault";
const TLS: &str = "TLS to Vault";
const KEY: &str = "Key";
const AUTH: &str = "Login";
const HTTP: &str = "Health and metrics";
const LOG: &str = "Log";
const LIMITS: &str = "Limits and behaviour";
const COMMANDS: &str = "Subcommands";
const NO_EFFECT: &str = "Accepted without effect, or refused";

use Kind::{Switch, Value};
use Secrecy::{Quiet, Secret};
use Vocabulary::{Both, Community, HashiCorp, Own};

/// All options, in the order of `-help`. Laid out by hand: a table reads better than chains.
#[rustfmt::skip]
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(SOCKET, "listen-address", HashiCorp, Value("unix:///path"),
        "Unix socket to serve on; the API server's EncryptionConfiguration names the same path.")
        .also(&[("socket", Community)])
        .default("unix:///var/run/kmsplugin/kms.sock"),
    OptionSpec::new(SOCKET, "socket-mode", Own, Value("octal"),
        "Permissions of the socket file; whoever may write to it may decrypt.")
        .default("0600"),
    OptionSpec::new(SOCKET, "socket-group", Own, Value("group"),
        "Group of the socket file, by name or number.")
        .without("the process's group"),
    OptionSpec::new(SOCKET, "status-version", Own, Value("v2|v2beta1"),
        "API version that Status reports; v2beta1 for API servers before Kubernetes 1.29.")
        .default("v2"),

    OptionSpec::new(VAULT, "vault-address", Both, Value("url[,url]"),
        "Address of Vault or OpenBao; several, separated by commas, are tried in order.")
        .without("required")
        .env(&["VAULT_ADDR", "BAO_ADDR"]),
    OptionSpec::new(VAULT, "vault-namespace", Both, Value("namespace"),
        "Namespace of the Transit mount; empty is the root namespace.")
        .without("root")
        .env(&["VAULT_NAMESPACE", "BAO_NAMESPACE"])
        .or_empty(),
    OptionSpec::new(VAULT, "vault-auth-namespace", HashiCorp, Value("namespace"),
        "Namespace of the login.")
        .without("that of -vault-namespace")
        .or_empty(),
    OptionSpec::new(VAULT, "vault-connection-timeout", HashiCorp, Value("duration"),
        "Limit of connecting and the TLS handshake together; a request's own limit follows its caller.")
        .default("5s"),
    OptionSpec::new(VAULT, "allow-plaintext-vault", Own, Switch,
        "Allows http:// to a host that is not this one: keys and tokens then cross the network readable.")
        .default("false"),

    OptionSpec::new(TLS, "tls-ca-file", HashiCorp, Value("path"),
        "PEM file of the authorities that may vouch for Vault.")
        .also(&[("vault-ca-cert", Community)])
        .without("the system's authorities")
        .env(&["VAULT_CACERT", "BAO_CACERT"]),
    OptionSpec::new(TLS, "tls-sni", HashiCorp, Value("name"),
        "Server name to ask for and to verify, in place of the address's host.")
        .without("the address's host")
        .env(&["VAULT_TLS_SERVER_NAME", "BAO_TLS_SERVER_NAME"]),
    OptionSpec::new(TLS, "tls-client-cert", Own, Value("path"),
        "PEM file of the client certificate and its chain; needs -tls-client-key.")
        .also(&[("cert-file", Community)])
        .env(&["VAULT_CLIENT_CERT", "BAO_CLIENT_CERT"]),
    OptionSpec::new(TLS, "tls-client-key", Own, Value("path"),
        "PEM file of the client certificate's private key.")
        .also(&[("cert-key", Community)])
        .env(&["VAULT_CLIENT_KEY", "BAO_CLIENT_KEY"]),
    OptionSpec::new(TLS, "tls-skip-verify", HashiCorp, Switch,
        "Verifies nothing: anyone on the way can read and change everything. Warned about on each start.")
        .default("false"),

    OptionSpec::new(KEY, "transit-mount", Both, Value("path"),
        "Mount of the Transit engine.")
        .default("transit"),
    OptionSpec::new(KEY, "transit-key", Both, Value("name"),
        "Name of the Transit key.")
        .without("required"),
    OptionSpec::new(KEY, "vault-key-path", HashiCorp, Value("mount/keys/key"),
        "Stands for -transit-mount and -transit-key.")
        .effect(Effect::Shorthand(shorthand::key_path)),
    OptionSpec::new(KEY, "key-id-epoch", Own, Value("word"),
        "Enters into key_id: another word makes API servers write everything anew.")
        .without("empty")
        .or_empty(),
    OptionSpec::new(KEY, "decrypt-only", Own, Value("place"),
        "A former place whose data must stay readable: namespace=N,mount=M,key=K,epoch=E; repeatable, \
         or several separated by a semicolon. What is left out is as in an unset option.")
        .repeatable(),

    OptionSpec::new(AUTH, "auth-method", Both, Value("method"),
        "How to log in: approle, userpass, token, jwt, cert or kubernetes.")
        .without("approle if a role id is given, else required"),
    OptionSpec::new(AUTH, "auth-mount", HashiCorp, Value("path"),
        "Mount of the login method, below auth/.")
        .without("the method's name"),
    OptionSpec::new(AUTH, "approle-mount", Community, Value("path"),
        "-auth-mount for the approle method alone.")
        .without("that of -auth-mount"),
    OptionSpec::new(AUTH, "userpass-mount", Community, Value("path"),
        "-auth-mount for the userpass method alone.")
        .without("that of -auth-mount"),
    OptionSpec::new(AUTH, "jwt-mount", Community, Value("path"),
        "-auth-mount for the jwt method alone.")
        .without("that of -auth-mount"),
    OptionSpec::new(AUTH, "cert-mount", Community, Value("path"),
        "-auth-mount for the cert method alone.")
        .without("that of -auth-mount"),
    OptionSpec::new(AUTH, "kubernetes-mount", Own, Value("path"),
        "-auth-mount for the kubernetes method alone.")
        .without("that of -auth-mount"),
    OptionSpec::new(AUTH, "approle-role-id", Both, Value("id"), "Role id of the approle method.")
        .secrecy(Quiet),
    OptionSpec::new(AUTH, "approle-role-id-path", Own, Value("path"),
        "File of the role id, or a folder with role-id or role_id."),
    OptionSpec::new(AUTH, "approle-secret-id", Community, Value("secret"),
        "Secret id of the approle method.")
        .secrecy(Secret),
    OptionSpec::new(AUTH, "approle-secret-id-path", HashiCorp, Value("path"),
        "File of the secret id, or a folder with secret-id or secret_id."),
    OptionSpec::new(AUTH, "approle-secret-id-wrapped", Own, Switch,
        "The secret id is a response-wrapping token, unwrapped once; a restart needs a new one.")
        .default("false"),
    OptionSpec::new(AUTH, "userpass-username", Community, Value("name"),
        "User name of the userpass method.")
        .secrecy(Quiet),
    OptionSpec::new(AUTH, "userpass-username-path", Own, Value("path"),
        "File of the user name, or a folder with username."),
    OptionSpec::new(AUTH, "userpass-password", Community, Value("secret"),
        "Password of the userpass method.")
        .secrecy(Secret),
    OptionSpec::new(AUTH, "userpass-password-path", Own, Value("path"),
        "File of the password, or a folder with password."),
    OptionSpec::new(AUTH, "token", Community, Value("secret"),
        "Token that somebody else renews.")
        .secrecy(Secret),
    OptionSpec::new(AUTH, "token-path", Own, Value("path"),
        "File of the token, or a folder with token."),
    OptionSpec::new(AUTH, "jwt-path", Own, Value("path"),
        "File of the jwt method's JWT, or a folder with jwt or token. Vault has to know the issuer's key by itself.")
        .without("required for jwt"),
    OptionSpec::new(AUTH, "jwt-role", Community, Value("name"),
        "Role of the jwt method.")
        .without("Vault's default role"),
    OptionSpec::new(AUTH, "cert-role", Community, Value("name"),
        "Trusted certificate of the cert method; the login is by -tls-client-cert.")
        .without("any that fits"),
    OptionSpec::new(AUTH, "kubernetes-role", Own, Value("name"),
        "Role of the kubernetes method.")
        .without("required for kubernetes"),
    OptionSpec::new(AUTH, "kubernetes-token-path", Own, Value("path"),
        "File of the service account's token.")
        .default("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    OptionSpec::new(AUTH, "serves-another-cluster", Own, Switch,
        "Allows the kubernetes method: the API server that Vault asks does not need this plugin.")
        .default("false"),

    OptionSpec::new(HTTP, "health-address", Own, Value("host:port"),
        "Listener of /livez and /readyz; off for none. Equal to -metrics-address: one listener.")
        .default("127.0.0.1:8081"),
    OptionSpec::new(HTTP, "health-port", Both, Value("port"),
        "-health-address on all IPv4 addresses; 0 is off.")
        .effect(Effect::Shorthand(shorthand::health_port)),
    OptionSpec::new(HTTP, "metrics-address", Own, Value("host:port"),
        "Listener of /metrics; off for none.")
        .default("127.0.0.1:8081"),
    OptionSpec::new(HTTP, "metrics-port", HashiCorp, Value("port"),
        "-metrics-address on 127.0.0.1; 0 is off.")
        .effect(Effect::Shorthand(shorthand::metrics_port)),

    OptionSpec::new(LOG, "log-level", HashiCorp, Value("level"),
        "error, warn, info, debug or trace.")
        .also(&[("zap-log-level", HashiCorp)])
        .default("info"),
    OptionSpec::new(LOG, "debug", Community, Switch, "Stands for -log-level=debug.")
        .effect(Effect::Shorthand(shorthand::debug)),
    OptionSpec::new(LOG, "log-format", Own, Value("json|text"), "How a log line looks.")
        .default("json"),

    OptionSpec::new(LIMITS, "max-in-flight", Own, Value("number"),
        "Requests to Vault at once, 1 to 1024.")
        .default("16"),
    OptionSpec::new(LIMITS, "max-waiting", Own, Value("number"),
        "Calls waiting for Vault at once, 1 to 1000000; more are refused at once.")
        .default("4096"),
    OptionSpec::new(LIMITS, "revoke-on-exit", Own, Switch,
        "Revokes the token of an own login on a clean stop.")
        .default("true"),
    OptionSpec::new(LIMITS, "adopt", Own, Value("community|hashicorp[,final]"),
        "Takes over from another plugin: reads what it wrote at the same key. Until final, it could read what is written. hashicorp was not tried on the product."),

    OptionSpec::new(COMMANDS, "sample", Own, Value("key_id|file"),
        "doctor: an old key_id, or (with a slash in it) the file of an etcd value, that must stay readable.")
        .effect(Effect::Only("doctor")),
    OptionSpec::new(COMMANDS, "apiserver-version", Own, Value("major.minor"),
        "doctor: version of the API server that -status-version is compared with.")
        .effect(Effect::Only("doctor")),
    OptionSpec::new(COMMANDS, "format", Own, Value("text|json"),
        "doctor: how the findings are printed; text without it.")
        .effect(Effect::Only("doctor")),
    OptionSpec::new(COMMANDS, "without-lookup-self", Own, Switch,
        "policy: leaves auth/token/lookup-self out; this plugin works without it.")
        .effect(Effect::Only("policy")),
    OptionSpec::new(COMMANDS, "version", Community, Switch, "The same as the subcommand version.")
        .effect(Effect::Subcommand),
    OptionSpec::new(COMMANDS, "help", Own, Switch, "The same as the subcommand help.")
        .also(&[("h", Own)])
        .effect(Effect::Subcommand),

    OptionSpec::new(NO_EFFECT, "token-refresh-interval", Community, Value("duration"),
        "The community plugin's; tokens are renewed by the time the server grants.")
        .effect(Effect::NoEffect("tokens are renewed by the time the server grants")),
    OptionSpec::new(NO_EFFECT, "token-renewal", Community, Value("seconds"),
        "The community plugin's; tokens are renewed by the time the server grants.")
        .effect(Effect::NoEffect("tokens are renewed by the time the server grants")),
    OptionSpec::new(NO_EFFECT, "force-socket-overwrite", Community, Switch,
        "The community plugin's; a stale socket is always replaced and a live one never.")
        .effect(Effect::NoEffect("a stale socket is always replaced and a live one never taken")),
    OptionSpec::new(NO_EFFECT, "disable-v1", Community, Switch,
        "The community plugin's; KMS v1 is never served.")
        .effect(Effect::NoEffect("KMS v1 is never served")),
    OptionSpec::new(NO_EFFECT, "disable-runtime-metrics", HashiCorp, Switch,
        "vault-kube-kms's; there are no language runtime metrics here.")
        .effect(Effect::NoEffect("there are no language runtime metrics here")),
    OptionSpec::new(NO_EFFECT, "disable-v2", Community, Switch,
        "The community plugin's; KMS v2 is all this plugin serves, so turning it off is an error.")
        .effect(Effect::Refused("would leave nothing to serve: this plugin speaks KMS v2 only",
            "leave it out, and use kms apiVersion v2 in the EncryptionConfiguration")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_and_variable_is_there_once() {
        let mut seen = BTreeSet::new();
        for spec in OPTIONS {
            for (name, _) in spec.names() {
                assert!(seen.insert(name.to_owned()), "{name} is there twice");
                assert!(
                    name.bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                    "{name}"
                );
            }
            for name in spec.client_env {
                assert!(seen.insert((*name).to_owned()), "{name} is there twice");
            }
            assert!(spec.help.ends_with('.'), "{}: one sentence", spec.name);
        }
    }

    #[test]
    fn every_secret_has_a_file_option() {
        for spec in OPTIONS.iter().filter(|spec| !spec.is_public()) {
            let path = format!("{}-path", spec.name);
            assert!(find(&path).is_some(), "-{} has no -{path}", spec.name);
        }
    }

    #[test]
    fn the_variable_of_a_name() {
        assert_eq!(
            variable(ENV_PREFIXES[0], "vault-ca-cert"),
            "VAULT_KMS_VAULT_CA_CERT"
        );
        assert_eq!(variable(ENV_PREFIXES[1], "socket"), "VAULT_KUBE_KMS_SOCKET");
    }
}

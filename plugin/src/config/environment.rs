//! The environment: our own variables, the Vault client's, the proxy's. A variable that has one of
//! our prefixes and sets nothing is an error (BUG-100), except those that Kubernetes makes up for
//! every Service in the namespace (`VAULT_KMS_SERVICE_HOST` for a Service called `vault-kms`).

use std::collections::BTreeMap;
use std::ffi::OsString;

use zeroize::Zeroizing;

use super::args::{Given, Source};
use super::error::ConfigError;
use super::options::{ENV_PREFIXES, OPTIONS, OptionSpec, variable};
use super::suggest;

/// Variables that the Vault client reads and this plugin does not, with what to use instead. Each
/// that is set gets a warning.
const CLIENT_ONLY: &[(&str, &str)] = &[
    (
        "CAPATH",
        "put the certificates into one file and name it with -tls-ca-file",
    ),
    (
        "CACERT_BYTES",
        "write them to a file and name it with -tls-ca-file",
    ),
    ("HTTP_PROXY", "set HTTPS_PROXY"),
    ("PROXY_ADDR", "set HTTPS_PROXY"),
    ("AGENT_ADDR", "name the agent's address with -vault-address"),
    (
        "CLIENT_TIMEOUT",
        "use -vault-connection-timeout; a request's limit follows its caller",
    ),
];

/// Prefixes of the Vault client's own variables.
const CLIENT_PREFIXES: [&str; 2] = ["VAULT_", "BAO_"];

/// What the environment says.
#[derive(Default)]
pub struct Environment {
    /// Options it sets.
    pub given: Vec<Given>,
    /// What is wrong with it.
    pub errors: Vec<ConfigError>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Name and value of the proxy's variable.
    pub proxy: Option<(&'static str, Zeroizing<String>)>,
    /// `NO_PROXY`.
    pub no_proxy: String,
    /// `VAULT_SKIP_VERIFY` or its twin, if set; an error wherever Vault is going to be reached.
    pub skip_verify: Option<&'static str>,
    /// The client's token variable that is set; it is not read, a missing token's error says so.
    pub client_token: Option<&'static str>,
}

/// Reads the variables. Empty ones count as unset, as for the Vault client: templates leave many.
pub fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    let names: BTreeMap<String, (&'static OptionSpec, Source)> = known_names();
    let mut env = Environment::default();
    let mut sorted: BTreeMap<String, Zeroizing<String>> = BTreeMap::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else {
            continue;
        };
        let ours = ENV_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if !ours && !names.contains_key(&name) && !is_read_elsewhere(&name) {
            continue;
        }
        match value.into_string() {
            Ok(value) if value.is_empty() => {}
            Ok(value) => {
                sorted.insert(name, Zeroizing::new(value));
            }
            Err(_) => env.errors.push(ConfigError::new(
                name,
                "is not UTF-8",
                "set it anew; it was probably pasted in another encoding",
            )),
        }
    }
    for (name, value) in &sorted {
        if is_service_link(name, value) {
            continue;
        }
        match names.get(name) {
            Some((option, source)) => env.given.push(Given {
                option,
                source: *source,
                written: name.clone(),
                value: value.clone(),
            }),
            None if ENV_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => {
                env.errors.push(suggest::unknown_variable(name));
            }
            None => {}
        }
    }
    read_client_only(&sorted, &mut env);
    let get = |name: &str| sorted.get(name).cloned();
    env.proxy = ["HTTPS_PROXY", "https_proxy"]
        .into_iter()
        .find_map(|name| get(name).map(|value| (name, value)));
    env.no_proxy = get("NO_PROXY")
        .or_else(|| get("no_proxy"))
        .map(|value| value.to_string())
        .unwrap_or_default();
    env
}

/// Every variable that sets an option. Own prefixes come with each name of the option.
fn known_names() -> BTreeMap<String, (&'static OptionSpec, Source)> {
    let mut names = BTreeMap::new();
    for option in OPTIONS.iter().filter(|option| option.in_environment()) {
        for (name, _) in option.names() {
            for prefix in ENV_PREFIXES {
                names.insert(variable(prefix, name), (option, Source::OwnVariable));
            }
        }
        for name in option.client_env {
            names.insert((*name).to_owned(), (option, Source::ClientVariable));
        }
    }
    names
}

fn is_read_elsewhere(name: &str) -> bool {
    matches!(
        name,
        "HTTPS_PROXY" | "https_proxy" | "NO_PROXY" | "no_proxy"
    ) || CLIENT_PREFIXES.iter().any(|prefix| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            matches!(rest, "SKIP_VERIFY" | "TOKEN")
                || CLIENT_ONLY.iter().any(|(known, _)| *known == rest)
        })
    })
}

fn read_client_only(sorted: &BTreeMap<String, Zeroizing<String>>, env: &mut Environment) {
    for prefix in CLIENT_PREFIXES {
        for (rest, instead) in CLIENT_ONLY {
            let name = format!("{prefix}{rest}");
            if sorted.contains_key(&name) {
                env.warnings.push(format!("{name} is not read: {instead}"));
            }
        }
    }
    let first =
        |names: [&'static str; 2]| names.into_iter().find(|name| sorted.contains_key(*name));
    env.client_token = first(["VAULT_TOKEN", "BAO_TOKEN"]);
    env.skip_verify = first(["VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"]);
}

/// Whether Kubernetes made this variable for a Service whose name begins like our prefix
/// (`enableServiceLinks`).
fn is_service_link(name: &str, value: &str) -> bool {
    if !ENV_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    let url = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    if name.ends_with("_PORT") && url {
        return true;
    }
    if name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
    {
        return true;
    }
    // VAULT_KMS_PORT_8200_TCP, …_TCP_PROTO, …_TCP_PORT, …_TCP_ADDR
    name.rsplit_once("_PORT_")
        .is_some_and(|(_, rest)| is_port_suffix(rest))
        || name
            .match_indices("_PORT_")
            .any(|(at, found)| is_port_suffix(&name[at + found.len()..]))
}

fn is_port_suffix(rest: &str) -> bool {
    let mut parts = rest.split('_');
    let number = parts
        .next()
        .is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let protocol = parts
        .next()
        .is_some_and(|p| matches!(p, "TCP" | "UDP" | "SCTP"));
    let last = parts
        .next()
        .is_none_or(|p| matches!(p, "PROTO" | "PORT" | "ADDR"));
    number && protocol && last && parts.next().is_none()
}

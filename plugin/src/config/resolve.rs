//! From arguments and environment to what the plugin does. Pure: files are read through the given
//! [`SecretSource`] alone, nothing is contacted, nothing is printed.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use super::args::{self, Given};
use super::command::{self, DoctorArgs, Subcommand};
use super::environment::{self, Environment};
use super::error::{Bad, ConfigError};
use super::picks::{Picks, Setting};
use super::{Adopt, Config, Proxy, Vault, address, login, places, render, tls, values};
use crate::policy;
use crate::seam::SecretSource;

/// Exit code for a configuration that cannot be used.
pub const EXIT_CONFIG: u8 = 2;

/// What to do with a resolved configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the plugin.
    Serve,
    /// Try each precondition.
    Doctor(DoctorArgs),
}

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What the plugin does.
    pub config: Config,
    /// What to do with it.
    pub command: Command,
    /// What a person should know on each start; no secret.
    pub warnings: Vec<String>,
    /// Every option in force with its value (no secret) and where it came from.
    pub settings: Vec<Setting>,
}

/// What a command line asks for.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// Nothing to run: text for standard output, warnings for standard error, exit code 0
    /// (`version`, `help`, `policy`, `config check`).
    Print {
        /// Ends in a line end.
        text: String,
        /// One line each; no secret.
        warnings: Vec<String>,
    },
    /// `serve` or `doctor`.
    Run(Box<Resolved>),
}

/// Resolves arguments (without the program's name) and environment.
///
/// # Errors
/// Everything that is wrong, at least one; print each on a line of its own and exit with
/// [`EXIT_CONFIG`].
pub fn resolve<A, E, K, V>(
    args: A,
    env: E,
    files: &dyn SecretSource,
) -> Result<Invocation, Vec<ConfigError>>
where
    A: IntoIterator,
    A::Item: Into<OsString>,
    E: IntoIterator<Item = (K, V)>,
    K: Into<OsString>,
    V: Into<OsString>,
{
    let parsed = args::parse(args.into_iter().map(Into::into));
    let print = |text, warnings| Ok(Invocation::Print { text, warnings });
    match parsed.subcommand {
        Subcommand::Version => return print(render::version(), Vec::new()),
        Subcommand::Help => return print(render::help(), Vec::new()),
        _ => {}
    }
    let mut env = environment::read(
        env.into_iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    let given: Vec<Given> = parsed
        .given
        .into_iter()
        .chain(std::mem::take(&mut env.given))
        .collect();
    let mut picks = Picks::new(parsed.subcommand, given);
    let early: Vec<ConfigError> = parsed
        .errors
        .into_iter()
        .chain(std::mem::take(&mut env.errors))
        .collect();
    picks.errors.splice(0..0, early);
    if parsed.subcommand == Subcommand::Policy {
        let text = resolve_policy(&mut picks);
        return match text {
            Some(text) if picks.errors.is_empty() => print(text, picks.warnings),
            _ => Err(picks.errors),
        };
    }
    picks.warnings.append(&mut env.warnings);
    let config = resolve_config(&mut picks, &env, files);
    let command = match parsed.subcommand {
        Subcommand::Doctor => Command::Doctor(DoctorArgs {
            sample: picks.take("sample", command::sample),
            kubernetes: picks.take("apiserver-version", command::kubernetes_version),
            format: picks.take("format", command::findings).unwrap_or_default(),
        }),
        _ => Command::Serve,
    };
    match config {
        Some(config) if picks.errors.is_empty() => {
            if parsed.subcommand == Subcommand::ConfigCheck {
                return print(render::config_check(&picks.settings), picks.warnings);
            }
            Ok(Invocation::Run(Box::new(Resolved {
                config,
                command,
                warnings: picks.warnings,
                settings: picks.settings,
            })))
        }
        _ => Err(picks.errors),
    }
}

/// Resolves this process's arguments and environment: what `main` calls, with
/// [`crate::process::world::FileSecrets`].
///
/// ```no_run
/// use vault_kubernetes_kms::config::{Invocation, resolve_from_process};
/// use vault_kubernetes_kms::process::world::FileSecrets;
/// match resolve_from_process(&FileSecrets) {
///     Ok(Invocation::Print { text, warnings }) => { /* stdout, stderr, exit 0 */ }
///     Ok(Invocation::Run(resolved)) => { /* serve or doctor */ }
///     Err(errors) => { /* one line each on stderr, exit EXIT_CONFIG */ }
/// }
/// ```
///
/// # Errors
/// As [`resolve`].
pub fn resolve_from_process(files: &dyn SecretSource) -> Result<Invocation, Vec<ConfigError>> {
    resolve(std::env::args_os().skip(1), std::env::vars_os(), files)
}

/// `policy` needs the places alone, so it works on a machine that has neither address nor credentials.
fn resolve_policy(picks: &mut Picks) -> Option<String> {
    let (place, auth_namespace) = places::current(picks);
    let place = place?;
    let decrypt_only = places::former(picks, &place);
    let without = picks
        .take("without-lookup-self", values::switch)
        .unwrap_or(false);
    Some(policy::render(
        &place,
        &decrypt_only,
        &auth_namespace?,
        !without,
    ))
}

fn resolve_config(
    picks: &mut Picks,
    env: &Environment,
    files: &dyn SecretSource,
) -> Option<Config> {
    let socket = picks.take("listen-address", values::socket_path);
    let (socket_mode, socket_group) = socket_permissions(picks);
    let status_version = picks.take("status-version", values::status_version);
    let addresses = vault_addresses(picks);
    let connect_timeout = picks.take("vault-connection-timeout", |value| {
        values::duration_between(value, Duration::from_millis(100), Duration::from_secs(60))
    });
    let any_https = addresses
        .as_ref()
        .is_none_or(|all| all.iter().any(|address| address.https));
    let tls = tls::resolve(picks, env.skip_verify, files, any_https);
    let proxy = if any_https { proxy(picks, env) } else { None };
    let (place, auth_namespace) = places::current(picks);
    let decrypt_only = place.as_ref().map(|place| places::former(picks, place));
    let all_https = addresses
        .as_ref()
        .is_none_or(|all| all.iter().all(|address| address.https));
    let client = tls.client.as_ref();
    let auth = login::resolve(picks, files, env.client_token, client, all_https);
    let (health, metrics) = listeners(picks);
    let log_level = picks.take("log-level", values::log_level);
    let log_format = picks.take("log-format", values::log_format);
    let max_in_flight = picks.take("max-in-flight", |value| values::number(value, 1, 1024));
    let max_waiting = picks.take("max-waiting", |value| values::number(value, 1, 1_000_000));
    let revoke_on_exit = picks.take("revoke-on-exit", values::switch);
    let adopt = adopt(picks);
    // Each `None` below has left an error.
    let place = place?;
    Some(Config {
        socket: socket?,
        socket_mode: socket_mode?,
        socket_group,
        vault: Vault {
            addresses: addresses?,
            namespace: place.namespace.clone(),
            auth_namespace: auth_namespace?,
            connect_timeout: connect_timeout?,
            tls,
            proxy,
        },
        place,
        decrypt_only: decrypt_only?,
        auth: auth?,
        status_version: status_version?,
        health: health?,
        metrics: metrics?,
        log_level: log_level?,
        log_format: log_format?,
        max_in_flight: max_in_flight?,
        max_waiting: max_waiting?,
        revoke_on_exit: revoke_on_exit?,
        adopt: adopt?,
    })
}

/// A listener on all addresses takes the port from one on a single address, so two such are one
/// mistake, or one default too many (vault-kube-kms's own health port is our metrics' default).
fn listeners(picks: &mut Picks) -> (Option<Option<SocketAddr>>, Option<Option<SocketAddr>>) {
    let health = picks.take("health-address", values::listener);
    let metrics = picks.take("metrics-address", values::listener);
    let (Some(Some(h)), Some(Some(m))) = (health, metrics) else {
        return (health, metrics);
    };
    let overlap =
        h != m && h.port() == m.port() && (h.ip().is_unspecified() || m.ip().is_unspecified());
    if !overlap {
        return (health, metrics);
    }
    let written = |name| picks.given(name).map(|given| given.written.clone());
    match (written("health-address"), written("metrics-address")) {
        (Some(health), Some(metrics)) => {
            picks.errors.push(ConfigError::new(
                health,
                format!(
                    "and {metrics} want port {} on overlapping addresses ({h} and {m})",
                    h.port()
                ),
                "give them the same address for one listener, or two ports",
            ));
            (None, None)
        }
        // Liveness tells nothing, so it may go where metrics were asked to be.
        (None, _) => (metrics, metrics),
        // Metrics are not spread to all addresses by a default.
        (Some(written), None) => {
            picks.warnings.push(format!(
                "{written} takes the port of the default -metrics-address ({m}): metrics are off; give -metrics-port or -metrics-address"
            ));
            (health, Some(None))
        }
    }
}

/// Nothing, mostly; the first phase is told at each start.
fn adopt(picks: &mut Picks) -> Option<Option<Adopt>> {
    if picks.given("adopt").is_none() && !picks.is_spoiled("adopt") {
        return Some(None);
    }
    let adopt = picks.take("adopt", values::adopt)?;
    let word = adopt.word();
    if !adopt.is_final() {
        picks.warnings.push(format!(
            "-adopt={word}: values are not bound to their key_id, so that the {word} plugin could \
             still read them; when everything stored has been written anew, go on with -adopt={word},final"
        ));
    }
    if matches!(adopt, Adopt::HashiCorp | Adopt::HashiCorpFinal) {
        picks.warnings.push(format!(
            "-adopt={word}: how vault-kube-kms writes is not published, and this was not tried on it: see with `doctor \
             -sample` that its stored values can be read, and keep it as a second provider until storage is migrated"
        ));
    }
    Some(Some(adopt))
}

fn socket_permissions(picks: &mut Picks) -> (Option<u32>, Option<String>) {
    let mode = picks.take("socket-mode", values::mode);
    let group = picks.take("socket-group", values::group);
    if let Some(mode) = mode {
        if mode & 0o002 != 0 {
            picks.warnings.push(format!(
                "-socket-mode={mode:04o} lets every user of this host decrypt: use 0600, or 0660 with -socket-group"
            ));
        }
        if group.is_some() && mode & 0o020 == 0 {
            picks.warnings.push(format!(
                "-socket-group has no effect with -socket-mode={mode:04o}, which gives the group no write permission: use 0660"
            ));
        }
    }
    (mode, group)
}

fn vault_addresses(picks: &mut Picks) -> Option<Vec<super::VaultAddress>> {
    let allow = picks.take("allow-plaintext-vault", values::switch);
    let addresses = picks.require(
        "vault-address",
        "write -vault-address=https://host:8200, or set VAULT_ADDR",
        |value| {
            let addresses = address::vault_addresses(value)?;
            match address::plaintext_beyond_loopback(&addresses) {
                Some(plain) if allow == Some(false) => Err(Bad::new(
                    format!("{plain} is not encrypted and leaves this host"),
                    "write https://, or pass -allow-plaintext-vault knowingly",
                )),
                _ => Ok(addresses),
            }
        },
    )?;
    if let Some(plain) = address::plaintext_beyond_loopback(&addresses) {
        picks.warnings.push(format!(
            "{plain} is not encrypted: tokens and keys can be read and changed on the way"
        ));
    }
    Some(addresses)
}

fn proxy(picks: &mut Picks, env: &Environment) -> Option<Proxy> {
    let (name, value) = env.proxy.as_ref()?;
    match address::proxy(value, &env.no_proxy) {
        Ok(proxy) => Some(proxy),
        Err(bad) => {
            picks.errors.push(bad.at(*name));
            None
        }
    }
}

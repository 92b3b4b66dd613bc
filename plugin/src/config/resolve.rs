//! From arguments and environment to what the plugin does. Pure: files are read through the given
//! [`SecretSource`] alone, nothing is contacted, nothing is printed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::args::{self, Given};
use super::command::{self, DoctorArgs, Subcommand};
use super::environment::{self, Environment};
use super::error::{Bad, ConfigError, quoted};
use super::picks::{Picks, Setting};
use super::{Config, Place, Proxy, Tls, Vault, address, login, pem, render, values};
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
/// [`crate::secret_file::Disk`].
///
/// ```no_run
/// use vault_kubernetes_kms::config::{Invocation, resolve_from_process};
/// use vault_kubernetes_kms::secret_file::Disk;
/// match resolve_from_process(&Disk) {
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
    let (place, auth_namespace) = current_place(picks);
    let place = place?;
    let decrypt_only = former_places(picks, &place);
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
    let tls = tls(picks, env, files, any_https);
    let proxy = if any_https { proxy(picks, env) } else { None };
    let (place, auth_namespace) = current_place(picks);
    let decrypt_only = place.as_ref().map(|place| former_places(picks, place));
    let auth = login::resolve(picks, files, env.client_token);
    let health = picks.take("health-address", values::listener);
    let metrics = picks.take("metrics-address", values::listener);
    let log_level = picks.take("log-level", values::log_level);
    let log_format = picks.take("log-format", values::log_format);
    let max_in_flight = picks.take("max-in-flight", |value| values::number(value, 1, 1024));
    let max_waiting = picks.take("max-waiting", |value| values::number(value, 1, 1_000_000));
    let revoke_on_exit = picks.take("revoke-on-exit", values::switch);
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
    })
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

fn tls(picks: &mut Picks, env: &Environment, files: &dyn SecretSource, any_https: bool) -> Tls {
    if let Some(name) = env.skip_verify {
        picks.errors.push(ConfigError::new(
            name,
            "is refused: an inherited variable does not switch verification off",
            "unset it, and name the authority with -tls-ca-file (or pass -tls-skip-verify knowingly)",
        ));
    }
    let skip_verify = picks
        .take("tls-skip-verify", values::switch)
        .unwrap_or(false);
    if skip_verify {
        picks.warnings.push(
            "-tls-skip-verify: the server is not verified, anyone on the way can pose as Vault"
                .to_owned(),
        );
    }
    let mut unreadable = 0;
    let ca_file = picks.take("tls-ca-file", |value| {
        let (path, bytes) = pem_file(value, files)?;
        (_, unreadable) = pem::authorities(&bytes).map_err(|bad| in_file(&path, bad))?;
        Ok(path)
    });
    if let (1.., Some(path)) = (unreadable, &ca_file) {
        picks.warnings.push(format!(
            "{}: {unreadable} of its certificates cannot be read and vouch for nothing",
            path.display()
        ));
    }
    let sni = picks.take("tls-sni", |value| {
        if address::is_dns_name(value) || value.parse::<std::net::IpAddr>().is_ok() {
            return Ok(value.to_ascii_lowercase());
        }
        Err(Bad::new(
            format!("{} is no host name", quoted(value)),
            "write the name that stands in Vault's certificate, without scheme and port",
        ))
    });
    let client = client_pair(picks, files);
    if !any_https {
        for name in [
            "tls-ca-file",
            "tls-sni",
            "tls-client-cert",
            "tls-skip-verify",
        ] {
            if let Some(given) = picks.given(name) {
                let warning = format!("{} has no effect: no address is https", given.written);
                picks.warnings.push(warning);
            }
        }
    }
    Tls {
        ca_file,
        sni,
        client,
        skip_verify,
    }
}

fn client_pair(picks: &mut Picks, files: &dyn SecretSource) -> Option<(PathBuf, PathBuf)> {
    const CERT: &str = "tls-client-cert";
    const KEY: &str = "tls-client-key";
    let written = |picks: &Picks, name| picks.given(name).map(|given| given.written.clone());
    match (written(picks, CERT), written(picks, KEY)) {
        (Some(cert), None) if !picks.is_spoiled(KEY) => {
            picks.errors.push(ConfigError::new(
                cert,
                "is given without its key",
                "add -tls-client-key=FILE",
            ));
            return None;
        }
        (None, Some(key)) if !picks.is_spoiled(CERT) => {
            picks.errors.push(ConfigError::new(
                key,
                "is given without its certificate",
                "add -tls-client-cert=FILE",
            ));
            return None;
        }
        _ => {}
    }
    let cert = picks.take(CERT, |value| pem_file(value, files));
    let key = picks.take(KEY, |value| pem_file(value, files));
    let ((cert, cert_bytes), (key, key_bytes)) = (cert?, key?);
    match pem::client_pair(&cert_bytes, &key_bytes) {
        Ok(()) => Some((cert, key)),
        Err((is_key, bad)) => {
            let (name, path) = if is_key { (KEY, &key) } else { (CERT, &cert) };
            let field = written(picks, name).unwrap_or_default();
            picks.errors.push(in_file(path, bad).at(field));
            None
        }
    }
}

fn pem_file(
    value: &str,
    files: &dyn SecretSource,
) -> Result<(PathBuf, zeroize::Zeroizing<Vec<u8>>), Bad> {
    let path = values::file_path(value)?;
    let bytes = pem::read(files, &path).map_err(|bad| in_file(&path, bad))?;
    Ok((path, bytes))
}

fn in_file(path: &std::path::Path, bad: Bad) -> Bad {
    Bad::new(
        format!("{}: the file {}", path.display(), bad.problem),
        bad.fix,
    )
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

/// The place in use and the namespace of the login.
fn current_place(picks: &mut Picks) -> (Option<Place>, Option<String>) {
    let namespace = match picks.given("vault-namespace") {
        None if !picks.is_spoiled("vault-namespace") => Some(String::new()),
        _ => picks.take("vault-namespace", values::namespace),
    };
    let auth_namespace = match picks.given("vault-auth-namespace") {
        None if !picks.is_spoiled("vault-auth-namespace") => namespace.clone(),
        _ => picks.take("vault-auth-namespace", values::namespace),
    };
    let mount = picks.take("transit-mount", values::mount);
    let key = picks.require(
        "transit-key",
        "write -transit-key=NAME, or -vault-key-path=MOUNT/keys/NAME",
        values::key,
    );
    let epoch = match picks.given("key-id-epoch") {
        None if !picks.is_spoiled("key-id-epoch") => Some(String::new()),
        _ => picks.take("key-id-epoch", values::epoch),
    };
    if let (Some(namespace), Some(auth)) = (&namespace, &auth_namespace)
        && policy::below(namespace, auth).is_none()
    {
        picks.warnings.push(format!(
            "a token of namespace {} works there and below, and {} is not below it",
            quoted(auth),
            quoted(namespace)
        ));
    }
    let place = (|| {
        Some(Place {
            namespace: namespace?,
            mount: mount?,
            key: key?,
            epoch: epoch?,
        })
    })();
    (place, auth_namespace)
}

/// Former places in their order; each is another one than the current and than the others.
fn former_places(picks: &mut Picks, current: &Place) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut errors = Vec::new();
    for given in picks.all("decrypt-only") {
        for value in given
            .value
            .split(';')
            .map(str::trim)
            .filter(|value| !value.is_empty())
        {
            let checked = values::place(value).and_then(|(place, namespace_named)| {
                if !namespace_named && !current.namespace.is_empty() {
                    return Err(Bad::new(
                        format!(
                            "{} names no namespace while the current place has one",
                            quoted(value)
                        ),
                        format!(
                            "add namespace={}, or namespace= for the root namespace",
                            current.namespace
                        ),
                    ));
                }
                if place == *current {
                    return Err(Bad::new(
                        format!("{} is the place in use", quoted(value)),
                        "leave it out, or name the place that was used before",
                    ));
                }
                if places.contains(&place) {
                    return Err(Bad::new(
                        format!("{} is given twice", quoted(value)),
                        "keep one of them",
                    ));
                }
                Ok(place)
            });
            match checked {
                Ok(place) => places.push(place),
                Err(bad) => errors.push(bad.at(given.written.clone())),
            }
        }
    }
    picks.errors.append(&mut errors);
    let shown: Vec<_> = picks
        .all("decrypt-only")
        .iter()
        .map(|given| Setting {
            option: given.option,
            value: given.value.to_string(),
            origin: super::picks::Origin::Given(given.written.clone()),
        })
        .collect();
    picks.settings.extend(shown);
    places
}

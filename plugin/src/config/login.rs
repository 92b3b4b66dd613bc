//! How the plugin logs in: the method, its mount and its credentials, each looked at once before
//! the start.

use std::path::PathBuf;

use super::args::{Given, Source};
use super::error::{Bad, ConfigError};
use super::method::{FIX, Method};
use super::options::Secrecy;
use super::picks::Picks;
use super::{Auth, Credential, places, values};
use crate::seam::SecretSource;
use crate::secret_file::{self, Kind};

/// Longest name of a role.
const MAX_ROLE: usize = 512;

/// Resolves the login. `client_token` is the Vault client's token variable, if set: it is not read,
/// and the error about a missing token says so. `client` is the pair that TLS shows to Vault, and
/// `all_https` says whether every address sees it.
pub fn resolve(
    picks: &mut Picks,
    files: &dyn SecretSource,
    client_token: Option<&str>,
    client: Option<&(PathBuf, PathBuf)>,
    all_https: bool,
) -> Option<Auth> {
    let method = method(picks, client_token)?;
    warn_about_others(picks, method);
    let mount = mount(picks, method);
    let mut credential = |name, kind| credential(picks, files, name, kind, client_token);
    match method {
        Method::AppRole => {
            let role_id = credential("approle-role-id", Kind::Id);
            let secret_id = credential("approle-secret-id", Kind::SecretId);
            let wrapped = picks.take("approle-secret-id-wrapped", values::switch);
            Some(Auth::AppRole {
                mount: mount?,
                role_id: role_id?,
                secret_id: secret_id?,
                wrapped: wrapped?,
            })
        }
        Method::Userpass => {
            let username = credential("userpass-username", Kind::Username);
            let password = credential("userpass-password", Kind::Password);
            Some(Auth::Userpass {
                mount: mount?,
                username: username?,
                password: password?,
            })
        }
        Method::Token => Some(Auth::Token {
            token: credential("token", Kind::Token)?,
        }),
        Method::Jwt => {
            let fix = "give -jwt-path=FILE";
            let jwt = picks.require("jwt-path", fix, |value| file(files, value, Kind::Jwt));
            let role = optional_role(picks, "jwt-role");
            Some(Auth::Jwt {
                mount: mount?,
                role: role?,
                jwt: jwt?,
            })
        }
        Method::Kubernetes => {
            let elsewhere = picks.take("serves-another-cluster", values::switch)?;
            if !elsewhere {
                picks.errors.push(ConfigError::new(
                    "-auth-method=kubernetes",
                    "asks the API server about the plugin's token at each login, and that server \
                     needs this plugin to start: neither would ever come up",
                    "use approle, jwt or cert; or, if Vault asks the API server of another cluster \
                     than the one that is served, add -serves-another-cluster",
                ));
            }
            let fix = "give -kubernetes-role=NAME, the role in Vault";
            let role = picks.require("kubernetes-role", fix, role);
            let jwt = picks.take("kubernetes-token-path", |value| {
                file(files, value, Kind::Jwt)
            });
            Some(Auth::Jwt {
                mount: mount?,
                role: Some(role?),
                jwt: jwt?,
            })
        }
        Method::Cert => {
            let role = optional_role(picks, "cert-role");
            if !all_https {
                picks.errors.push(ConfigError::new(
                    "-auth-method=cert",
                    "needs TLS on every -vault-address, which carries the certificate",
                    "write https://",
                ));
            }
            let spoiled = ["tls-client-cert", "tls-client-key"]
                .iter()
                .any(|name| picks.is_spoiled(name) || picks.given(name).is_some());
            if client.is_none() && !spoiled {
                picks.errors.push(ConfigError::new(
                    "-tls-client-cert",
                    "is missing: the cert method logs in with it",
                    "give -tls-client-cert=FILE and -tls-client-key=FILE",
                ));
            }
            let (cert, key) = client?.clone();
            Some(Auth::Cert {
                mount: mount?,
                role: role?,
                cert,
                key,
            })
        }
    }
}

/// A file that was looked at.
fn file(files: &dyn SecretSource, value: &str, kind: Kind) -> Result<Credential, Bad> {
    let path = values::file_path(value)?;
    match secret_file::read_credential(files, &path, kind) {
        Ok(_) => Ok(Credential::File(path)),
        Err(error) => Err(Bad::new(error.to_string(), error.fix())),
    }
}

/// A role's name; Vault has a default one for some methods.
fn optional_role(picks: &mut Picks, name: &'static str) -> Option<Option<String>> {
    match picks.given(name) {
        None if !picks.is_spoiled(name) => Some(None),
        _ => picks.take(name, role).map(Some),
    }
}

fn role(value: &str) -> Result<String, Bad> {
    if value.len() <= MAX_ROLE && !value.chars().any(char::is_control) {
        return Ok(value.to_owned());
    }
    Err(Bad::new(
        format!("is longer than {MAX_ROLE} bytes or holds control characters"),
        "write the role's name alone",
    ))
}

/// The credentials of a method that are given in some way.
fn given_of(picks: &Picks, method: Method) -> Vec<&Given> {
    method
        .credentials()
        .iter()
        .filter_map(|name| picks.given(name))
        .collect()
}

fn method(picks: &mut Picks, client_token: Option<&str>) -> Option<Method> {
    if picks.given("auth-method").is_some() || picks.is_spoiled("auth-method") {
        return picks.take("auth-method", Method::parse);
    }
    let role_id = ["approle-role-id", "approle-role-id-path"]
        .iter()
        .any(|name| picks.given(name).is_some() || picks.is_spoiled(name));
    let others: Vec<(Method, String)> = Method::ALL[1..]
        .iter()
        .flat_map(|other| {
            given_of(picks, *other)
                .into_iter()
                .map(|given| (*other, given))
        })
        .map(|(other, given)| (other, given.written.clone()))
        .collect();
    let (problem, fix) = match (role_id, others.first()) {
        (true, None) => {
            picks.imply("auth-method", Method::AppRole.name());
            return Some(Method::AppRole);
        }
        (true, Some((other, written))) => (
            format!(
                "is missing while credentials of two methods are given (a role id and {written})"
            ),
            format!(
                "say which one with -auth-method=approle or {}",
                other.name()
            ),
        ),
        (false, Some((other, written))) => (
            "is missing".to_owned(),
            format!(
                "write -auth-method={}, since {written} is given",
                other.name()
            ),
        ),
        (false, None) => {
            let hint = match client_token {
                Some(name) => format!(" ({name} is not read: use -token-path)"),
                None => String::new(),
            };
            (
                "is missing".to_owned(),
                format!("{FIX}, with that method's credentials{hint}"),
            )
        }
    };
    picks
        .errors
        .push(ConfigError::new("-auth-method", problem, fix));
    None
}

fn warn_about_others(picks: &mut Picks, method: Method) {
    let mut unused: Vec<String> = Method::ALL
        .into_iter()
        .filter(|other| *other != method)
        .flat_map(|other| other.credentials().iter().chain(other.settings()))
        .filter_map(|name| picks.given(name))
        .map(|given| given.written.clone())
        .collect();
    if method == Method::Token {
        unused.extend(picks.given("auth-mount").map(|given| given.written.clone()));
    }
    for written in unused {
        picks.warnings.push(format!(
            "{written} has no effect with the {} method",
            method.name()
        ));
    }
}

/// The method's own mount option and `-auth-mount` are two names of one thing.
fn mount(picks: &mut Picks, method: Method) -> Option<String> {
    let own = method.own_mount()?;
    let (a, b) = (picks.given("auth-mount"), picks.given(own));
    if let (Some(a), Some(b)) = (a, b)
        && a.source == b.source
        && a.value.trim_matches('/') != b.value.trim_matches('/')
    {
        let error = ConfigError::new(
            a.written.clone(),
            format!("and {} name different mounts", b.written),
            "keep one of them",
        );
        picks.errors.push(error);
        return None;
    }
    let own_is_stronger = match (a, b) {
        (Some(a), Some(b)) => b.source < a.source,
        (a, _) => a.is_none(),
    };
    let name = if own_is_stronger { own } else { "auth-mount" };
    if picks.given(name).is_none() && !picks.is_spoiled(own) && !picks.is_spoiled("auth-mount") {
        picks.imply("auth-mount", method.name());
        return Some(method.name().to_owned());
    }
    picks.take(name, places::auth_mount)
}

/// One credential: inline or by file, both looked at now.
fn credential(
    picks: &mut Picks,
    files: &dyn SecretSource,
    name: &'static str,
    kind: Kind,
    client_token: Option<&str>,
) -> Option<Credential> {
    let path_name = super::options::find(&format!("{name}-path"))?.name;
    if picks.is_spoiled(name) || picks.is_spoiled(path_name) {
        return None;
    }
    let by_path = match (picks.given(name), picks.given(path_name)) {
        (Some(inline), Some(path)) if inline.source == path.source => {
            let error = ConfigError::new(
                inline.written.clone(),
                format!("and {} are both given", path.written),
                "keep the file and leave the other out",
            );
            picks.errors.push(error);
            return None;
        }
        (Some(inline), Some(path)) => path.source < inline.source,
        (Some(_), None) => false,
        (None, Some(_)) => true,
        (None, None) => {
            let hint = match (kind, client_token) {
                (Kind::Token, Some(variable)) => format!(" ({variable} is not read)"),
                _ => String::new(),
            };
            picks.errors.push(ConfigError::new(
                format!("-{name}"),
                "is missing",
                format!("give -{path_name}=FILE{hint}"),
            ));
            return None;
        }
    };
    if by_path {
        return picks.take(path_name, |value| file(files, value, kind));
    }
    let (source, written) = picks
        .given(name)
        .map(|given| (given.source, given.written.clone()))?;
    let secret = picks.take(name, |value| {
        secret_file::clean(kind, value.as_bytes()).map_err(|unfit| {
            Bad::new(
                unfit.to_string(),
                format!("give the {} alone", kind.as_str()),
            )
        })
    })?;
    if source == Source::Flag
        && super::options::find(name).is_some_and(|option| option.secrecy == Secrecy::Secret)
    {
        picks.warnings.push(format!(
            "{written} puts a secret on the command line, where the process list and the pod manifest show it: use -{path_name}=FILE"
        ));
    }
    Some(Credential::Inline(secret))
}

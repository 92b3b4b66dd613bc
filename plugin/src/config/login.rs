//! How the plugin logs in: the method, its mount and its credentials, each looked at once before
//! the start.

use super::args::{Given, Source};
use super::error::{Bad, ConfigError, quoted};
use super::options::Secrecy;
use super::picks::Picks;
use super::{Auth, Credential, places, values};
use crate::seam::SecretSource;
use crate::secret_file::{self, Kind};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    AppRole,
    Userpass,
    Token,
}

impl Method {
    const ALL: [Self; 3] = [Self::AppRole, Self::Userpass, Self::Token];

    fn name(self) -> &'static str {
        match self {
            Self::AppRole => "approle",
            Self::Userpass => "userpass",
            Self::Token => "token",
        }
    }

    /// Its options that hold a credential; each has a twin that ends in `-path`.
    fn credentials(self) -> &'static [&'static str] {
        match self {
            Self::AppRole => &["approle-role-id", "approle-secret-id"],
            Self::Userpass => &["userpass-username", "userpass-password"],
            Self::Token => &["token"],
        }
    }

    fn own_mount(self) -> Option<&'static str> {
        match self {
            Self::AppRole => Some("approle-mount"),
            Self::Userpass => Some("userpass-mount"),
            Self::Token => None,
        }
    }

    fn parse(value: &str) -> Result<Self, Bad> {
        let fix = "write -auth-method=approle, userpass or token";
        if let Some(method) = Self::ALL.into_iter().find(|method| method.name() == value) {
            return Ok(method);
        }
        Err(match value {
            "jwt" | "cert" | "kubernetes" => {
                Bad::new(format!("{} is not in this build", quoted(value)), fix)
            }
            _ => Bad::new(
                format!("{} is no method of this plugin", quoted(value)),
                fix,
            ),
        })
    }
}

/// Resolves the login. `client_token` is the Vault client's token variable, if set: it is not read,
/// and the error about a missing token says so.
pub fn resolve(
    picks: &mut Picks,
    files: &dyn SecretSource,
    client_token: Option<&str>,
) -> Option<Auth> {
    let method = method(picks, client_token)?;
    warn_about_others(picks, method);
    let mount = mount(picks, method);
    let mut credential = |name, kind| credential(picks, files, name, kind, client_token);
    match method {
        Method::AppRole => {
            let role_id = credential("approle-role-id", Kind::Id);
            let secret_id = credential("approle-secret-id", Kind::SecretId);
            Some(Auth::AppRole {
                mount: mount?,
                role_id: role_id?,
                secret_id: secret_id?,
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
    }
}

/// The credentials of a method that are given in some way.
fn given_of(picks: &Picks, method: Method) -> Vec<&Given> {
    method
        .credentials()
        .iter()
        .flat_map(|name| [picks.given(name), picks.given(&format!("{name}-path"))])
        .flatten()
        .collect()
}

fn method(picks: &mut Picks, client_token: Option<&str>) -> Option<Method> {
    if picks.given("auth-method").is_some() || picks.is_spoiled("auth-method") {
        return picks.take("auth-method", Method::parse);
    }
    let role_id = ["approle-role-id", "approle-role-id-path"]
        .iter()
        .any(|name| picks.given(name).is_some() || picks.is_spoiled(name));
    let others: Vec<String> = [Method::Userpass, Method::Token]
        .into_iter()
        .flat_map(|other| given_of(picks, other))
        .map(|given| given.written.clone())
        .collect();
    let (problem, fix) = match (role_id, others.first()) {
        (true, None) => {
            picks.imply("auth-method", Method::AppRole.name());
            return Some(Method::AppRole);
        }
        (true, Some(other)) => (
            format!(
                "is missing while credentials of two methods are given (a role id and {other})"
            ),
            "say which one with -auth-method=approle, userpass or token".to_owned(),
        ),
        (false, Some(other)) => {
            let meant = if other.to_ascii_lowercase().contains("userpass") {
                "userpass"
            } else {
                "token"
            };
            (
                "is missing".to_owned(),
                format!("write -auth-method={meant}, since {other} is given"),
            )
        }
        (false, None) => {
            let hint = match client_token {
                Some(name) => format!(" ({name} is not read: use -token-path)"),
                None => String::new(),
            };
            (
                "is missing".to_owned(),
                format!(
                    "write -auth-method=approle, userpass or token, with that method's credentials{hint}"
                ),
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
        .flat_map(|other| {
            let mount = other.own_mount().and_then(|name| picks.given(name));
            given_of(picks, other).into_iter().chain(mount)
        })
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
        return picks.take(path_name, |value| {
            let path = values::file_path(value)?;
            match secret_file::read_credential(files, &path, kind) {
                Ok(_) => Ok(Credential::File(path)),
                Err(error) => Err(Bad::new(error.to_string(), error.fix())),
            }
        });
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

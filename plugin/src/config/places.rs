//! Transit places: the one in use, former ones, and the rules of the names in them.

use super::Place;
use super::error::{Bad, quoted};
use super::picks::{Origin, Picks, Setting};
use crate::policy;

/// Longest mount path: the limit of OpenShift's API (1024), which Vault itself does not pass.
const MAX_PATH: usize = 1024;
/// Longest key name, by the same API.
const MAX_KEY: usize = 512;
/// Longest epoch; it only has to differ from others.
const MAX_EPOCH: usize = 64;

/// The place in use and the namespace of the login.
pub fn current(picks: &mut Picks) -> (Option<Place>, Option<String>) {
    let namespace = match picks.given("vault-namespace") {
        None if !picks.is_spoiled("vault-namespace") => Some(String::new()),
        _ => picks.take("vault-namespace", self::namespace),
    };
    let auth_namespace = match picks.given("vault-auth-namespace") {
        None if !picks.is_spoiled("vault-auth-namespace") => namespace.clone(),
        _ => picks.take("vault-auth-namespace", self::namespace),
    };
    let mount = picks.take("transit-mount", self::mount);
    let key = picks.require(
        "transit-key",
        "write -transit-key=NAME, or -vault-key-path=MOUNT/keys/NAME",
        self::key,
    );
    let epoch = match picks.given("key-id-epoch") {
        None if !picks.is_spoiled("key-id-epoch") => Some(String::new()),
        _ => picks.take("key-id-epoch", self::epoch),
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
pub fn former(picks: &mut Picks, current: &Place) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut errors = Vec::new();
    for given in picks.all("decrypt-only") {
        for value in given
            .value
            .split(';')
            .map(str::trim)
            .filter(|value| !value.is_empty())
        {
            let checked = place(value).and_then(|(place, namespace_named)| {
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
            origin: Origin::Given(given.written.clone()),
        })
        .collect();
    picks.settings.extend(shown);
    places
}

/// A namespace without slashes at its ends; `root`, `/` and nothing are the root namespace. The
/// spellings `team`, `/team` and `team/` mean the same, as to Vault (BUG-013).
pub fn namespace(value: &str) -> Result<String, Bad> {
    let path = value.trim_matches('/');
    if path.is_empty() || path == "root" {
        return Ok(String::new());
    }
    path_of("namespace", path)
}

/// A mount path without slashes at its ends.
pub fn mount(value: &str) -> Result<String, Bad> {
    let path = value.trim_matches('/');
    if path.is_empty() {
        return Err(Bad::new(
            "names no mount",
            "write the path that the engine is mounted at, such as transit",
        ));
    }
    if path == "v1" || path.starts_with("v1/") {
        return Err(Bad::new("begins with the API's v1/", "leave v1/ out"));
    }
    path_of("mount", path)
}

/// A mount below `auth/`.
pub fn auth_mount(value: &str) -> Result<String, Bad> {
    let path = mount(value)?;
    match path.strip_prefix("auth/") {
        Some(rest) => Err(Bad::new(
            "begins with auth/, which is understood",
            format!("write {rest}"),
        )),
        None => Ok(path),
    }
}

/// The common rules of namespaces and mounts: they become parts of URLs and policies, so nothing
/// that means something there (BUG-121).
fn path_of(what: &str, path: &str) -> Result<String, Bad> {
    let fix = format!(
        "write the {what} in letters, digits and -_.~@: with single slashes between its parts"
    );
    if path.len() > MAX_PATH {
        return Err(Bad::new(format!("is longer than {MAX_PATH} bytes"), fix));
    }
    if path.chars().any(char::is_control) {
        return Err(Bad::new("holds control characters", fix));
    }
    for part in path.split('/') {
        if part.is_empty() {
            return Err(Bad::new(format!("{} has an empty part", quoted(path)), fix));
        }
        if part == "." || part == ".." {
            return Err(Bad::new(
                format!("{} has a . or .. part", quoted(path)),
                fix,
            ));
        }
        let foreign = part
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "-_.~@:".contains(*c)));
        if let Some(c) = foreign {
            return Err(Bad::new(
                format!("{} holds {}", quoted(path), quoted(&c.to_string())),
                fix,
            ));
        }
    }
    Ok(path.to_owned())
}

/// A Transit key's name, by the rule that Vault's router has: a word character at both ends, `-`
/// and `.` only between.
pub fn key(value: &str) -> Result<String, Bad> {
    let fix = "write a name of letters, digits and _, with - and . only inside it";
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if value.len() > MAX_KEY {
        return Err(Bad::new(format!("is longer than {MAX_KEY} bytes"), fix));
    }
    if value.contains('/') {
        return Err(Bad::new(
            format!("{} holds a slash", quoted(value)),
            "write the key's name alone; its mount belongs into -transit-mount",
        ));
    }
    let inside = value.chars().all(|c| word(c) || c == '-' || c == '.');
    if value.starts_with(word) && value.ends_with(word) && inside {
        return Ok(value.to_owned());
    }
    Err(Bad::new(
        format!("{} is no name that Transit takes", quoted(value)),
        fix,
    ))
}

/// The epoch of a key_id.
pub fn epoch(value: &str) -> Result<String, Bad> {
    let fits = value.len() <= MAX_EPOCH
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fits {
        return Ok(value.to_owned());
    }
    Err(Bad::new(
        format!(
            "{} is not a word of at most {MAX_EPOCH} characters",
            quoted(value)
        ),
        "write letters, digits, -, _ and .",
    ))
}

/// A former place: `namespace=N,mount=M,key=K,epoch=E`. Parts left out are as in unset options;
/// the second value says whether a namespace was named.
pub fn place(value: &str) -> Result<(Place, bool), Bad> {
    let fix = "write namespace=N,mount=M,key=K,epoch=E; only key is required";
    let mut parts: [Option<String>; 4] = Default::default();
    const NAMES: [&str; 4] = ["namespace", "mount", "key", "epoch"];
    for part in value.split(',') {
        let (name, text) = part
            .split_once('=')
            .ok_or_else(|| Bad::new(format!("{} has a part without =", quoted(value)), fix))?;
        let at = NAMES
            .iter()
            .position(|known| *known == name.trim())
            .ok_or_else(|| Bad::new(format!("{} is no part of a place", quoted(name)), fix))?;
        let text = text.trim();
        let parsed = match at {
            0 => namespace(text),
            1 => mount(text),
            2 => key(text),
            _ => epoch(text),
        }
        .map_err(|bad| Bad::new(format!("{}: {}", NAMES[at], bad.problem), bad.fix))?;
        if parts[at].replace(parsed).is_some() {
            return Err(Bad::new(
                format!("{} has {} twice", quoted(value), NAMES[at]),
                fix,
            ));
        }
    }
    let [namespace, mount, key, epoch] = parts;
    let named = namespace.is_some();
    let key = key.ok_or_else(|| Bad::new(format!("{} names no key", quoted(value)), fix))?;
    let place = Place {
        namespace: namespace.unwrap_or_default(),
        mount: mount.unwrap_or_else(|| "transit".to_owned()),
        key,
        epoch: epoch.unwrap_or_default(),
    };
    Ok((place, named))
}

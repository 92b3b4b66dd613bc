//! The `--init-file`: what a server has when it starts to serve.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::SimVault;

/// Why an init file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// No TOML, or a field that is not known.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// The server refused an entry.
    #[error("{what}: refused with {status}: {errors}{fix}")]
    Refused {
        /// Which entry, e.g. `[keys.kms-key]`.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The server's own words.
        errors: String,
        /// What helps, where that is known; begins with a separator.
        fix: String,
    },
    /// A field of an entry is of another type, or none that the server knows.
    #[error("{what}: {problem}")]
    Field {
        /// Which entry, e.g. `[keys.kms-key]`.
        what: String,
        /// Which field, and what is wrong with it.
        problem: String,
    },
}

/// The file: sections by kind, entries by name. Everything is created in the order of these fields.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitFile {
    /// Paths such as `admin` or `admin/team`, parents first.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Policy texts by name.
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// Engine types by path, e.g. `transit = "transit"`.
    #[serde(default)]
    pub mounts: BTreeMap<String, String>,
    /// Auth method types by path, e.g. `approle = "approle"`.
    #[serde(default)]
    pub auth: BTreeMap<String, String>,
    /// Transit keys by name; `mount` (default `transit`), and the fields of key creation such as `type`.
    #[serde(default)]
    pub keys: BTreeMap<String, Map<String, Value>>,
    /// AppRoles by name; `mount` (default `approle`), `role_id`, `secret_id`, and the role's fields.
    #[serde(default)]
    pub roles: BTreeMap<String, Map<String, Value>>,
    /// Users by name; `mount` (default `userpass`), `password`, and the user's fields.
    #[serde(default)]
    pub users: BTreeMap<String, Map<String, Value>>,
    /// Tokens: the fields of token creation; `id` sets the token itself.
    #[serde(default)]
    pub tokens: Vec<Map<String, Value>>,
}

impl InitFile {
    /// Reads the TOML text.
    pub fn parse(text: &str) -> Result<Self, InitError> {
        Ok(toml::from_str(text)?)
    }
}

/// Takes `mount` and `namespace` out of an entry.
fn place(
    what: &str,
    entry: &mut Map<String, Value>,
    mount: &str,
) -> Result<(String, String), InitError> {
    let mut take = |name: &str, default: &str| match entry.remove(name) {
        None => Ok(default.to_owned()),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(InitError::Field {
            what: what.to_owned(),
            problem: format!("{name} = {other} is no text; write {name} = \"…\""),
        }),
    };
    Ok((take("namespace", "")?, take("mount", mount)?))
}

/// What helps against a refusal that an init file can run into.
fn fix(path: &str, status: u16) -> String {
    if status != 404 {
        return String::new();
    }
    let (section, place) = match path.strip_prefix("auth/") {
        Some(rest) => ("auth", rest),
        None if path.starts_with("sys/namespaces") => {
            return "; only OpenBao and --enterprise have namespaces".to_owned();
        }
        None if path.starts_with("sys/") => return String::new(),
        None => ("mounts", path),
    };
    let name = place.split('/').next().unwrap_or_default();
    format!("; is {name:?} missing in [{section}]?")
}

/// A field that nobody reads is a mistake, although the server only warns of it.
fn unread(what: &str, answer: &Value) -> Result<(), InitError> {
    let warnings = answer["warnings"].as_array().into_iter().flatten();
    let ignored = warnings
        .filter_map(Value::as_str)
        .find_map(|text| text.strip_prefix("Endpoint ignored these unrecognized parameters: "));
    match ignored {
        None => Ok(()),
        Some(names) => Err(InitError::Field {
            what: what.to_owned(),
            problem: format!("no such field: {names}"),
        }),
    }
}

impl SimVault {
    /// Creates all that the file names. At the first mistake it stops; what stands before it in the file has been made.
    pub fn load(&self, file: &InitFile) -> Result<(), InitError> {
        let run = |what: String, namespace: &str, method: &str, path: &str, body: &Value| {
            let (status, answer) = self.admin_in(namespace, method, path, body);
            if status < 300 {
                return unread(&what, &answer);
            }
            let errors = answer["errors"].as_array().into_iter().flatten();
            let errors: Vec<&str> = errors.filter_map(Value::as_str).map(str::trim).collect();
            Err(InitError::Refused {
                what,
                status,
                errors: errors.join("; "),
                fix: fix(path, status),
            })
        };
        for path in &file.namespaces {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            run(
                format!("namespaces: {path}"),
                parent,
                "POST",
                &format!("sys/namespaces/{name}"),
                &Value::Null,
            )?;
        }
        for (name, text) in &file.policies {
            run(
                format!("policies.{name}"),
                "",
                "PUT",
                &format!("sys/policies/acl/{name}"),
                &json!({ "policy": text }),
            )?;
        }
        for (path, kind) in &file.mounts {
            run(
                format!("mounts.{path}"),
                "",
                "POST",
                &format!("sys/mounts/{path}"),
                &json!({ "type": kind }),
            )?;
        }
        for (path, kind) in &file.auth {
            run(
                format!("auth.{path}"),
                "",
                "POST",
                &format!("sys/auth/{path}"),
                &json!({ "type": kind }),
            )?;
        }
        for (name, entry) in &file.keys {
            let mut entry = entry.clone();
            let what = format!("[keys.{name}]");
            let (ns, mount) = place(&what, &mut entry, "transit")?;
            run(
                what,
                &ns,
                "POST",
                &format!("{mount}/keys/{name}"),
                &Value::Object(entry),
            )?;
        }
        for (name, entry) in &file.roles {
            let mut entry = entry.clone();
            let what = format!("[roles.{name}]");
            let (ns, mount) = place(&what, &mut entry, "approle")?;
            let (role_id, secret_id) = (entry.remove("role_id"), entry.remove("secret_id"));
            let path = format!("auth/{mount}/role/{name}");
            run(what.clone(), &ns, "POST", &path, &Value::Object(entry))?;
            if let Some(id) = role_id {
                run(
                    what.clone(),
                    &ns,
                    "POST",
                    &format!("{path}/role-id"),
                    &json!({ "role_id": id }),
                )?;
            }
            if let Some(id) = secret_id {
                run(
                    what,
                    &ns,
                    "POST",
                    &format!("{path}/custom-secret-id"),
                    &json!({ "secret_id": id }),
                )?;
            }
        }
        for (name, entry) in &file.users {
            let mut entry = entry.clone();
            let what = format!("[users.{name}]");
            let (ns, mount) = place(&what, &mut entry, "userpass")?;
            run(
                what,
                &ns,
                "POST",
                &format!("auth/{mount}/users/{name}"),
                &Value::Object(entry),
            )?;
        }
        for (n, entry) in file.tokens.iter().enumerate() {
            let mut entry = entry.clone();
            let what = format!("tokens[{n}]");
            let (ns, _) = place(&what, &mut entry, "")?;
            run(
                what,
                &ns,
                "POST",
                "auth/token/create",
                &Value::Object(entry),
            )?;
        }
        Ok(())
    }
}

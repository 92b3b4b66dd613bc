//! The staging Vault: the key that may be broken, its mark, and what was found around it.
//!
//! Nothing is done to a key that does not carry the mark: a second Transit key beside it, called like it with
//! [`MARK`] at the end. Whoever may make keys in that mount can set it, both servers show it, and it is of no use to
//! anybody:
//!
//! ```text
//! vault write -f transit/keys/KEY-kms-harness-staging
//! ```
//!
//! What others share with the key (a policy that grants more, a mount with other keys or roles) is left alone: faults that
//! would touch it are not made, with that as the reason.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use kms_scenario::fault::Right;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::vault::admin::Admin;
use crate::vault::family;

/// What the name of the marking key ends with.
pub const MARK: &str = "-kms-harness-staging";
/// The mount of a key that is named without one.
const MOUNT: &str = "transit";

/// Where the Vault is, and what of it belongs to staging.
pub struct Place {
    /// `http[s]://HOST:PORT`.
    pub address: String,
    /// What its certificate is verified by.
    pub ca: Option<PathBuf>,
    /// The administrator's token.
    pub token: Zeroizing<String>,
    /// `[MOUNT/]KEY`, as `--staging-vault-key` names it.
    pub key: String,
    /// `auth/MOUNT/role/NAME` or `auth/MOUNT/users/NAME`: how the plugin logs in.
    pub role: Option<String>,
    /// File with the key that unseals it.
    pub unseal_key: Option<PathBuf>,
}

/// The Vault of a staging cluster, looked at.
#[derive(Clone)]
pub struct Staging {
    /// Its administrator.
    pub admin: Admin,
    /// Its address.
    pub address: String,
    /// What it is: `openbao`, `vault`, or `vault or openbao` where it does not tell.
    pub product: String,
    /// The Transit mount.
    pub mount: String,
    /// The Transit key.
    pub key: String,
    /// The plugin's policy; or why it cannot be changed.
    pub policy: Result<Policy, String>,
    /// Whether the mount has no other key; or why what touches the whole mount is not done.
    pub mount_alone: Result<(), String>,
    /// How the plugin logs in; or why that is not broken.
    pub role: Result<Role, String>,
    /// File with the key that unseals it.
    pub unseal_key: Option<PathBuf>,
}

/// The policy of the plugin, which grants nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// How the plugin logs in, at a mount where nobody else does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The mount, `auth/NAME`.
    pub mount: String,
    /// The whole path.
    pub path: String,
    /// Whether it is an AppRole.
    pub approle: bool,
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staging")
            .field("address", &self.address)
            .field("mount", &self.mount)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Staging {
    /// Looks at it. Nothing is changed.
    ///
    /// # Errors
    /// It does not answer, is sealed, the key is not there, or it is not marked; the text says what to do.
    pub async fn look(place: &Place) -> Result<Self> {
        let admin = Admin::new(&place.address, place.ca.as_deref(), place.token.clone())?;
        let (mount, key) = split(&place.key)?;
        let status = admin.read("sys/seal-status").await?.ok()?;
        ensure!(
            status["sealed"] != Value::Bool(true),
            "the Vault at {} is sealed",
            place.address
        );
        let found = admin.read(&format!("{mount}/keys/{key}")).await?;
        ensure!(
            found.status != 404,
            "--staging-vault-key {}: there is no key {key} in the mount {mount} of {}",
            place.key,
            place.address
        );
        found.ok().context("read the staging key")?;
        let mut staging = Self {
            admin,
            address: place.address.clone(),
            product: family::product(&status).name,
            mount,
            key,
            policy: Err(String::new()),
            mount_alone: Ok(()),
            role: Err("nobody said by which role the plugin logs in (--staging-vault-role)".into()),
            unseal_key: place.unseal_key.clone(),
        };
        staging.marked().await?;
        staging.policy = staging.find_policy().await?;
        staging.mount_alone = staging.alone_in_mount().await?;
        if let Some(role) = &place.role {
            staging.role = staging.find_role(role).await?;
        }
        Ok(staging)
    }

    /// The Transit key's path.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/keys/{}", self.mount, self.key)
    }

    /// Looks for the mark; done again before each fault in Vault.
    ///
    /// # Errors
    /// It is not there, or Vault does not say.
    pub async fn marked(&self) -> Result<()> {
        let mark = format!("{}{MARK}", self.path());
        let found = self.admin.read(&mark).await?;
        ensure!(found.status != 404, self.unmarked());
        found.ok().map(drop).context("read the staging key's mark")
    }

    /// Looks for the mark before a fault elsewhere: a Vault that does not answer, as in an outage, has not lost it.
    ///
    /// # Errors
    /// It was taken away.
    pub async fn mark_stays(&self) -> Result<()> {
        let mark = format!("{}{MARK}", self.path());
        let found = self.admin.read(&mark).await;
        let gone = found.is_ok_and(|found| found.status == 404);
        ensure!(!gone, self.unmarked());
        Ok(())
    }

    fn unmarked(&self) -> String {
        let path = self.path();
        format!(
            "the key {path} of {} is not marked as one that may be broken; if it is, mark it: vault write -f {path}{MARK}",
            self.address
        )
    }

    /// The key as Vault shows it.
    ///
    /// # Errors
    /// No answer, or no such key.
    pub async fn read_key(&self) -> Result<Value> {
        let key = self.admin.read(&self.path()).await?.ok()?;
        Ok(key["data"].clone())
    }

    /// The rules of each right, as the operators' procedure has them: path and capability.
    #[must_use]
    pub fn rights(&self) -> [(Right, String, &'static str); 5] {
        let Self { mount, key, .. } = self;
        [
            (Right::Encrypt, format!("{mount}/encrypt/{key}"), "update"),
            (Right::Decrypt, format!("{mount}/decrypt/{key}"), "update"),
            (Right::KeyRead, format!("{mount}/keys/{key}"), "read"),
            (Right::Lookup, "auth/token/lookup-self".to_owned(), "read"),
            (Right::Renew, "auth/token/renew-self".to_owned(), "update"),
        ]
    }

    /// The policy's text without these rights; without any if none is named.
    #[must_use]
    pub fn without(&self, policy: &Policy, rights: &[Right]) -> String {
        let has = paths_of(&policy.text).unwrap_or_default();
        let left = self.rights().into_iter().filter(|(right, path, _)| {
            let lost = rights.is_empty() || rights.contains(right);
            !lost && has.contains(path)
        });
        let text: String = left
            .map(|(_, path, may)| format!("path \"{path}\" {{\n  capabilities = [\"{may}\"]\n}}\n"))
            .collect();
        if text.is_empty() {
            // One without any rule is refused.
            "path \"nothing\" {\n  capabilities = [\"deny\"]\n}\n".to_owned()
        } else {
            text
        }
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let list = Method::from_bytes(b"LIST").expect("a method");
        let answer = self.admin.call(list, path, Value::Null).await?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        let body = answer.ok()?;
        let keys = body.pointer("/data/keys").and_then(Value::as_array);
        let words = keys.into_iter().flatten().filter_map(Value::as_str);
        Ok(words.map(str::to_owned).collect())
    }

    async fn find_policy(&self) -> Result<Result<Policy, String>> {
        let encrypt = format!("{}/encrypt/{}", self.mount, self.key);
        let mut found = Vec::new();
        for name in self.list("sys/policies/acl").await? {
            if name == "root" {
                continue;
            }
            let policy = self.admin.read(&format!("sys/policies/acl/{name}")).await?;
            let body = policy.ok()?;
            let text = body.pointer("/data/policy").and_then(Value::as_str);
            let text = text.unwrap_or_default().to_owned();
            if !text.contains(&encrypt) {
                continue;
            }
            match paths_of(&text) {
                None => {
                    return Ok(Err(format!(
                        "the policy {name} speaks of {encrypt} and cannot be read: it should be path \"…\" {{ … }} alone"
                    )));
                }
                Some(paths) if paths.contains(&encrypt) => found.push(Policy { name, text }),
                Some(_) => {}
            }
        }
        let one = match found.len() {
            0 => return Ok(Err(format!("no policy names {encrypt}"))),
            1 => found.remove(0),
            several => {
                return Ok(Err(format!(
                    "{several} policies name {encrypt}: which one is the plugin's is not known"
                )));
            }
        };
        let own = self.rights().map(|(_, path, _)| path);
        let more = paths_of(&one.text)
            .unwrap_or_default()
            .into_iter()
            .find(|path| !own.contains(path) && path != "auth/token/revoke-self");
        Ok(match more {
            Some(path) => Err(format!(
                "the policy {} grants {path} as well, which is not the staging key's",
                one.name
            )),
            None => Ok(one),
        })
    }

    async fn alone_in_mount(&self) -> Result<Result<(), String>> {
        let mark = format!("{}{MARK}", self.key);
        let keys = self.list(&format!("{}/keys", self.mount)).await?;
        let other = keys
            .into_iter()
            .find(|key| *key != self.key && *key != mark);
        Ok(other.map_or(Ok(()), |other| {
            Err(format!(
                "it would touch the whole mount {}, which has another key, {other}",
                self.mount
            ))
        }))
    }

    async fn find_role(&self, path: &str) -> Result<Result<Role, String>> {
        let parts: Vec<&str> = path.split('/').collect();
        let ["auth", mount, kind @ ("role" | "users"), name] = parts[..] else {
            bail!(
                "--staging-vault-role {path}: it is auth/MOUNT/role/NAME of an AppRole or auth/MOUNT/users/NAME"
            );
        };
        let others = self.list(&format!("auth/{mount}/{kind}")).await?;
        ensure!(
            others.iter().any(|other| other == name),
            "--staging-vault-role {path}: the Vault at {} has no such role",
            self.address
        );
        Ok(match others.iter().find(|other| *other != name) {
            Some(other) => Err(format!(
                "it would touch the whole mount auth/{mount}, where {other} logs in, too"
            )),
            None => Ok(Role {
                mount: format!("auth/{mount}"),
                path: path.to_owned(),
                approle: kind == "role",
            }),
        })
    }
}

fn split(key: &str) -> Result<(String, String)> {
    let (mount, name) = key.rsplit_once('/').unwrap_or((MOUNT, key));
    let plain = |word: &str| {
        let letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        !word.is_empty() && word.chars().all(letter) && !word.starts_with('.')
    };
    ensure!(
        plain(name) && mount.split('/').all(plain),
        "--staging-vault-key {key}: it is KEY, or MOUNT/KEY"
    );
    ensure!(
        !name.ends_with(MARK),
        "--staging-vault-key {key}: this is a mark, not a key that a plugin uses"
    );
    Ok((mount.to_owned(), name.to_owned()))
}

/// The paths of a policy, in HCL or JSON; nothing if it says anything that is not understood here.
fn paths_of(text: &str) -> Option<Vec<String>> {
    if let Ok(policy) = serde_json::from_str::<Value>(text) {
        let fields = policy.as_object()?;
        let known = fields.keys().all(|name| name == "path" || name == "name");
        let paths = fields.get("path")?.as_object().filter(|_| known)?;
        return Some(paths.keys().cloned().collect());
    }
    let text = without_comments(text);
    let mut rest = text.trim();
    let mut paths = Vec::new();
    while !rest.is_empty() {
        let quoted = rest.strip_prefix("path")?.trim_start().strip_prefix('"')?;
        let (path, after) = quoted.split_once('"')?;
        let block = after.trim_start().strip_prefix('{')?;
        paths.push(path.to_owned());
        rest = block[end_of_block(block)?..].trim();
    }
    Some(paths)
}

/// Where a block has ended whose opening brace was read: after its closing one.
fn end_of_block(text: &str) -> Option<usize> {
    let (mut depth, mut quoted) = (1_u32, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

fn without_comments(text: &str) -> String {
    let (mut left, mut rest, mut quoted) = (String::new(), text, false);
    while let Some(letter) = rest.chars().next() {
        let ends = match letter {
            '#' if !quoted => Some("\n"),
            '/' if !quoted && rest.starts_with("//") => Some("\n"),
            '/' if !quoted && rest.starts_with("/*") => Some("*/"),
            _ => None,
        };
        rest = if let Some(end) = ends {
            rest.split_once(end).map_or("", |(_, after)| after)
        } else {
            quoted ^= letter == '"';
            left.push(letter);
            &rest[letter.len_utf8()..]
        };
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_with_or_without_their_mount() {
        let of = |key: &str| split(key).ok().map(|(mount, key)| format!("{mount}|{key}"));
        assert_eq!(of("k").as_deref(), Some("transit|k"));
        assert_eq!(of("team/transit/k").as_deref(), Some("team/transit|k"));
        for bad in ["", "a/", "/k", "../k", "a b", "k-kms-harness-staging"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_of_policies_in_both_forms() {
        let of = |text: &str| paths_of(text).map(|paths| paths.join(" "));
        let hcl = "# path \"old\" {}\npath \"transit/encrypt/k\" {\n  capabilities = [\"update\"]\n}\n\
                   /* path \"x\" */ path\n\"a/*\" { capabilities = [\"read\"] allowed_parameters = { \"}\" = [] } } // end";
        assert_eq!(of(hcl).as_deref(), Some("transit/encrypt/k a/*"));
        let json = r#"{"path": {"transit/keys/k": {"capabilities": ["read"]}}}"#;
        assert_eq!(of(json).as_deref(), Some("transit/keys/k"));
        // What is not understood is not taken for a policy that grants nothing else.
        for odd in [
            "path \"a\" {} other \"b\" {}",
            "path \"a\" {",
            "path = \"a\"",
            r#"{"path": [{"a": {}}]}"#,
            r#"{"paths": {"a": {}}}"#,
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }
}

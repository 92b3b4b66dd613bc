//! Login requests and answers, and the credentials they are made of.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;
use zeroize::Zeroizing;

use super::plan::Grant;
use crate::config::{Auth, Credential, Secret};
use crate::seam::SecretSource;
use crate::secret_file::{Kind, read_credential};
use crate::vault::tls::MAX_PEM_BYTES;

/// A fingerprint of credentials, to see that they changed. Never leaves the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Credentials as read for one login.
pub enum Credentials {
    /// A static token: nothing to send.
    Token(Secret),
    /// What to post, and where.
    Login {
        /// Path below `/v1/`.
        path: String,
        /// JSON body.
        body: Bytes,
        /// For comparison with a later reading.
        fingerprint: Fingerprint,
    },
    /// An AppRole login whose secret id has to be unwrapped first.
    Wrapped {
        /// Path of the login below `/v1/`.
        path: String,
        /// The role id.
        role_id: Secret,
        /// The wrapping token.
        token: Secret,
        /// For comparison with a later reading.
        fingerprint: Fingerprint,
    },
}

impl Credentials {
    /// For comparison with a later reading.
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Token(token) => fingerprint(&[token]),
            Self::Login { fingerprint, .. } | Self::Wrapped { fingerprint, .. } => *fingerprint,
        }
    }
}

/// Reads the credentials of `auth`: files by path, each time.
///
/// # Errors
/// One line that names the file.
pub fn read(auth: &Auth, secrets: &dyn SecretSource) -> Result<Credentials, String> {
    let get = |credential: &Credential, kind| match credential {
        Credential::Inline(secret) => Ok(secret.clone()),
        Credential::File(path) => read_credential(secrets, path, kind).map_err(|e| e.to_string()),
    };
    Ok(match auth {
        Auth::Token { token } => Credentials::Token(get(token, Kind::Token)?),
        Auth::AppRole {
            mount,
            role_id,
            secret_id,
            wrapped,
        } => {
            let (role_id, secret_id) = (get(role_id, Kind::Id)?, get(secret_id, Kind::SecretId)?);
            let path = format!("auth/{mount}/login");
            let fingerprint = fingerprint(&[&role_id, &secret_id]);
            if *wrapped {
                let token = secret_id;
                return Ok(Credentials::Wrapped {
                    path,
                    role_id,
                    token,
                    fingerprint,
                });
            }
            Credentials::Login {
                path,
                body: approle_body(&role_id, &secret_id),
                fingerprint,
            }
        }
        Auth::Userpass {
            mount,
            username,
            password,
        } => {
            let (username, password) = (
                get(username, Kind::Username)?,
                get(password, Kind::Password)?,
            );
            #[derive(Serialize)]
            struct Body<'a> {
                password: &'a str,
            }
            Credentials::Login {
                path: format!("auth/{mount}/login/{}", escape(username.expose())),
                body: json(&Body {
                    password: password.expose(),
                }),
                fingerprint: fingerprint(&[&username, &password]),
            }
        }
        Auth::Jwt { mount, role, jwt } => {
            let jwt = get(jwt, Kind::Jwt)?;
            #[derive(Serialize)]
            struct Body<'a> {
                #[serde(skip_serializing_if = "Option::is_none")]
                role: Option<&'a str>,
                jwt: &'a str,
            }
            Credentials::Login {
                path: format!("auth/{mount}/login"),
                body: json(&Body {
                    role: role.as_deref(),
                    jwt: jwt.expose(),
                }),
                fingerprint: fingerprint(&[&jwt]),
            }
        }
        Auth::Cert {
            mount,
            role,
            cert,
            key,
        } => {
            let mut hash = Sha256::new();
            for path in [cert, key] {
                let pem = secrets
                    .read(path, MAX_PEM_BYTES)
                    .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
                hash.update((pem.len() as u64).to_be_bytes());
                hash.update(&*pem);
            }
            #[derive(Serialize)]
            struct Body<'a> {
                #[serde(skip_serializing_if = "Option::is_none")]
                name: Option<&'a str>,
            }
            Credentials::Login {
                path: format!("auth/{mount}/login"),
                body: json(&Body {
                    name: role.as_deref(),
                }),
                fingerprint: Fingerprint(hash.finalize().into()),
            }
        }
    })
}

/// The body of an AppRole login.
pub fn approle_body(role_id: &Secret, secret_id: &Secret) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        role_id: &'a str,
        secret_id: &'a str,
    }
    json(&Body {
        role_id: role_id.expose(),
        secret_id: secret_id.expose(),
    })
}

/// The secret id of an unwrapping's answer; `None` when something else was wrapped.
pub fn parse_unwrapped(body: &[u8]) -> Option<Secret> {
    #[derive(Deserialize)]
    struct Envelope {
        data: Option<Data>,
    }
    #[derive(Deserialize)]
    struct Data {
        secret_id: String,
    }
    let data = serde_json::from_slice::<Envelope>(body).ok()?.data?;
    Some(Secret::new(data.secret_id))
}

/// A JSON body that is wiped when the last reference goes.
fn json(value: &impl Serialize) -> Bytes {
    let bytes = serde_json::to_vec(value).expect("strings serialize");
    Bytes::from_owner(Zeroizing::new(bytes))
}

fn fingerprint(parts: &[&Secret]) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.expose().len() as u64).to_be_bytes());
        hash.update(part.expose().as_bytes());
    }
    Fingerprint(hash.finalize().into())
}

/// One path segment: everything but unreserved characters is percent-encoded.
fn escape(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[derive(Deserialize)]
struct Envelope {
    auth: Option<AuthBlock>,
}

#[derive(Deserialize)]
struct AuthBlock {
    #[serde(default)]
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    #[serde(default)]
    token_type: String,
}

/// Token and grant of a login answer.
pub fn parse_login(body: &[u8]) -> Option<(Secret, Grant)> {
    let auth = serde_json::from_slice::<Envelope>(body).ok()?.auth?;
    // It becomes a header value, as it is.
    if auth.client_token.is_empty() || !auth.client_token.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let grant = Grant {
        ttl: Duration::from_secs(auth.lease_duration),
        renewable: auth.renewable && auth.token_type != "batch",
    };
    Some((Secret::new(auth.client_token), grant))
}

/// Granted time to live of a renewal's answer; `None` when nothing was renewed.
pub fn parse_renewal(body: &[u8]) -> Option<Duration> {
    let auth = serde_json::from_slice::<Envelope>(body).ok()?.auth?;
    Some(Duration::from_secs(auth.lease_duration))
}

#[derive(Deserialize)]
struct LookupEnvelope {
    data: LookupData,
}

#[derive(Deserialize)]
struct LookupData {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
    #[serde(rename = "type", default)]
    token_type: String,
}

/// What lookup-self says of a static token.
pub fn parse_lookup(body: &[u8]) -> Option<Grant> {
    let data = serde_json::from_slice::<LookupEnvelope>(body).ok()?.data;
    Some(Grant {
        ttl: Duration::from_secs(data.ttl),
        renewable: data.renewable && data.token_type != "batch",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_cannot_leave_its_path_segment() {
        assert_eq!(escape("a/../b?x#y%"), "a%2F..%2Fb%3Fx%23y%25");
    }

    #[test]
    fn answers_that_are_no_login_give_no_token() {
        for body in [
            "",
            "{}",
            r#"{"auth":null}"#,
            r#"{"auth":{"client_token":"","lease_duration":1}}"#,
            "{\"auth\":{\"client_token\":\"a\\nb\",\"lease_duration\":1}}",
        ] {
            assert!(parse_login(body.as_bytes()).is_none(), "{body}");
        }
        let (_, grant) = parse_login(
            br#"{"auth":{"client_token":"b.x","lease_duration":120,"renewable":true,"token_type":"batch"}}"#,
        )
        .expect("a login");
        assert!(!grant.renewable, "batch tokens are never renewed");
    }

    #[test]
    fn bug_007_a_static_batch_token_is_not_renewed() {
        for (kind, renewable) in [("service", true), ("batch", false)] {
            let body = format!(r#"{{"data":{{"ttl":60,"renewable":true,"type":"{kind}"}}}}"#);
            let grant = parse_lookup(body.as_bytes()).expect("a lookup");
            assert_eq!(grant.renewable, renewable, "{kind}");
        }
    }
}

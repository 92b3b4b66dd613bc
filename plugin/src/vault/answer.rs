//! Answers of the server, read by meaning.
//!
//! Both server families say the same things in different words; the table of differences is
//! measured (refused tokens, policies, batches, standbys). This module knows no operation's
//! own rules: those are in [`crate::transit`] and [`crate::token`].

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body. Debug never prints it.
    pub body: Body,
    /// `X-Vault-Index`, where the server sends one.
    pub index: Option<http::HeaderValue>,
    /// `Retry-After`, whole seconds.
    pub retry_after: Option<Duration>,
    /// Position of the address that answered.
    pub address: usize,
}

/// Bytes of an answer: they may hold a token or a plaintext.
pub struct Body(pub Bytes);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// What a refusal means, whatever the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// 2xx: the operation was carried out.
    Done,
    /// The token is not accepted: log in once, then back off. `certain` is true where the server
    /// says so beyond doubt (`invalid token`).
    TokenRefused {
        /// The server named the token as the cause.
        certain: bool,
    },
    /// The token lives, but no policy allows this path.
    Denied,
    /// A standby that has not seen our last write yet: try again inside the deadline.
    Lagging,
    /// A rate limit.
    Quota,
    /// Sealed or not initialised.
    Sealed,
    /// No active node, standby answer, failing storage or audit device, or any other 5xx.
    ServerState,
    /// 404.
    Missing,
    /// 400: the request itself is refused.
    Refused,
    /// A status that this protocol does not know.
    Unknown,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

/// Texts that may be passed on: whatever else a server says could quote what it was sent.
const KNOWN: [&str; 30] = [
    "API access to this namespace has been locked",
    "bad token",
    "cipher: message authentication failed",
    "ciphertext or signature version is disallowed by policy (too old)",
    "encryption key not found",
    "error parsing JSON",
    "exceeded maximum number of strings",
    "failed to parse batch input",
    "failed to renew entry",
    "i/o timeout",
    "internal error",
    "invalid ciphertext length",
    "invalid ciphertext: could not decode base64",
    "invalid ciphertext: no prefix",
    "invalid ciphertext: version is too new",
    "invalid role or secret ID",
    "invalid token",
    "local node not active but active cluster node not found",
    "namespace not found",
    "no handler for route",
    "no space left on device",
    "no such key version",
    "past the max TTL",
    "rate limit quota exceeded",
    "refusing to use soft-deleted key",
    "request body too large",
    "requested version for encryption is higher than the latest key version",
    "requested version for encryption is less than the minimum encryption key version",
    "transaction commit failed",
    "unsupported path",
];

/// The part of a server's text that is known to quote nothing; empty when there is none.
pub fn known_text(text: &str) -> &'static str {
    KNOWN
        .into_iter()
        .find(|known| text.contains(known))
        .unwrap_or_default()
}

impl Answer {
    /// What may be passed on of the server's error text.
    pub fn known_text(&self) -> &'static str {
        known_text(&self.error_text())
    }

    /// The server's error texts, joined; empty when the body has none.
    pub fn error_text(&self) -> String {
        serde_json::from_slice::<Errors>(&self.body.0)
            .map(|e| e.errors.join("; "))
            .unwrap_or_default()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(300)
            .collect()
    }

    /// What this answer means.
    pub fn meaning(&self) -> Meaning {
        match self.status {
            200..=299 => Meaning::Done,
            403 => {
                let text = self.error_text();
                if text.contains("1 error occurred") {
                    Meaning::Denied
                } else {
                    Meaning::TokenRefused {
                        certain: text.contains("invalid token"),
                    }
                }
            }
            412 => Meaning::Lagging,
            // A lagging OpenBao standby answers with an empty list, a quota names the path.
            429 if self.error_text().is_empty() => Meaning::Lagging,
            429 => Meaning::Quota,
            404 => Meaning::Missing,
            400 if self.error_text().contains("unable to store logs") => Meaning::ServerState,
            400 => Meaning::Refused,
            // A service token with an unknown namespace suffix (Vault).
            500 if self.error_text().contains("error performing token check") => {
                Meaning::TokenRefused { certain: true }
            }
            503 => Meaning::Sealed,
            472..=474 | 530 | 500..=599 => Meaning::ServerState,
            _ => Meaning::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            status,
            body: Body(Bytes::from_static(body.as_bytes())),
            index: None,
            retry_after: None,
            address: 0,
        }
    }

    #[test]
    fn both_families_are_read_by_meaning() {
        for (status, body, meaning) in [
            // OpenBao: a dead token and a locked login are the bare text.
            (
                403,
                r#"{"errors":["permission denied"]}"#,
                Meaning::TokenRefused { certain: false },
            ),
            // Vault: a dead token has two errors.
            (
                403,
                r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#,
                Meaning::TokenRefused { certain: true },
            ),
            (
                403,
                r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
                Meaning::Denied,
            ),
            (
                500,
                r#"{"errors":["error performing token check: failed to look up namespace from the token: no namespace"]}"#,
                Meaning::TokenRefused { certain: true },
            ),
            (429, r#"{"errors":[]}"#, Meaning::Lagging),
            (
                412,
                r#"{"errors":["required index state not present"]}"#,
                Meaning::Lagging,
            ),
            (
                429,
                r#"{"errors":["request path \"transit/encrypt/kms-key\": rate limit quota exceeded"]}"#,
                Meaning::Quota,
            ),
            (503, r#"{"errors":["Vault is sealed"]}"#, Meaning::Sealed),
            (
                500,
                r#"{"errors":["internal error"]}"#,
                Meaning::ServerState,
            ),
            (
                500,
                r#"{"errors":["local node not active but active cluster node not found"]}"#,
                Meaning::ServerState,
            ),
            (474, "", Meaning::ServerState),
            (404, r#"{"errors":[]}"#, Meaning::Missing),
            (
                400,
                r#"{"errors":["encryption key not found"]}"#,
                Meaning::Refused,
            ),
            (204, "", Meaning::Done),
            (302, "", Meaning::Unknown),
        ] {
            assert_eq!(answer(status, body).meaning(), meaning, "{status} {body}");
        }
    }

    #[test]
    fn error_text_is_fit_for_a_log() {
        let text = answer(400, "{\"errors\":[\"a\\nb\\u0007\", \"c\"]}").error_text();
        assert_eq!(text, "a b ; c");
    }
}

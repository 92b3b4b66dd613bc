//! Why something towards Vault did not work, and what that says about the plugin's health.

use std::time::Duration;

use thiserror::Error;

/// gRPC status codes in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// The request can never work.
    InvalidArgument = 3,
    /// The caller's time ran out.
    DeadlineExceeded = 4,
    /// Waiting places are full, or a quota.
    ResourceExhausted = 8,
    /// Something a person must mend first.
    FailedPrecondition = 9,
    /// Unknown method or compression.
    Unimplemented = 12,
    /// The server broke its own contract.
    Internal = 13,
    /// Try again later.
    Unavailable = 14,
}

/// What a fault says about the plugin's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Nothing: one bad object, one full queue.
    None,
    /// Goes away by itself.
    Transient,
    /// A person must act.
    Definite,
}

/// Why something towards Vault did not work. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// No connection, or it was lost; `sent` is true when the request may have been processed.
    #[error("cannot reach vault at {address}: {what}")]
    Transport {
        /// Address tried last.
        address: String,
        /// The system's text.
        what: String,
        /// The server may have seen the request.
        sent: bool,
    },
    /// The time limit ended before an answer.
    #[error("no answer from vault at {address} within {}", millis(.limit))]
    Timeout {
        /// Address asked last.
        address: String,
        /// The limit.
        limit: Duration,
    },
    /// An answer that is cut, oversized or not what the protocol allows.
    #[error("vault at {address} sent an unusable answer: {what}")]
    BadAnswer {
        /// Address.
        address: String,
        /// What is wrong with it.
        what: String,
    },
    /// A redirect that may not be followed.
    #[error(
        "vault redirects to {target}, {why}; add it to -vault-address if it is a node of this cluster"
    )]
    Redirect {
        /// `Location`, without query.
        target: String,
        /// Which rule forbids it.
        why: &'static str,
    },
    /// Sealed or not initialised.
    #[error("vault is sealed or not initialised (HTTP {status}); unseal it")]
    Sealed {
        /// HTTP status.
        status: u16,
    },
    /// The server cannot serve now.
    #[error("vault cannot serve {what} (HTTP {status}: {text})")]
    Server {
        /// Operation.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// The server's text.
        text: String,
    },
    /// A standby that lags behind.
    #[error("vault's standby has not caught up yet (HTTP {status})")]
    Lagging {
        /// HTTP status.
        status: u16,
    },
    /// Rate limit.
    #[error("vault's rate limit quota is exceeded; raise the quota on the transit mount")]
    Quota {
        /// How long the server asks us to wait.
        retry_after: Option<Duration>,
    },
    /// No token, and none to be had now.
    #[error("no vault token: {why}")]
    NoToken {
        /// Why.
        why: String,
        /// Whether only a person can mend it.
        definite: bool,
    },
    /// The token is refused even after a new login.
    #[error(
        "vault refuses the token on {path} even after a new login; check token_bound_cidrs, the entity and the namespace {namespace}"
    )]
    TokenRefused {
        /// API path.
        path: String,
        /// Namespace in use.
        namespace: String,
    },
    /// Policy.
    #[error("permission denied on {path}; the policy must grant \"{capability}\" on it{}", in_namespace(.namespace))]
    Denied {
        /// API path.
        path: String,
        /// Missing capability.
        capability: &'static str,
        /// Namespace in use.
        namespace: String,
    },
    /// The key, or its version, is not fit for use.
    #[error("{0}")]
    Key(String),
    /// One object's own error: the server is fine.
    #[error("vault cannot decrypt this value: {0}")]
    Data(String),
    /// The pinned version is below `min_encryption_version`.
    #[error("key version {0} may no longer encrypt (min_encryption_version)")]
    PinTooOld(u64),
    /// The pinned version is not known to the node that answered.
    #[error("key version {0} is not known to this vault node yet")]
    PinTooNew(u64),
    /// The request itself was refused.
    #[error("vault refuses {what} (HTTP {status}: {text})")]
    Refused {
        /// Operation.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// The server's text.
        text: String,
    },
    /// Held back because the same operation is known to fail.
    #[error("{0}")]
    HeldBack(String),
    /// All waiting places are taken.
    #[error("too many calls are waiting for vault ({0}); raise -max-waiting")]
    Full(usize),
}

fn millis(limit: &Duration) -> String {
    format!("{} ms", limit.as_millis())
}

fn in_namespace(namespace: &str) -> String {
    if namespace.is_empty() {
        String::new()
    } else {
        format!(" in namespace {namespace}")
    }
}

impl Fault {
    /// What this fault says about health.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Transport { .. }
            | Self::Timeout { .. }
            | Self::BadAnswer { .. }
            | Self::Redirect { .. }
            | Self::Sealed { .. }
            | Self::Server { .. }
            | Self::Lagging { .. }
            | Self::Quota { .. }
            | Self::PinTooNew(_)
            | Self::NoToken {
                definite: false, ..
            } => Weight::Transient,
            Self::NoToken { definite: true, .. }
            | Self::TokenRefused { .. }
            | Self::Denied { .. }
            | Self::Key(_)
            | Self::PinTooOld(_)
            | Self::Refused { .. } => Weight::Definite,
            Self::Data(_) | Self::HeldBack(_) | Self::Full(_) => Weight::None,
        }
    }

    /// The gRPC code of a call that ended with this fault.
    pub fn code(&self) -> Code {
        match self {
            Self::Data(_) => Code::InvalidArgument,
            Self::BadAnswer { .. } => Code::Internal,
            Self::Quota { .. } | Self::Full(_) => Code::ResourceExhausted,
            Self::Timeout { .. } => Code::DeadlineExceeded,
            Self::HeldBack(_) => Code::Unavailable,
            _ if self.weight() == Weight::Definite => Code::FailedPrecondition,
            _ => Code::Unavailable,
        }
    }

    /// The HTTP status behind it, 0 when there was none.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Sealed { status }
            | Self::Server { status, .. }
            | Self::Lagging { status }
            | Self::Refused { status, .. } => *status,
            Self::Quota { .. } => 429,
            Self::TokenRefused { .. } | Self::Denied { .. } => 403,
            Self::Data(_) | Self::PinTooOld(_) | Self::PinTooNew(_) => 400,
            _ => 0,
        }
    }

    /// One word for what to look at.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Transport { .. } | Self::Timeout { .. } | Self::Redirect { .. } => "network",
            Self::BadAnswer { .. }
            | Self::Server { .. }
            | Self::Lagging { .. }
            | Self::HeldBack(_) => "server",
            Self::Sealed { .. } => "sealed",
            Self::Quota { .. } | Self::Full(_) => "quota",
            Self::NoToken { .. } | Self::TokenRefused { .. } => "token",
            Self::Denied { .. } => "policy",
            Self::Key(_) | Self::PinTooOld(_) | Self::PinTooNew(_) | Self::Refused { .. } => "key",
            Self::Data(_) => "data",
        }
    }
}

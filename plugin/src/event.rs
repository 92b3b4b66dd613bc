//! What the plugin tells its observer: the source of log lines and metrics.
//!
//! No variant can hold a secret, a plaintext or a ciphertext. key_ids are hashes and appear as they are.

use std::time::Duration;

/// The three methods of the KMS v2 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `Status`
    Status,
    /// `Encrypt`
    Encrypt,
    /// `Decrypt`
    Decrypt,
}

impl Method {
    /// As in the gRPC path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "Status",
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
        }
    }
}

/// What a request to Vault was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VaultOp {
    /// Transit encrypt.
    Encrypt,
    /// Transit decrypt.
    Decrypt,
    /// Read of the key document.
    ReadKey,
    /// Login.
    Login,
    /// `auth/token/renew-self`
    Renew,
    /// `auth/token/lookup-self`
    Lookup,
    /// `auth/token/revoke-self`
    Revoke,
    /// `sys/health`
    Health,
    /// `sys/wrapping/unwrap`
    Unwrap,
}

impl VaultOp {
    /// Label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::ReadKey => "read_key",
            Self::Login => "login",
            Self::Renew => "renew",
            Self::Lookup => "lookup",
            Self::Revoke => "revoke",
            Self::Health => "health",
            Self::Unwrap => "unwrap",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A gRPC call was answered.
    Call {
        /// Which method.
        method: Method,
        /// gRPC code, 0 is OK.
        code: u32,
        /// The caller's uid, or a local one.
        uid: &'a str,
        /// Our id of the Vault request that decided the answer; 0 when there was none.
        request_id: u64,
        /// HTTP status that decided the answer, 0 when there was none.
        http_status: u16,
        /// From the whole request read to the answer.
        latency: Duration,
        /// key_id the call was about, or empty.
        key_id: &'a str,
        /// Text sent to the caller, empty on success.
        message: &'a str,
        /// One word for what to look at: `token`, `policy`, `key`, `network`, `server`, `sealed`, `quota`, `data`, `request`, `none`.
        remedy: &'static str,
    },
    /// A request to Vault ended.
    VaultRequest {
        /// What it was for.
        op: VaultOp,
        /// Our id of it.
        request_id: u64,
        /// HTTP status, 0 for a transport error.
        http_status: u16,
        /// How long it took.
        latency: Duration,
        /// Items in it: 1, or the size of a batch.
        items: usize,
    },
    /// A login ended.
    Login {
        /// Whether Vault gave a token.
        ok: bool,
        /// Time to live of the new token; zero when it has none.
        ttl: Duration,
        /// Why it was made, or why it failed; no secret.
        detail: &'a str,
    },
    /// A renewal ended.
    Renewal {
        /// Whether the lease was extended.
        ok: bool,
        /// Time to live that the server gave.
        ttl: Duration,
        /// Why it failed; no secret.
        detail: &'a str,
    },
    /// The plugin's answer to Status changed.
    StatusChanged {
        /// Good again, or not.
        ok: bool,
        /// Text of the error, empty when good.
        detail: &'a str,
    },
    /// A key version came into use.
    KeyTaken {
        /// Its number.
        version: u64,
        /// Its id.
        key_id: &'a str,
    },
    /// A former place failed or healed (`-decrypt-only`).
    FormerPlace {
        /// Position on the command line, from 0.
        index: usize,
        /// Whether its key could be read.
        ok: bool,
        /// Why not.
        detail: &'a str,
    },
    /// A Decrypt joined an equal one in flight.
    Coalesced,
    /// Places taken in the waiting queue, whenever that changes.
    Waiting {
        /// Calls waiting or in flight.
        calls: usize,
    },
    /// When the token in use ends; zero for never.
    TokenExpiry {
        /// Seconds since the epoch.
        unix: u64,
    },
    /// A value was decrypted that is not bound to its key_id (`-adopt`).
    UnboundRead {
        /// Another plugin wrote it.
        foreign: bool,
    },
    /// The socket was bound again because its path led elsewhere.
    SocketRebound,
    /// Something to tell a person once.
    Notice {
        /// Warning or information.
        warn: bool,
        /// The text; no secret.
        text: &'a str,
    },
}

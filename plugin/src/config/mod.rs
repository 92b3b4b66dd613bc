//! The resolved configuration: what the plugin does, after flags, environment and defaults.
//!
//! [`options`] is the one table of options; the parser, the help, the README's table and the
//! resolved-configuration log line come from it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::seam::HostPort;

mod address;
mod args;
mod command;
mod environment;
mod error;
mod login;
mod method;
pub mod options;
mod pem;
mod picks;
mod places;
mod render;
mod resolve;
mod shorthand;
mod suggest;
mod tls;
mod values;

pub use command::{DoctorArgs, Findings, Sample, Subcommand};
pub use error::ConfigError;
pub use picks::{Origin, Setting};
pub use render::{config_check, help, readme_table, settings_line, version};
pub use resolve::{Command, EXIT_CONFIG, Invocation, Resolved, resolve, resolve_from_process};

/// A secret value. Debug prints its length only; memory is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the value over.
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself: for the wire only, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Given on the command line or in the environment.
    Inline(Secret),
    /// A file, read at each login and looked at with each probe.
    File(PathBuf),
}

/// How the plugin authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A token that somebody else looks after.
    Token {
        /// The token.
        token: Credential,
    },
    /// AppRole login.
    AppRole {
        /// Mount path below `auth/`, without slashes at its ends.
        mount: String,
        /// The role id (not a secret, but treated as one).
        role_id: Credential,
        /// The secret id.
        secret_id: Credential,
        /// It is a response-wrapping token of which the secret id is had once.
        wrapped: bool,
    },
    /// Username and password login.
    Userpass {
        /// Mount path below `auth/`, without slashes at its ends.
        mount: String,
        /// The user name.
        username: Credential,
        /// The password; its blanks are kept.
        password: Credential,
    },
    /// Login with a JWT: of the jwt method, or of the kubernetes method, which sends the same.
    Jwt {
        /// Mount path below `auth/`, without slashes at its ends.
        mount: String,
        /// The role in Vault; its default where there is none.
        role: Option<String>,
        /// The JWT.
        jwt: Credential,
    },
    /// Login with the client certificate of the TLS connection.
    Cert {
        /// Mount path below `auth/`, without slashes at its ends.
        mount: String,
        /// The name of the trusted certificate; any that fits where there is none.
        role: Option<String>,
        /// The certificate's file, to see that it has changed.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

impl Auth {
    /// Whether refused logins lock the identity for every node.
    pub fn locks(&self) -> bool {
        matches!(self, Self::AppRole { .. } | Self::Userpass { .. })
    }
}

/// One Vault address: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VaultAddress {
    /// TLS or plain TCP.
    pub https: bool,
    /// Host and port; the port is 443 or 80 when the address had none.
    pub at: HostPort,
    /// A path in front of `/v1/`, without a slash at its end; mostly empty.
    pub prefix: String,
}

impl fmt::Display for VaultAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        let HostPort { host, port } = &self.at;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{}", self.prefix)
        } else {
            write!(f, "{scheme}://{host}:{port}{}", self.prefix)
        }
    }
}

/// TLS towards Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// CA bundle; the system's roots when absent.
    pub ca_file: Option<PathBuf>,
    /// Server name to verify instead of the address's host.
    pub sni: Option<String>,
    /// Client certificate chain and key, PEM files.
    pub client: Option<(PathBuf, PathBuf)>,
    /// No verification at all. Warned about on each start.
    pub skip_verify: bool,
}

/// An HTTP proxy for Vault connections (`HTTPS_PROXY`, `NO_PROXY`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The proxy itself.
    pub at: HostPort,
    /// `user:password` for `Proxy-Authorization`, if the URL had it.
    pub credentials: Option<Secret>,
    /// The `NO_PROXY` value as given.
    pub no_proxy: String,
}

/// How Vault is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    /// In the order they are tried; at least one.
    pub addresses: Vec<VaultAddress>,
    /// Namespace of the Transit mount, without slashes at its ends; empty for root.
    pub namespace: String,
    /// Namespace of the auth mount; defaults to `namespace`.
    pub auth_namespace: String,
    /// Limit for connect and TLS handshake together.
    pub connect_timeout: Duration,
    /// TLS settings.
    pub tls: Tls,
    /// Proxy in front of all addresses that `no_proxy` does not exempt.
    pub proxy: Option<Proxy>,
}

/// A Transit key somewhere: what a key_id is derived from, besides version and creation time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Namespace without slashes at its ends; empty for root.
    pub namespace: String,
    /// Mount path without slashes at its ends.
    pub mount: String,
    /// Key name.
    pub key: String,
    /// `-key-id-epoch`, mostly empty.
    pub epoch: String,
}

/// What Status calls its API version (KMS2-STATUS-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusVersion {
    /// API servers since 1.29.
    V2,
    /// API servers from 1.27.
    V2Beta1,
}

impl StatusVersion {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }
}

/// Taking over from another plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// From the community plugin, which can still take back over: values are not bound to their
    /// key_id.
    Community,
    /// From the community plugin, and there is no way back.
    CommunityFinal,
    /// From HashiCorp's plugin: values are written so that it may read them. Not tried on the product.
    HashiCorp,
    /// From HashiCorp's plugin, and there is no way back.
    HashiCorpFinal,
}

impl Adopt {
    /// As on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Community => "community",
            Self::CommunityFinal => "community,final",
            Self::HashiCorp => "hashicorp",
            Self::HashiCorpFinal => "hashicorp,final",
        }
    }

    /// The last phase, in which values are bound to their key_id.
    pub fn is_final(self) -> bool {
        matches!(self, Self::CommunityFinal | Self::HashiCorpFinal)
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And changes of state.
    Info,
    /// And single requests.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The resolved configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Path of the unix socket.
    pub socket: PathBuf,
    /// Mode of the socket file.
    pub socket_mode: u32,
    /// Group of the socket file: a name or a number.
    pub socket_group: Option<String>,
    /// How Vault is reached.
    pub vault: Vault,
    /// The key in use.
    pub place: Place,
    /// Former places whose ciphertexts must stay readable.
    pub decrypt_only: Vec<Place>,
    /// How the plugin authenticates.
    pub auth: Auth,
    /// What Status says.
    pub status_version: StatusVersion,
    /// Liveness and readiness listener; `None` is off.
    pub health: Option<SocketAddr>,
    /// Metrics listener; `None` is off. Equal to `health` means one listener.
    pub metrics: Option<SocketAddr>,
    /// Log level.
    pub log_level: LogLevel,
    /// Log format.
    pub log_format: LogFormat,
    /// Requests to Vault at once, at least 1.
    pub max_in_flight: usize,
    /// Calls waiting for Vault at once, at least 1.
    pub max_waiting: usize,
    /// Revoke the token of an own login on a clean stop.
    pub revoke_on_exit: bool,
    /// Reading what another plugin wrote.
    pub adopt: Option<Adopt>,
}

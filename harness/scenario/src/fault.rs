//! What can go wrong, as one vocabulary for all arms: [`Fault`] with its parameters, and [`Kind`], its name on the wire.
//!
//! Not here: when, how long and on which node (that is the plan's), and how a world makes it happen.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fault's name in a scenario.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Vault is sealed; healed by unsealing.
    VaultSeal,
    /// Vault's process is gone: connections are refused. Healed by starting it again, with its data.
    VaultStop,
    /// Vault's process ends and starts again at once.
    VaultRestart,
    /// Requests are taken and never answered.
    VaultHold,
    /// Answers come late.
    VaultSlow,
    /// Requests are answered with an error.
    VaultError,
    /// Answers are 200 with a body that is no JSON.
    VaultGarbage,
    /// Answers break off in the middle of their body.
    VaultCutBody,
    /// The connection is reset after the request was read.
    VaultReset,
    /// All service tokens of the plugins are revoked.
    VaultRevokeTokens,
    /// All service tokens of the plugins reach their end at once.
    VaultExpireTokens,
    /// Logins are refused as those of a wrong credential are (400).
    LoginRefused,
    /// The auth method is disabled: its tokens die, its paths are unknown. Healed by enabling it with the same roles.
    VaultDisableAuth,
    /// The plugins' policy loses paths. Healed by writing it back.
    VaultPolicyRemoved,
    /// The Transit key is rotated.
    VaultRotate,
    /// The Transit key is deleted for good.
    VaultDeleteKey,
    /// The Transit key is deleted and made again under the same name.
    VaultRecreateKey,
    /// The Transit key is soft-deleted (OpenBao). Healed by restoring it.
    VaultSoftDelete,
    /// `min_decryption_version` is raised. Healed by lowering it to 1.
    VaultMinDecryptionVersion,
    /// `min_encryption_version` is set. Healed by 0.
    VaultMinEncryptionVersion,
    /// Old versions of the key are trimmed away for good.
    VaultTrim,
    /// A rate limit quota on the Transit mount. Healed by deleting it.
    VaultQuota,
    /// The leader steps down.
    VaultStepDown,
    /// The leader stands still and its connections stay open (SIGSTOP). Healed by SIGCONT.
    VaultFreezeLeader,
    /// Rotations of the Transit key collide: OpenBao refuses one of them and uses its version all the same, until its
    /// process ends. Happens to no other server.
    VaultRotateAtOnce,
    /// Standbys answer from old data.
    VaultStandbyLag,
    /// The audit device blocks: authenticated requests hang, health stays green.
    VaultAuditBlocked,
    /// The storage fails: writes are answered 500.
    VaultStorageFailed,
    /// Vault's clock jumps ahead: leases end early.
    ClockAdvance,

    /// Nothing passes an edge, either way; nothing is lost, senders retransmit.
    NetPartition,
    /// Nothing passes an edge in one direction.
    NetPartitionOneWay,
    /// Bytes of an edge are kept back and come all at once afterwards; new connections hang.
    NetHold,
    /// All connections of an edge are reset.
    NetReset,
    /// All connections of an edge are closed in one direction (FIN).
    NetHalfClose,
    /// An edge gets another latency.
    NetLatency,
    /// An edge gets a bandwidth.
    NetBandwidth,
    /// The far end of an edge reads slowly.
    NetSlowReader,

    /// RPCs on the plugin's socket are passed on late.
    RpcDelay,
    /// RPCs on the plugin's socket are taken and never answered.
    RpcHold,
    /// RPCs on the plugin's socket are answered with a status.
    RpcStatus,
    /// The socket's connection is cut while an RPC is on its way.
    RpcCut,
    /// The plugin's Status answers name the key as always, and say that it is sick.
    RpcSick,
    /// The plugin's Decrypt answers hold another key of the same length.
    RpcWrongKey,

    /// The plugin is killed (SIGKILL). Healed by starting it.
    PluginKill,
    /// The plugin is killed and started again at once.
    PluginRestart,
    /// The plugin is asked to end (SIGTERM). Healed by starting it.
    PluginStop,
    /// The plugin stands still (SIGSTOP). Healed by SIGCONT.
    PluginFreeze,
    /// The plugin is killed, its socket file stays, and it is started again at once.
    PluginStaleSocket,
    /// The credential files get new, valid content.
    CredentialsChanged,
    /// The credential files are gone. Healed by putting them back.
    CredentialsRemoved,
    /// The credential files hold rubbish. Healed by putting them back.
    CredentialsDamaged,
    /// Vault's certificate gets a new authority, and the CA file changes with it.
    CaChanged,

    /// The API server crashes and starts again.
    ApiserverRestart,
    /// The API server gets another encryption configuration. Healed by the one before.
    ApiserverConfig,
    /// A stored value is damaged. Healed by putting it back.
    StoreDamage,

    /// The wall clock of a node's plugin is off.
    ClockSkew,

    /// An operator reads and writes back every object: storage migration.
    RewriteAll,
    /// An operator takes a backup of the store.
    Backup,
    /// An operator puts the backup back into the store.
    Restore,
}

/// Which requests to Vault a fault is about.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Requests {
    /// All of them.
    #[default]
    All,
    /// `auth/*/login`.
    Login,
    /// `auth/token/renew-self`.
    Renew,
    /// `auth/token/lookup-self`.
    Lookup,
    /// Everything under the Transit mount.
    Transit,
    /// `transit/encrypt`.
    Encrypt,
    /// `transit/decrypt`.
    Decrypt,
    /// Reads of the Transit key.
    KeyRead,
}

/// An edge of the network.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    /// Between a plugin and Vault.
    Vault,
    /// Between an API server and its plugin.
    Socket,
}

/// What `healthz` says in the answers of [`Kind::RpcSick`].
pub const SICK: &str = "sick: said by the scenario";

/// A direction on an edge.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the client: plugin to Vault, API server to plugin.
    Requests,
    /// To the client.
    Answers,
}

/// An RPC of the KMS v2 service.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rpc {
    /// `Status`.
    Status,
    /// `Encrypt`.
    Encrypt,
    /// `Decrypt`.
    Decrypt,
}

/// A part of the plugins' rights.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// `update` on `transit/encrypt/KEY`.
    Encrypt,
    /// `update` on `transit/decrypt/KEY`.
    Decrypt,
    /// `read` on `transit/keys/KEY`.
    KeyRead,
    /// `read` on `auth/token/lookup-self`.
    Lookup,
    /// `update` on `auth/token/renew-self`.
    Renew,
}

/// What is damaged of a stored value.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// One bit of the encrypted data.
    Data,
    /// One bit of the wrapped DEK seed.
    WrappedKey,
    /// The second half is missing.
    Truncated,
    /// The value lies under another object's key.
    Swapped,
}

/// An encryption configuration by name, or its providers in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Providers(pub Vec<Provider>);

/// One provider of the encryption configuration.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// The plugin, as provider `kms`.
    Kms,
    /// Plaintext.
    Identity,
    /// A local AES-CBC key, the same on every node.
    Aescbc,
}

/// One fault with its parameters. What lasts is undone by `World::recover`; see [`Fault::lasts`].
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// [`Kind::VaultSeal`].
    VaultSeal,
    /// [`Kind::VaultStop`].
    VaultStop,
    /// [`Kind::VaultRestart`].
    VaultRestart,
    /// [`Kind::VaultHold`].
    VaultHold(Requests),
    /// [`Kind::VaultSlow`].
    VaultSlow {
        /// Which requests.
        requests: Requests,
        /// Shortest delay of an answer.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// [`Kind::VaultError`].
    VaultError {
        /// Which requests.
        requests: Requests,
        /// The HTTP code.
        status: u16,
        /// `Retry-After`, in whole seconds.
        retry_after: Option<u32>,
        /// Only so many requests, if given.
        count: Option<u64>,
    },
    /// [`Kind::VaultGarbage`].
    VaultGarbage(Requests),
    /// [`Kind::VaultCutBody`].
    VaultCutBody(Requests),
    /// [`Kind::VaultReset`].
    VaultReset(Requests),
    /// [`Kind::VaultRevokeTokens`].
    VaultRevokeTokens,
    /// [`Kind::VaultExpireTokens`].
    VaultExpireTokens,
    /// [`Kind::LoginRefused`].
    LoginRefused,
    /// [`Kind::VaultDisableAuth`].
    VaultDisableAuth,
    /// [`Kind::VaultPolicyRemoved`]: these rights; all of them if empty.
    VaultPolicyRemoved(Vec<Right>),
    /// [`Kind::VaultRotate`], so many times.
    VaultRotate(u32),
    /// [`Kind::VaultDeleteKey`].
    VaultDeleteKey,
    /// [`Kind::VaultRecreateKey`].
    VaultRecreateKey,
    /// [`Kind::VaultSoftDelete`].
    VaultSoftDelete,
    /// [`Kind::VaultMinDecryptionVersion`]; nothing = the latest version.
    VaultMinDecryptionVersion(Option<u32>),
    /// [`Kind::VaultMinEncryptionVersion`].
    VaultMinEncryptionVersion(u32),
    /// [`Kind::VaultTrim`]: `min_available_version`; nothing = the latest version. Raises the other floors as needed.
    VaultTrim(Option<u32>),
    /// [`Kind::VaultQuota`]: requests a second.
    VaultQuota(u32),
    /// [`Kind::VaultStepDown`].
    VaultStepDown,
    /// [`Kind::VaultFreezeLeader`].
    VaultFreezeLeader,
    /// [`Kind::VaultRotateAtOnce`].
    VaultRotateAtOnce,
    /// [`Kind::VaultStandbyLag`].
    VaultStandbyLag,
    /// [`Kind::VaultAuditBlocked`].
    VaultAuditBlocked,
    /// [`Kind::VaultStorageFailed`].
    VaultStorageFailed,
    /// [`Kind::ClockAdvance`].
    ClockAdvance(Duration),

    /// [`Kind::NetPartition`].
    NetPartition(Edge),
    /// [`Kind::NetPartitionOneWay`]: this direction is cut.
    NetPartitionOneWay(Edge, Direction),
    /// [`Kind::NetHold`].
    NetHold(Edge),
    /// [`Kind::NetReset`].
    NetReset(Edge),
    /// [`Kind::NetHalfClose`]: this direction ends.
    NetHalfClose(Edge, Direction),
    /// [`Kind::NetLatency`].
    NetLatency {
        /// Where.
        edge: Edge,
        /// Shortest, one way.
        min: Duration,
        /// Longest, one way.
        max: Duration,
    },
    /// [`Kind::NetBandwidth`]: bytes a second, each way.
    NetBandwidth(Edge, u64),
    /// [`Kind::NetSlowReader`]: bytes a second that the server's end reads.
    NetSlowReader(Edge, u64),

    /// [`Kind::RpcDelay`].
    RpcDelay {
        /// Which RPC; all if nothing.
        method: Option<Rpc>,
        /// Shortest delay.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// [`Kind::RpcHold`].
    RpcHold(Option<Rpc>),
    /// [`Kind::RpcStatus`].
    RpcStatus {
        /// Which RPC; all if nothing.
        method: Option<Rpc>,
        /// The gRPC code, 1 to 16.
        code: u8,
        /// The message.
        message: String,
    },
    /// [`Kind::RpcCut`].
    RpcCut(Option<Rpc>),
    /// [`Kind::RpcSick`].
    RpcSick,
    /// [`Kind::RpcWrongKey`].
    RpcWrongKey,

    /// [`Kind::PluginKill`].
    PluginKill,
    /// [`Kind::PluginRestart`].
    PluginRestart,
    /// [`Kind::PluginStop`].
    PluginStop,
    /// [`Kind::PluginFreeze`].
    PluginFreeze,
    /// [`Kind::PluginStaleSocket`].
    PluginStaleSocket,
    /// [`Kind::CredentialsChanged`].
    CredentialsChanged,
    /// [`Kind::CredentialsRemoved`].
    CredentialsRemoved,
    /// [`Kind::CredentialsDamaged`].
    CredentialsDamaged,
    /// [`Kind::CaChanged`].
    CaChanged,

    /// [`Kind::ApiserverRestart`].
    ApiserverRestart,
    /// [`Kind::ApiserverConfig`].
    ApiserverConfig(Providers),
    /// [`Kind::StoreDamage`]: the object by its number in the load.
    StoreDamage {
        /// What is damaged.
        damage: Damage,
        /// The object's number in the load.
        object: u32,
    },

    /// [`Kind::ClockSkew`]: ahead, or behind if `behind`.
    ClockSkew {
        /// By how much.
        by: Duration,
        /// Whether the clock is behind.
        behind: bool,
    },

    /// [`Kind::RewriteAll`].
    RewriteAll,
    /// [`Kind::Backup`].
    Backup,
    /// [`Kind::Restore`].
    Restore,
}

/// Who makes a fault happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The world: `World::inject`.
    World,
    /// The engine, through the API servers alone.
    Engine,
}

impl Fault {
    /// Its name.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::VaultSeal => Kind::VaultSeal,
            Self::VaultStop => Kind::VaultStop,
            Self::VaultRestart => Kind::VaultRestart,
            Self::VaultHold(_) => Kind::VaultHold,
            Self::VaultSlow { .. } => Kind::VaultSlow,
            Self::VaultError { .. } => Kind::VaultError,
            Self::VaultGarbage(_) => Kind::VaultGarbage,
            Self::VaultCutBody(_) => Kind::VaultCutBody,
            Self::VaultReset(_) => Kind::VaultReset,
            Self::VaultRevokeTokens => Kind::VaultRevokeTokens,
            Self::VaultExpireTokens => Kind::VaultExpireTokens,
            Self::LoginRefused => Kind::LoginRefused,
            Self::VaultDisableAuth => Kind::VaultDisableAuth,
            Self::VaultPolicyRemoved(_) => Kind::VaultPolicyRemoved,
            Self::VaultRotate(_) => Kind::VaultRotate,
            Self::VaultDeleteKey => Kind::VaultDeleteKey,
            Self::VaultRecreateKey => Kind::VaultRecreateKey,
            Self::VaultSoftDelete => Kind::VaultSoftDelete,
            Self::VaultMinDecryptionVersion(_) => Kind::VaultMinDecryptionVersion,
            Self::VaultMinEncryptionVersion(_) => Kind::VaultMinEncryptionVersion,
            Self::VaultTrim(_) => Kind::VaultTrim,
            Self::VaultQuota(_) => Kind::VaultQuota,
            Self::VaultStepDown => Kind::VaultStepDown,
            Self::VaultFreezeLeader => Kind::VaultFreezeLeader,
            Self::VaultRotateAtOnce => Kind::VaultRotateAtOnce,
            Self::VaultStandbyLag => Kind::VaultStandbyLag,
            Self::VaultAuditBlocked => Kind::VaultAuditBlocked,
            Self::VaultStorageFailed => Kind::VaultStorageFailed,
            Self::ClockAdvance(_) => Kind::ClockAdvance,
            Self::NetPartition(_) => Kind::NetPartition,
            Self::NetPartitionOneWay(..) => Kind::NetPartitionOneWay,
            Self::NetHold(_) => Kind::NetHold,
            Self::NetReset(_) => Kind::NetReset,
            Self::NetHalfClose(..) => Kind::NetHalfClose,
            Self::NetLatency { .. } => Kind::NetLatency,
            Self::NetBandwidth(..) => Kind::NetBandwidth,
            Self::NetSlowReader(..) => Kind::NetSlowReader,
            Self::RpcDelay { .. } => Kind::RpcDelay,
            Self::RpcHold(_) => Kind::RpcHold,
            Self::RpcStatus { .. } => Kind::RpcStatus,
            Self::RpcCut(_) => Kind::RpcCut,
            Self::RpcSick => Kind::RpcSick,
            Self::RpcWrongKey => Kind::RpcWrongKey,
            Self::PluginKill => Kind::PluginKill,
            Self::PluginRestart => Kind::PluginRestart,
            Self::PluginStop => Kind::PluginStop,
            Self::PluginFreeze => Kind::PluginFreeze,
            Self::PluginStaleSocket => Kind::PluginStaleSocket,
            Self::CredentialsChanged => Kind::CredentialsChanged,
            Self::CredentialsRemoved => Kind::CredentialsRemoved,
            Self::CredentialsDamaged => Kind::CredentialsDamaged,
            Self::CaChanged => Kind::CaChanged,
            Self::ApiserverRestart => Kind::ApiserverRestart,
            Self::ApiserverConfig(_) => Kind::ApiserverConfig,
            Self::StoreDamage { .. } => Kind::StoreDamage,
            Self::ClockSkew { .. } => Kind::ClockSkew,
            Self::RewriteAll => Kind::RewriteAll,
            Self::Backup => Kind::Backup,
            Self::Restore => Kind::Restore,
        }
    }

    /// Whether it goes on until it is undone. The others happen once.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.kind().lasts()
    }

    /// Who makes it happen.
    #[must_use]
    pub fn maker(&self) -> Maker {
        match self.kind() {
            Kind::ApiserverRestart
            | Kind::ApiserverConfig
            | Kind::StoreDamage
            | Kind::RewriteAll
            | Kind::Backup
            | Kind::Restore => Maker::Engine,
            _ => Maker::World,
        }
    }
}

impl Kind {
    /// All of them, in the order of the documentation.
    pub const ALL: &'static [Self] = &[
        Self::VaultSeal,
        Self::VaultStop,
        Self::VaultRestart,
        Self::VaultHold,
        Self::VaultSlow,
        Self::VaultError,
        Self::VaultGarbage,
        Self::VaultCutBody,
        Self::VaultReset,
        Self::VaultRevokeTokens,
        Self::VaultExpireTokens,
        Self::LoginRefused,
        Self::VaultDisableAuth,
        Self::VaultPolicyRemoved,
        Self::VaultRotate,
        Self::VaultDeleteKey,
        Self::VaultRecreateKey,
        Self::VaultSoftDelete,
        Self::VaultMinDecryptionVersion,
        Self::VaultMinEncryptionVersion,
        Self::VaultTrim,
        Self::VaultQuota,
        Self::VaultStepDown,
        Self::VaultFreezeLeader,
        Self::VaultRotateAtOnce,
        Self::VaultStandbyLag,
        Self::VaultAuditBlocked,
        Self::VaultStorageFailed,
        Self::ClockAdvance,
        Self::NetPartition,
        Self::NetPartitionOneWay,
        Self::NetHold,
        Self::NetReset,
        Self::NetHalfClose,
        Self::NetLatency,
        Self::NetBandwidth,
        Self::NetSlowReader,
        Self::RpcDelay,
        Self::RpcHold,
        Self::RpcStatus,
        Self::RpcCut,
        Self::RpcSick,
        Self::RpcWrongKey,
        Self::PluginKill,
        Self::PluginRestart,
        Self::PluginStop,
        Self::PluginFreeze,
        Self::PluginStaleSocket,
        Self::CredentialsChanged,
        Self::CredentialsRemoved,
        Self::CredentialsDamaged,
        Self::CaChanged,
        Self::ApiserverRestart,
        Self::ApiserverConfig,
        Self::StoreDamage,
        Self::ClockSkew,
        Self::RewriteAll,
        Self::Backup,
        Self::Restore,
    ];

    /// Whether a fault of this kind goes on until it is undone.
    #[must_use]
    pub fn lasts(self) -> bool {
        !matches!(
            self,
            Self::VaultRestart
                | Self::VaultRevokeTokens
                | Self::VaultExpireTokens
                | Self::VaultRotate
                | Self::VaultDeleteKey
                | Self::VaultRecreateKey
                | Self::VaultTrim
                | Self::VaultStepDown
                | Self::VaultRotateAtOnce
                | Self::ClockAdvance
                | Self::NetReset
                | Self::NetHalfClose
                | Self::PluginRestart
                | Self::PluginStaleSocket
                | Self::CredentialsChanged
                | Self::CaChanged
                | Self::ApiserverRestart
                | Self::RewriteAll
                | Self::Backup
                | Self::Restore
        )
    }

    /// Whether it happens on nodes, as opposed to Vault or the store, which all share.
    #[must_use]
    pub fn on_nodes(self) -> bool {
        matches!(
            self,
            Self::NetPartition
                | Self::NetPartitionOneWay
                | Self::NetHold
                | Self::NetReset
                | Self::NetHalfClose
                | Self::NetLatency
                | Self::NetBandwidth
                | Self::NetSlowReader
                | Self::RpcDelay
                | Self::RpcHold
                | Self::RpcStatus
                | Self::RpcCut
                | Self::RpcSick
                | Self::RpcWrongKey
                | Self::PluginKill
                | Self::PluginRestart
                | Self::PluginStop
                | Self::PluginFreeze
                | Self::PluginStaleSocket
                | Self::CredentialsChanged
                | Self::CredentialsRemoved
                | Self::CredentialsDamaged
                | Self::CaChanged
                | Self::ApiserverRestart
                | Self::ApiserverConfig
                | Self::ClockSkew
                | Self::RewriteAll
        )
    }

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> String {
        kebab(&format!("{self:?}"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// `VaultSeal` as `vault-seal`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serde_reads() {
        for kind in Kind::ALL {
            let json = serde_json::to_string(kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.name()));
        }
    }
}

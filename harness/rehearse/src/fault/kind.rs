//! The faults' vocabulary: what can be brought about on the cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fault. What it is made of is in [`super::make`], what undoes it in [`super::cure`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The API refuses the change of the spec.
    SpecRefused,
    /// The Secret that the spec refers to is not there.
    ReferencedSecretMissing,
    /// Every plugin is started with a Transit key's name that there is not.
    TransitKeyMisspelt,
    /// The first node has no plugin.
    PluginMissing,
    /// The first node's plugin has crashed and does not come back.
    PluginCrashLoop,
    /// Vault's policy lacks encrypt; the first API server restarts.
    EncryptDenied,
    /// Vault's policy lacks decrypt; the first API server restarts.
    DecryptDenied,
    /// Vault's policy lacks the key's metadata.
    KeyReadDenied,
    /// The plugins' password is another one now, and their tokens have ended.
    PasswordChanged,
    /// The Transit key is deleted.
    KeyDeleted,
    /// `min_decryption_version` is 2 while data lies under version 1; the first API server restarts.
    MinDecryptionVersionRaised,
    /// OpenBao's soft deletion of the Transit key.
    KeySoftDeleted,
    /// Vault is sealed.
    VaultSealed,
    /// Vault has no leader.
    VaultWithoutLeader,
    /// Vault allows one Transit request a minute; all API servers restart.
    RateLimited,
    /// Vault takes 15 s for every Transit request; the first API server restarts.
    VaultSlow,
    /// The nodes' DNS does not know Vault's name.
    DnsFailure,
    /// Vault's certificate has expired.
    CertificateExpired,
    /// The first node does not reach Vault.
    NodeParted,
    /// The same, after a rotation: that node's plugin does not see the new version.
    RotationUnseen,
    /// Vault's name leads to another Vault with a key of the same name; the first API server restarts.
    AnotherVault,
    /// A Secret's value is damaged as soon as a migration begins.
    ObjectDamaged,
    /// The migrator writes one object a second.
    MigrationSlow,
    /// The second node's plugin dies when the first node writes with the new key.
    WriterPluginKilled,
    /// The first node's configuration loses its KMS providers by hand.
    ConfigEditedByHand,
    /// The plugins are removed from all nodes.
    PluginRemoved,
    /// The newest key's secret is deleted by force.
    KeySecretLost,
    /// The Transit key is another one of the same name, and everything restarts.
    TransitKeyReplaced,
    /// The first node's plugin dies.
    PluginKilled,
    /// The configuration that runs is deleted.
    RunningConfigLost,
    /// The target configuration is deleted while the first node is replaced.
    TargetConfigLostWhileRolling,
    /// Operators without a KMS mode take over.
    OperatorsWithoutKms,
    /// The spec asks for `secretbox`.
    UnknownType,
    /// The operator is set to Unmanaged.
    OperatorUnmanaged,
    /// A secret of somebody else has the label and the next number of a key.
    ForeignKeySecret,
    /// All keys' secrets and both configurations are deleted.
    KeysAndConfigLost,
    /// The annotation `kms-config` of the newest key's secret is removed.
    AnnotationRemoved,
    /// Operators of v2 take over.
    OperatorsOfNextGeneration,
    /// Operators of v1 take over.
    OperatorsOfFormerGeneration,
    /// The newest key's secret is deleted by force, with a changed spec whose preflight check does not end.
    KeySecretLostBeforePreflight,
    /// The first preflight pods crash.
    PreflightPodCrashed,
    /// The spec becomes another one right after its preflight check passed, and that one fails.
    SpecChangedAfterPreflight,
    /// A pod of a node that is gone stays behind as Failed.
    DeadPodLeft,
    /// The operator rolls a new revision out with the same encryption configuration.
    SameConfigRolledAgain,
    /// The type is written again, as it is.
    TypeWrittenAgain,
    /// All nodes lose their power at once: plugins and API servers start together.
    PowerLost,
}

//! Which operators are imitated, and which of their quirks.

/// A generation of the encryption controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// Before KMS: type `KMS` is unknown.
    Generic,
    /// The written procedure's: one socket for all, the plugin deployed by hand.
    V1,
    /// A socket and a sidecar per key, plugin configuration in the spec, preflight checks.
    V2,
}

impl Generation {
    /// Socket of a key's plugin, nothing where there is no KMS mode.
    pub fn endpoint(self, number: u64) -> Option<String> {
        match self {
            Self::Generic => None,
            Self::V1 => Some("unix:///var/run/kmsplugin/kms.sock".to_owned()),
            Self::V2 => Some(format!("unix:///var/run/kmsplugin/kms-{number}.sock")),
        }
    }

    /// Type `KMS` is known.
    pub fn has_kms(self) -> bool {
        self > Self::Generic
    }
}

/// What the real operators do and nobody would expect. All on by default; each can be taken away to see what it hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// `Encrypted` stays True/EncryptionCompleted while data moves from one real key to another.
    pub completed_during_change: bool,
    /// `Encrypted` is True/EncryptionCompleted while identity writes, once the running config was lost (OCP-TRAP-01).
    pub completed_while_plain: bool,
    /// `Encrypted` turns False without a reason when the operator is not managed, though all is encrypted (OCP-TRAP-05).
    pub unmanaged_reads_unencrypted: bool,
    /// Progressing drops to False while a node is out, though the migration runs on.
    pub progressing_drops_while_rolling: bool,
    /// The sync that retries a failed migration still reports the old failure.
    pub retry_reports_old_failure: bool,
    /// Events about a new write key name the old one.
    pub events_name_old_key: bool,
    /// A KMS key whose secret is lost or unreadable loses its provider at the next sync (OCP-TRAP-08).
    pub lost_kms_secret_drops_provider: bool,
    /// A config that would have no provider kills the controller instead of becoming `identity`.
    pub empty_config_panics: bool,
    /// EncryptionKeyCreateFailed ends in `<nil>` (before v2).
    pub create_failure_without_cause: bool,
    /// A crashed preflight pod stands in the way of the next configuration (OCP-TRAP-12).
    pub crashed_preflight_stays: bool,
}

impl Quirks {
    /// As the real operators.
    pub const REAL: Self = Self {
        completed_during_change: true,
        completed_while_plain: true,
        unmanaged_reads_unencrypted: true,
        progressing_drops_while_rolling: true,
        retry_reports_old_failure: true,
        events_name_old_key: true,
        lost_kms_secret_drops_provider: true,
        empty_config_panics: true,
        create_failure_without_cause: true,
        crashed_preflight_stays: true,
    };
}

impl Default for Quirks {
    fn default() -> Self {
        Self::REAL
    }
}

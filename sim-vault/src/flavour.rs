//! The two products, as a table of differences. Everything not named here is the same in both.

/// Which server is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// OpenBao 2.7.2.
    #[default]
    OpenBao,
    /// HashiCorp Vault 1.19.0, community edition.
    Vault,
}

impl Flavour {
    /// True for OpenBao.
    pub fn is_openbao(self) -> bool {
        self == Self::OpenBao
    }

    /// True for HashiCorp Vault.
    pub fn is_vault(self) -> bool {
        self == Self::Vault
    }

    /// The version that `sys/health` reports.
    pub fn version(self) -> &'static str {
        match self {
            Self::OpenBao => "2.7.2",
            Self::Vault => "1.19.0",
        }
    }

    /// What builtin plugins report as their version.
    pub(crate) fn builtin_version(self) -> &'static str {
        match self {
            Self::OpenBao => "v2.7.2+builtin.bao",
            Self::Vault => "v1.19.0+builtin.vault",
        }
    }

    /// The product's name in its own messages.
    pub(crate) fn product(self) -> &'static str {
        match self {
            Self::OpenBao => "OpenBao",
            Self::Vault => "Vault",
        }
    }

    /// The refusal of a token that is dead, unknown or malformed. Vault's text tells it from every other refusal, OpenBao's does not.
    pub(crate) fn dead_token(self) -> &'static str {
        match self {
            Self::OpenBao => "permission denied",
            Self::Vault => "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n",
        }
    }

    /// Prefix of service tokens, and how many random characters follow.
    pub(crate) fn service_token(self) -> (&'static str, usize) {
        match self {
            Self::OpenBao => ("s.", 24),
            Self::Vault => ("hvs.", 91),
        }
    }

    /// Prefix of batch tokens, and how many random characters follow.
    pub(crate) fn batch_token(self) -> (&'static str, usize) {
        match self {
            Self::OpenBao => ("b.", 136),
            Self::Vault => ("hvb.", 148),
        }
    }
}

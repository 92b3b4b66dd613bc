//! The ways to log in that the options can name.

use super::error::{Bad, quoted};

/// For errors about a missing or wrong method.
pub const FIX: &str = "write -auth-method=approle, userpass, token, jwt or cert";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Method {
    AppRole,
    Userpass,
    Token,
    Jwt,
    Cert,
    Kubernetes,
}

impl Method {
    pub const ALL: [Self; 6] = [
        Self::AppRole,
        Self::Userpass,
        Self::Token,
        Self::Jwt,
        Self::Cert,
        Self::Kubernetes,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::AppRole => "approle",
            Self::Userpass => "userpass",
            Self::Token => "token",
            Self::Jwt => "jwt",
            Self::Cert => "cert",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// Its options that give a credential. One that is there says that the method is meant.
    pub fn credentials(self) -> &'static [&'static str] {
        match self {
            Self::AppRole => &[
                "approle-role-id",
                "approle-role-id-path",
                "approle-secret-id",
                "approle-secret-id-path",
            ],
            Self::Userpass => &[
                "userpass-username",
                "userpass-username-path",
                "userpass-password",
                "userpass-password-path",
            ],
            Self::Token => &["token", "token-path"],
            Self::Jwt => &["jwt-path"],
            Self::Cert => &["cert-role"],
            Self::Kubernetes => &["kubernetes-role", "kubernetes-token-path"],
        }
    }

    /// Its other options, which do nothing with another method.
    pub fn settings(self) -> &'static [&'static str] {
        match self {
            Self::AppRole => &["approle-mount", "approle-secret-id-wrapped"],
            Self::Userpass => &["userpass-mount"],
            Self::Token => &[],
            Self::Jwt => &["jwt-mount", "jwt-role"],
            Self::Cert => &["cert-mount"],
            Self::Kubernetes => &["kubernetes-mount", "serves-another-cluster"],
        }
    }

    pub fn own_mount(self) -> Option<&'static str> {
        self.settings()
            .first()
            .copied()
            .filter(|name| name.ends_with("-mount"))
    }

    pub fn parse(value: &str) -> Result<Self, Bad> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == value)
            .ok_or_else(|| {
                Bad::new(
                    format!("{} is no method of this plugin", quoted(value)),
                    FIX,
                )
            })
    }
}

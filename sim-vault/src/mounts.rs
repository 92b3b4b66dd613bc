//! The mount table: which engine answers below which path.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    Core, Flavour,
    auth::{approle::Approle, cert::Cert, jwt::Jwt, kubernetes::Kubernetes, userpass::Userpass},
    lockout::LockoutConfig,
    route::Endpoint,
    transit::Transit,
};

/// Stays with a mount when it moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MountId(pub u64);

/// An engine and its data.
#[derive(Clone)]
pub(crate) enum Backend {
    System,
    Identity,
    Token(crate::auth::token::TokenRoles),
    /// What is in it belongs to the tokens.
    Cubbyhole,
    Kv(BTreeMap<String, Map<String, Value>>),
    Kv2(crate::kv2::Secrets),
    Transit(Box<Transit>),
    Userpass(Userpass),
    Approle(Approle),
    Jwt(Jwt),
    Kubernetes(Kubernetes),
    Cert(Cert),
}

impl Backend {
    fn new(kind: &str) -> Option<Self> {
        Some(match kind {
            "system" => Self::System,
            "identity" => Self::Identity,
            "token" => Self::Token(crate::auth::token::TokenRoles::default()),
            "cubbyhole" => Self::Cubbyhole,
            "kv" | "generic" => Self::Kv(BTreeMap::new()),
            "kv-v2" => Self::Kv2(crate::kv2::Secrets::default()),
            "transit" => Self::Transit(Box::default()),
            "userpass" => Self::Userpass(Userpass::default()),
            "approle" => Self::Approle(Approle::default()),
            "jwt" | "oidc" => Self::Jwt(Jwt::default()),
            "kubernetes" => Self::Kubernetes(Kubernetes::default()),
            "cert" => Self::Cert(Cert::default()),
            _ => return None,
        })
    }

    /// Its endpoints.
    pub(crate) fn table(&self) -> &'static [Endpoint] {
        match self {
            Self::System => crate::sys::TABLE,
            Self::Identity => crate::sys::identity::TABLE,
            Self::Token(_) => crate::auth::token::TABLE,
            Self::Cubbyhole => crate::kv::CUBBYHOLE,
            Self::Kv(_) => crate::kv::TABLE,
            Self::Kv2(_) => crate::kv2::TABLE,
            Self::Transit(_) => crate::transit::TABLE,
            Self::Userpass(_) => crate::auth::userpass::TABLE,
            Self::Approle(_) => crate::auth::approle::TABLE,
            Self::Jwt(_) => crate::auth::jwt::TABLE,
            Self::Kubernetes(_) => crate::auth::kubernetes::TABLE,
            Self::Cert(_) => crate::auth::cert::TABLE,
        }
    }

    /// Whether failed logins are counted.
    pub(crate) fn locks_users(&self) -> bool {
        matches!(self, Self::Userpass(_) | Self::Approle(_))
    }

    /// Paths that need no token.
    pub(crate) fn is_login(&self, path: &str) -> bool {
        match self {
            Self::Userpass(_) => path.starts_with("login/"),
            Self::Approle(_) | Self::Jwt(_) | Self::Kubernetes(_) | Self::Cert(_) => {
                path == "login"
            }
            Self::System => crate::sys::is_open(path),
            _ => false,
        }
    }
}

/// One row of the mount table.
#[derive(Clone)]
pub(crate) struct Mount {
    pub id: MountId,
    pub ns: String,
    /// With a slash at the end; auth methods begin with `auth/`.
    pub path: String,
    pub kind: String,
    pub accessor: String,
    pub uuid: String,
    pub description: String,
    pub options: Option<Map<String, Value>>,
    pub default_ttl: Duration,
    pub max_ttl: Duration,
    pub token_type: Option<String>,
    pub lockout: LockoutConfig,
    /// Fields of the lockout that were tuned show in `tune`.
    pub lockout_tuned: Option<LockoutConfig>,
    pub backend: Backend,
}

/// 32 days: both servers' default and maximum lease.
pub(crate) const SYSTEM_TTL: Duration = Duration::from_secs(2_764_800);

impl Mount {
    pub(crate) fn is_auth(&self) -> bool {
        self.path.starts_with("auth/")
    }

    pub(crate) fn default_lease(&self) -> Duration {
        if self.default_ttl.is_zero() {
            SYSTEM_TTL
        } else {
            self.default_ttl
        }
    }

    pub(crate) fn max_lease(&self) -> Duration {
        if self.max_ttl.is_zero() {
            SYSTEM_TTL
        } else {
            self.max_ttl
        }
    }

    /// Its row in `sys/mounts`, `sys/auth` and `sys/internal/ui/mounts`.
    pub(crate) fn describe(&self, core: &Core) -> Value {
        let builtin = matches!(
            self.kind.as_str(),
            "system" | "identity" | "cubbyhole" | "token"
        );
        let kind = match (&self.backend, self.ns.is_empty()) {
            (
                Backend::System | Backend::Identity | Backend::Cubbyhole | Backend::Token(_),
                false,
            ) => {
                format!("ns_{}", self.kind)
            }
            (Backend::Kv2(_), _) => "kv".to_owned(),
            _ => self.kind.clone(),
        };
        let mut config = json!({
            "default_lease_ttl": self.default_ttl.as_secs(),
            "force_no_cache": false,
            "max_lease_ttl": self.max_ttl.as_secs(),
        });
        if self.is_auth() {
            config["token_type"] = self
                .token_type
                .as_deref()
                .unwrap_or("default-service")
                .into();
        }
        if let Some(said) = self.lockout_tuned {
            config["user_lockout_config"] = json!({
                "user_lockout_counter_reset_duration": said.reset.as_secs(),
                "user_lockout_disable": said.disabled,
                "user_lockout_duration": said.duration.as_secs(),
                "user_lockout_threshold": said.threshold,
            });
        }
        match self.kind.as_str() {
            "system" => config["passthrough_request_headers"] = json!(["Accept"]),
            "identity" => config["passthrough_request_headers"] = json!(["Authorization"]),
            _ => {}
        }
        let mut row = json!({
            "accessor": self.accessor,
            "config": config,
            "description": self.description,
            "external_entropy_access": false,
            "local": self.kind == "cubbyhole",
            "options": self.options,
            "plugin_version": "",
            "running_plugin_version": match (kind.as_str(), core.flavour) {
                ("kv", Flavour::Vault) => "v0.21.0+builtin",
                ("jwt" | "oidc", Flavour::Vault) => "v0.23.0+builtin",
                (_, flavour) => flavour.builtin_version(),
            },
            "running_sha256": "",
            "seal_wrap": self.kind == "system",
            "type": kind,
            "uuid": self.uuid,
        });
        if !builtin {
            row["deprecation_status"] = "supported".into();
        }
        row
    }
}

impl Core {
    /// Mounts an engine; `None` if its type is unknown.
    pub(crate) fn mount_engine(
        &mut self,
        ns: &str,
        path: &str,
        kind: &str,
        options: Option<Map<String, Value>>,
    ) -> Option<MountId> {
        let backend = Backend::new(kind)?;
        let id = MountId(self.next_mount);
        self.next_mount += 1;
        let prefix = if path.starts_with("auth/") {
            "auth_"
        } else {
            ""
        };
        let family = if kind == "kv-v2" { "kv" } else { kind };
        let accessor = format!("{prefix}{family}_{}", self.hex(4));
        let builtin = matches!(kind, "system" | "identity" | "cubbyhole" | "token");
        let description = match kind {
            "system" => "system endpoints used for control, policy and debugging",
            "identity" => "identity store",
            "cubbyhole" => "per-token private secret storage",
            "token" => "token based credentials",
            "kv-v2" => "key/value secret storage",
            _ => "",
        };
        let mount = Mount {
            id,
            ns: ns.to_owned(),
            path: path.to_owned(),
            kind: kind.to_owned(),
            accessor,
            uuid: self.uuid(),
            description: description.to_owned(),
            options: if kind == "kv-v2" {
                Some(Map::from_iter([("version".to_owned(), "2".into())]))
            } else if builtin {
                None
            } else {
                Some(options.unwrap_or_default())
            },
            default_ttl: Duration::ZERO,
            max_ttl: Duration::ZERO,
            token_type: (kind == "token" && !ns.is_empty()).then(|| "default".to_owned()),
            lockout: LockoutConfig::default(),
            lockout_tuned: None,
            backend,
        };
        self.routes.insert(format!("{ns}{path}"), id);
        self.mounts.insert(id, mount);
        Some(id)
    }

    /// Removes a mount with its data, and revokes what it issued.
    pub(crate) fn unmount(&mut self, id: MountId) {
        let Some(mount) = self.mounts.remove(&id) else {
            return;
        };
        self.routes.remove(&format!("{}{}", mount.ns, mount.path));
        self.tokens.revoke_where(|t| t.mount == id);
    }

    /// The mount that answers for a path below a namespace: the longest that fits.
    pub(crate) fn route(&self, ns: &str, path: &str) -> Option<&Mount> {
        let full = if ns.is_empty() {
            Cow::Borrowed(path)
        } else {
            Cow::Owned(format!("{ns}{path}"))
        };
        let mut end = full.len();
        loop {
            let slash = match full.get(..end)?.rfind('/') {
                Some(slash) if slash >= ns.len() => slash,
                // the mount itself, without the slash
                _ => return self.mounts.get(self.routes.get(&format!("{full}/"))?),
            };
            if let Some(id) = self.routes.get(full.get(..=slash)?) {
                return self.mounts.get(id);
            }
            end = slash;
        }
    }

    /// The mount exactly at a path, with or without a slash at the end.
    pub(crate) fn mount_at(&self, ns: &str, path: &str) -> Option<&Mount> {
        let key = format!("{ns}{}/", path.trim_end_matches('/'));
        self.routes.get(&key).and_then(|id| self.mounts.get(id))
    }
}

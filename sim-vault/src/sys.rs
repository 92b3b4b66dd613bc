//! The system endpoints.

use crate::{
    Core,
    call::{Call, Op},
    fields::{Field, Kind},
    lockout::LockoutConfig,
    reply::Refused,
    route::Endpoint,
};

pub(crate) mod health;
pub(crate) mod help;
pub(crate) mod identity;
mod leases;
mod mounts;
mod namespaces;
mod policies;
pub(crate) mod quotas;
pub(crate) mod raft;
pub(crate) mod seal;
pub(crate) mod sudo;
mod wrapping;

const MOUNT: &[Field] = &[
    ("type", Kind::Text),
    ("description", Kind::Text),
    ("config", Kind::Object),
    ("options", Kind::Pairs),
    ("local", Kind::Bool),
    ("seal_wrap", Kind::Bool),
    ("external_entropy_access", Kind::Bool),
    ("plugin_name", Kind::Text),
    ("plugin_version", Kind::Text),
];
const TUNE: &[Field] = &[
    ("default_lease_ttl", Kind::Text),
    ("max_lease_ttl", Kind::Text),
    ("description", Kind::Text),
    ("token_type", Kind::Text),
    ("user_lockout_config", Kind::Object),
    ("options", Kind::Pairs),
];
const POLICY: &[Field] = &[
    ("policy", Kind::Text),
    ("name", Kind::Text),
    ("ttl", Kind::Seconds),
    ("expiration", Kind::Text),
    ("cas", Kind::Int),
    ("cas_required", Kind::Bool),
];
const PATHS: &[Field] = &[
    ("paths", Kind::Texts),
    ("path", Kind::Texts),
    ("token", Kind::Text),
    ("accessor", Kind::Text),
];

const PREFIX: &[Field] = &[("prefix", Kind::Text), ("sync", Kind::Bool)];
/// What is forced is never waited for.
const FORCED: &[Field] = &[PREFIX[0]];

/// Revocation in bulk. OpenBao has it below `leases/` alone.
const fn bulk_revocation(pattern: &'static str, fields: &'static [Field]) -> Endpoint {
    Endpoint {
        pattern,
        fields,
        ops: &[(Op::Update, leases::revoke_prefix)],
        exists: None,
    }
}

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "mounts",
        fields: &[],
        ops: &[(Op::Read, mounts::list)],
        exists: None,
    },
    Endpoint {
        pattern: "mounts/{path:any}",
        fields: MOUNT_AND_TUNE,
        ops: &[
            (Op::Update, mounts::write),
            (Op::Read, mounts::read),
            (Op::Delete, mounts::delete),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "auth",
        fields: &[],
        ops: &[(Op::Read, mounts::list)],
        exists: None,
    },
    Endpoint {
        pattern: "auth/{path:any}",
        fields: MOUNT_AND_TUNE,
        ops: &[
            (Op::Update, mounts::write),
            (Op::Read, mounts::read),
            (Op::Delete, mounts::delete),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "remount",
        fields: &[("from", Kind::Text), ("to", Kind::Text)],
        ops: &[(Op::Update, mounts::remount)],
        exists: None,
    },
    Endpoint {
        pattern: "internal/ui/mounts/{path:any}",
        fields: &[],
        ops: &[(Op::Read, mounts::ui)],
        exists: None,
    },
    Endpoint {
        pattern: "policies/acl?",
        fields: &[],
        ops: &[(Op::List, policies::list)],
        exists: None,
    },
    Endpoint {
        pattern: "policy?",
        fields: &[],
        ops: &[(Op::List, policies::list), (Op::Read, policies::list)],
        exists: None,
    },
    Endpoint {
        pattern: "policies/acl/{policy_name:any}",
        fields: POLICY,
        ops: &[
            (Op::Update, policies::write),
            (Op::Read, policies::read),
            (Op::Delete, policies::delete),
            (Op::List, policies::list),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "policy/{policy_name:any}",
        fields: POLICY,
        ops: &[
            (Op::Update, policies::write),
            (Op::Read, policies::read),
            (Op::Delete, policies::delete),
            (Op::List, policies::list),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "capabilities-self",
        fields: PATHS,
        ops: &[(Op::Update, policies::capabilities)],
        exists: None,
    },
    Endpoint {
        pattern: "capabilities",
        fields: PATHS,
        ops: &[(Op::Update, policies::capabilities)],
        exists: None,
    },
    Endpoint {
        pattern: "capabilities-accessor",
        fields: PATHS,
        ops: &[(Op::Update, policies::capabilities)],
        exists: None,
    },
    Endpoint {
        pattern: "locked-users?",
        fields: &[],
        ops: &[(Op::Read, mounts::locked_users)],
        exists: None,
    },
    Endpoint {
        pattern: "locked-users/{mount_accessor:seg}/unlock/{alias_identifier:any}",
        fields: &[],
        ops: &[(Op::Update, mounts::unlock_user)],
        exists: None,
    },
    Endpoint {
        pattern: "namespaces?",
        fields: &[],
        ops: &[(Op::List, namespaces::list)],
        exists: None,
    },
    Endpoint {
        pattern: "namespaces/api-lock/lock",
        fields: &[],
        ops: &[(Op::Update, namespaces::lock)],
        exists: None,
    },
    Endpoint {
        pattern: "namespaces/api-lock/unlock",
        fields: &[("unlock_key", Kind::Text)],
        ops: &[(Op::Update, namespaces::unlock)],
        exists: None,
    },
    Endpoint {
        pattern: "namespaces/{path:any}",
        fields: &[("custom_metadata", Kind::Pairs)],
        ops: &[
            (Op::Update, namespaces::create),
            (Op::Read, namespaces::read),
            (Op::Delete, namespaces::delete),
        ],
        exists: None,
    },
    bulk_revocation("leases/revoke-prefix/{prefix:any}", PREFIX),
    bulk_revocation("leases/revoke-force/{prefix:any}", FORCED),
    bulk_revocation("revoke-prefix/{prefix:any}", PREFIX),
    bulk_revocation("revoke-force/{prefix:any}", FORCED),
    Endpoint {
        pattern: "wrapping/unwrap",
        fields: &[("token", Kind::Text)],
        ops: &[(Op::Update, wrapping::unwrap)],
        exists: None,
    },
    Endpoint {
        pattern: "wrapping/lookup",
        fields: &[("token", Kind::Text)],
        ops: &[
            (Op::Update, wrapping::look_up),
            (Op::Read, wrapping::look_up),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "wrapping/rewrap",
        fields: &[("token", Kind::Text)],
        ops: &[(Op::Update, wrapping::rewrap)],
        exists: None,
    },
    Endpoint {
        pattern: "wrapping/wrap",
        fields: &[("*", Kind::Any)],
        ops: &[(Op::Update, wrapping::wrap)],
        exists: None,
    },
    Endpoint {
        pattern: "quotas/config",
        fields: &[
            ("enable_rate_limit_response_headers", Kind::Bool),
            ("enable_rate_limit_audit_logging", Kind::Bool),
            ("rate_limit_exempt_paths", Kind::Texts),
        ],
        ops: &[
            (Op::Read, quotas::read_config),
            (Op::Update, quotas::write_config),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "quotas/rate-limit/{name}",
        fields: &[
            ("rate", Kind::Any),
            ("interval", Kind::Any),
            ("block_interval", Kind::Any),
            ("path", Kind::Text),
            ("role", Kind::Text),
            ("type", Kind::Text),
            ("inheritable", Kind::Bool),
        ],
        ops: &[
            (Op::Read, quotas::read),
            (Op::Update, quotas::write),
            (Op::Delete, quotas::delete),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "quotas/rate-limit?",
        fields: &[],
        ops: &[(Op::List, quotas::list)],
        exists: None,
    },
    Endpoint {
        pattern: "quotas/lease-count/{name}",
        fields: &[("max_leases", Kind::Int)],
        ops: &[
            (Op::Read, quotas::leases),
            (Op::Update, quotas::leases),
            (Op::Delete, quotas::leases),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "audit/{path:any}",
        fields: &[
            ("type", Kind::Text),
            ("description", Kind::Text),
            ("options", Kind::Pairs),
            ("local", Kind::Bool),
        ],
        // the devices take whatever comes; [`Core::set_audit_broken`] says when they do not
        ops: &[(Op::Update, |_, _| Ok(None)), (Op::Delete, |_, _| Ok(None))],
        exists: None,
    },
    Endpoint {
        pattern: "ha-status",
        fields: &[],
        ops: &[(Op::Read, raft::ha_status)],
        exists: None,
    },
    Endpoint {
        pattern: "storage/raft/configuration",
        fields: &[],
        ops: &[
            (Op::Read, raft::configuration),
            (Op::Update, raft::configuration_by_post),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "storage/raft/autopilot/state",
        fields: &[],
        ops: &[(Op::Read, raft::autopilot_state)],
        exists: None,
    },
    Endpoint {
        pattern: "storage/raft/autopilot/configuration",
        fields: raft::AUTOPILOT,
        ops: &[
            (Op::Read, raft::read_autopilot),
            (Op::Update, raft::write_autopilot),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "license/status",
        fields: &[],
        ops: &[(Op::Read, crate::enterprise::licence)],
        exists: None,
    },
];

/// Mounting and tuning share a path: `mounts/x` and `mounts/x/tune`.
const MOUNT_AND_TUNE: &[Field] = &[
    MOUNT[0], MOUNT[1], MOUNT[2], MOUNT[3], MOUNT[4], MOUNT[5], MOUNT[6], MOUNT[7], MOUNT[8],
    TUNE[0], TUNE[1], TUNE[3], TUNE[4],
];

/// System paths that need no token.
pub(crate) fn is_open(path: &str) -> bool {
    path.starts_with("internal/ui/mounts") || path == "wrapping/lookup"
}

/// The refusal of what only the paid edition has; OpenBao does not know such paths at all.
pub(crate) fn enterprise_only(core: &Core) -> Refused {
    if core.flavour.is_vault() && !core.is_enterprise() {
        Refused::Plain(404, "enterprise-only feature".to_owned())
    } else {
        Refused::unsupported_path()
    }
}

impl Core {
    /// Accessor and lockout limits of the mount that a login goes to.
    pub(crate) fn lockout_of(&self, call: &Call) -> (String, LockoutConfig) {
        self.mount(call.mount)
            .map(|m| (m.accessor.clone(), m.lockout))
            .unwrap_or_default()
    }
}

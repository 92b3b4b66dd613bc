//! The kubernetes method. The TokenReview of a cluster is not asked: what it would say is part of the model's state
//! ([`TokenReview`]), since the model does no I/O.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Login, TokenParams,
    jwt::claims,
    roles::{self, Roles},
};
use crate::{
    Core, TokenReview,
    acl::globbed,
    call::{Call, Op},
    duration,
    fields::{Args, Field, Kind},
    mounts::{Backend, MountId},
    pipeline::within,
    reply::{Outcome, Refused, done, ok},
    route::Endpoint,
    token::Entry,
};

/// Configuration and roles of one mount.
#[derive(Clone, Default)]
pub(crate) struct Kubernetes {
    host: String,
    roles: Roles<Role>,
}

/// Which service accounts may log in.
#[derive(Clone, Default)]
pub(crate) struct Role {
    names: Vec<String>,
    namespaces: Vec<String>,
    /// Labels that a namespace may have instead of one of the names. Kept and shown only: no namespace here has labels.
    selector: String,
    audience: String,
    alias_source: String,
    params: TokenParams,
}

const ROLE: [Field; 21] = roles::fields_with_old([
    ("bound_service_account_names", Kind::Texts),
    ("bound_service_account_namespaces", Kind::Texts),
    ("bound_service_account_namespace_selector", Kind::Text),
    ("audience", Kind::Text),
    ("alias_name_source", Kind::Text),
]);

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "login",
        fields: &[("role", Kind::Text), ("jwt", Kind::Text)],
        ops: &[(Op::Update, login)],
        exists: None,
    },
    Endpoint {
        pattern: "config",
        fields: &[
            ("kubernetes_host", Kind::Text),
            ("kubernetes_ca_cert", Kind::Text),
            ("token_reviewer_jwt", Kind::Text),
            ("disable_local_ca_jwt", Kind::Bool),
            ("pem_keys", Kind::Texts),
            ("issuer", Kind::Text),
            ("disable_iss_validation", Kind::Bool),
        ],
        ops: &[(Op::Update, configure), (Op::Read, read_config)],
        exists: None,
    },
    Endpoint {
        pattern: "role?",
        fields: &[],
        ops: &[(Op::List, roles::list::<Role>)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{name}",
        fields: &ROLE,
        ops: &[
            (Op::Create, roles::write::<Role>),
            (Op::Update, roles::write::<Role>),
            (Op::Read, roles::read::<Role>),
            (Op::Delete, roles::delete::<Role>),
        ],
        exists: Some(roles::exists::<Role>),
    },
];

fn method<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Kubernetes, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Kubernetes(method)) => Ok(method),
        _ => Err(Refused::unsupported_path()),
    }
}

fn configure(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    if args.text("kubernetes_host").is_empty() {
        return Err(Refused::bad("no host provided"));
    }
    let no_ca = args.flag("disable_local_ca_jwt") && args.text("kubernetes_ca_cert").is_empty();
    if no_ca && core.flavour.is_openbao() {
        return Err(Refused::bad(
            "kubernetes_ca_cert must be given when disable_local_ca_jwt is true",
        ));
    }
    method(core, call)?.host = args.text("kubernetes_host").to_owned();
    done()
}

fn read_config(core: &mut Core, call: &Call) -> Outcome {
    let host = method(core, call)?.host.clone();
    if host.is_empty() {
        return Err(Refused::nothing());
    }
    ok(json!({ "kubernetes_host": host, "disable_local_ca_jwt": true }))
}

impl roles::Role for Role {
    const NAME: &'static str = "name";

    fn all(backend: &Backend) -> Option<&Roles<Self>> {
        match backend {
            Backend::Kubernetes(method) => Some(&method.roles),
            _ => None,
        }
    }

    fn all_mut(backend: &mut Backend) -> Option<&mut Roles<Self>> {
        match backend {
            Backend::Kubernetes(method) => Some(&mut method.roles),
            _ => None,
        }
    }

    fn fresh(_: &mut Core) -> Self {
        Self {
            alias_source: "serviceaccount_uid".to_owned(),
            ..Self::default()
        }
    }

    fn params(&mut self) -> &mut TokenParams {
        &mut self.params
    }

    fn update(&mut self, _: &Core, args: &Args, new: bool) -> Result<Vec<String>, Refused> {
        self.params.update(args, Self::OLD)?;
        let (params, most) = (&self.params, crate::mounts::SYSTEM_TTL);
        if params.period > most {
            return Err(Refused::bad(format!(
                "token period of '{:?}' is greater than the backend's maximum lease TTL of '{:?}'",
                duration::long(params.period),
                duration::long(most)
            )));
        }
        if !params.max_ttl.is_zero() && params.ttl > params.max_ttl {
            return Err(Refused::bad(
                "token ttl should not be greater than token max ttl",
            ));
        }
        let mut warnings = Vec::new();
        if params.max_ttl > most {
            warnings.push("max_ttl is greater than the system or backend mount's maximum TTL value; issued tokens' max TTL value will be truncated".to_owned());
        }
        if let Some(names) = args.opt_texts("bound_service_account_names") {
            self.names = names;
        }
        if let Some(namespaces) = args.opt_texts("bound_service_account_namespaces") {
            self.namespaces = namespaces;
        }
        if let Some(selector) = args.opt_text("bound_service_account_namespace_selector") {
            selector.clone_into(&mut self.selector);
        }
        for (list, name) in [(&self.names, "names"), (&self.namespaces, "namespaces")] {
            let field = format!("\"bound_service_account_{name}\"");
            let selected = name == "namespaces" && !self.selector.is_empty();
            if list.is_empty() && !selected {
                let rest = if name == "namespaces" {
                    " if \"bound_service_account_namespace_selector\" is not set"
                } else {
                    ""
                };
                return Err(Refused::bad(format!("{field} can not be empty{rest}")));
            }
            if list.len() > 1 && list.iter().any(|l| l == "*") {
                return Err(Refused::bad("can not mix \"*\" with values"));
            }
        }
        if let Some(audience) = args.opt_text("audience") {
            audience.clone_into(&mut self.audience);
        }
        let source = args.opt_text("alias_name_source");
        // Empty means the default to a new role only.
        if let Some(source) = source.filter(|source| !new || !source.is_empty()) {
            if !matches!(source, "serviceaccount_uid" | "serviceaccount_name") {
                return Err(Refused::bad(
                    "invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name",
                ));
            }
            source.clone_into(&mut self.alias_source);
        }
        Ok(warnings)
    }

    fn describe(&self, _: &Core) -> Value {
        let mut shown = json!({
            "alias_name_source": self.alias_source,
            "bound_service_account_names": self.names,
            "bound_service_account_namespace_selector": self.selector,
            "bound_service_account_namespaces": self.namespaces,
        });
        if !self.audience.is_empty() {
            shown["audience"] = self.audience.as_str().into();
        }
        shown
    }
}

fn login(core: &mut Core, call: &Call) -> Outcome {
    let (now, review) = (core.unix(), core.token_review);
    let name = call.args.text("role").to_owned();
    let token = call.args.text("jwt");
    if name.is_empty() {
        return Err(Refused::bad("missing role"));
    }
    if token.is_empty() {
        return Err(Refused::bad("missing jwt"));
    }
    let Some(role) = method(core, call)?.roles.get(&name).cloned() else {
        return Err(Refused::bad(format!("invalid role name {name:?}")));
    };
    if !within(call.peer, &role.params.bound_cidrs) {
        return Err(Refused::denied());
    }
    if method(core, call)?.host.is_empty() {
        return Err(Refused::Plain(
            500,
            "could not load backend configuration".to_owned(),
        ));
    }
    let forbidden = |text: &str| Refused::Plain(403, text.to_owned());
    let Some((_, claims, _)) = claims::split(token) else {
        return Err(Refused::denied());
    };
    if !role.audience.is_empty() {
        claims::check_audience(&claims, std::slice::from_ref(&role.audience)).map_err(forbidden)?;
    }
    claims::check_times(&claims, now).map_err(forbidden)?;
    if claims.get("aud").is_some_and(Value::is_string) {
        return Err(Refused::Plain(
            500,
            "decoding failed due to the following error(s):\n\n'aud' source data must be an array or slice, got string".to_owned(),
        ));
    }
    let account = |pointer: &str| {
        claims
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let namespace = account("/kubernetes.io/namespace");
    let (service_account, uid) = (
        account("/kubernetes.io/serviceaccount/name"),
        account("/kubernetes.io/serviceaccount/uid"),
    );
    let among = |list: &[String], name: &str| list.iter().any(|l| globbed(l, name));
    if !among(&role.names, &service_account) {
        return Err(forbidden("service account name not authorized"));
    }
    if !among(&role.namespaces, &namespace) {
        return Err(forbidden("namespace not authorized"));
    }
    if review != TokenReview::Agrees {
        return Err(Refused::denied());
    }
    let metadata = BTreeMap::from([
        ("role".to_owned(), name.clone()),
        ("service_account_name".to_owned(), service_account.clone()),
        ("service_account_namespace".to_owned(), namespace.clone()),
        ("service_account_secret_name".to_owned(), String::new()),
        ("service_account_uid".to_owned(), uid.clone()),
    ]);
    let alias = match role.alias_source.as_str() {
        "serviceaccount_name" => format!("{namespace}/{service_account}"),
        _ => uid,
    };
    let display_name = format!("{namespace}-{service_account}");
    core.issue(
        call,
        Login {
            params: &role.params,
            alias: &alias,
            owner: &name,
            display_name: &display_name,
            metadata,
            alias_keeps: true,
        },
    )
}

/// OpenBao asks the cluster again, Vault does not.
pub(crate) fn renewal(
    core: &Core,
    mount: MountId,
    entry: &Entry,
) -> Result<Option<TokenParams>, Refused> {
    let Some(role) = roles::behind::<Role>(core, mount, entry) else {
        return Ok(None);
    };
    if core.flavour.is_openbao() && core.token_review != TokenReview::Agrees {
        let text = format!(
            "failed to renew entry: failed to validate token and secret still exist for {:?} during renewal: permission denied",
            entry.owner
        );
        return Err(Refused::Wrapped(403, text));
    }
    Ok(Some(role.params))
}

//! The kubernetes method. The TokenReview of a cluster is not asked: what it would say is part of the model's state
//! ([`TokenReview`]), since the model does no I/O.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Login, TOKEN_FIELDS, TokenParams, jwt};
use crate::{
    Core, TokenReview,
    call::{Call, Op},
    fields::{Field, Kind},
    mounts::{Backend, MountId},
    reply::{Outcome, Refused, Reply, done, ok},
    route::Endpoint,
    token::Entry,
};

/// Configuration and roles of one mount.
#[derive(Default)]
pub(crate) struct Kubernetes {
    host: String,
    roles: BTreeMap<String, Role>,
}

/// Which service accounts may log in.
#[derive(Clone, Default)]
pub(crate) struct Role {
    names: Vec<String>,
    namespaces: Vec<String>,
    audience: String,
    params: TokenParams,
}

const ROLE: [Field; 15] = {
    let t = TOKEN_FIELDS;
    [
        t[0],
        t[1],
        t[2],
        t[3],
        t[4],
        t[5],
        t[6],
        t[7],
        t[8],
        t[9],
        ("bound_service_account_names", Kind::Texts),
        ("bound_service_account_namespaces", Kind::Texts),
        ("audience", Kind::Text),
        ("alias_name_source", Kind::Text),
        ("policies", Kind::Texts),
    ]
};

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "login?",
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
        ops: &[(Op::List, list)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{name}",
        fields: &ROLE,
        ops: &[
            (Op::Create, write),
            (Op::Update, write),
            (Op::Read, read),
            (Op::Delete, delete),
        ],
        exists: Some(|core, call| {
            Ok(method(core, call)?
                .roles
                .contains_key(call.args.text("name")))
        }),
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

fn list(core: &mut Core, call: &Call) -> Outcome {
    Reply::keys(method(core, call)?.roles.keys().cloned().collect())
}

fn write(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let roles = &mut method(core, call)?.roles;
    let name = args.text("name").to_owned();
    let mut role = roles.get(&name).cloned().unwrap_or_default();
    if let Some(names) = args.opt_texts("bound_service_account_names") {
        role.names = names;
    }
    if let Some(namespaces) = args.opt_texts("bound_service_account_namespaces") {
        role.namespaces = namespaces;
    }
    if let Some(audience) = args.opt_text("audience") {
        audience.clone_into(&mut role.audience);
    }
    role.params.update(args)?;
    roles.insert(name, role);
    done()
}

fn read(core: &mut Core, call: &Call) -> Outcome {
    let Some(role) = method(core, call)?
        .roles
        .get(call.args.text("name"))
        .cloned()
    else {
        return Err(Refused::nothing());
    };
    let mut data = role.params.describe(core);
    data.extend(crate::reply::object(json!({
        "audience": role.audience,
        "bound_service_account_names": role.names,
        "bound_service_account_namespaces": role.namespaces,
    })));
    Ok(Some(Reply::data(Value::Object(data))))
}

fn delete(core: &mut Core, call: &Call) -> Outcome {
    method(core, call)?.roles.remove(call.args.text("name"));
    done()
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
    let forbidden = |text: &str| Refused::Plain(403, text.to_owned());
    let Some((_, claims, _)) = jwt::split(token) else {
        return Err(Refused::denied());
    };
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
    let among = |list: &[String], name: &str| list.iter().any(|l| l == "*" || l == name);
    if !among(&role.names, &service_account) {
        return Err(forbidden("service account name not authorized"));
    }
    if !among(&role.namespaces, &namespace) {
        return Err(forbidden("namespace not authorized"));
    }
    jwt::check_times(&claims, now).map_err(forbidden)?;
    if !role.audience.is_empty() {
        jwt::check_audience(&claims, std::slice::from_ref(&role.audience)).map_err(forbidden)?;
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
    let display_name = format!("{namespace}-{service_account}");
    core.issue(
        call,
        Login {
            params: &role.params,
            alias: &uid,
            owner: &name,
            display_name: &display_name,
            metadata,
        },
    )
}

/// OpenBao asks the cluster again, Vault does not.
pub(crate) fn renewal(
    core: &Core,
    mount: MountId,
    entry: &Entry,
) -> Result<Option<TokenParams>, Refused> {
    let Some(Backend::Kubernetes(method)) = core.mount(mount).map(|m| &m.backend) else {
        return Ok(None);
    };
    let Some(role) = method.roles.get(&entry.owner) else {
        return Ok(None);
    };
    if core.flavour.is_openbao() && core.token_review != TokenReview::Agrees {
        let text = format!(
            "failed to renew entry: failed to validate token and secret still exist for {:?} during renewal: permission denied",
            entry.owner
        );
        return Err(Refused::Wrapped(403, text));
    }
    Ok(Some(role.params.clone()))
}

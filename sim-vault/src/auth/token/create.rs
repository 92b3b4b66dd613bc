//! Creating tokens, freely or within the limits of a role. The checks come in the real servers' order.

use std::time::Duration;

use super::{
    TokenRole, caller,
    policies::{chosen_policies, wanted_policies},
    stored_roles,
};
use crate::{
    Core,
    acl::globbed,
    call::Call,
    duration,
    fields::Args,
    pipeline::auth_block,
    reply::{Outcome, Refused, Reply},
    token::{Entry, TokenKind},
    ttl::{self, Limits},
};

const WEAK_ID: &str = "Supplying a custom ID for the token uses the weaker SHA1 hashing instead of the more secure SHA2-256 HMAC for token obfuscation. SHA1 hashed tokens on the wire leads to less secure lookups.";

pub(super) fn create(core: &mut Core, call: &Call) -> Outcome {
    let parent = caller(call)?;
    let args = &call.args;
    let role = match args.opt_text("role_name") {
        None => None,
        Some(name) => match stored_roles(core, call)?.get(name) {
            Some(role) => Some(role.clone()),
            None => return Err(Refused::bad(format!("unknown role {name}"))),
        },
    };
    check_parent(&parent)?;
    let sudo = core.has_sudo(&parent, call);
    if parent.ns != call.ns {
        check_from_above(args, sudo)?;
    }
    let batch = is_batch(role.as_ref(), args)?;
    if batch {
        check_batch(core, args)?;
    }
    if args.int("num_uses") < 0 {
        return Err(Refused::bad("number of uses cannot be negative"));
    }
    let alias = args.text("entity_alias");
    check_alias(role.as_ref(), alias)?;
    let own_entity = own_entity(core, call, alias)?;
    let id = args.text("id");
    check_id(id, sudo, &call.ns)?;
    let policies = chosen_policies(&parent, role.as_ref(), call, sudo)?;
    if batch && policies.iter().any(|p| p == "root") {
        return Err(Refused::bad("batch tokens cannot be root tokens"));
    }
    if role.is_none() && args.flag("no_parent") && !sudo {
        return Err(Refused::bad(
            "root or sudo privileges required to create orphan token",
        ));
    }
    let mut params = role.as_ref().map(|r| r.params.clone()).unwrap_or_default();
    if batch {
        // a role's limits are for service tokens
        params.period = Duration::ZERO;
        params.explicit_max_ttl = Duration::ZERO;
    }
    let wanted_max = positive(args, "explicit_max_ttl")?;
    let explicit_max = smaller(wanted_max, params.explicit_max_ttl);
    let wanted_period = positive(args, "period")?;
    if !wanted_period.is_zero() && !sudo {
        return Err(Refused::bad(
            "root or sudo privileges required to create periodic token",
        ));
    }
    let wanted_ttl = match args.text_of("ttl") {
        Some(text) if !text.is_empty() => positive(args, "ttl")?,
        _ => positive(args, "lease")?,
    };
    let mut warnings = missing_policies(core, &call.ns, &policies);
    let orphan = match &role {
        // a role decides alone
        Some(role) => role.orphan,
        None => call.path.starts_with("create-orphan") || args.flag("no_parent"),
    };
    let period = smaller(wanted_period, params.period);
    let Some(mount) = core.mount(call.mount) else {
        return Err(Refused::denied());
    };
    let root = policies.iter().any(|p| p == "root");
    // a root token lives for ever, or as long as it may, without being told so
    let (granted, ttl_warnings) = if root && wanted_ttl.is_zero() && period.is_zero() {
        (explicit_max, Vec::new())
    } else {
        let limits = Limits {
            increment: wanted_ttl,
            role_ttl: params.ttl,
            role_max: params.max_ttl,
            period,
            explicit_max,
            default_ttl: mount.default_lease(),
            mount_max: mount.max_lease(),
        };
        ttl::grant(&limits, core.now, core.now).map_err(Refused::internal)?
    };
    let forever = granted.is_zero();
    warnings.splice(0..0, ttl_warnings);
    for (what, wanted, of_role, used) in [
        ("Period", wanted_period, params.period, period),
        (
            "Explicit max TTL",
            wanted_max,
            params.explicit_max_ttl,
            explicit_max,
        ),
    ] {
        if !wanted.is_zero() && !of_role.is_zero() {
            let text = format!(
                "{what} specified both during creation call and in role; using the lesser value of {} seconds",
                used.as_secs()
            );
            warnings.insert(0, text);
        }
    }
    if !id.is_empty() {
        warnings.insert(0, WEAK_ID.to_owned());
    }
    if forever && parent.expires.is_some() {
        return Err(Refused::bad(
            "expiring root tokens cannot create non-expiring root tokens",
        ));
    }
    let id = match id {
        "" if batch => core.batch_token(&call.ns),
        "" => core.service_token(&call.ns, root),
        own => own.to_owned(),
    };
    if core.tokens.get(&id).is_some() {
        return Err(Refused::bad("cannot create a token with a duplicate ID"));
    }
    let accessor = accessor(core, batch, &call.ns);
    let entry = Entry {
        ns: call.ns.clone(),
        parent: (!orphan).then(|| parent.id.clone()),
        policies,
        meta: args.pairs("meta"),
        display_name: display_name(args.text("display_name")),
        path: path(call, role.as_ref()),
        creation_ttl: granted,
        // the role's limits count as long as the role has them: they do not stay with the token
        explicit_max_ttl: wanted_max,
        period: wanted_period,
        num_uses: uses(args.int("num_uses"), params.num_uses),
        renewable: !batch
            && !forever
            && args.opt_bool("renewable").unwrap_or(true)
            && !role.as_ref().is_some_and(|r| r.not_renewable),
        kind: if batch {
            TokenKind::Batch
        } else {
            TokenKind::Service
        },
        orphan,
        entity_id: own_entity.unwrap_or_else(|| inherited(&parent.entity_id, orphan)),
        bound_cidrs: match &role {
            _ if forever => Vec::new(),
            Some(_) => params.bound_cidrs.clone(),
            None => inherited(&parent.bound_cidrs, orphan),
        },
        role: args.opt_text("role_name").map(str::to_owned),
        owner: args.text("role_name").to_owned(),
        expires: (!forever).then(|| core.now + granted),
        ..Entry::new(id, accessor, call.mount, core.now)
    };
    let auth = auth_block(&entry, entry.creation_ttl);
    core.tokens.insert(entry);
    Ok(Some(Reply {
        auth: Some(auth),
        warnings,
        ..Reply::default()
    }))
}

/// What a child has of its parent.
fn inherited<T: Clone + Default>(of: &T, orphan: bool) -> T {
    if orphan { T::default() } else { of.clone() }
}

/// The entity that the request names by its alias, made if there is none.
fn own_entity(core: &mut Core, call: &Call, alias: &str) -> Result<Option<String>, Refused> {
    let Some(mount) = core.mount(call.mount).filter(|_| !alias.is_empty()) else {
        return Ok(None);
    };
    let accessor = mount.accessor.clone();
    let id = core.entity_of(&call.ns, &accessor, alias, None)?;
    if core.identity.is_invalid(&id) {
        let text = "entity from given entity alias is disabled".to_owned();
        return Err(Refused::Plain(403, text));
    }
    Ok(Some(id))
}

fn check_parent(parent: &Entry) -> Result<(), Refused> {
    if parent.num_uses < 0 {
        // this request was its last use
        return Err(Refused::bad("parent token lookup failed: no parent found"));
    }
    if parent.kind == TokenKind::Batch {
        return Err(Refused::bad("batch tokens cannot create more tokens"));
    }
    if parent.num_uses != 0 {
        return Err(Refused::bad(
            "restricted use token cannot generate child tokens",
        ));
    }
    Ok(())
}

/// A token for a namespace below the parent's.
fn check_from_above(args: &Args, sudo: bool) -> Result<(), Refused> {
    let fault = if !sudo {
        "root or sudo privileges required to directly generate a token in a child namespace"
    } else if wanted_policies(args).iter().any(|p| p == "root") {
        "root tokens may not be created from a parent namespace"
    } else {
        return Ok(());
    };
    Err(Refused::bad(fault))
}

/// What kind of token it becomes. A role's word outweighs the request's, and excuses nonsense in it.
fn is_batch(role: Option<&TokenRole>, args: &Args) -> Result<bool, Refused> {
    let wanted = args.text("type");
    Ok(match role.map(|r| r.params.token_type.as_str()) {
        Some("batch") => true,
        Some("service") => false,
        other => match wanted {
            "batch" => true,
            "" => other == Some("default-batch"),
            "service" => false,
            _ => return Err(Refused::bad("invalid 'token_type' value")),
        },
    })
}

/// What a request for a batch token must not ask for. Only the first of these that is there is looked at.
fn check_batch(core: &Core, args: &Args) -> Result<(), Refused> {
    let quote = if core.flavour.is_openbao() { '\'' } else { '"' };
    let set = |name: &str| args.text_of(name).filter(|text| !text.is_empty());
    let (name, text) = match (set("explicit_max_ttl"), args.int("num_uses"), set("period")) {
        (Some(text), _, _) => ("explicit_max_ttl", text),
        (None, uses, _) if uses != 0 => ("num_uses", uses.to_string()),
        (None, _, Some(text)) => ("period", text),
        (None, _, None) => return Ok(()),
    };
    match duration::parse(&text) {
        Some(Ok(d)) if d.is_zero() => Ok(()),
        Some(_) => Err(Refused::bad(format!(
            "batch tokens cannot have \"{name}\" set"
        ))),
        None => Err(Refused::bad(format!(
            "{quote}{name}{quote} value could not be parsed"
        ))),
    }
}

fn check_alias(role: Option<&TokenRole>, alias: &str) -> Result<(), Refused> {
    match role {
        _ if alias.is_empty() => Ok(()),
        None => Err(Refused::bad(
            "'entity_alias' is only allowed in combination with token role",
        )),
        Some(role)
            if role
                .allowed_entity_aliases
                .iter()
                .flatten()
                .any(|a| globbed(a, &alias.to_lowercase())) =>
        {
            Ok(())
        }
        Some(_) => Err(Refused::bad("invalid 'entity_alias' value")),
    }
}

fn check_id(id: &str, sudo: bool, ns: &str) -> Result<(), Refused> {
    let fault = if id.is_empty() {
        return Ok(());
    } else if !sudo {
        "root or sudo privileges required to specify token id"
    } else if !ns.is_empty() {
        "token IDs can only be manually specified in the root namespace"
    } else if id.starts_with("hvs.") {
        "custom token ID cannot have the 'hvs.' prefix"
    } else if id.starts_with("s.") {
        "custom token ID cannot have the 's.' prefix"
    } else if id.contains('.') {
        "custom token ID cannot have a '.' in the value"
    } else {
        return Ok(());
    };
    Err(Refused::bad(fault))
}

fn missing_policies(core: &Core, ns: &str, policies: &[String]) -> Vec<String> {
    let known = core.namespace(ns).map(|n| &n.policies);
    policies
        .iter()
        .filter(|p| *p != "root" && !known.is_some_and(|k| k.contains_key(*p)))
        .map(|p| format!("Policy {p:?} does not exist"))
        .collect()
}

/// The shorter of two limits; zero is none.
pub(super) fn smaller(a: Duration, b: Duration) -> Duration {
    match (a, b) {
        (a, b) if a.is_zero() => b,
        (a, b) if b.is_zero() => a,
        (a, b) => a.min(b),
    }
}

/// The same for uses.
fn uses(wanted: i64, of_role: i64) -> i64 {
    match (wanted, of_role) {
        (wanted, 0) => wanted,
        (0, of_role) => of_role,
        (wanted, of_role) => wanted.min(of_role),
    }
}

fn accessor(core: &mut Core, batch: bool, ns: &str) -> String {
    let space = core
        .namespace(ns)
        .filter(|n| !n.path.is_empty())
        .map(|n| n.id.clone());
    match (batch, space) {
        (true, _) => String::new(),
        (false, None) => core.base62(24),
        (false, Some(ns)) => format!("{}.{ns}", core.base62(24)),
    }
}

fn path(call: &Call, role: Option<&TokenRole>) -> String {
    let path = format!("auth/token/{}", call.path.trim_end_matches('/'));
    match role.map(|r| r.path_suffix.as_str()) {
        Some(suffix) if !suffix.is_empty() => format!("{path}/{suffix}"),
        _ => path,
    }
}

/// The duration parameters of creation are read by the handler itself, with texts of its own.
fn positive(args: &Args, name: &str) -> Result<Duration, Refused> {
    let Some(text) = args.text_of(name) else {
        return Ok(Duration::ZERO);
    };
    match duration::parse(&text) {
        Some(Ok(d)) => Ok(d),
        Some(Err(_)) => Err(Refused::bad(format!("{name} must be positive"))),
        None => Err(Refused::bad(duration::fault(&text))),
    }
}

fn display_name(wanted: &str) -> String {
    if wanted.is_empty() {
        return "token".to_owned();
    }
    let out: String = wanted
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("token-{}", out.strip_suffix('-').unwrap_or(&out))
}

//! Mounts and auth methods: list, mount, tune, read, unmount, move; locked users.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    Core,
    call::Call,
    fields::{self, Kind},
    mounts::Mount,
    reply::{Outcome, Refused, Reply, done, ok},
};

fn prefix(call: &Call) -> &'static str {
    if call.path.starts_with("auth") {
        "auth/"
    } else {
        ""
    }
}

/// The place as error texts name it.
fn place(call: &Call, path: &str) -> String {
    format!("{}{}/", prefix(call), path.trim_end_matches('/'))
}

pub(super) fn list(core: &mut Core, call: &Call) -> Outcome {
    let auth = prefix(call) == "auth/";
    let rows: Map<String, Value> = core
        .mounts
        .values()
        .filter(|m| m.ns == call.ns && m.is_auth() == auth)
        .map(|m| {
            (
                m.path.strip_prefix("auth/").unwrap_or(&m.path).to_owned(),
                m.describe(core),
            )
        })
        .collect();
    Ok(Some(Reply::data(Value::Object(rows)).top_level()))
}

fn found<'a>(core: &'a Core, call: &Call, path: &str) -> Option<&'a Mount> {
    core.mount_at(&call.ns, &format!("{}{path}", prefix(call)))
}

pub(super) fn read(core: &mut Core, call: &Call) -> Outcome {
    let path = call.args.text("path");
    if let Some(path) = path.strip_suffix("/tune") {
        return read_tune(core, call, path);
    }
    match found(core, call, path) {
        Some(mount) => Ok(Some(Reply::data(mount.describe(core)).top_level())),
        None => {
            let text = if prefix(call) == "auth/" {
                format!("No auth engine at {path}/")
            } else {
                format!("No secret engine mount at {path}/")
            };
            Err(Refused::bad(text))
        }
    }
}

fn read_tune(core: &Core, call: &Call, path: &str) -> Outcome {
    let Some(mount) = found(core, call, path) else {
        return Err(Refused::bad(format!(
            "cannot fetch sysview for path {:?}",
            place(call, path)
        )));
    };
    let mut data = json!({
        "default_lease_ttl": mount.default_lease().as_secs(),
        "description": mount.description,
        "force_no_cache": false,
        "max_lease_ttl": mount.max_lease().as_secs(),
    });
    if mount.is_auth() {
        data["token_type"] = mount
            .token_type
            .as_deref()
            .unwrap_or("default-service")
            .into();
    }
    if let Some(said) = mount.lockout_tuned {
        data["user_lockout_counter_reset_duration"] = said.reset.as_secs().into();
        data["user_lockout_disable"] = said.disabled.into();
        data["user_lockout_duration"] = said.duration.as_secs().into();
        data["user_lockout_threshold"] = said.threshold.into();
    }
    if let Some(options) = mount.options.as_ref().filter(|o| !o.is_empty()) {
        data["options"] = Value::Object(options.clone());
    }
    Ok(Some(Reply::data(data).top_level()))
}

pub(super) fn write(core: &mut Core, call: &Call) -> Outcome {
    let path = call.args.text("path");
    if let Some(path) = path.strip_suffix("/tune") {
        return tune(core, call, path);
    }
    if let Some(Value::Object(config)) = call.args.get("config") {
        let (default, max) = (
            seconds(config, "default_lease_ttl")?,
            seconds(config, "max_lease_ttl")?,
        );
        if let (Some(default), Some(max)) = (default, max)
            && !max.is_zero()
            && default > max
        {
            return Err(Refused::bad(
                "given default lease TTL greater than given max lease TTL",
            ));
        }
    }
    let kind = call.args.text("type");
    if kind.is_empty() {
        return Err(Refused::bad("backend type must be specified as a string"));
    }
    let path = path.trim_end_matches('/');
    let full = format!("{}{path}/", prefix(call));
    let taken = core.routes.keys().any(|p| {
        p.strip_prefix(call.ns.as_str())
            .is_some_and(|p| p == full || p.starts_with(&full) || full.starts_with(p))
    });
    if taken {
        return Err(Refused::bad(format!("path is already in use at {path}/")));
    }
    let auth = prefix(call) == "auth/";
    let fits = matches!(
        kind,
        "userpass" | "approle" | "jwt" | "oidc" | "kubernetes" | "cert"
    ) == auth;
    let options = call.args.get("options").and_then(Value::as_object).cloned();
    let versioned =
        kind == "kv" && options.as_ref().and_then(|o| o.get("version")) == Some(&"2".into());
    let id = fits
        .then(|| {
            core.mount_engine(
                &call.ns,
                &full,
                if versioned { "kv-v2" } else { kind },
                options,
            )
        })
        .flatten();
    let Some(mount) = id.and_then(|id| core.mounts.get_mut(&id)) else {
        return Err(Refused::bad(format!(
            "plugin not found in the catalog: {kind}"
        )));
    };
    call.args
        .text("description")
        .clone_into(&mut mount.description);
    if let Some(Value::Object(config)) = call.args.get("config") {
        set_ttls(mount, config)?;
    }
    done()
}

fn seconds(map: &Map<String, Value>, name: &str) -> Result<Option<Duration>, Refused> {
    match map.get(name) {
        None => Ok(None),
        Some(value) => match fields::convert(Kind::Seconds, value) {
            Ok(v) => Ok(v.as_u64().map(Duration::from_secs)),
            Err(text) => Err(Refused::bad(format!("unable to parse {name}: {text}"))),
        },
    }
}

fn set_ttls(mount: &mut Mount, config: &Map<String, Value>) -> Result<(), Refused> {
    if let Some(ttl) = seconds(config, "default_lease_ttl")? {
        mount.default_ttl = ttl;
    }
    if let Some(ttl) = seconds(config, "max_lease_ttl")? {
        mount.max_ttl = ttl;
    }
    if let Some(kind) = config.get("token_type").and_then(Value::as_str) {
        mount.token_type = Some(kind.to_owned());
    }
    Ok(())
}

fn tune(core: &mut Core, call: &Call, path: &str) -> Outcome {
    let Some(id) = found(core, call, path).map(|m| m.id) else {
        return Err(Refused::bad(format!(
            "tune of path {:?} failed: no mount entry found",
            place(call, path)
        )));
    };
    let Some(mount) = core.mounts.get_mut(&id) else {
        return done();
    };
    if call.args.has("user_lockout_config")
        && !matches!(mount.kind.as_str(), "userpass" | "approle")
    {
        return Err(Refused::bad(format!(
            "tuning of user lockout configuration for auth type {:?} not allowed",
            mount.kind
        )));
    }
    set_ttls(mount, &call.args.0)?;
    if let Some(text) = call.args.opt_text("description") {
        text.clone_into(&mut mount.description);
    }
    if let Some(Value::Object(limits)) = call.args.get("user_lockout_config") {
        // shown is what was said, and zero for the rest
        let said = mount.lockout_tuned.get_or_insert(crate::lockout::UNSAID);
        let int = |name: &str| {
            limits
                .get(name)
                .and_then(|v| fields::convert(Kind::Int, v).ok())
                .and_then(|v| v.as_u64())
        };
        if let Some(n) = int("lockout_threshold") {
            (mount.lockout.threshold, said.threshold) = (n, n);
        }
        if let Some(d) = seconds(limits, "lockout_duration")? {
            (mount.lockout.duration, said.duration) = (d, d);
        }
        if let Some(d) = seconds(limits, "lockout_counter_reset_duration")? {
            (mount.lockout.reset, said.reset) = (d, d);
        }
        if let Some(b) = limits
            .get("lockout_disable")
            .and_then(|v| fields::convert(Kind::Bool, v).ok())
        {
            said.disabled = b == Value::Bool(true);
            mount.lockout.disabled = said.disabled;
        }
    }
    done()
}

pub(super) fn delete(core: &mut Core, call: &Call) -> Outcome {
    let path = call.args.text("path");
    if path.ends_with("/tune") {
        return Err(Refused::unsupported_operation());
    }
    let path = path.trim_end_matches('/');
    match (prefix(call), path) {
        ("", "sys" | "identity" | "cubbyhole") => {
            return Err(Refused::bad(format!("cannot unmount \"{path}/\"")));
        }
        ("auth/", "token") => {
            return Err(Refused::bad("token credential backend cannot be disabled"));
        }
        _ => {}
    }
    let id = found(core, call, path).map(|m| m.id);
    if let Some(id) = id {
        core.unmount(id);
    }
    done()
}

pub(super) fn remount(core: &mut Core, call: &Call) -> Outcome {
    let (from, to) = (
        call.args.text("from").trim_matches('/'),
        call.args.text("to").trim_matches('/'),
    );
    let Some(id) = core.mount_at(&call.ns, from).map(|m| m.id) else {
        return Err(Refused::bad(format!("no matching mount at \"{from}/\"")));
    };
    if core.mount_at(&call.ns, to).is_some() {
        return Err(Refused::bad(format!("path already in use at \"{to}/\"")));
    }
    core.routes.remove(&format!("{}{from}/", call.ns));
    core.routes.insert(format!("{}{to}/", call.ns), id);
    if let Some(mount) = core.mounts.get_mut(&id) {
        mount.path = format!("{to}/");
    }
    let (migration, product) = (core.uuid(), core.flavour.product());
    let text = format!(
        "Mount move has been queued. Progress will be reported in {product}'s server log, tagged with the returned migration_id"
    );
    Ok(Some(
        Reply::data(json!({ "migration_id": migration }))
            .top_level()
            .warn(text),
    ))
}

/// Without a token it is refused; with one that may use the mount it tells what is there.
pub(super) fn ui(core: &mut Core, call: &Call) -> Outcome {
    let path = format!("{}/", call.args.text("path").trim_end_matches('/'));
    let token = call.token.as_ref().ok_or_else(Refused::denied)?;
    // a token sees nothing outside its namespace
    let visible = |m: &Mount| {
        let full = format!("{}{}", m.ns, m.path);
        full.strip_prefix(token.ns.as_str())
            .is_some_and(|inner| core.may_see_mount(token, inner))
    };
    match core.route(&call.ns, &path).filter(|m| visible(m)) {
        Some(mount) => {
            let mut row = mount.describe(core);
            let full = format!("{}{}", mount.ns, mount.path);
            let shown = full.strip_prefix(call.ns.as_str()).unwrap_or(&full);
            row["path"] = shown.strip_prefix("auth/").unwrap_or(shown).into();
            if core.flavour.is_vault() {
                row["config"]["default_lease_ttl"] = mount.default_lease().as_secs().into();
                row["config"]["max_lease_ttl"] = mount.max_lease().as_secs().into();
            }
            ok(row)
        }
        None => Err(Refused::Plain(403, "preflight capability check returned 403, please ensure client's policies grant access to path \"".to_owned() + &path + "\"")),
    }
}

pub(super) fn locked_users(core: &mut Core, call: &Call) -> Outcome {
    let config = |accessor: &str| {
        core.mounts
            .values()
            .find(|m| m.accessor == accessor)
            .map(|m| m.lockout)
            .unwrap_or_default()
    };
    let locked = core.lockouts.locked(config, core.now);
    let total: usize = locked.values().map(Vec::len).sum();
    let mounts: Vec<Value> = locked
        .into_iter()
        .map(|(accessor, users)| json!({ "mount_accessor": accessor, "counts": users.len(), "alias_identifiers": users }))
        .collect();
    let id = core
        .namespace(&call.ns)
        .map(|n| n.id.clone())
        .unwrap_or_default();
    let spaces = if total == 0 {
        Vec::new()
    } else {
        vec![
            json!({ "namespace_id": id, "namespace_path": call.ns, "counts": total, "mount_accessors": mounts }),
        ]
    };
    ok(json!({ "by_namespace": spaces, "total": total }))
}

pub(super) fn unlock_user(core: &mut Core, call: &Call) -> Outcome {
    core.lockouts.clear(
        call.args.text("mount_accessor"),
        call.args.text("alias_identifier"),
    );
    done()
}

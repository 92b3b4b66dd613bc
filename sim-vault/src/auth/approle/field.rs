//! The fields of a role one by one: `role/NAME/token-ttl` and the like. Each has an endpoint of its own in the real servers, so
//! their faults and texts differ from those of the whole role in small ways.

use std::time::Duration;

use serde_json::{Value, json};

use super::{OPEN, Role, all, check_blocks, name};
use crate::{
    Core,
    auth::{addresses, effective_policies},
    call::Call,
    fields::Args,
    reply::{Outcome, Refused, Reply, done, ok},
};

/// The last part of the path, which names the field.
fn field(call: &Call) -> &str {
    let path = call.path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or_default()
}

pub(super) fn read(core: &mut Core, call: &Call) -> Outcome {
    let field = field(call);
    known(core, field)?;
    let Some(role) = all(core, call)?.get(&name(call)) else {
        return Err(Refused::nothing());
    };
    let params = &role.params;
    let with_old = |old: &str, new: &str, value: Value, shows: bool| {
        let mut data = json!({});
        if shows && role.params.by_old_name.contains(old) {
            data[old] = value.clone();
        }
        data[new] = value;
        data
    };
    ok(match field {
        "policies" => with_old(
            "policies",
            "token_policies",
            json!(params.policies),
            !params.policies.is_empty(),
        ),
        "period" => with_old(
            "period",
            "token_period",
            params.period.as_secs().into(),
            !params.period.is_zero(),
        ),
        "token-ttl" => json!({ "token_ttl": params.ttl.as_secs() }),
        "token-max-ttl" => json!({ "token_max_ttl": params.max_ttl.as_secs() }),
        "token-num-uses" => json!({ "token_num_uses": params.num_uses }),
        "token-bound-cidrs" => {
            let shown = Some(&params.bound_cidrs).filter(|c| !c.is_empty());
            json!({ "token_bound_cidrs": shown })
        }
        "bind-secret-id" => json!({ "bind_secret_id": role.bind_secret_id }),
        "secret-id-num-uses" => json!({ "secret_id_num_uses": role.secret_id_num_uses }),
        "secret-id-ttl" => json!({ "secret_id_ttl": role.secret_id_ttl.as_secs() }),
        "secret-id-bound-cidrs" => json!({ "secret_id_bound_cidrs": role.secret_id_bound_cidrs }),
        "local-secret-ids" => json!({ "local_secret_ids": role.local_secret_ids }),
        // what is written under the old name is read under the new one
        _ => {
            let reply = Reply::data(json!({ "bound_cidr_list": null }));
            let text = "The \"bound_cidr_list\" field is deprecated and will be removed. Please use \"secret_id_bound_cidrs\" instead.";
            return Ok(Some(reply.warn(text)));
        }
    })
}

pub(super) fn write(core: &mut Core, call: &Call) -> Outcome {
    change(core, call, Refused::unsupported_path, |role| {
        set(role, field(call), &call.args)
    })
}

pub(super) fn delete(core: &mut Core, call: &Call) -> Outcome {
    let gone = all(core, call)?.get(&name(call)).is_none();
    if gone && known(core, field(call)).is_ok() {
        return done();
    }
    change(core, call, Refused::unsupported_path, |role| {
        reset(role, field(call));
        Ok(())
    })
}

/// OpenBao does not know this one.
fn known(core: &Core, field: &str) -> Result<(), Refused> {
    if field == "bind-secret-id" && core.flavour.is_openbao() {
        return Err(Refused::unsupported_path());
    }
    Ok(())
}

/// Changes the role unless it comes to ask for nothing.
fn change(
    core: &mut Core,
    call: &Call,
    missing: fn() -> Refused,
    change: impl FnOnce(&mut Role) -> Result<(), Refused>,
) -> Outcome {
    known(core, field(call))?;
    let roles = all(core, call)?;
    let role = roles.get_mut(&name(call)).ok_or_else(missing)?;
    let mut changed = role.clone();
    change(&mut changed)?;
    if changed.is_open() {
        return Err(Refused::internal(OPEN));
    }
    *role = changed;
    done()
}

fn set(role: &mut Role, field: &str, args: &Args) -> Result<(), Refused> {
    let missing = |name: &str| Refused::bad(format!("missing {name}"));
    let seconds = |name: &str| args.opt_seconds(name).ok_or_else(|| missing(name));
    let int = |name: &str| args.opt_int(name).ok_or_else(|| missing(name));
    match field {
        "policies" => {
            let new = args.opt_texts("token_policies");
            let old = args.opt_texts("policies");
            note(role, "policies", old.is_some());
            let policies = new.or(old).ok_or_else(|| missing("token_policies"))?;
            role.params.policies = effective_policies(&policies, true);
        }
        "period" => {
            let new = args.opt_seconds("token_period");
            let old = args.opt_seconds("period");
            note(role, "period", old.is_some());
            role.params.period = new.or(old).ok_or_else(|| missing("period"))?;
        }
        "token-ttl" => {
            let ttl = seconds("token_ttl")?;
            if !role.params.max_ttl.is_zero() && ttl > role.params.max_ttl {
                let text = "token_ttl should not be greater than token_max_ttl";
                return Err(Refused::bad(text));
            }
            role.params.ttl = ttl;
        }
        "token-max-ttl" => {
            let max = seconds("token_max_ttl")?;
            if !max.is_zero() && role.params.ttl > max {
                let text = "token_max_ttl should be greater than or equal to token_ttl";
                return Err(Refused::bad(text));
            }
            role.params.max_ttl = max;
        }
        // negative ones go unseen here
        "token-num-uses" => role.params.num_uses = int("token_num_uses")?,
        "token-bound-cidrs" => {
            if let Some(cidrs) = args.opt_texts("token_bound_cidrs") {
                role.params.bound_cidrs =
                    addresses(cidrs).map_err(|fault| named("token_bound_cidrs", fault))?;
            }
        }
        "bind-secret-id" => {
            let name = "bind_secret_id";
            role.bind_secret_id = args.opt_bool(name).ok_or_else(|| missing(name))?;
        }
        "secret-id-num-uses" => {
            let uses = int("secret_id_num_uses")?;
            if uses < 0 {
                return Err(Refused::bad("secret_id_num_uses cannot be negative"));
            }
            role.secret_id_num_uses = uses;
        }
        "secret-id-ttl" => role.secret_id_ttl = seconds("secret_id_ttl")?,
        _ => {
            let given = args.opt_texts("secret_id_bound_cidrs");
            if let Some(cidrs) = given.or_else(|| args.opt_texts("bound_cidr_list")) {
                if cidrs.is_empty() {
                    return Err(missing("bound_cidr_list"));
                }
                check_blocks(&cidrs, "CIDR blocks").map_err(|fault| match fault {
                    Refused::Wrapped(_, text) => Refused::bad(text),
                    other => other,
                })?;
                role.secret_id_bound_cidrs = Some(cidrs);
            }
        }
    }
    Ok(())
}

fn note(role: &mut Role, old: &'static str, used: bool) {
    if used {
        role.params.by_old_name.insert(old);
    } else {
        role.params.by_old_name.remove(old);
    }
}

fn named(field: &str, fault: Refused) -> Refused {
    match fault {
        Refused::Plain(status, text) => {
            Refused::Plain(status, format!("failed to parse {field}: {text}"))
        }
        other => other,
    }
}

fn reset(role: &mut Role, field: &str) {
    match field {
        "policies" => {
            role.params.policies.clear();
            role.params.by_old_name.remove("policies");
        }
        "period" => {
            role.params.period = Duration::ZERO;
            role.params.by_old_name.remove("period");
        }
        "token-ttl" => role.params.ttl = Duration::ZERO,
        "token-max-ttl" => role.params.max_ttl = Duration::ZERO,
        "token-num-uses" => role.params.num_uses = 0,
        "token-bound-cidrs" => role.params.bound_cidrs.clear(),
        "bind-secret-id" => role.bind_secret_id = true,
        "secret-id-num-uses" => role.secret_id_num_uses = 0,
        "secret-id-ttl" => role.secret_id_ttl = Duration::ZERO,
        "secret-id-bound-cidrs" => role.secret_id_bound_cidrs = None,
        // what was written under the old name lies under the new one, and stays
        _ => {}
    }
}

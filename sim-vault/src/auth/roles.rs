//! Roles as all login methods keep them: named entries of a mount, each with its own demands and the parameters of the
//! tokens it leads to. Writing, reading, listing and deleting are the same everywhere; what differs is in [`Role`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{OldNames, TOKEN_FIELDS, TokenParams};
use crate::{
    Core,
    call::Call,
    fields::{Args, Field, Kind},
    mounts::{Backend, MountId},
    reply::{Outcome, Refused, Reply, done},
    token::Entry,
};

/// The entries of one mount.
pub(crate) type Roles<R> = BTreeMap<String, R>;

/// The old names that most methods' roles have; the first one has a place among the shared fields.
const OLD: OldNames = &[
    ("policies", "token_policies"),
    ("bound_cidrs", "token_bound_cidrs"),
    ("num_uses", "token_num_uses"),
    ("ttl", "token_ttl"),
    ("max_ttl", "token_max_ttl"),
    ("period", "token_period"),
];

/// The others' types.
const OLD_FIELDS: [Field; 5] = [
    ("bound_cidrs", Kind::Texts),
    ("num_uses", Kind::Int),
    ("ttl", Kind::Seconds),
    ("max_ttl", Kind::Seconds),
    ("period", Kind::Seconds),
];

/// What one method's roles have of their own.
pub(crate) trait Role: Clone {
    /// The parameter that carries the name.
    const NAME: &'static str;
    /// Names are read in lower case.
    const LOWER: bool = false;
    /// The parameters' old names.
    const OLD: OldNames = OLD;

    /// The roles of a mount; `None` if another method sits there.
    fn all(backend: &Backend) -> Option<&Roles<Self>>;

    /// The same, to be changed.
    fn all_mut(backend: &mut Backend) -> Option<&mut Roles<Self>>;

    /// A role that nothing has been said about.
    fn fresh(core: &mut Core) -> Self;

    /// The tokens it leads to.
    fn params(&mut self) -> &mut TokenParams;

    /// Takes over what the request says of the role's own parameters.
    fn update(&mut self, core: &Core, args: &Args, new: bool) -> Result<Vec<String>, Refused>;

    /// What keeps it from being stored beside the others: nothing, for most methods.
    fn check_beside(&self, _name: &str, _others: &Roles<Self>) -> Result<(), Refused> {
        Ok(())
    }

    /// The role's own fields as reading shows them.
    fn describe(&self, core: &Core) -> Value;
}

/// Where a method's own fields begin: behind the shared `token_*` fields and `policies`.
const SHARED: usize = TOKEN_FIELDS.len() + 1;

/// The shared `token_*` fields and `policies`, followed by a method's own.
pub(crate) const fn fields<const OWN: usize, const ALL: usize>(own: [Field; OWN]) -> [Field; ALL] {
    assert!(ALL == SHARED + OWN, "all fields have a place");
    let all = put([("policies", Kind::Texts); ALL], 0, &TOKEN_FIELDS);
    put(all, SHARED, &own)
}

/// The same with all old names.
pub(crate) const fn fields_with_old<const OWN: usize, const ALL: usize>(
    own: [Field; OWN],
) -> [Field; ALL] {
    const BEFORE: usize = SHARED + OLD_FIELDS.len();
    assert!(ALL == BEFORE + OWN, "all fields have a place");
    let all = put([("policies", Kind::Texts); ALL], 0, &TOKEN_FIELDS);
    put(put(all, SHARED, &OLD_FIELDS), BEFORE, &own)
}

const fn put<const ALL: usize>(mut all: [Field; ALL], at: usize, fields: &[Field]) -> [Field; ALL] {
    let mut n = 0;
    while n < fields.len() {
        all[at + n] = fields[n];
        n += 1;
    }
    all
}

/// The name of the role that a request is about.
pub(crate) fn name<R: Role>(call: &Call) -> String {
    let name = call.args.text(R::NAME);
    if R::LOWER {
        name.to_lowercase()
    } else {
        name.to_owned()
    }
}

/// The roles of the mount that answers.
pub(crate) fn of<'a, R: Role + 'a>(
    core: &'a mut Core,
    call: &Call,
) -> Result<&'a mut Roles<R>, Refused> {
    core.mounts
        .get_mut(&call.mount)
        .and_then(|m| R::all_mut(&mut m.backend))
        .ok_or_else(Refused::unsupported_path)
}

/// Decides between `create` and `update`.
pub(crate) fn exists<R: Role>(core: &mut Core, call: &Call) -> Result<bool, Refused> {
    Ok(of::<R>(core, call)?.contains_key(&name::<R>(call)))
}

pub(crate) fn list<R: Role>(core: &mut Core, call: &Call) -> Outcome {
    Reply::keys(of::<R>(core, call)?.keys().cloned().collect())
}

pub(crate) fn write<R: Role>(core: &mut Core, call: &Call) -> Outcome {
    let name = name::<R>(call);
    let existing = of::<R>(core, call)?.get(&name).cloned();
    let new = existing.is_none();
    let mut role = match existing {
        Some(role) => role,
        None => R::fresh(core),
    };
    let warnings = role.update(core, &call.args, new)?;
    let roles = of::<R>(core, call)?;
    role.check_beside(&name, roles)?;
    roles.insert(name, role);
    if warnings.is_empty() {
        return done();
    }
    Ok(Some(Reply {
        warnings,
        ..Reply::default()
    }))
}

pub(crate) fn read<R: Role>(core: &mut Core, call: &Call) -> Outcome {
    let name = name::<R>(call);
    let Some(mut role) = of::<R>(core, call)?.get(&name).cloned() else {
        return Err(Refused::nothing());
    };
    let mut data: Map<String, Value> = role.params().describe(core);
    data.extend(crate::reply::object(role.describe(core)));
    Ok(Some(Reply::data(Value::Object(data))))
}

pub(crate) fn delete<R: Role>(core: &mut Core, call: &Call) -> Outcome {
    let name = name::<R>(call);
    of::<R>(core, call)?.remove(&name);
    done()
}

/// The role behind a token that is to be renewed; `None` if it is gone.
pub(crate) fn behind<R: Role>(core: &Core, mount: MountId, entry: &Entry) -> Option<R> {
    let roles = R::all(&core.mount(mount)?.backend)?;
    roles.get(&entry.owner).cloned()
}

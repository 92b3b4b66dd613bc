//! What is kept of a secret beside its versions: rules of its own, and pairs that its owner may put there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Secret, data::shown_custom, nothing_to_patch, secret, secrets};
use crate::{
    Core, Flavour,
    call::Call,
    fields::{Kind, convert, go_value},
    reply::{Outcome, Refused, Reply, done, ok},
};

/// The longest key and the longest value of a pair.
const LENGTHS: (usize, usize) = (128, 512);
/// Pairs of one secret.
const PAIRS: usize = 64;

pub(super) fn read(core: &mut Core, call: &Call) -> Outcome {
    let Some(secret) = secret(core, call)?.cloned() else {
        return Err(Refused::nothing());
    };
    let shown = secret.versions.iter();
    let shown: Map<String, Value> = shown
        .map(|(number, version)| (number.to_string(), version.describe(core)))
        .collect();
    // deleting and destroying do not count as updates
    let updated = secret.versions.get(&secret.current).map(|v| v.created);
    let mut data = secret.rules.shown(core);
    data["created_time"] = core.rfc3339(secret.created).into();
    data["current_version"] = secret.current.into();
    data["custom_metadata"] = shown_custom(&secret.custom);
    data["oldest_version"] = secret.oldest.into();
    let updated = updated.unwrap_or(secret.created).max(secret.described);
    data["updated_time"] = core.rfc3339(updated).into();
    data["versions"] = shown.into();
    if core.flavour.is_openbao() {
        data["current_metadata_version"] = secret.metadata_version.into();
    }
    ok(data)
}

pub(super) fn forget(core: &mut Core, call: &Call) -> Outcome {
    secrets(core, call)?.paths.remove(call.args.text("path"));
    done()
}

pub(super) fn list(core: &mut Core, call: &Call) -> Outcome {
    let prefix = call.args.text("path").to_owned();
    Reply::keys(crate::kv::below(secrets(core, call)?.paths.keys(), &prefix))
}

pub(super) fn write(core: &mut Core, call: &Call) -> Outcome {
    let pairs = custom(core.flavour, call)?;
    let now = core.now;
    let mut changed = secret(core, call)?.cloned().unwrap_or_else(|| Secret {
        created: now,
        ..Secret::default()
    });
    let said = changed.rules.take(core, call) || pairs.is_some();
    if !said {
        return done();
    }
    check_version(core, call)?;
    if let Some(pairs) = pairs {
        changed.custom = pairs
            .into_iter()
            .filter_map(|(k, v)| Some((k, v?)))
            .collect();
    }
    keep(core, call, changed)
}

pub(super) fn patch(core: &mut Core, call: &Call) -> Outcome {
    let pairs = custom(core.flavour, call)?;
    let Some(mut changed) = secret(core, call)?.cloned() else {
        let said = Secret::default().rules.take(core, call) || pairs.is_some();
        // OpenBao does not even look where nothing is to change
        return if said || core.flavour.is_vault() {
            nothing_to_patch()
        } else {
            done()
        };
    };
    let said = changed.rules.take(core, call) || pairs.is_some();
    if !said {
        return done();
    }
    check_version(core, call)?;
    // the patch is applied to the document as it was sent
    let place = if core.flavour.is_openbao() {
        ""
    } else {
        "KeyMetadata"
    };
    let unreadable = |what: &str, field: &str, kind: &str| {
        Refused::internal(format!(
            "json: cannot unmarshal {what} into Go struct field {place}.{field} of type {kind}"
        ))
    };
    let most = call.args.int("max_versions");
    if most < 0 {
        return Err(unreadable(
            &format!("number {most}"),
            "max_versions",
            "uint32",
        ));
    }
    let sent = call.raw.get("custom_metadata");
    for (name, value) in sent.and_then(Value::as_object).into_iter().flatten() {
        let what = match value {
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            _ => continue,
        };
        let field = if core.flavour.is_openbao() {
            format!("custom_metadata.{name}")
        } else {
            "custom_metadata".to_owned()
        };
        return Err(unreadable(what, &field, "string"));
    }
    match (sent, pairs) {
        (Some(Value::Null), _) => changed.custom.clear(),
        (_, Some(pairs)) => {
            for (name, value) in pairs {
                match value {
                    Some(value) => changed.custom.insert(name, value),
                    None => changed.custom.remove(&name),
                };
            }
        }
        _ => {}
    }
    keep(core, call, changed)
}

/// OpenBao's writers may say, or have to, which version of the metadata they know.
fn check_version(core: &mut Core, call: &Call) -> Result<(), Refused> {
    if core.flavour.is_vault() {
        return Ok(());
    }
    let required = secrets(core, call)?.rules.metadata_cas_required;
    let (required, current) = secret(core, call)?.map_or((required, 0), |s| {
        (
            required || s.rules.metadata_cas_required,
            s.metadata_version,
        )
    });
    match call.args.opt_int("metadata_cas") {
        None if required => Err(Refused::bad(
            "metadata check-and-set parameter required for this call",
        )),
        Some(wanted) if wanted != 0 && secret(core, call)?.is_none() => Err(Refused::bad(
            "metadata_cas must be 0 when creating new metadata",
        )),
        Some(wanted) if u64::try_from(wanted) != Ok(current) => Err(Refused::bad(
            "metadata check-and-set parameter does not match the current version",
        )),
        _ => Ok(()),
    }
}

fn keep(core: &mut Core, call: &Call, mut changed: Secret) -> Outcome {
    changed.metadata_version += 1;
    if core.flavour.is_openbao() {
        changed.described = core.now;
    }
    let store = secrets(core, call)?;
    let mandated = [
        ("cas_required", store.rules.cas_required),
        ("metadata_cas_required", store.rules.metadata_cas_required),
    ];
    store
        .paths
        .insert(call.args.text("path").to_owned(), changed);
    let overruled = mandated
        .iter()
        .filter(|(name, set)| *set && call.args.opt_bool(name) == Some(false));
    let warnings: Vec<String> = overruled
        .map(|(name, _)| format!("{name:?} set to false, but is mandated by backend config. This value will be ignored."))
        .collect();
    if warnings.is_empty() {
        return done();
    }
    Ok(Some(Reply {
        warnings,
        ..Reply::default()
    }))
}

/// The pairs of a request: `None` as a value is null. Nothing if it has none.
fn custom(
    flavour: Flavour,
    call: &Call,
) -> Result<Option<BTreeMap<String, Option<String>>>, Refused> {
    let Some(sent) = call.args.get("custom_metadata").and_then(Value::as_object) else {
        return Ok(None);
    };
    let failed = |text: String| format!("custom_metadata validation failed: {text}");
    let patches = call.op == crate::call::Op::Patch;
    let mut pairs = BTreeMap::new();
    for (name, value) in sent {
        let text = match convert(Kind::Text, value) {
            Ok(Value::String(text)) if !(patches && value.is_null()) => Some(text),
            Ok(_) => None,
            Err(fault) if flavour.is_vault() => {
                let fault = format!("{fault}, value: '{}'", go_value(value));
                return Err(Refused::bad(failed(fault)));
            }
            Err(fault) => return Err(Refused::bad(failed(fault))),
        };
        pairs.insert(name.clone(), text);
    }
    if pairs.len() > PAIRS {
        let text = format!(
            "payload must contain at most {PAIRS} keys, provided {}",
            pairs.len()
        );
        return Err(Refused::Wrapped(400, failed(text)));
    }
    let faults = pairs
        .iter()
        .flat_map(|(name, value)| faults(name, value.as_deref()));
    let faults: Vec<String> = faults.map(failed).collect();
    match faults.as_slice() {
        [] => Ok(Some(pairs)),
        [one] => Err(Refused::Wrapped(400, one.clone())),
        many => {
            let list: String = many.iter().map(|fault| format!("\t* {fault}\n")).collect();
            Err(Refused::bad(format!(
                "{} errors occurred:\n{list}\n",
                many.len()
            )))
        }
    }
}

/// What is wrong with a pair.
fn faults(name: &str, value: Option<&str>) -> Vec<String> {
    let (longest_key, longest_value) = LENGTHS;
    let mut out = Vec::new();
    if name.is_empty() || name.len() > longest_key {
        out.push(format!(
            "length of key {name:?} is {} but must be 0 < len(key) <= {longest_key}",
            name.len()
        ));
    }
    if let Some(value) = value
        && (value.is_empty() || value.len() > longest_value)
    {
        out.push(format!(
            "length of value for key {name:?} is {} but must be 0 < len(value) <= {longest_value}",
            value.len()
        ));
    }
    let unprintable = |text: &str| text.chars().any(char::is_control);
    if unprintable(name) {
        let quoted: String = name
            .chars()
            .map(|c| match c {
                '\n' => "\\n".to_owned(),
                '\t' => "\\t".to_owned(),
                '\r' => "\\r".to_owned(),
                c if c.is_control() => format!("\\x{:02x}", u32::from(c)),
                c => c.to_string(),
            })
            .collect();
        out.push(format!(
            "key \"{quoted}\" ({name}) contains unprintable characters"
        ));
    }
    if value.is_some_and(unprintable) {
        out.push(format!(
            "value for key {name:?} contains unprintable characters"
        ));
    }
    out
}

//! What happens to clients' data.
//!
//! Each object is a register. An operation without an answer may take effect at any time after it began, or never, so
//! its value is allowed for ever; a value is lost only where an acknowledged write surely came after it.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_history::chaos::{Digested, OpEnd, OpKind};

use super::Result;
use super::view::{Op, View};

/// A read by anybody: a client's, or the audit's.
struct Read<'a> {
    object: &'a str,
    start: Duration,
    end: Duration,
    /// Nothing: the object is not there.
    value: Option<&'a Digested>,
}

fn reads<'a>(view: &View<'a>, ops: &[Op<'a>]) -> Vec<Read<'a>> {
    let mut reads = Vec::new();
    for op in ops.iter().filter(|op| op.kind == OpKind::Read) {
        if let Some((end, outcome)) = op.end
            && let Some(value) = read_value(outcome)
        {
            reads.push(Read {
                object: op.object,
                start: op.start,
                end,
                value,
            });
        }
    }
    for (at, fact) in view.audit() {
        if let Some(value) = read_value(&fact.fresh) {
            reads.push(Read {
                object: &fact.object,
                start: at,
                end: at,
                value,
            });
        }
    }
    reads
}

/// What a read says of the object; nothing if it says nothing.
fn read_value(end: &OpEnd) -> Option<Option<&Digested>> {
    match end {
        OpEnd::Ok {
            value: Some(value), ..
        } => Some(Some(value)),
        OpEnd::Failed { code: 404, .. } => Some(None),
        _ => None,
    }
}

/// A time in which the store was put back to an earlier state: the earliest state it can be, and when it was over.
struct Restored {
    backup: Duration,
    from: Duration,
    until: Duration,
}

fn restores(view: &View<'_>) -> Vec<Restored> {
    let faults = view.faults();
    let backups: Vec<_> = faults
        .iter()
        .filter(|fault| fault.what.starts_with("backup"))
        .filter_map(|fault| fault.injected)
        .collect();
    let restored = faults
        .iter()
        .filter(|fault| fault.what.starts_with("restore"));
    restored
        .filter_map(|fault| {
            let until = fault.recovered.or(fault.injected)?;
            let from = fault.injected?;
            let backup = backups.iter().copied().filter(|at| *at <= from).max()?;
            Some(Restored {
                backup,
                from,
                until,
            })
        })
        .collect()
}

/// No value is read after it was surely overwritten, and nothing that surely exists is missing.
pub(super) fn no_acknowledged_write_lost(view: &View<'_>) -> Result {
    let ops = view.ops();
    let restores = restores(view);
    let mut writes: BTreeMap<&str, Vec<&Op<'_>>> = BTreeMap::new();
    for op in &ops {
        if matches!(op.kind, OpKind::Write | OpKind::Delete) && !op.without_effect() {
            writes.entry(op.object).or_default().push(op);
        }
    }
    let reads = reads(view, &ops);
    let mut checked = 0;
    for read in &reads {
        let Some(history) = writes.get(read.object) else {
            continue;
        };
        checked += 1;
        // in the order in which they began; what the read shows was mostly written last
        let begun = history.partition_point(|op| op.start <= read.end);
        let history = || history[..begun].iter().rev();
        // the latest acknowledged write that was over before the read began, and that no restore undid
        let last = history()
            .filter(|op| op.acknowledged().is_some_and(|end| end < read.start))
            .find(|op| !undone(op, read, &restores));
        let Some(last) = last else { continue };
        let allowed = history().any(|op| {
            let overwritten = op.acknowledged().is_some_and(|end| end < last.start);
            !overwritten && op.value == read.value
        });
        if !allowed {
            let found = read.value.map_or("nothing".to_owned(), |value| {
                format!("value {}", value.sha256)
            });
            return Result::Broken {
                at: read.end,
                text: format!(
                    "{} holds {found}, but the write acknowledged at {:?} put {} there",
                    read.object,
                    last.acknowledged().unwrap_or_default(),
                    last.value.map_or("nothing", |value| value.sha256.as_str()),
                ),
            };
        }
    }
    if let Some(broken) = short_list(&ops, &restores) {
        return broken;
    }
    if checked == 0 {
        return Result::Nothing("no object was read after a write".to_owned());
    }
    Result::Held(format!("{checked} reads checked"))
}

/// Whether a restore may have taken a write's effect away before a read: it ended after the write began, began before
/// the read ended, and its backup was not surely later than the write.
fn undone(op: &Op<'_>, read: &Read<'_>, restores: &[Restored]) -> bool {
    restores.iter().any(|restore| {
        restore.until >= op.start
            && restore.from <= read.end
            && op.acknowledged().is_none_or(|end| end >= restore.backup)
    })
}

/// A list with fewer objects than surely exist.
fn short_list(ops: &[Op<'_>], restores: &[Restored]) -> Option<Result> {
    if !restores.is_empty() || ops.iter().any(|op| op.kind == OpKind::Delete) {
        return None;
    }
    let mut created: BTreeMap<&str, Duration> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.kind == OpKind::Write) {
        if let Some(end) = op.acknowledged() {
            let first = created.entry(op.object).or_insert(end);
            *first = end.min(*first);
        }
    }
    for op in ops.iter().filter(|op| op.kind == OpKind::List) {
        let Some((
            at,
            OpEnd::Ok {
                items: Some(items), ..
            },
        )) = op.end
        else {
            continue;
        };
        let sure = created.values().filter(|end| **end < op.start).count();
        if usize::try_from(*items).is_ok_and(|items| items < sure) {
            return Some(Result::Broken {
                at,
                text: format!("a list succeeded with {items} objects of at least {sure}"),
            });
        }
    }
    None
}

/// Everything that is read was written to that object by somebody.
pub(super) fn no_wrong_bytes(view: &View<'_>) -> Result {
    let ops = view.ops();
    let mut written: BTreeMap<&str, Vec<&Digested>> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.kind == OpKind::Write) {
        if let Some(value) = op.value {
            written.entry(op.object).or_default().push(value);
        }
    }
    let mut checked = 0;
    for read in reads(view, &ops) {
        let (Some(value), Some(values)) = (read.value, written.get(read.object)) else {
            continue;
        };
        checked += 1;
        if !values.contains(&value) {
            return Result::Broken {
                at: read.end,
                text: format!(
                    "{} gave {} bytes {} that nobody wrote",
                    read.object, value.len, value.sha256
                ),
            };
        }
    }
    if checked == 0 {
        return Result::Nothing("no value was read".to_owned());
    }
    Result::Held(format!("{checked} values checked"))
}

/// Every stored object is readable by a fresh API server.
pub(super) fn readable_by_fresh(view: &View<'_>) -> Result {
    let facts = view.audit();
    if facts.is_empty() {
        return Result::Nothing("nothing was stored, or there was no audit".to_owned());
    }
    let bad: Vec<_> = facts
        .iter()
        .filter(|(_, fact)| !readable(&fact.fresh))
        .collect();
    match bad.first() {
        None => Result::Held(format!("{} objects", facts.len())),
        Some((at, fact)) => Result::Broken {
            at: *at,
            text: format!(
                "{} of {} objects; first {} under {:?}: {}",
                bad.len(),
                facts.len(),
                fact.object,
                fact.key_id.as_deref().unwrap_or(&fact.prefix),
                words(&fact.fresh)
            ),
        },
    }
}

/// Some stored object is not.
pub(super) fn unreadable(view: &View<'_>) -> Result {
    match readable_by_fresh(view) {
        Result::Broken { text, .. } => Result::Held(text),
        Result::Held(text) => Result::Broken {
            at: view.audit().last().map_or(Duration::ZERO, |(at, _)| *at),
            text: format!("all are readable: {text}"),
        },
        nothing => nothing,
    }
}

fn readable(end: &OpEnd) -> bool {
    matches!(end, OpEnd::Ok { .. })
}

fn words(end: &OpEnd) -> String {
    match end {
        OpEnd::Ok { .. } => "read".to_owned(),
        OpEnd::Failed { code, message } | OpEnd::Indeterminate { code, message } => {
            format!("{code} {message}")
        }
    }
}

/// No canary stands anywhere in clear.
pub(super) fn no_plaintext(view: &View<'_>) -> Result {
    if let Some((at, place)) = view.leaks().first() {
        return Result::Broken {
            at: *at,
            text: (*place).to_owned(),
        };
    }
    let facts = view.audit();
    if let Some((at, fact)) = facts.iter().find(|(_, fact)| fact.clear) {
        return Result::Broken {
            at: *at,
            text: format!("{} is stored in clear", fact.object),
        };
    }
    if facts.is_empty() {
        return Result::Nothing("nothing was stored, or there was no audit".to_owned());
    }
    Result::Held(format!("{} stored values", facts.len()))
}

/// Nothing is stored in clear, or by another provider.
pub(super) fn stored_by_provider(view: &View<'_>) -> Result {
    let Some(wanted) = view.provider() else {
        return Result::Nothing("nobody said which provider writes".to_owned());
    };
    let facts = view.audit();
    if facts.is_empty() {
        return Result::Nothing("nothing was stored, or there was no audit".to_owned());
    }
    let bad: Vec<_> = facts
        .iter()
        .filter(|(_, fact)| fact.prefix != wanted)
        .collect();
    match bad.first() {
        None => Result::Held(format!("{} objects begin with {wanted}", facts.len())),
        Some((at, fact)) => Result::Broken {
            at: *at,
            text: format!(
                "{} of {} objects; first {} begins with {:?}, and the provider in use writes {wanted:?}",
                bad.len(),
                facts.len(),
                fact.object,
                fact.prefix
            ),
        },
    }
}

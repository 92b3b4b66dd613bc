//! What clients do: on each node one writes its own objects, one reads anybody's, one lists.
//!
//! Each is one client that waits for its answer; an outage slows them down instead of piling calls up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver_api::{Answer, ListOptions, Resource, Trouble};
use kms_history::chaos::{Digested, OpEnd, OpKind};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Run, Times, answered, digested, locked, object_name, target, unsuccessful};
use crate::language::time::Rate;
use crate::seed::Seed;

pub(super) fn start(run: &Arc<Run>, times: Times, tasks: &mut JoinSet<Result<(), Trouble>>) {
    for node in 0..run.plan.world.nodes {
        let seed = run.seed.label("load").label(&format!("node {node}"));
        tasks.spawn(write(Arc::clone(run), node, seed.label("writes"), times));
        tasks.spawn(read(Arc::clone(run), node, seed.label("reads"), times));
        tasks.spawn(list(Arc::clone(run), node, seed.label("lists"), times));
    }
}

/// The times of a client's calls: one in each interval, somewhere in its first half.
struct Pace {
    seed: Seed,
    from: Instant,
    every: Option<Duration>,
    next: u32,
}

impl Pace {
    fn of(rate: Rate, seed: Seed, from: Instant) -> Self {
        Self {
            seed,
            from,
            every: rate.every(),
            next: 0,
        }
    }

    /// Waits for the next call; its number. Nothing when the run is over first.
    async fn next(&mut self, end: Instant) -> Option<Seed> {
        let every = self.every?;
        // calls that a slow answer has made late are left out
        let late = Instant::now().saturating_duration_since(self.from);
        let passed = u32::try_from(late.as_nanos() / every.as_nanos().max(1)).unwrap_or(u32::MAX);
        self.next = self.next.max(passed);
        let own = self.seed.label(&self.next.to_string());
        let offset = own.label("offset").duration(Duration::ZERO, every / 2);
        let at = self.from + every.checked_mul(self.next)? + offset;
        self.next += 1;
        if at >= end {
            return None;
        }
        sleep_until(at).await;
        Some(own)
    }
}

async fn write(run: Arc<Run>, node: u32, seed: Seed, times: Times) -> Result<(), Trouble> {
    for number in 0..run.plan.load.objects {
        write_one(&run, node, number, seed.label(&format!("first {number}"))).await;
        if Instant::now() >= times.end {
            return Ok(());
        }
    }
    let mut pace = Pace::of(run.plan.load.writes, seed, Instant::now());
    let last = u64::from(run.plan.load.objects.saturating_sub(1));
    while let Some(own) = pace.next(times.end).await {
        let number = own.label("object").number(&(0..=last));
        let number = u32::try_from(number).unwrap_or_default();
        write_one(&run, node, number, own).await;
    }
    Ok(())
}

async fn write_one(run: &Run, node: u32, number: u32, seed: Seed) {
    let object = object_name(node, number);
    let value = value(&run.canary, seed, run.plan.load.size);
    let op = run.invoked(
        node,
        OpKind::Write,
        &object,
        Some(digested(value.as_bytes())),
    );
    locked(&run.written).insert(object.clone());
    let server = run.world.apiserver(node);
    let target = target(&object);
    let known = locked(&run.created).contains(&object);
    let call = |create: bool| {
        let body = json!({ "type": "Opaque", "data": { "value": STANDARD.encode(&value) } });
        if create {
            server.create(&target, body)
        } else {
            server.update(&target, body)
        }
    };
    let mut answer = answered(call(!known)).await;
    // an earlier creation without an answer did happen after all, or a restore took the object away
    let other = if known { 404 } else { 409 };
    if answer.as_ref().is_ok_and(|answer| answer.code == other) {
        answer = answered(call(known)).await;
    }
    let end = match &answer {
        Ok(answer) if answer.ok() => {
            locked(&run.created).insert(object);
            OpEnd::Ok {
                value: None,
                items: None,
            }
        }
        _ => unsuccessful(&answer),
    };
    run.ended(node, op, end);
}

/// A value that begins with the canary and is like no other.
fn value(canary: &str, seed: Seed, size: u32) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut value = format!("{canary}-").into_bytes();
    let mut block = 0_u32;
    while value.len() < size {
        for byte in seed.label(&block.to_string()).bytes() {
            value.push(DIGITS[usize::from(byte >> 4)]);
            value.push(DIGITS[usize::from(byte & 15)]);
        }
        block += 1;
    }
    value.truncate(size);
    String::from_utf8(value).expect("a canary and hex digits are ASCII")
}

async fn read(run: Arc<Run>, node: u32, seed: Seed, times: Times) -> Result<(), Trouble> {
    let mut pace = Pace::of(run.plan.load.reads, seed, times.settled);
    // what each object held when it was read last: most reads find the same again
    let mut last: BTreeMap<String, (String, Digested)> = BTreeMap::new();
    while let Some(own) = pace.next(times.end).await {
        let object = {
            let created = locked(&run.created);
            let objects: Vec<&String> = created.iter().collect();
            own.label("object")
                .pick(&objects)
                .map(|object| (*object).clone())
        };
        let Some(object) = object else {
            continue;
        };
        let op = run.invoked(node, OpKind::Read, &object, None);
        let server = run.world.apiserver(node);
        let answer = answered(server.get(&target(&object))).await;
        let end = read_end(&answer, |shown| match last.get(&object) {
            Some((before, digested)) if before == shown => digested.clone(),
            _ => {
                let digested = digested_of(shown);
                last.insert(object, (shown.to_owned(), digested.clone()));
                digested
            }
        });
        run.ended(node, op, end);
    }
    Ok(())
}

/// How a read ended; `digest` is given the value as the answer shows it.
pub(super) fn read_end(
    answer: &Result<Answer, Trouble>,
    digest: impl FnOnce(&str) -> Digested,
) -> OpEnd {
    match answer {
        Ok(object) if object.ok() => OpEnd::Ok {
            value: Some(digest(object.field("/data/value"))),
            items: None,
        },
        _ => unsuccessful(answer),
    }
}

/// A value that an answer shows, as the history has it.
pub(super) fn digested_of(shown: &str) -> Digested {
    digested(&STANDARD.decode(shown).unwrap_or_default())
}

async fn list(run: Arc<Run>, node: u32, seed: Seed, times: Times) -> Result<(), Trouble> {
    let mut pace = Pace::of(run.plan.load.lists, seed, times.settled);
    while pace.next(times.end).await.is_some() {
        let op = run.invoked(node, OpKind::List, "", None);
        let answer = list_all(&run, node).await;
        let end = match &answer {
            Ok(list) if list.ok() => OpEnd::Ok {
                value: None,
                items: u32::try_from(list.items().len()).ok(),
            },
            _ => unsuccessful(&answer),
        };
        run.ended(node, op, end);
    }
    Ok(())
}

/// The newest state of all objects.
pub(super) async fn list_all(run: &Run, node: u32) -> Result<Answer, Trouble> {
    let options = ListOptions {
        namespace: Some("default".to_owned()),
        ..ListOptions::default()
    };
    let server = run.world.apiserver(node);
    answered(server.list(Resource::Secrets, options)).await
}

/// The name of a listed object.
pub(super) fn name_of(object: &Value) -> &str {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

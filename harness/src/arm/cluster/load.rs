//! Load beside the engine's: one Secret, and one ConfigMap where they are encrypted, are written, read, and followed by a
//! watch. After a write was acknowledged, the watch must show its value; that is a read like any other, and judged so.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver_api::{Answer, ApiServer, ListOptions, Resource, Target, Trouble, Watching};
use kms_history::chaos::{Digested, Event, OpEnd, OpKind};
use kms_scenario::world::Recorder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Between two writes of an object.
const EVERY: Duration = Duration::from_secs(3);
/// Limit for an answer, and for the watch to show what was written.
const LIMIT: Duration = Duration::from_secs(15);
/// Before a watch that ended is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// Operations of this load are numbered from here on: the engine counts from 0.
const FIRST: u64 = 1 << 40;

/// What a watch showed last: resource version and value.
type Shown = Option<(u64, Digested)>;

/// Begins it; it ends with the tasks.
pub fn start(
    server: &Arc<dyn ApiServer>,
    recorder: &Recorder,
    config_maps: bool,
    tasks: &mut JoinSet<()>,
) {
    let wanted = [
        (Resource::Secrets, true),
        (Resource::ConfigMaps, config_maps),
    ];
    for (number, (resource, _)) in (1..).zip(wanted.into_iter().filter(|(_, wanted)| *wanted)) {
        let shown = watch::Sender::new(None);
        let one = Watched {
            server: Arc::clone(server),
            recorder: recorder.clone(),
            target: Target {
                resource,
                namespace: "default".to_owned(),
                name: format!("watched-{}", resource.plural()),
            },
            next: FIRST * number,
        };
        let (server, name) = (Arc::clone(server), one.target.name.clone());
        let follows = shown.clone();
        tasks.spawn(async move { follow(&server, resource, &name, &follows).await });
        tasks.spawn(one.write(shown.subscribe()));
    }
}

struct Watched {
    server: Arc<dyn ApiServer>,
    recorder: Recorder,
    target: Target,
    next: u64,
}

impl Watched {
    async fn write(mut self, mut shown: watch::Receiver<Shown>) {
        let mut known = false;
        loop {
            let value = format!("watched-{}", uuid::Uuid::new_v4());
            let op = self.begins(OpKind::Write, Some(digested(value.as_bytes())));
            let body = self.body(&value);
            let answer = self.put(known, body).await;
            known |= answer.as_ref().is_ok_and(Answer::ok);
            let acknowledged = version(&answer);
            self.ends(op, end(&answer, None));
            if let Some(version) = acknowledged {
                let op = self.begins(OpKind::Read, None);
                let value = arrived(&mut shown, version).await;
                self.ends(
                    op,
                    match value {
                        Some(value) => OpEnd::Ok {
                            value: Some(value),
                            items: None,
                        },
                        None => OpEnd::Indeterminate {
                            code: 0,
                            message: "the watch did not show the write in time".to_owned(),
                        },
                    },
                );
                let op = self.begins(OpKind::Read, None);
                let read = self.within(self.server.get(&self.target)).await;
                let value = read.as_ref().ok().and_then(|read| value_of(read.json()));
                self.ends(op, end(&read, value));
            }
            sleep(EVERY).await;
        }
    }

    /// An earlier creation without an answer did happen after all, or was undone.
    async fn put(&self, known: bool, body: Value) -> Result<Answer, Trouble> {
        let create = self.server.create(&self.target, body.clone());
        let first = if known {
            drop(create);
            self.within(self.server.update(&self.target, body.clone()))
                .await
        } else {
            self.within(create).await
        };
        match &first {
            Ok(answer) if answer.code == 409 && !known => {
                self.within(self.server.update(&self.target, body)).await
            }
            _ => first,
        }
    }

    fn body(&self, value: &str) -> Value {
        match self.target.resource {
            Resource::Secrets => json!({"data": {"value": STANDARD.encode(value)}}),
            _ => json!({"data": {"value": value}}),
        }
    }

    async fn within(
        &self,
        call: impl Future<Output = Result<Answer, Trouble>>,
    ) -> Result<Answer, Trouble> {
        let late = |_| Err(Trouble::new("no answer in time"));
        timeout(LIMIT, call).await.unwrap_or_else(late)
    }

    fn begins(&mut self, kind: OpKind, value: Option<Digested>) -> u64 {
        let op = self.next;
        self.next += 1;
        let object = self.target.name.clone();
        let event = Event::Invoked {
            op,
            kind,
            object,
            value,
        };
        self.recorder.note(Some(0), event);
        op
    }

    fn ends(&self, op: u64, end: OpEnd) {
        self.recorder.note(Some(0), Event::Ended { op, end });
    }
}

/// Keeps a watch open, and says what it shows.
async fn follow(
    server: &Arc<dyn ApiServer>,
    resource: Resource,
    name: &str,
    shown: &watch::Sender<Shown>,
) {
    loop {
        let options = ListOptions {
            namespace: Some("default".to_owned()),
            field_selector: Some(format!("metadata.name={name}")),
            ..ListOptions::default()
        };
        // Without a resource version a watch begins with what there is.
        if let Ok(Watching::Open(mut events)) = server.watch(resource, options).await {
            while let Ok(Some(event)) = events.next().await {
                let version = event.object.pointer("/metadata/resourceVersion");
                let version = version.and_then(Value::as_str).map(str::parse);
                let value = value_of(&event.object);
                if let (Some(Ok(version)), Some(value)) = (version, value) {
                    shown.send_replace(Some((version, value)));
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// What the watch shows once it has come to this version; nothing if it does not in time.
async fn arrived(shown: &mut watch::Receiver<Shown>, version: u64) -> Option<Digested> {
    let there = |shown: &Shown| shown.as_ref().is_some_and(|(there, _)| *there >= version);
    let shown = timeout(LIMIT, shown.wait_for(there)).await.ok()?.ok()?;
    shown.as_ref().map(|(_, value)| value.clone())
}

fn version(answer: &Result<Answer, Trouble>) -> Option<u64> {
    let answer = answer.as_ref().ok().filter(|answer| answer.ok())?;
    answer.resource_version().parse().ok()
}

/// The value of either kind of object.
fn value_of(object: &Value) -> Option<Digested> {
    let text = object.pointer("/data/value")?.as_str()?;
    let bytes = if object["kind"] == "ConfigMap" {
        text.as_bytes().to_vec()
    } else {
        STANDARD.decode(text).ok()?
    };
    Some(digested(&bytes))
}

fn end(answer: &Result<Answer, Trouble>, value: Option<Digested>) -> OpEnd {
    let message = |text: &str| text.chars().take(160).collect::<String>();
    match answer {
        Ok(answer) if answer.ok() => OpEnd::Ok { value, items: None },
        Ok(answer) if (400..500).contains(&answer.code) && ![408, 429].contains(&answer.code) => {
            OpEnd::Failed {
                code: answer.code,
                message: message(answer.message()),
            }
        }
        Ok(answer) => OpEnd::Indeterminate {
            code: answer.code,
            message: message(answer.message()),
        },
        Err(trouble) => OpEnd::Indeterminate {
            code: 0,
            message: message(&trouble.0),
        },
    }
}

fn digested(value: &[u8]) -> Digested {
    let hash = Sha256::digest(value);
    let first = hash.first_chunk().copied().unwrap_or_default();
    Digested {
        sha256: format!("{:016x}", u64::from_be_bytes(first)),
        len: u32::try_from(value.len()).unwrap_or(u32::MAX),
    }
}

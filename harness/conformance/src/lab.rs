//! What every stimulus works with: the client, the transcript, randomness and the call counters.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use kms_history::{Answered, Leak, Outcome, Request, Sent, What};
use tokio::time::Instant;

use crate::client::Client;
use crate::facts::{self, Sealed, Spellings};
use crate::recorder::{Recorder, nanos};
use crate::seeds::{Seeds, uuid};
use crate::{Options, Progress, Target, proto};

/// One run.
pub(crate) struct Lab<'a> {
    pub target: &'a Target,
    pub options: &'a Options,
    pub recorder: &'a Recorder,
    pub client: Client,
    /// A client of the other node.
    pub other_node: Option<Client>,
    pub seeds: Seeds,
    /// Calls in a row that the subject left without any answer.
    pub silent: AtomicU32,
    /// Length of the log before the run, in bytes.
    pub log_start: u64,
}

/// One stimulus of a run.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub lab: &'a Lab<'a>,
    pub name: &'static str,
    pub caller: u32,
    /// Where calls go.
    pub client: &'a Client,
}

/// How one call of ours is to be made and recorded.
pub(crate) struct Plan {
    pub method: Cow<'static, str>,
    pub case: Cow<'static, str>,
    pub uid: String,
    pub request: Request,
    pub body: Bytes,
    pub of: Option<u64>,
    /// Bytes that no answer may hold in the open.
    pub secret: Bytes,
}

/// What a stimulus sees of an ended call.
pub(crate) struct Reply {
    pub seq: u64,
    pub outcome: Outcome,
    pub sealed: Option<Sealed>,
    pub plaintext: Option<Bytes>,
    pub key_id: Bytes,
}

/// An Encrypt that succeeded: what goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Material {
    /// Sequence number of the Encrypt call.
    pub of: u64,
    pub plaintext: Bytes,
    pub sealed: Sealed,
}

/// Calls in a row without any answer, after which a stimulus stops asking.
const SILENCE: u32 = 8;

impl Reply {
    /// Whether the subject answered at all.
    pub fn reached(&self) -> bool {
        !matches!(
            self.outcome,
            Outcome::NotConnected { .. } | Outcome::Closed { .. } | Outcome::TimedOut
        )
    }
}

impl<'a> Lab<'a> {
    pub fn scene(&'a self, name: &'static str) -> Scene<'a> {
        Scene {
            lab: self,
            name,
            caller: 0,
            client: &self.client,
        }
    }
}

impl<'a> Scene<'a> {
    /// The same stimulus, as another of several callers.
    pub fn caller(self, caller: u32) -> Self {
        Scene { caller, ..self }
    }

    /// The same stimulus on the other node, when there is one.
    pub fn elsewhere(self) -> Self {
        Scene {
            client: self.lab.other_node.as_ref().unwrap_or(self.client),
            ..self
        }
    }

    /// The same stimulus on another process.
    pub fn on<'b>(self, client: &'b Client) -> Scene<'b>
    where
        'a: 'b,
    {
        Scene { client, ..self }
    }

    /// Another stimulus, in the middle of this one.
    pub fn named(self, name: &'static str) -> Self {
        Scene { name, ..self }
    }

    pub fn record(&self, what: What) -> u64 {
        self.lab.recorder.record(self.name, self.caller, what)
    }

    /// Says that this stimulus, or a part of it, did not run. The text begins with a reason code.
    pub fn not_run(&self, reason: impl Into<String>) {
        self.record(What::NotRun(reason.into()));
    }

    /// Whether the subject has gone silent, so that asking on would only cost time.
    pub fn gave_up(&self) -> bool {
        self.lab.silent.load(Ordering::Relaxed) >= SILENCE
    }

    /// Tells the caller of the run how far it is.
    pub fn progress(&self, done: u64, total: u64) {
        if let Some(callback) = &self.lab.options.progress {
            callback(Progress {
                stimulus: self.name,
                done,
                total,
            });
        }
    }

    /// A uid for one call; the label must be unique within the stimulus.
    pub fn uid(&self, label: impl std::fmt::Display) -> String {
        uuid(&mut self.lab.seeds.rng(&format!("{}/uid/{label}", self.name)))
    }

    /// A DEK seed for one call; the label must be unique within the stimulus.
    pub fn seed(&self, label: impl std::fmt::Display) -> Bytes {
        let bytes = self.lab.seeds.bytes(&format!("{}/seed/{label}", self.name));
        Bytes::copy_from_slice(&bytes)
    }

    /// Sends a call through the gRPC library and records both ends.
    pub async fn send(&self, plan: Plan) -> Reply {
        self.send_within(plan, self.lab.options.timeout).await
    }

    /// The same with a deadline of its own.
    pub async fn send_within(&self, plan: Plan, limit: Duration) -> Reply {
        let Plan {
            method,
            case,
            uid,
            request,
            body,
            of,
            secret,
        } = plan;
        let spellings = Spellings::of(&secret);
        let seq = self.record(What::Sent(Sent {
            method: method.clone(),
            case,
            uid,
            request,
            of,
            deadline_ns: Some(nanos(limit)),
            conn: None,
        }));
        let start = Instant::now();
        let (outcome, decoded) = self.client.call(&method, body, limit, &spellings).await;
        let elapsed_ns = nanos(start.elapsed());
        let (sealed, plaintext, key_id) = match decoded {
            Some(d) => (d.sealed, d.plaintext, d.key_id),
            None => (None, None, Bytes::new()),
        };
        let leaks = match (&sealed, &outcome) {
            (Some(sealed), _) => facts::leaks(&spellings, sealed),
            (None, Outcome::Error { message, .. }) if message.text.contains("[plaintext]") => {
                vec![Leak {
                    place: "error".into(),
                    form: "text".into(),
                }]
            }
            _ => Vec::new(),
        };
        self.record(What::Answered(Answered {
            call: seq,
            elapsed_ns,
            outcome: outcome.clone(),
            leaks,
        }));
        let reply = Reply {
            seq,
            outcome,
            sealed,
            plaintext,
            key_id,
        };
        // A spare may be silent without the subject being so.
        let of_subject = std::ptr::eq(self.client, &raw const self.lab.client);
        match reply.reached() {
            _ if !of_subject => {}
            true => self.lab.silent.store(0, Ordering::Relaxed),
            false => {
                self.lab.silent.fetch_add(1, Ordering::Relaxed);
            }
        }
        reply
    }

    pub async fn status(&self, case: impl Into<Cow<'static, str>>) -> Reply {
        self.send(Plan {
            method: "Status".into(),
            case: case.into(),
            uid: String::new(),
            request: Request::Status,
            body: Bytes::new(),
            of: None,
            secret: Bytes::new(),
        })
        .await
    }

    pub fn encrypt_plan(
        &self,
        case: impl Into<Cow<'static, str>>,
        plaintext: &Bytes,
        uid: String,
    ) -> Plan {
        Plan {
            method: "Encrypt".into(),
            case: case.into(),
            request: Request::Encrypt {
                plaintext: facts::own_blob(plaintext, self.lab.options.keep_payloads),
            },
            body: proto::encrypt_request(plaintext, uid.as_bytes()),
            uid,
            of: None,
            secret: plaintext.clone(),
        }
    }

    /// Encrypt of a plaintext. The material is there if it succeeded.
    pub async fn encrypt(
        &self,
        case: impl Into<Cow<'static, str>>,
        plaintext: &Bytes,
        uid: String,
    ) -> (Reply, Option<Material>) {
        let mut reply = self.send(self.encrypt_plan(case, plaintext, uid)).await;
        let material = reply.sealed.take().map(|sealed| Material {
            of: reply.seq,
            plaintext: plaintext.clone(),
            sealed,
        });
        (reply, material)
    }

    /// A Decrypt of material as it is, or altered by the caller.
    pub fn decrypt_plan(
        &self,
        case: impl Into<Cow<'static, str>>,
        material: &Material,
        uid: String,
    ) -> Plan {
        let Sealed {
            ciphertext,
            key_id,
            annotations,
        } = &material.sealed;
        Plan {
            method: "Decrypt".into(),
            case: case.into(),
            request: Request::Decrypt {
                ciphertext: facts::blob(ciphertext),
                key_id: facts::text(key_id),
                annotations: facts::annotations(annotations),
            },
            body: proto::decrypt_request(ciphertext, uid.as_bytes(), key_id, annotations),
            uid,
            of: Some(material.of),
            secret: material.plaintext.clone(),
        }
    }

    /// Sends such a Decrypt.
    pub async fn decrypt(
        &self,
        case: impl Into<Cow<'static, str>>,
        material: &Material,
        uid: String,
    ) -> Reply {
        self.send(self.decrypt_plan(case, material, uid)).await
    }

    /// Encrypt and Decrypt of a fresh seed, recorded as ordinary calls; true if it came back.
    pub async fn round_trip(&self, case: &'static str, label: impl std::fmt::Display) -> bool {
        let plaintext = self.seed(&label);
        let (_, material) = self
            .encrypt(case, &plaintext, self.uid(format_args!("{label}/encrypt")))
            .await;
        let Some(material) = material else {
            return false;
        };
        let reply = self
            .decrypt(case, &material, self.uid(format_args!("{label}/decrypt")))
            .await;
        reply.plaintext.as_ref() == Some(&plaintext)
    }
}

/// Runs futures with at most `width` of them in flight, and gives their results in order.
pub(crate) async fn side_by_side<F: Future>(
    width: usize,
    futures: impl Iterator<Item = F>,
) -> Vec<F::Output> {
    futures_util::stream::iter(futures)
        .buffered(width.max(1))
        .collect()
        .await
}

/// A callback that a run tells its progress to.
pub type ProgressCallback = Arc<dyn Fn(Progress) + Send + Sync>;

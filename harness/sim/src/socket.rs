//! A node's plugin socket as its API server reaches it: over the simulated network, past a proxy that knows gRPC.
//!
//! The proxy acts where the API server's client hands a call over, so it can delay, hold, answer or cut a call and never
//! touches a byte of what it passes on.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_apiserver::grpc::{Code, Method, Status};
use kms_apiserver_node::rpc::{Carried, Dialer, Stream};
use kms_history::chaos::{Event, RpcEnd};
use kms_scenario::fault::Rpc;
use kms_scenario::world::Recorder;
use kms_sim_net::Net;
use kms_v2_api::StatusResponse;
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

use crate::surroundings::lock;

/// The port that stands for the socket on a plugin's host.
pub const SOCKET: u16 = 1;

/// The longest message of a failed call that the history keeps, in characters.
const MESSAGE: usize = 200;

/// Whether the socket's file is there. Clones share it.
#[derive(Clone, Default)]
pub struct SocketFile(Arc<AtomicBool>);

impl SocketFile {
    pub fn set(&self, there: bool) {
        self.0.store(there, Ordering::Relaxed);
    }

    /// What a connect to a path without a file says.
    pub fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// What the proxy does with a call.
#[derive(Clone, Debug)]
pub enum Act {
    Delay {
        min: Duration,
        max: Duration,
    },
    Hold,
    Answer {
        code: u8,
        message: String,
    },
    Cut,
    /// The plugin's answer arrives as this makes it.
    Alter(fn(&[u8]) -> Vec<u8>),
}

struct Rule {
    method: Option<Rpc>,
    act: Act,
    hits: u64,
}

/// The socket of one node, as one API server sees it.
pub struct Socket {
    net: Net,
    from: String,
    to: String,
    file: SocketFile,
    /// Where Status polls are noted; nowhere for servers that only audit.
    notes: Option<(Recorder, u32)>,
    rules: Mutex<Rules>,
}

struct Rules {
    by_fault: BTreeMap<String, Rule>,
    rng: ChaCha8Rng,
}

impl Socket {
    pub fn new(
        net: Net,
        ends: (String, String),
        file: SocketFile,
        notes: Option<(Recorder, u32)>,
        seed: [u8; 32],
    ) -> Self {
        let rng = ChaCha8Rng::from_seed(seed);
        Self {
            net,
            from: ends.0,
            to: ends.1,
            file,
            notes,
            rules: Mutex::new(Rules {
                by_fault: BTreeMap::new(),
                rng,
            }),
        }
    }

    /// Applies to all calls of a method, or to all calls, until [`Socket::clear`].
    pub fn rule(&self, fault: &str, method: Option<Rpc>, act: Act) {
        let rule = Rule {
            method,
            act,
            hits: 0,
        };
        lock(&self.rules).by_fault.insert(fault.to_owned(), rule);
    }

    pub fn clear(&self, fault: &str) -> u64 {
        let rule = lock(&self.rules).by_fault.remove(fault);
        rule.map_or(0, |rule| rule.hits)
    }

    pub fn hits(&self, fault: &str) -> u64 {
        let rules = lock(&self.rules);
        rules.by_fault.get(fault).map_or(0, |rule| rule.hits)
    }

    /// What happens to a call now; a delay with equal bounds is a drawn one.
    fn decide(&self, method: Method) -> Option<Act> {
        let mut rules = lock(&self.rules);
        let Rules { by_fault, rng } = &mut *rules;
        let mut fitting = by_fault
            .values_mut()
            .filter(|rule| rule.method.is_none_or(|rpc| same(rpc, method)));
        let rule = fitting.next()?;
        rule.hits += 1;
        Some(match &rule.act {
            Act::Delay { min, max } => {
                let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                let drawn = rng.random_range(micros(min)..=micros(max).max(micros(min)));
                let drawn = Duration::from_micros(drawn);
                Act::Delay {
                    min: drawn,
                    max: drawn,
                }
            }
            other => other.clone(),
        })
    }

    async fn act(&self, act: Option<Act>, mut call: Carried<'_>) -> Result<Vec<u8>, Status> {
        match act {
            None => call.await,
            Some(Act::Delay { min, .. }) => {
                sleep(min).await;
                call.await
            }
            Some(Act::Hold) => std::future::pending().await,
            Some(Act::Alter(alter)) => call.await.map(|answer| alter(&answer)),
            Some(Act::Answer { code, message }) => Err(Status::new(Code(code.into()), message)),
            Some(Act::Cut) => {
                tokio::select! {
                    biased;
                    answer = &mut call => answer,
                    () = tokio::task::yield_now() => {
                        self.net.reset(&self.from, &self.to);
                        call.await
                    }
                }
            }
        }
    }
}

fn same(rpc: Rpc, method: Method) -> bool {
    matches!(
        (rpc, method),
        (Rpc::Status, Method::Status)
            | (Rpc::Encrypt, Method::Encrypt)
            | (Rpc::Decrypt, Method::Decrypt)
    )
}

impl Dialer for Socket {
    fn dial(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let (net, from, to) = (self.net.clone(), self.from.clone(), self.to.clone());
        let file = self.file.clone();
        Box::pin(async move {
            file.check()?;
            let stream = net.host(&from).connect(&to, SOCKET).await?;
            Ok(Box::new(stream) as Stream)
        })
    }

    fn carry<'a>(&'a self, method: Method, limit: Duration, call: Carried<'a>) -> Carried<'a> {
        let act = self.decide(method);
        Box::pin(async move {
            let poll = (method == Method::Status).then(|| Poll::new(self.notes.as_ref(), limit));
            let answer = self.act(act, call).await;
            if let Some(poll) = poll {
                poll.over(end_of_status(&answer));
            }
            answer
        })
    }
}

/// Any way to a plugin, with the polls of the API server that uses it noted.
pub struct Polled<D> {
    dialer: D,
    notes: (Recorder, u32),
}

impl<D> Polled<D> {
    /// Notes the polls of this node's API server.
    pub fn new(dialer: D, recorder: Recorder, node: u32) -> Self {
        let notes = (recorder, node);
        Self { dialer, notes }
    }
}

impl<D: Dialer> Dialer for Polled<D> {
    fn dial(&self, address: &str) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        self.dialer.dial(address)
    }

    fn carry<'a>(&'a self, method: Method, limit: Duration, call: Carried<'a>) -> Carried<'a> {
        let call = self.dialer.carry(method, limit, call);
        if method != Method::Status {
            return call;
        }
        Box::pin(async move {
            let poll = Poll::new(Some(&self.notes), limit);
            let answer = call.await;
            poll.over(end_of_status(&answer));
            answer
        })
    }
}

/// A Status poll of an API server; noted when it ends, also by being given up.
struct Poll<'a> {
    notes: Option<&'a (Recorder, u32)>,
    began: Instant,
    limit: Duration,
}

impl<'a> Poll<'a> {
    fn new(notes: Option<&'a (Recorder, u32)>, limit: Duration) -> Self {
        let began = Instant::now();
        Self {
            notes,
            began,
            limit,
        }
    }

    fn over(mut self, end: RpcEnd) {
        self.note(end);
    }

    fn note(&mut self, end: RpcEnd) {
        if let Some((recorder, node)) = self.notes.take() {
            recorder.note(Some(*node), Event::Polled { end });
        }
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        // tokio's timers tick in milliseconds
        let late = self.began.elapsed() + Duration::from_millis(2) >= self.limit;
        let (code, message) = if late {
            ("DeadlineExceeded", "context deadline exceeded")
        } else {
            ("Canceled", "context canceled")
        };
        self.note(RpcEnd::Failed {
            code: code.to_owned(),
            message: message.to_owned(),
        });
    }
}

/// How a Status call ended.
pub fn end_of_status(answer: &Result<Vec<u8>, Status>) -> RpcEnd {
    end(answer, |bytes| {
        let answer = StatusResponse::decode(bytes)?;
        Ok((answer.key_id, Some(answer.healthz)))
    })
}

/// How any call ended, with what reads its message.
pub fn end(
    answer: &Result<Vec<u8>, Status>,
    read: impl FnOnce(&[u8]) -> Result<(String, Option<String>), prost::DecodeError>,
) -> RpcEnd {
    let failed = |code: Code, message: &str| RpcEnd::Failed {
        code: code.name(),
        message: message.chars().take(MESSAGE).collect(),
    };
    match answer {
        Ok(bytes) => match read(bytes) {
            Ok((key_id, healthz)) => RpcEnd::Ok { key_id, healthz },
            Err(error) => failed(Code::INTERNAL, &format!("not a message: {error}")),
        },
        Err(status) => failed(status.code, &status.message),
    }
}

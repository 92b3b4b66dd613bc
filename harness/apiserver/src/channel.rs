//! The connection of the Go gRPC client, as far as it decides: when to dial, how long to wait
//! between attempts, which call waits, which one fails, and with what text.
//!
//! grpc-go's pick-first balancer with its default back-off, every call "wait for ready"
//! (KMS2-CONN-06), no keepalive, no retry policy. Not for HTTP/2: that is the caller's.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use rand::RngExt as _;

use crate::grpc::{Code, Method, Status};
use crate::seam::{Action, CallId, ConnId, DialError, Log, Now, ProviderId, Rpc};

/// An attempt that has not heard the server's SETTINGS by then has failed (KMS2-CONN-12); longer
/// if the pause after it would be.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
const GROWTH: f64 = 1.6;
const JITTER: f64 = 0.2;

/// One provider's connection and the calls on it.
pub(crate) struct Channel {
    provider: ProviderId,
    address: String,
    authority: String,
    link: Link,
    /// Failed attempts since the last success.
    failures: u32,
    /// Why the last attempt failed; gone once a connection stood.
    last_error: Option<String>,
    conns: u32,
    calls: BTreeMap<CallId, Call>,
}

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// None, and nobody asks for one (KMS2-CONN-11).
    Idle,
    /// An attempt runs until `limit`; `pause` follows if it fails.
    Connecting {
        conn: ConnId,
        limit: Duration,
        pause: Duration,
    },
    Ready {
        conn: ConnId,
    },
    /// The pause after a failed attempt, which no call shortens (KMS2-CONN-10).
    Pause {
        until: Duration,
    },
    Closed,
}

struct Call {
    method: Method,
    request: Vec<u8>,
    deadline: Duration,
    /// The connection that it was sent on.
    on: Option<ConnId>,
    resent: bool,
}

impl Channel {
    /// A channel that dials at once (KMS2-CONN-05).
    pub(crate) fn start(
        provider: ProviderId,
        address: String,
        authority: String,
        now: Now,
        rng: &mut dyn Rng,
        out: &mut Vec<Action>,
    ) -> Self {
        let mut channel = Channel {
            provider,
            address,
            authority,
            link: Link::Idle,
            failures: 0,
            last_error: None,
            conns: 0,
            calls: BTreeMap::new(),
        };
        channel.dial(now, rng, out);
        channel
    }

    /// Whether it was closed for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.link == Link::Closed
    }

    /// Starts a call; an outcome that is clear at once is returned.
    #[expect(clippy::too_many_arguments, reason = "a call is that much")]
    pub(crate) fn call(
        &mut self,
        id: CallId,
        method: Method,
        request: Vec<u8>,
        deadline: Duration,
        now: Now,
        rng: &mut dyn Rng,
        out: &mut Vec<Action>,
    ) -> Option<Status> {
        if self.is_closed() {
            return Some(closing());
        }
        if deadline <= now.mono {
            return Some(deadline_exceeded("context deadline exceeded"));
        }
        let call = Call {
            method,
            request,
            deadline,
            on: None,
            resent: false,
        };
        self.calls.insert(id, call);
        match self.link {
            Link::Ready { conn } => self.send(id, conn, now, out),
            Link::Idle => self.dial(now, rng, out),
            _ => {}
        }
        None
    }

    /// The answer of a call; false if nobody waits for it any more.
    pub(crate) fn answered(&mut self, id: CallId) -> bool {
        self.calls.remove(&id).is_some()
    }

    /// Takes a call back for its caller, who has gone.
    pub(crate) fn cancel(&mut self, id: CallId, out: &mut Vec<Action>) -> Option<Status> {
        let call = self.calls.remove(&id)?;
        Some(match call.on {
            Some(_) => {
                out.push(Action::Cancel {
                    provider: self.provider,
                    call: id,
                });
                Status::new(Code::CANCELED, "context canceled")
            }
            None => Status::new(Code::CANCELED, self.waiting_text("context canceled")),
        })
    }

    /// The server never processed this call (REFUSED_STREAM, or above GOAWAY's last stream): it is
    /// sent again once, on whatever connection there is (KMS2-CONN-08).
    pub(crate) fn unprocessed(
        &mut self,
        id: CallId,
        now: Now,
        rng: &mut dyn Rng,
        out: &mut Vec<Action>,
    ) -> Option<Status> {
        let call = self.calls.get_mut(&id)?;
        if call.resent {
            self.calls.remove(&id);
            return Some(Status::new(
                Code::UNAVAILABLE,
                "the stream is rejected because server is draining the connection",
            ));
        }
        call.resent = true;
        call.on = None;
        match self.link {
            Link::Ready { conn } => self.send(id, conn, now, out),
            Link::Idle => self.dial(now, rng, out),
            _ => {}
        }
        None
    }

    /// An attempt is over.
    pub(crate) fn dialled(
        &mut self,
        conn: ConnId,
        outcome: Result<(), DialError>,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Link::Connecting {
            conn: current,
            pause,
            ..
        } = self.link
        else {
            return;
        };
        if conn != current {
            return;
        }
        if !matches!(outcome, Err(DialError::Connect(_))) {
            out.push(Log::info(
                4,
                format!(
                    "\"Successfully dialed Unix socket\" addr=\"{}\"",
                    self.address
                ),
            ));
        }
        match outcome {
            Ok(()) => {
                self.link = Link::Ready { conn };
                self.failures = 0;
                self.last_error = None;
                let waiting: Vec<CallId> = self
                    .calls
                    .iter()
                    .filter(|(_, call)| call.on.is_none())
                    .map(|(id, _)| *id)
                    .collect();
                for id in waiting {
                    self.send(id, conn, now, out);
                }
            }
            Err(error) => self.attempt_failed(error, pause, now, out),
        }
    }

    fn attempt_failed(
        &mut self,
        error: DialError,
        pause: Duration,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let why = match error {
            DialError::Connect(why) => {
                out.push(Log::error(format!(
                    "\"failed to create connection to unix socket\" err={} addr={}",
                    crate::gotext::quote(&why),
                    crate::gotext::quote(&self.address),
                )));
                format!("transport: Error while dialing: {why}")
            }
            DialError::Preface(why) => why,
        };
        self.last_error = Some(format!("connection error: desc = \"{why}\""));
        self.link = Link::Pause {
            until: now.mono + pause,
        };
        self.failures = self.failures.saturating_add(1);
    }

    /// The connection is gone. Returns the calls that were on it.
    pub(crate) fn lost(&mut self, conn: ConnId) -> Vec<CallId> {
        self.leave(conn);
        let on_it: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.on == Some(conn))
            .map(|(id, _)| *id)
            .collect();
        for id in &on_it {
            self.calls.remove(id);
        }
        on_it
    }

    /// The server said GOAWAY: calls on the connection go on, new ones need another.
    pub(crate) fn going_away(&mut self, conn: ConnId) {
        self.leave(conn);
    }

    fn leave(&mut self, conn: ConnId) {
        if self.link == (Link::Ready { conn }) {
            self.link = Link::Idle;
        }
    }

    /// Closes for good; returns the calls that end with that, all with [`closing`].
    pub(crate) fn close(&mut self, out: &mut Vec<Action>) -> Vec<CallId> {
        if self.is_closed() {
            return Vec::new();
        }
        self.link = Link::Closed;
        out.push(Action::Close {
            provider: self.provider,
        });
        std::mem::take(&mut self.calls).into_keys().collect()
    }

    /// When something happens by itself.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let link = match self.link {
            Link::Connecting { limit, .. } => Some(limit),
            Link::Pause { until } => Some(until),
            Link::Idle | Link::Ready { .. } | Link::Closed => None,
        };
        let calls = self.calls.values().map(|call| call.deadline);
        link.into_iter().chain(calls).min()
    }

    /// Lets pass what is due; returns the calls that ran out.
    pub(crate) fn poll(
        &mut self,
        now: Now,
        rng: &mut dyn Rng,
        out: &mut Vec<Action>,
    ) -> Vec<(CallId, Status)> {
        let due: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.deadline <= now.mono)
            .map(|(id, _)| *id)
            .collect();
        let mut over = Vec::new();
        for id in due {
            let Some(call) = self.calls.remove(&id) else {
                continue;
            };
            let text = match call.on {
                Some(_) => {
                    out.push(Action::Cancel {
                        provider: self.provider,
                        call: id,
                    });
                    "context deadline exceeded".to_owned()
                }
                None => self.waiting_text("context deadline exceeded"),
            };
            over.push((id, deadline_exceeded(&text)));
        }
        match self.link {
            Link::Connecting {
                limit, pause, conn, ..
            } if limit <= now.mono => {
                out.push(Action::AbortDial {
                    provider: self.provider,
                    conn,
                });
                let why = format!(
                    "error reading server preface: raw-read unix @->{}: use of closed network \
                     connection",
                    self.address
                );
                self.attempt_failed(DialError::Preface(why), pause, now, out);
            }
            Link::Pause { until } if until <= now.mono => self.dial(now, rng, out),
            _ => {}
        }
        over
    }

    fn send(&mut self, id: CallId, conn: ConnId, now: Now, out: &mut Vec<Action>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.on = Some(conn);
        // Kept for the one time that it may have to be sent again.
        let request = call.request.clone();
        out.push(Action::Send {
            provider: self.provider,
            conn,
            rpc: Rpc {
                call: id,
                method: call.method,
                request,
                timeout: call.deadline.saturating_sub(now.mono),
            },
        });
    }

    fn dial(&mut self, now: Now, rng: &mut dyn Rng, out: &mut Vec<Action>) {
        self.conns += 1;
        let conn = ConnId(self.conns);
        let pause = pause_after(self.failures, rng);
        self.link = Link::Connecting {
            conn,
            limit: now.mono + pause.max(CONNECT_LIMIT),
            pause,
        };
        out.push(Action::Dial {
            provider: self.provider,
            conn,
            address: self.address.clone(),
            authority: self.authority.clone(),
        });
    }

    /// Why a call that was never sent is over (KMS2-CONN-06).
    fn waiting_text(&self, context: &str) -> String {
        match &self.last_error {
            Some(error) => format!("latest balancer error: {error}"),
            None => format!("{context} while waiting for connections to become ready"),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // An Encrypt request holds a seed.
        zeroize::Zeroize::zeroize(&mut self.request);
    }
}

/// How a call ends when its channel is closed (KMS2-CONN-13).
pub(crate) fn closing() -> Status {
    Status::new(Code::CANCELED, "grpc: the client connection is closing")
}

fn deadline_exceeded(text: &str) -> Status {
    Status::new(Code::DEADLINE_EXCEEDED, text)
}

/// The pause after the attempt that follows this many failures (KMS2-CONN-10): the first is exact,
/// the others get up to a fifth more or less, after the cap.
fn pause_after(failures: u32, rng: &mut dyn Rng) -> Duration {
    if failures == 0 {
        return FIRST_PAUSE;
    }
    // The cap is reached long before the power overflows.
    let grown = FIRST_PAUSE.as_secs_f64() * GROWTH.powi(failures.min(64) as i32);
    let capped = grown.min(LONGEST_PAUSE.as_secs_f64());
    let jitter = 1.0 + JITTER * rng.random_range(-1.0..1.0);
    Duration::from_secs_f64(capped * jitter)
}

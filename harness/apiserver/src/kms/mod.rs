//! One KMS v2 provider: its connection, its checks, its write state and its cache of seeds.
//!
//! `check` decides when the plugin is asked and what an answer means, `state` what is written
//! with, `seed` how; this file puts them together and carries values through.

mod check;
mod poll;
mod seed;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use self::check::{Checker, Running};
use self::poll::Loops;
use self::seed::{Opener, Seeds};
use self::state::State;
use crate::channel::{self, Channel};
use crate::gotext::{hash_if_not_empty, quote, rfc3339, uuid_v4};
use crate::grpc::{Code, MAX_ANSWER, Method, Status};
use crate::metrics::{Direction, Metrics};
use crate::object::{self, EncryptedObject, SourceType};
use crate::options::Options;
use crate::proto;
use crate::seam::{
    Action, CallId, ConnId, DialError, Event, GroupResource, Log, Now, ProbeId, ProviderId,
    TransformError,
};

pub use self::check::{BAD_RESULT, GOOD_RESULT};
pub use self::poll::{FAST_POLL, POLL};
pub use self::seed::{PATH_TTL, SEED_TTL};
pub use self::state::WRITE_TTL;
pub use crate::channel::CONNECT_LIMIT;

/// The world of one step: the time, and what all providers of a server share.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) options: &'a Options,
    pub(crate) rng: &'a mut dyn Rng,
    pub(crate) metrics: &'a mut Metrics,
    pub(crate) out: &'a mut Vec<Action>,
    pub(crate) calls: &'a mut u64,
}

impl Cx<'_> {
    fn uid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        uuid_v4(bytes)
    }

    /// Logs at a verbosity; the text is only made if somebody wants it.
    pub(crate) fn log(&mut self, verbosity: u8, text: impl FnOnce() -> String) {
        if verbosity <= self.options.verbosity {
            self.out.push(Log::info(verbosity, text()));
        }
    }
}

/// What the configuration says of a provider.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) endpoint: String,
    pub(crate) address: String,
    pub(crate) timeout: Duration,
}

/// One `kms` entry of version 2.
pub(crate) struct Provider {
    entry: Entry,
    channel: Channel,
    calls: BTreeMap<CallId, InFlight>,
    waiting: std::collections::VecDeque<Checker>,
    running: Option<Running>,
    last: Option<check::LastResult>,
    /// The version that the first good Status said (KMS2-STATUS-02).
    pinned: Option<String>,
    loops: Loops,
    state: Option<State>,
    seeds: Seeds,
    /// Calls that were over as soon as they began; see [`Self::settle`].
    over: Vec<(CallId, Status)>,
    /// Checks that are over, for those who asked.
    probed: Vec<(ProbeId, Result<(), String>)>,
    /// Whether the inline check of the load is over.
    primed: bool,
}

/// Where a value stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) resource: &'a GroupResource,
    /// The etcd key: the associated data.
    pub(crate) key: &'a str,
}

impl Place<'_> {
    /// The request as log lines name it (KMS2-LOG-01); of the request only the resource is known
    /// here.
    pub(crate) fn request(&self) -> String {
        format!(
            "group={} version=\"\" resource={} subresource=\"\" verb=\"\" namespace=\"\" name=\"\"",
            quote(&self.resource.group),
            quote(&self.resource.resource)
        )
    }
}

/// What a call inherits from whoever needs it.
#[derive(Clone, Copy, Default)]
struct Context {
    deadline: Option<Duration>,
    cancelled: bool,
}

struct InFlight {
    method: Method,
    started: Now,
}

/// A read that lacks its seed.
pub(crate) struct ColdRead {
    object: EncryptedObject,
    cache_key: [u8; 32],
    /// Of the state when the read began: staleness is judged by it (KMS2-STALE-03).
    current: (String, SourceType),
}

/// How far a read came.
pub(crate) enum KmsRead {
    Plain(Vec<u8>, bool),
    Cold(Box<ColdRead>),
}

impl Provider {
    /// A provider that dials and begins its inline check (KMS2-START-01).
    pub(crate) fn start(id: ProviderId, entry: Entry, cx: &mut Cx<'_>) -> Self {
        cx.log(4, || {
            format!(
                "\"Configure KMS provider\" endpoint={}",
                quote(&entry.endpoint)
            )
        });
        let authority = cx.options.version.authority(&entry.address);
        let channel = Channel::start(id, entry.address.clone(), authority, cx.now, cx.rng, cx.out);
        let mut provider = Provider {
            entry,
            channel,
            calls: BTreeMap::new(),
            waiting: std::collections::VecDeque::new(),
            running: None,
            last: None,
            pinned: None,
            loops: Loops::default(),
            state: None,
            seeds: Seeds::new(),
            over: Vec::new(),
            probed: Vec::new(),
            primed: false,
        };
        provider.check(Checker::inline(), cx);
        provider
    }

    /// Whether the inline check is over, so that the load can go on.
    pub(crate) fn is_primed(&self) -> bool {
        self.primed
    }

    /// Takes the results of probes that are over.
    pub(crate) fn take_probed(&mut self) -> Vec<(ProbeId, Result<(), String>)> {
        std::mem::take(&mut self.probed)
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        [self.channel.next_deadline(), self.loops.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn poll(&mut self, cx: &mut Cx<'_>) {
        for (call, status) in self.channel.poll(cx.now, cx.rng, cx.out) {
            self.finish(call, Err(status), cx);
        }
        self.poll_loops(cx);
    }

    pub(crate) fn dialled(
        &mut self,
        conn: ConnId,
        outcome: Result<(), DialError>,
        cx: &mut Cx<'_>,
    ) {
        self.channel.dialled(conn, outcome, cx.now, cx.out);
    }

    /// The connection is gone; the calls on it fail with `why` (KMS2-CONN-08).
    pub(crate) fn lost(&mut self, conn: ConnId, why: &Status, cx: &mut Cx<'_>) {
        for call in self.channel.lost(conn) {
            self.finish(call, Err(why.clone()), cx);
        }
    }

    pub(crate) fn going_away(&mut self, conn: ConnId) {
        self.channel.going_away(conn);
    }

    pub(crate) fn unprocessed(&mut self, call: CallId, cx: &mut Cx<'_>) {
        if let Some(status) = self.channel.unprocessed(call, cx.now, cx.rng, cx.out) {
            self.finish(call, Err(status), cx);
        }
    }

    /// The answer of a call.
    pub(crate) fn answer(
        &mut self,
        call: CallId,
        outcome: Result<Vec<u8>, Status>,
        cx: &mut Cx<'_>,
    ) {
        if self.channel.answered(call) {
            let outcome = outcome.and_then(|bytes| match bytes.len() {
                ..=MAX_ANSWER => Ok(bytes),
                length => Err(Status::too_large(length)),
            });
            self.finish(call, outcome, cx);
        }
    }

    /// Stops polling and closes the connection: a drained server, or a configuration that was
    /// replaced (KMS2-CONN-13).
    pub(crate) fn close(&mut self, cx: &mut Cx<'_>) {
        self.loops.stop();
        for call in self.channel.close(cx.out) {
            self.finish(call, Err(channel::closing()), cx);
        }
    }

    /// Starts a call. Whoever starts one notes its id and then lets `settle` run: some calls are
    /// over as soon as they begin.
    fn call(
        &mut self,
        method: Method,
        request: Vec<u8>,
        context: Context,
        cx: &mut Cx<'_>,
    ) -> CallId {
        *cx.calls += 1;
        let id = CallId(*cx.calls);
        let started = cx.now;
        self.calls.insert(id, InFlight { method, started });
        let limit = cx.now.mono + self.entry.timeout;
        let deadline = context.deadline.map_or(limit, |context| context.min(limit));
        let over = if context.cancelled {
            Some(Status::new(Code::CANCELED, "context canceled"))
        } else {
            self.channel
                .call(id, method, request, deadline, cx.now, cx.rng, cx.out)
        };
        self.over.extend(over.map(|status| (id, status)));
        id
    }

    fn settle(&mut self, cx: &mut Cx<'_>) {
        while let Some((call, status)) = self.over.pop() {
            self.finish(call, Err(status), cx);
        }
    }

    fn finish(&mut self, call: CallId, outcome: Result<Vec<u8>, Status>, cx: &mut Cx<'_>) {
        let Some(InFlight { method, started }) = self.calls.remove(&call) else {
            return;
        };
        // An answer that does not parse is an error of the call, as the Go client has it.
        let outcome = outcome.and_then(|bytes| match parses(method, &bytes) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(Status::unparsable(error)),
        });
        let took = cx.now.mono.saturating_sub(started.mono);
        cx.metrics
            .rpc(&self.entry.name, method, outcome.as_ref().err(), took);
        match method {
            Method::Decrypt => cx
                .out
                .push(Action::Event(Event::Decrypted { call, outcome })),
            Method::Status | Method::Encrypt => self.check_answered(call, outcome, cx),
        }
    }

    /// Seals a value behind what `out` holds already (KMS2-WRITE-01).
    pub(crate) fn write(
        &mut self,
        out: &mut Vec<u8>,
        place: Place<'_>,
        plaintext: &[u8],
        cx: &mut Cx<'_>,
    ) -> Result<(), TransformError> {
        let state = self.state.as_ref().ok_or_else(no_state)?;
        state.may_write(cx.now)?;
        let opener = Arc::clone(&state.opener);
        self.seeds.insert(
            cx.now,
            state.cache_key,
            opener,
            &self.entry.name,
            cx.metrics,
        );
        cx.log(6, || {
            format!(
                "\"encrypting content using DEK\" uid={} key={} {}",
                quote(&state.uid),
                quote(place.key),
                place.request()
            )
        });
        proto::put_length(out, 1, plaintext.len() + state.opener.overhead());
        state
            .opener
            .seal(out, place.key.as_bytes(), plaintext, cx.now, cx.rng)
            .map_err(TransformError::new)?;
        cx.metrics.key_id(
            Direction::ToStorage,
            &self.entry.name,
            &state.key_id_hash,
            cx.now.unix,
        );
        object::encode_rest(
            out,
            cx.options.version,
            &state.key_id,
            &state.source,
            &state.annotations,
            state.source_type,
        );
        Ok(())
    }

    /// Opens what stands behind the prefix, as far as that goes without asking the plugin
    /// (KMS2-DEC-10).
    pub(crate) fn read(
        &mut self,
        key: &str,
        body: &[u8],
        cx: &mut Cx<'_>,
    ) -> Result<KmsRead, TransformError> {
        let object =
            EncryptedObject::decode(body, cx.options.version).map_err(TransformError::new)?;
        object.validate().map_err(TransformError::new)?;
        let state = self.state.as_ref().ok_or_else(no_state)?;
        let cache_key = object.cache_key();
        let cold = ColdRead {
            current: (state.key_id.clone(), state.source_type),
            cache_key,
            object,
        };
        match self.seeds.get(&cache_key) {
            Some(opener) => self.open(&opener, key, &cold, cx),
            None => {
                cx.metrics.cache_miss();
                Ok(KmsRead::Cold(Box::new(cold)))
            }
        }
    }

    /// Asks the plugin for the seed of a read (KMS2-DEC-01). No equal calls are merged
    /// (KMS2-DEC-08).
    pub(crate) fn decrypt(
        &mut self,
        place: Place<'_>,
        cold: &ColdRead,
        deadline: Option<Duration>,
        cx: &mut Cx<'_>,
    ) -> CallId {
        let uid = cx.uid();
        cx.log(6, || {
            format!(
                "\"decrypting content using envelope service\" uid={} key={} {}",
                quote(&uid),
                quote(place.key),
                place.request()
            )
        });
        let object = &cold.object;
        let request =
            proto::decrypt_request(&object.source, &uid, &object.key_id, &object.annotations);
        let context = Context {
            deadline,
            cancelled: false,
        };
        let call = self.call(Method::Decrypt, request, context, cx);
        self.settle(cx);
        call
    }

    /// Takes a Decrypt back: the reader has gone (KMS2-DEC-09).
    pub(crate) fn cancel_decrypt(&mut self, call: CallId, cx: &mut Cx<'_>) {
        if let Some(status) = self.channel.cancel(call, cx.out) {
            self.finish(call, Err(status), cx);
        }
    }

    /// Goes on with a read: the seed goes into the cache before it has opened anything
    /// (KMS2-DEC-03), where [`Options::cache_unproven_seeds`] is not off.
    pub(crate) fn supply(
        &mut self,
        key: &str,
        cold: &ColdRead,
        outcome: Result<Vec<u8>, Status>,
        cx: &mut Cx<'_>,
    ) -> Result<KmsRead, TransformError> {
        let bytes = outcome.map_err(|status| TransformError {
            text: format!("failed to decrypt DEK, error: {status}"),
            status: Some(status),
        })?;
        let seed = proto::decode_decrypt_answer(&bytes)
            .map_err(|error| TransformError::new(error.to_string()))?;
        let opener = match cold.object.known_type() {
            Some(SourceType::AesGcmKey) => Opener::key(&seed),
            _ => Opener::seed(&seed),
        };
        let opener = Arc::new(opener.map_err(TransformError::new)?);
        let opened = self.open(&opener, key, cold, cx);
        if opened.is_err() && !cx.options.cache_unproven_seeds {
            return opened;
        }
        self.seeds
            .insert(cx.now, cold.cache_key, opener, &self.entry.name, cx.metrics);
        opened
    }

    fn open(
        &self,
        opener: &Opener,
        key: &str,
        cold: &ColdRead,
        cx: &mut Cx<'_>,
    ) -> Result<KmsRead, TransformError> {
        let ColdRead {
            object, current, ..
        } = cold;
        let hash = match &self.state {
            Some(state) if state.key_id == object.key_id => state.key_id_hash.clone(),
            _ => hash_if_not_empty(&object.key_id),
        };
        cx.metrics
            .key_id(Direction::FromStorage, &self.entry.name, &hash, cx.now.unix);
        let bytes = opener
            .open(key.as_bytes(), &object.data, cx.now)
            .map_err(TransformError::new)?;
        let (key_id, source_type) = current;
        let stale = *key_id != object.key_id || Some(*source_type) != object.known_type();
        Ok(KmsRead::Plain(bytes, stale))
    }
}

/// The error while there is nothing to read or write with (KMS2-STATE-07).
fn no_state() -> TransformError {
    TransformError::new("got unexpected nil transformer")
}

fn parses(method: Method, bytes: &[u8]) -> Result<(), proto::DecodeError> {
    match method {
        Method::Status => proto::StatusAnswer::decode(bytes).map(drop),
        Method::Encrypt => proto::EncryptAnswer::decode(bytes).map(drop),
        Method::Decrypt => proto::decode_decrypt_answer(bytes).map(drop),
    }
}

/// An expiry for texts.
fn shown(time: Now) -> String {
    rfc3339(time.unix)
}

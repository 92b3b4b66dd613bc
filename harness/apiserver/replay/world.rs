//! The replay itself: a clock, the model, the recorded plugin, and the script's events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kms_apiserver::aead;
use kms_apiserver::config::Endpoint;
use kms_apiserver::encryption::{Encryption, Pending, Read};
use kms_apiserver::gotext;
use kms_apiserver::grpc::{Code, Method, Status};
use kms_apiserver::health::{Check, Query};
use kms_apiserver::object::{self, EncryptedObject};
use kms_apiserver::options::Options;
use kms_apiserver::seam::{
    Action, CallId, ConnId, DialError, Event as Happened, GroupResource, Now, ProbeId, ProviderId,
    Rpc,
};
use kms_apiserver::version::Version;

use super::compare::{Outcome, Table, normal};
use super::plugin::{Plugin, Reply, field, fields, xor};
use super::rng::Scripted;
use super::trace::{Event, Trace};

const CONFIG: &str = "/etc/kms/encryption-config.yaml";
/// How late real events were at most, and a little for what the machine did besides.
const LATE: Duration = Duration::from_millis(150);

pub struct World<'t> {
    trace: &'t Trace,
    table: Table,
    now: Duration,
    servers: Vec<Server<'t>>,
    current: usize,
    plugin: Plugin<'t>,
    jobs: BTreeMap<(Duration, u64), Job>,
    jobs_made: u64,
    ops: BTreeMap<u64, Op<'t>>,
    /// By the short hash of the recorded value: ours.
    stored: BTreeMap<String, Vec<u8>>,
    /// Wrapped seeds of the recording and ours, one to one.
    seeds: BTreeMap<String, Vec<u8>>,
    dials: BTreeMap<String, VecDeque<Dial>>,
    jitter: VecDeque<f64>,
    config_file: usize,
    seed_mode: Option<bool>,
    logs: Vec<(Duration, String)>,
    closed: Vec<Duration>,
    /// Metrics of servers that are gone.
    past: Vec<String>,
    decrypts: u64,
    /// When timers of the real code fired, as far as that shows.
    fired: Vec<Duration>,
    /// Health checks that have been compared, by their place in the trace.
    taken: BTreeSet<usize>,
}

struct Server<'t> {
    model: Option<Encryption>,
    load: &'t Event,
    began: Duration,
    /// By provider: the socket, and the open connection.
    links: BTreeMap<ProviderId, Link>,
    /// Calls on the way: whose, on which connection, and for which read.
    calls: BTreeMap<CallId, (ProviderId, ConnId)>,
    reads: BTreeMap<CallId, u64>,
    probes: BTreeMap<ProbeId, u64>,
}

#[derive(Clone)]
struct Link {
    plugin: String,
    open: Option<ConnId>,
    leaving: Option<ConnId>,
}

enum Job {
    Dialled(usize, ProviderId, ConnId, Result<(), DialError>),
    Answer(usize, ProviderId, CallId, Result<Vec<u8>, Status>),
    CancelRead(u64),
    CancelProbe(u64),
    /// Probes every 50 ms, which are not listed.
    Hammer,
}

enum Op<'t> {
    Read {
        event: &'t Event,
        server: usize,
        pending: Option<Pending>,
        call: Option<CallId>,
        decrypts: u64,
    },
    Probe {
        event: &'t Event,
        server: usize,
        probe: ProbeId,
    },
}

struct Dial {
    at: Duration,
    outcome: Option<Result<(), DialError>>,
}

impl<'t> World<'t> {
    pub fn new(trace: &'t Trace) -> Self {
        let (dials, jitter) = dial_plan(trace);
        let mut plugin = Plugin::new(trace);
        if trace.scenario == "message-size" {
            "k".clone_into(&mut plugin.status_key);
        }
        World {
            table: Table::new(&trace.scenario),
            plugin,
            now: Duration::ZERO,
            servers: Vec::new(),
            current: 0,
            jobs: BTreeMap::new(),
            jobs_made: 0,
            ops: BTreeMap::new(),
            stored: BTreeMap::new(),
            seeds: BTreeMap::new(),
            dials,
            jitter,
            config_file: 0,
            seed_mode: None,
            logs: Vec::new(),
            closed: Vec::new(),
            past: Vec::new(),
            decrypts: 0,
            fired: fired(trace),
            taken: BTreeSet::new(),
            trace,
        }
    }

    pub fn run(mut self) -> Table {
        let trace = self.trace;
        let end = trace
            .events
            .iter()
            .map(|event| event.at + event.millis("took_ms").unwrap_or_default());
        let end = end.max().unwrap_or_default();
        let mut order: Vec<&Event> = trace.events.iter().collect();
        order.sort_by_key(|event| event.at);
        let mut events = order.into_iter().peekable();
        loop {
            let event = events.peek().map(|event| event.at);
            let job = self.jobs.keys().next().map(|(at, _)| *at);
            let timer = self
                .servers
                .iter()
                .filter_map(|server| server.model.as_ref().and_then(Encryption::next_deadline));
            let timer = timer.min().map(|at| self.lately(at).max(self.now));
            let Some(next) = [event, job, timer].into_iter().flatten().min() else {
                break;
            };
            let pending = !self.ops.is_empty();
            let limit = end
                + if pending {
                    Duration::from_secs(5)
                } else {
                    Duration::ZERO
                };
            if event.is_none() && next > limit {
                break;
            }
            self.now = next;
            if job == Some(next) {
                if let Some((_, job)) = self.jobs.pop_first() {
                    self.job(job);
                }
            } else if timer == Some(next) {
                for index in 0..self.servers.len() {
                    self.poll(index);
                }
            } else if let Some(event) = events.next() {
                self.event(event);
            }
        }
        self.finish(end)
    }

    fn at(&self) -> Now {
        // The recorded virtual clock began at 2000-01-01.
        let base = if self.trace.is_virtual {
            946_684_800
        } else {
            1_795_578_000
        };
        Now {
            mono: self.now,
            unix: Duration::from_secs(base) + self.now,
        }
    }

    /// When a timer of the real code fired that was due then: the machine was a little late, and
    /// what it did is stamped with that.
    fn lately(&self, due: Duration) -> Duration {
        if self.trace.is_virtual {
            return due;
        }
        let after = self.fired.partition_point(|at| *at < due);
        match self.fired.get(after) {
            Some(fired) if *fired <= due + Duration::from_millis(60) => *fired,
            _ => due,
        }
    }

    fn schedule(&mut self, after: Duration, job: Job) {
        self.jobs_made += 1;
        self.jobs.insert((self.now + after, self.jobs_made), job);
    }

    fn job(&mut self, job: Job) {
        let now = self.at();
        match job {
            Job::Dialled(server, provider, conn, outcome) => {
                if let Some(link) = self.servers[server].links.get_mut(&provider)
                    && outcome.is_ok()
                {
                    link.open = Some(conn);
                }
                self.model(server, |model| model.dialled(now, provider, conn, outcome));
            }
            Job::Answer(server, provider, call, outcome) => {
                let known = self.servers[server].calls.remove(&call);
                self.model(server, |model| model.answer(now, provider, call, outcome));
                // A draining connection closes after its last answer.
                let rest = self.servers[server].calls.values();
                if let Some((_, conn)) = known
                    && rest.clone().all(|(_, other)| *other != conn)
                    && self.servers[server].links[&provider].leaving == Some(conn)
                {
                    self.lose(server, provider, conn);
                }
            }
            Job::CancelRead(op) => {
                if let Some(Op::Read {
                    server,
                    pending: Some(pending),
                    call: Some(call),
                    ..
                }) = self.ops.get(&op)
                {
                    let (server, call) = (*server, *call);
                    if let Some(model) = &mut self.servers[server].model {
                        model.cancel_decrypt(now, pending, call);
                    }
                    self.poll(server);
                }
            }
            Job::Hammer => {
                self.model(self.current, |model| {
                    model.probe(now, None);
                });
                let end = self
                    .trace
                    .events
                    .last()
                    .map_or(Duration::ZERO, |last| last.at);
                if self.now < end {
                    self.schedule(Duration::from_millis(50), Job::Hammer);
                }
            }
            Job::CancelProbe(op) => {
                if let Some(Op::Probe { server, probe, .. }) = self.ops.get(&op) {
                    let (server, probe) = (*server, *probe);
                    self.model(server, |model| model.cancel_probe(now, probe));
                }
            }
        }
    }

    fn model(&mut self, server: usize, step: impl FnOnce(&mut Encryption)) {
        if let Some(model) = &mut self.servers[server].model {
            step(model);
        }
        self.poll(server);
    }

    fn poll(&mut self, server: usize) {
        let now = self.at();
        while let Some(model) = &mut self.servers[server].model {
            let actions = model.poll(now);
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.act(server, action);
            }
        }
    }

    fn act(&mut self, server: usize, action: Action) {
        match action {
            Action::Dial {
                provider,
                conn,
                address,
                ..
            } => {
                self.dial(server, provider, conn, &address);
            }
            Action::AbortDial { .. } | Action::Cancel { .. } => {}
            Action::Send {
                provider,
                conn,
                rpc,
            } => self.send(server, provider, conn, &rpc),
            Action::Close { provider } => {
                let open = self.servers[server].links.get_mut(&provider);
                if open.is_some_and(|link| link.open.take().is_some()) {
                    self.closed.push(self.now);
                }
            }
            Action::Event(event) => self.happened(server, event),
        }
    }

    fn dial(&mut self, server: usize, provider: ProviderId, conn: ConnId, address: &str) {
        let plugin = self.plugin_of(address);
        let link = Link {
            plugin,
            open: None,
            leaving: None,
        };
        self.servers[server].links.insert(provider, link);
        if self.trace.is_virtual {
            return self.schedule(Duration::ZERO, Job::Dialled(server, provider, conn, Ok(())));
        }
        let planned = self.dials.get_mut(address).and_then(VecDeque::pop_front);
        let Some(planned) = planned else {
            let why = format!(
                "at {:?}: a dial to {address} that was not recorded",
                self.now
            );
            self.table.note("dial", Outcome::Different(why));
            let why = DialError::Connect(format!("dial unix {address}: connect: no such file"));
            return self.schedule(
                Duration::ZERO,
                Job::Dialled(server, provider, conn, Err(why)),
            );
        };
        let outcome = near("dial", self.now, planned.at, self.late());
        self.table.note("dial", outcome);
        let late = planned.at.saturating_sub(self.now);
        let late = if late <= LATE { late } else { Duration::ZERO };
        if let Some(outcome) = planned.outcome {
            self.schedule(late, Job::Dialled(server, provider, conn, outcome));
        }
    }

    /// The recording's name for the plugin behind a socket.
    fn plugin_of(&self, address: &str) -> String {
        match self.trace.scenario.as_str() {
            "endpoints" if address.starts_with('@') => format!("abstract {address}"),
            "endpoints" => address.replace("//", "/").replace("kms/../", ""),
            "wire-frames-v031" if address.starts_with('@') => "abstract".to_owned(),
            "wire-frames-v031" if address.contains(' ') => "blank in path".to_owned(),
            _ => {
                let name = address.rsplit('/').next().unwrap_or("");
                name.trim_start_matches("plugin")
                    .trim_end_matches(".sock")
                    .to_owned()
            }
        }
    }

    fn late(&self) -> Duration {
        if self.trace.is_virtual {
            Duration::ZERO
        } else {
            LATE
        }
    }

    fn send(&mut self, server: usize, provider: ProviderId, conn: ConnId, rpc: &Rpc) {
        let plugin = self.servers[server].links[&provider].plugin.clone();
        self.servers[server]
            .calls
            .insert(rpc.call, (provider, conn));
        if rpc.method == Method::Decrypt {
            self.decrypts += 1;
        }
        let unlisted = self.trace.scenario == "metrics-lru"
            || self.trace.scenario == "virtual-cache-ttl"
                && (rpc.method == Method::Decrypt || self.now > Duration::ZERO);
        let recorded = if unlisted {
            None
        } else {
            self.plugin.next(&plugin, rpc.method, self.now, rpc.timeout)
        };
        if !unlisted {
            let outcome = self.compare_rpc(recorded, rpc);
            self.table.note("rpc", outcome);
        }
        let reply = match self.poisoned(rpc) {
            Some(bytes) => Reply::After(Duration::ZERO, Ok(bytes)),
            None => self.plugin.reply(recorded, rpc.method, &rpc.request),
        };
        match reply {
            Reply::After(after, outcome) => {
                let late =
                    recorded.map_or(Duration::ZERO, |event| event.at.saturating_sub(self.now));
                let late = if late <= LATE { late } else { Duration::ZERO };
                self.schedule(
                    late + after,
                    Job::Answer(server, provider, rpc.call, outcome),
                );
            }
            Reply::Never => {}
            Reply::Cut => self.lose(server, provider, conn),
        }
    }

    /// The virtual plugin's wrong answers, which are told in a note and by their effect.
    fn poisoned(&self, rpc: &Rpc) -> Option<Vec<u8>> {
        let sick = Duration::from_secs(40)..Duration::from_secs(46);
        if self.trace.scenario == "virtual-probe-shadow-exact"
            && rpc.method == Method::Status
            && sick.contains(&self.now)
        {
            return Some(b"\x0a\x02v2\x12\x04sick\x1a\x05key-1".to_vec());
        }
        let wrong = rpc.method == Method::Decrypt
            && self.ops.values().any(|op| match op {
                Op::Read { event, .. } => event.text("note") == "wrong 32 bytes",
                Op::Probe { .. } => false,
            });
        wrong.then(|| [&[0x0a, 32][..], &[7; 32]].concat())
    }

    fn compare_rpc(&mut self, recorded: Option<&Event>, rpc: &Rpc) -> Outcome {
        let what = format!("{:?}", rpc.method);
        let Some(recorded) = recorded else {
            return Outcome::Different(format!("at {:?}: {what} was not recorded", self.now));
        };
        if let different @ Outcome::Different(_) = near(&what, self.now, recorded.at, self.late()) {
            return different;
        }
        if let Some(left) = recorded.millis("deadline_ms")
            && left.abs_diff(rpc.timeout) > LATE
        {
            return Outcome::Different(format!(
                "{what} at {:?}: {:?} left of the deadline, recorded {left:?}",
                self.now, rpc.timeout
            ));
        }
        let request = &rpc.request;
        let uid = String::from_utf8_lossy(&field(request, 2)).into_owned();
        let shaped = normal(&uid, true) == "UID" && uid.as_bytes()[14] == b'4';
        let fits = match rpc.method {
            Method::Status => request.is_empty(),
            Method::Encrypt => shaped && field(request, 1).len() == 32,
            Method::Decrypt => shaped && self.same_decrypt(recorded, request),
        };
        if fits {
            Outcome::Alike
        } else {
            Outcome::Different(format!("{what} at {:?}: another request", self.now))
        }
    }

    /// The same key_id, annotations and wrapped seed, or our seed in place of a recorded one.
    fn same_decrypt(&mut self, recorded: &Event, request: &[u8]) -> bool {
        let theirs = recorded.text("ciphertext_hex").to_owned();
        let ours = field(request, 1);
        let known = self.seeds.get(&theirs).is_some_and(|known| *known == ours);
        if !same_or_elided(&gotext::hex(&ours), &theirs) && !known {
            return false;
        }
        let annotations: BTreeMap<String, String> = fields(request, 4)
            .iter()
            .map(|entry| {
                let key = String::from_utf8_lossy(&field(entry, 1)).into_owned();
                (key, gotext::hex(&field(entry, 2)))
            })
            .collect();
        let expected = recorded.body["annotations"]
            .as_object()
            .into_iter()
            .flatten();
        let expected: BTreeMap<String, String> = expected
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()))
            .collect();
        let listed = recorded.body["annotations"].is_object();
        // The very large one is given by its length alone.
        (annotations == expected || !listed || recorded.body["request_len"].is_number())
            && same_or_elided(
                &String::from_utf8_lossy(&field(request, 3)),
                recorded.text("key_id"),
            )
    }

    fn lose(&mut self, server: usize, provider: ProviderId, conn: ConnId) {
        let now = self.at();
        if let Some(link) = self.servers[server].links.get_mut(&provider) {
            link.open = link.open.filter(|open| *open != conn);
            link.leaving = link.leaving.filter(|leaving| *leaving != conn);
        }
        self.servers[server].calls.retain(|_, (_, on)| *on != conn);
        let why = Status::new(Code::UNAVAILABLE, "error reading from server: EOF");
        self.model(server, |model| model.lost(now, provider, conn, &why));
    }

    fn happened(&mut self, server: usize, event: Happened) {
        let now = self.at();
        match event {
            Happened::Started => self.loaded(server, None),
            Happened::StartFailed { error } => {
                self.loaded(server, Some(error));
                self.servers[server].model = None;
            }
            Happened::Decrypted { call, outcome } => {
                let Some(op) = self.servers[server].reads.remove(&call) else {
                    return;
                };
                let pending = match self.ops.get_mut(&op) {
                    Some(Op::Read { pending, .. }) => pending.take(),
                    _ => None,
                };
                if let (Some(pending), Some(model)) = (pending, &mut self.servers[server].model) {
                    let read = model.supply(now, pending, outcome);
                    self.read_came(op, read);
                }
            }
            Happened::Probed { probe, result } => {
                let op = self.servers[server].probes.remove(&probe);
                if let Some(Op::Probe { event, .. }) = op.and_then(|op| self.ops.remove(&op)) {
                    self.probed(server, event, result);
                }
            }
            Happened::ReadConfig => {
                let content = self.trace.configs[self.config_file].clone();
                self.model(server, |model| {
                    model.config_read(now, Ok(content.as_bytes()))
                });
            }
            Happened::Reloaded { .. } => {}
            Happened::Log(log) => self.logs.push((self.now, log.text)),
        }
    }

    fn loaded(&mut self, server: usize, error: Option<String>) {
        let Server {
            load, began, model, ..
        } = &self.servers[server];
        let outcome = if load.ok() != error.is_none() {
            Outcome::Different(format!(
                "{}: {}, recorded {}",
                load.body["config"],
                error.as_deref().unwrap_or("loaded"),
                load.text("error")
            ))
        } else if let Some(error) = error {
            same(
                "load",
                &normal(&error, false),
                &normal(load.text("error"), false),
            )
        } else {
            let model = model.as_ref().expect("a loaded server");
            let names = load.body["health_checks"].as_array().into_iter().flatten();
            let names: Vec<String> = names
                .filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect();
            let grace = model.close_grace().unwrap_or_default();
            let took = load.millis("took_ms").unwrap_or_default();
            let late = self.late();
            if names != model.check_names() {
                Outcome::Different(format!("checks {:?}", model.check_names()))
            } else if Some(load.text("content_hash")) != model.config_hash() {
                Outcome::Different(format!("hash {:?}", model.config_hash()))
            } else if grace.as_millis() as f64
                != load.body["close_grace_ms"].as_f64().unwrap_or(0.0)
            {
                Outcome::Different(format!("grace {grace:?}"))
            } else {
                near("load took", self.now - *began, took, late)
            }
        };
        self.table.note("load", outcome);
    }

    fn event(&mut self, event: &'t Event) {
        match event.kind.as_str() {
            "load" => self.load(event),
            "write" => self.write(event),
            "read" => self.read(event),
            "healthz" => self.probe(event),
            "script" => self.script(event),
            "metrics" => self.metrics(event),
            "validate" => {
                let outcome = validate(event);
                self.table.note("validate", outcome);
            }
            "endpoint" => {
                let outcome = endpoint(event);
                self.table.note("endpoint", outcome);
            }
            "headers" => {
                let outcome = headers(event);
                self.table.note("headers", outcome);
            }
            "count" => self.count(event),
            "bytes" | "h2" => self.table.note(
                "wire",
                Outcome::Elsewhere("bytes and frames: the gRPC client writes them"),
            ),
            // Compared when they happen or at the end.
            _ => {}
        }
    }

    fn load(&mut self, event: &'t Event) {
        let Some(index) = event.body["config"].as_u64() else {
            let why = "a file that cannot be read: the caller reads it";
            return self.table.note("load", Outcome::Elsewhere(why));
        };
        // A server that has lived for a while is over; those made at one time live side by side.
        let side_by_side = ["staleness-providers", "decrypt-timeouts"];
        let side_by_side = side_by_side.contains(&self.trace.scenario.as_str());
        let before = self.servers.last().map(|server| server.began);
        let lived = before.is_some_and(|began| self.now - began >= Duration::from_secs(1));
        if lived || !side_by_side {
            self.end_servers();
        }
        let version = Version::new(self.trace.minor).expect("an emulated version");
        let mut options = Options::new(version, CONFIG);
        options.server_id = "lab-apiserver".to_owned();
        options.reload = event.body["reload"] == true;
        options.verbosity = 6;
        options.seed_mode = self.seed_mode;
        if self.trace.scenario == "config-kmsv1-gate" {
            options.kms_v1 = Some(true);
        }
        let jitter = std::mem::take(&mut self.jitter);
        let rng = Scripted::new(self.servers.len() as u64 + 1, jitter);
        self.config_file = index as usize;
        let content = self.trace.configs[self.config_file].as_bytes();
        let model = Encryption::start(self.at(), options, Box::new(rng), content);
        let (model, error) = match model {
            Ok(model) => (Some(model), None),
            Err(error) => (None, Some(error)),
        };
        self.servers.push(Server {
            model,
            load: event,
            began: self.now,
            links: BTreeMap::new(),
            calls: BTreeMap::new(),
            reads: BTreeMap::new(),
            probes: BTreeMap::new(),
        });
        self.current = self.servers.len() - 1;
        if self.trace.scenario.starts_with("hammer-") {
            self.schedule(Duration::from_millis(50), Job::Hammer);
        }
        match error {
            Some(error) => self.loaded(self.current, Some(error)),
            None => self.poll(self.current),
        }
    }

    fn end_servers(&mut self) {
        let now = self.at();
        for index in 0..self.servers.len() {
            self.model(index, |model| model.drain(now));
            if let Some(model) = self.servers[index].model.take() {
                self.past.push(model.metrics());
            }
        }
    }

    fn write(&mut self, event: &'t Event) {
        if event.text("key").is_empty() && event.body["plaintext_hex"].is_null() {
            // Told in short: the last write again.
            let now = self.at();
            let secrets = GroupResource::core("secrets");
            let mut done = false;
            self.model(self.current, |model| {
                let key = "/registry/secrets/default/demo";
                done = model.write(now, &secrets, key, b"again").is_ok();
            });
            let outcome = if done == event.ok() {
                Outcome::Alike
            } else {
                Outcome::Different(format!("write at {:?}: {done}", self.now))
            };
            return self.table.note("write", outcome);
        }
        let now = self.at();
        let plaintext = event
            .bytes("plaintext_hex")
            .unwrap_or_else(|| b"hi".to_vec());
        let resource = GroupResource::parse(event.text("resource"));
        let mut written = None;
        self.model(self.current, |model| {
            written = Some(model.write(now, &resource, event.text("key"), &plaintext));
        });
        let outcome = match written {
            None => Outcome::Different("no server to write with".to_owned()),
            Some(Err(error)) => same(
                &format!("write at {:?}", self.now),
                &normal(&error.text, self.trace.is_virtual),
                &normal(event.text("error"), self.trace.is_virtual),
            ),
            Some(Ok(_)) if !event.ok() => Outcome::Different(format!(
                "write at {:?} went well, recorded {}",
                self.now,
                event.text("error")
            )),
            Some(Ok(stored)) => {
                let outcome = self.compare_stored(event, &stored, &plaintext);
                let mut short = event.text("stored_sha256_8").to_owned();
                if short.is_empty() {
                    short = short_hash(event.text("stored_hex"));
                }
                if event.body["stored_hex"].is_string() || !event.text("stored_sha256_8").is_empty()
                {
                    self.stored.insert(short, stored);
                }
                outcome
            }
        };
        self.table.note("write", outcome);
    }

    /// Compares a stored value with the recorded one in everything that is not random, and opens
    /// it without the model's state.
    fn compare_stored(&mut self, event: &Event, stored: &[u8], plaintext: &[u8]) -> Outcome {
        let at = self.now;
        let different = |why: &str| Outcome::Different(format!("value written at {at:?}: {why}"));
        if let Some(recorded) = event.bytes("stored_hex")
            && recorded.len() != stored.len()
        {
            return different("another length");
        }
        let expected = &event.body["object"];
        let short = event.text("dek_source_sha256_8");
        if expected.is_null() && short.is_empty() {
            return Outcome::Alike;
        }
        let Some(start) = stored
            .windows(15)
            .position(|bytes| bytes == b"k8s:enc:kms:v2:")
        else {
            let local = expected["type"].is_null();
            return if local {
                Outcome::Alike
            } else {
                different("no prefix")
            };
        };
        let name = stored[start + 15..].iter().position(|byte| *byte == b':');
        let body = &stored[start + 15 + name.unwrap_or(0) + 1..];
        let version = Version::new(self.trace.minor).expect("an emulated version");
        let Ok(object) = EncryptedObject::decode(body, version) else {
            return different("no object");
        };
        let text = |field: &str| expected[field].as_str().unwrap_or("").to_owned();
        let (key_id, theirs) = if expected.is_null() {
            (event.text("key_id").to_owned(), short.to_owned())
        } else {
            let source = text("encrypted_dek_source_hex");
            (text("key_id"), short_hash(&source))
        };
        if object.key_id != key_id {
            return different(&format!("key_id {}, recorded {key_id}", object.key_id));
        }
        // One recorded seed is one of ours.
        let full = text("encrypted_dek_source_hex");
        if !full.is_empty() {
            self.seeds
                .entry(full)
                .or_insert_with(|| object.source.clone());
        }
        let known = self
            .seeds
            .entry(theirs)
            .or_insert_with(|| object.source.clone());
        let elided = text("encrypted_dek_source_hex").contains("... (");
        if *known != object.source && !elided {
            return different("another seed");
        }
        if expected.is_null() {
            return Outcome::Alike;
        }
        if expected["type"].as_i64() != Some(i64::from(object.source_type)) {
            return different("another type");
        }
        let left_out = !expected["annotations"]["left.out"].is_null();
        let count = expected["annotations"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        if object.annotations.len() != count && !left_out {
            return different("other annotations");
        }
        let seed = if object.source.len() == 32 {
            xor(&object.source)
        } else {
            Vec::new()
        };
        let opened = match (object.source_type, seed.len()) {
            (_, 0) => return Outcome::Alike,
            (1, _) => aead::split_info(&object.data).and_then(|(info, sealed)| {
                let key = aead::derive(&seed, info)?;
                aead::Gcm::new(&*key)?.open(event.text("key").as_bytes(), sealed)
            }),
            _ => aead::Gcm::new(&seed)
                .and_then(|gcm| gcm.open(event.text("key").as_bytes(), &object.data)),
        };
        // A plugin that does not wrap as usual hides its seed from here.
        let usual = event.body["object"]["opened_offline_hex"].is_string();
        match opened {
            Ok(opened) if opened == plaintext => Outcome::Alike,
            _ if !usual || text("seed_hex") == text("encrypted_dek_source_hex") => Outcome::Alike,
            _ => different("cannot be opened"),
        }
    }

    fn read(&mut self, event: &'t Event) {
        let short = event.text("stored_sha256_8");
        let stored = self
            .stored
            .get(short)
            .cloned()
            .or_else(|| event.bytes("stored_hex"));
        let stored = stored.or_else(|| {
            let given = self.trace.events.iter().find(|other| {
                other.text("stored_sha256_8") == short && other.body["stored_hex"].is_string()
            });
            given.and_then(|given| given.bytes("stored_hex"))
        });
        let stored = stored.or_else(|| {
            // A plain value is what it was.
            let plain = event.bytes("plaintext_hex")?;
            (gotext::sha256(&plain)["sha256:".len()..][..8] == *short).then_some(plain)
        });
        let stored = stored.or_else(|| large_object(event));
        let Some(stored) = stored else {
            let why = "the value itself is not in the recording";
            return self.table.note("read", Outcome::Elsewhere(why));
        };
        let server = self.server_of(event);
        let op = self.next_op();
        let now = self.at();
        let resource = GroupResource::parse(event.text("resource"));
        let Some(model) = self
            .servers
            .get_mut(server)
            .and_then(|server| server.model.as_mut())
        else {
            let why = "no server to read with".to_owned();
            return self.table.note("read", Outcome::Different(why));
        };
        let read = model.read(now, &resource, event.text("key"), &stored);
        self.ops.insert(
            op,
            Op::Read {
                event,
                server,
                pending: None,
                call: None,
                decrypts: self.decrypts,
            },
        );
        self.read_came(op, read);
        self.poll(server);
    }

    /// The server that a read goes to: the last one, unless the script says another.
    fn server_of(&self, event: &Event) -> usize {
        let timeout = event.text("timeout");
        if event.body["timeout"].is_null() {
            return self.current;
        }
        let wanted = format!("timeout: {timeout}");
        let found = self.servers.iter().position(|server| {
            let config = server.load.body["config"].as_u64().unwrap_or(0) as usize;
            let text = &self.trace.configs[config];
            text.contains(&wanted) || timeout.is_empty() && !text.contains("timeout:")
        });
        found.unwrap_or(self.current)
    }

    fn next_op(&mut self) -> u64 {
        self.jobs_made += 1;
        self.jobs_made
    }

    fn read_came(&mut self, op: u64, read: Read) {
        let now = self.at();
        let Some(Op::Read {
            event,
            server,
            decrypts,
            pending,
            call: known,
            ..
        }) = self.ops.get_mut(&op)
        else {
            return;
        };
        let (event, server, before) = (*event, *server, *decrypts);
        let outcome = match read {
            Read::Need(needs) => {
                let note = event.text("note");
                let deadline = match note {
                    "context already over" => Some(self.now),
                    "own deadline 500 ms" => Some(self.now + Duration::from_millis(500)),
                    _ if self.trace.scenario == "wire-frames"
                        && event.text("error").contains("DeadlineExceeded") =>
                    {
                        Some(self.now + Duration::from_millis(100))
                    }
                    "own deadline 60 s, timeout 2 s" => Some(self.now + Duration::from_secs(60)),
                    _ => None,
                };
                let gives_up = note.contains("cancelled after 100 ms")
                    || event.text("error").contains("context canceled");
                let model = self.servers[server].model.as_mut().expect("it has read");
                let call = model.decrypt(now, &needs, deadline);
                *pending = Some(needs);
                *known = Some(call);
                self.servers[server].reads.insert(call, op);
                if gives_up {
                    self.schedule(Duration::from_millis(100), Job::CancelRead(op));
                }
                return;
            }
            Read::Plain(plain) => {
                let want = event.bytes("plaintext_hex");
                let stale = event.body["stale"] == true;
                if !event.ok() {
                    Err(format!("went well, recorded {}", event.text("error")))
                } else if plain.stale != stale {
                    Err(format!("stale {}, recorded {stale}", plain.stale))
                } else if want.is_some_and(|want| want != plain.bytes) {
                    Err("another value".to_owned())
                } else {
                    Ok(())
                }
            }
            Read::Failed(error) => {
                let (ours, theirs) = (
                    normal(&error.text, false),
                    normal(event.text("error"), false),
                );
                if ours == theirs || same_race(&ours, &theirs) {
                    Ok(())
                } else {
                    Err(format!("{ours}, recorded {theirs}"))
                }
            }
        };
        self.ops.remove(&op);
        let took = self.now - event.at.min(self.now);
        let recorded = event.millis("took_ms").unwrap_or_default();
        let asked = event.body["decrypt_rpcs"].as_u64();
        let outcome = match outcome {
            Err(why) => Outcome::Different(format!(
                "read at {:?} ({}): {why}",
                event.at,
                event.text("note")
            )),
            Ok(()) if asked.is_some_and(|asked| asked != self.decrypts - before) => {
                Outcome::Different(format!(
                    "read at {:?} ({}): {} Decrypts, recorded {asked:?}",
                    event.at,
                    event.text("note"),
                    self.decrypts - before
                ))
            }
            Ok(()) => near("read took", took, recorded, self.late()),
        };
        self.table.note("read", outcome);
    }

    fn probe(&mut self, event: &'t Event) {
        let server = self.current;
        let now = self.at();
        let op = self.next_op();
        let query = Query::parse(event.text("path"));
        let direct = event.body["path"].is_null();
        let runs = direct || {
            let model = self.servers[server].model.as_ref();
            let names = model.map_or(Vec::new(), Encryption::check_names);
            names.iter().any(|name| query.wants(name))
        };
        if !runs {
            return self.probed(server, event, Ok(()));
        }
        // The one trace with impatient probers.
        let took = event.millis("took_ms").unwrap_or_default();
        let impatient =
            self.trace.scenario == "health-cancel" && (90..110).contains(&took.as_millis());
        let own = event.text("body").contains("DeadlineExceeded");
        let deadline = (impatient && own).then(|| self.now + Duration::from_millis(100));
        let Some(model) = &mut self.servers[server].model else {
            let why = "no server to probe".to_owned();
            return self.table.note("healthz", Outcome::Different(why));
        };
        let probe = model.probe(now, deadline);
        self.ops.insert(
            op,
            Op::Probe {
                event,
                server,
                probe,
            },
        );
        self.servers[server].probes.insert(probe, op);
        if impatient && !own {
            self.schedule(Duration::from_millis(100), Job::CancelProbe(op));
        }
        self.poll(server);
    }

    /// Which of several checks that began at one time came first is a race: takes the one that
    /// ended like this.
    fn settle(&mut self, event: &'t Event, ours: &str) -> &'t Event {
        let trace: &'t Trace = self.trace;
        let rivals = trace.events.iter().enumerate().filter(|(index, other)| {
            other.kind == "healthz"
                && other.text("path") == event.text("path")
                && other.at.abs_diff(event.at) < Duration::from_millis(1)
                && !self.taken.contains(index)
        });
        let rivals: Vec<_> = rivals.collect();
        let fits = rivals
            .iter()
            .find(|(_, other)| normal(other.text("body"), false) == ours)
            .or(rivals.first());
        match fits {
            Some((index, other)) => {
                self.taken.insert(*index);
                other
            }
            None => event,
        }
    }

    fn probed(&mut self, server: usize, event: &'t Event, result: Result<(), String>) {
        let took = self.now - event.at.min(self.now);
        let recorded = event.millis("took_ms").unwrap_or_default();
        if event.body["path"].is_null() {
            let ours = result.err().unwrap_or_else(|| "<nil>".to_owned());
            let outcome = same(
                &format!("check at {:?}", event.at),
                &normal(&ours, false),
                &normal(event.text("error"), false),
            );
            return self.table.note("healthz", outcome);
        }
        let names = self.servers[server].model.as_ref();
        let names = names.map_or(Vec::new(), Encryption::check_names);
        let checks = names.into_iter().map(|name| Check {
            name,
            result: result.clone(),
        });
        let checks: Vec<Check> = checks.collect();
        let answer = Query::parse(event.text("path")).answer(&checks);
        let ours = normal(&answer.body, false);
        let event = self.settle(event, &ours);
        let theirs = normal(event.text("body"), false);
        let outcome = if ours != theirs && !same_race(&ours, &theirs) {
            Outcome::Different(format!(
                "{} at {:?}: {ours:?}, recorded {theirs:?}",
                event.text("path"),
                event.at
            ))
        } else if Some(u64::from(answer.status)) != event.body["status"].as_u64() {
            Outcome::Different(format!("status {}", answer.status))
        } else {
            near("check took", took, recorded, self.late())
        };
        self.table.note("healthz", outcome);
    }

    fn script(&mut self, event: &'t Event) {
        let text = event.text("text");
        if let Some(config) = event.body["config"].as_u64() {
            self.config_file = config as usize;
        }
        match text {
            "plugin stops: close"
            | "plugin stops: kill"
            | "plugin cuts its connections, listener stays" => self.cut(event, false),
            "plugin stops: graceful" => self.cut(event, true),
            "context cancelled" | "the config's context is cancelled" => {
                let now = self.at();
                self.model(self.current, |model| model.drain(now));
            }
            "seed mode on" => self.seed_mode = Some(true),
            // Two of its servers live side by side.
            "providers: one, two, identity" => self.current = 0,
            "providers: two, one, identity" => self.current = 1,
            _ if text.starts_with("seed mode off") => self.seed_mode = Some(false),
            _ => {}
        }
        for part in text.split(", ") {
            let key = part.rsplit(' ').next().unwrap_or("").to_owned();
            if !self.trace.is_virtual || !key.starts_with("key-") {
                continue;
            }
            if part.contains("Status") {
                self.plugin.status_key.clone_from(&key);
            }
            if part.contains("Encrypt") {
                self.plugin.encrypt_key = key;
            }
        }
    }

    fn cut(&mut self, event: &Event, graceful: bool) {
        let now = self.at();
        let plugin = event.text("plugin").to_owned();
        for server in 0..self.servers.len() {
            let links = self.servers[server].links.clone();
            for (provider, link) in links {
                let Some(conn) = link.open.filter(|_| link.plugin == plugin) else {
                    continue;
                };
                let busy = self.servers[server]
                    .calls
                    .values()
                    .any(|(_, on)| *on == conn);
                if graceful && busy {
                    if let Some(link) = self.servers[server].links.get_mut(&provider) {
                        link.open = None;
                        link.leaving = Some(conn);
                    }
                    self.model(server, |model| model.going_away(now, provider, conn));
                } else {
                    self.lose(server, provider, conn);
                }
            }
        }
    }

    fn count(&mut self, event: &Event) {
        let outcome = match event.text("what") {
            "resources with a transformer" => {
                let model = self.servers[self.current].model.as_ref();
                let names: Vec<String> = model
                    .map_or(Vec::new(), Encryption::resources)
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                same(
                    "resources",
                    &format!("[{}]", names.join(" ")),
                    event.text("resources"),
                )
            }
            // Each of the calls is compared by itself.
            "rpcs" => Outcome::Alike,
            _ => Outcome::Elsewhere("counted, not listed: a test of its own repeats it"),
        };
        self.table.note("count", outcome);
    }

    fn metrics(&mut self, event: &Event) {
        if matches!(self.trace.scenario.as_str(), "decrypt-herd" | "metrics-lru") {
            let why = "counted, not listed: a test of its own repeats it";
            return self.table.note("metrics", Outcome::Elsewhere(why));
        }
        let mut pages = self.past.clone();
        for server in &self.servers {
            pages.extend(server.model.as_ref().map(Encryption::metrics));
        }
        let mut ours: BTreeMap<String, f64> = BTreeMap::new();
        for line in pages.iter().flat_map(|page| page.lines()) {
            let Some((name, value)) = comparable(line) else {
                continue;
            };
            let value: f64 = value.parse().expect("a number");
            let sum = name.contains("_total") || name.contains("_count");
            let known = ours.entry(name.to_owned()).or_default();
            *known = if sum { *known + value } else { value };
        }
        let lines = event.body["lines"].as_array().into_iter().flatten();
        let lines = lines.filter_map(|line| comparable(line.as_str()?));
        let theirs: BTreeMap<String, f64> = lines
            .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
            .collect();
        let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let outcome = match (ours.get(name), theirs.get(name)) {
                (Some(ours), Some(theirs)) if ours == theirs => Outcome::Alike,
                (ours, theirs) => Outcome::Different(format!(
                    "at {:?}: {name} {ours:?}, recorded {theirs:?}",
                    self.now
                )),
            };
            self.table.note("metrics", outcome);
        }
    }

    fn finish(mut self, end: Duration) -> Table {
        let rest: Vec<String> = self
            .plugin
            .rest()
            .map(|event| format!("{} at {:?} was never made", event.text("method"), event.at))
            .collect();
        for why in rest {
            self.table.note("rpc", Outcome::Different(why));
        }
        for (address, rest) in std::mem::take(&mut self.dials) {
            for dial in rest.into_iter().filter(|dial| dial.at + LATE < end) {
                let why = format!("dial of {address} at {:?} was never made", dial.at);
                self.table.note("dial", Outcome::Different(why));
            }
        }
        for op in std::mem::take(&mut self.ops).into_values() {
            let (Op::Read { event, .. } | Op::Probe { event, .. }) = op;
            let why = format!("{} at {:?} never ended", event.kind, event.at);
            self.table.note(&event.kind, Outcome::Different(why));
        }
        self.compare_logs();
        self.compare_closes();
        self.table
    }

    /// Each recorded line of those that the model writes too must be among its lines.
    fn compare_logs(&mut self) {
        const OURS: [&str; 10] = [
            "\"kms plugin failed health check probe\"",
            "\"encrypting content using envelope service\"",
            "\"decrypting content using envelope service\"",
            "\"encrypting content using DEK\"",
            "\"successfully rotated DEK\"",
            "\"failed to decrypt data\"",
            "\"failed to encrypt data\"",
            "\"Configure KMS provider\"",
            "\"Unhandled Error\" err=\"",
            "\"Encryption config has not changed",
        ];
        let mut ours: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
        for (at, text) in &self.logs {
            ours.entry(without_request(&normal(text, false)))
                .or_default()
                .push(*at);
        }
        let listed = !matches!(self.trace.scenario.as_str(), "decrypt-herd" | "metrics-lru");
        for event in self.trace.events.iter().filter(|event| event.kind == "log") {
            let text = event.text("msg");
            if !OURS.iter().any(|start| text.starts_with(start)) {
                let why = if text.contains("dialed") || text.contains("failed to create connection")
                {
                    // Compared as dials.
                    continue;
                } else if text.starts_with("Trace[") {
                    "traces of slow transformations: not modelled (KMS2-LOG-03)"
                } else {
                    "log lines of other components"
                };
                self.table.note("log", Outcome::Elsewhere(why));
                continue;
            }
            if text.contains("decrypting content") && !listed {
                let why = "counted, not listed: a test of its own repeats it";
                self.table.note("log", Outcome::Elsewhere(why));
                continue;
            }
            let times = ours.get_mut(&without_request(&normal(text, false)));
            // What the real plugin's call took is part of the time of the line after it.
            let slack = LATE;
            let fits = times.and_then(|times| {
                let at = times.iter().position(|at| at.abs_diff(event.at) <= slack)?;
                Some(times.remove(at))
            });
            let outcome = match fits {
                Some(_) => Outcome::Alike,
                None if deadline_line(text) && self.deadline_logged(event) => Outcome::Alike,
                None => Outcome::Different(format!("line at {:?}: {text}", event.at)),
            };
            self.table.note("log", outcome);
        }
    }

    fn deadline_logged(&self, event: &Event) -> bool {
        let theirs = normal(event.text("msg"), false);
        self.logs.iter().any(|(at, text)| {
            at.abs_diff(event.at) <= LATE && same_race(&normal(text, false), &theirs)
        })
    }

    /// Connections that the server closed by itself, in the traces that are about that.
    fn compare_closes(&mut self) {
        let about = [
            "conn-drain",
            "reload-basic",
            "reload-retry",
            "reload-sick-5s",
            "reload-sick-40s",
        ];
        let closes = self
            .trace
            .events
            .iter()
            .filter(|event| event.kind == "conn" && event.text("why") == "client closed (EOF)");
        let closes: Vec<Duration> = closes.map(|event| event.at).collect();
        let others = self
            .trace
            .events
            .iter()
            .filter(|event| event.kind == "conn")
            .count();
        if !about.contains(&self.trace.scenario.as_str()) {
            for _ in 0..others {
                let why =
                    "accepted and closed connections: seen as dials, cuts and the script's ends";
                self.table.note("conn", Outcome::Elsewhere(why));
            }
            return;
        }
        for _ in closes.len()..others {
            let why = "accepted and closed connections: seen as dials, cuts and the script's ends";
            self.table.note("conn", Outcome::Elsewhere(why));
        }
        for (index, theirs) in closes.iter().enumerate() {
            let outcome = match self.closed.get(index) {
                Some(ours) => near("close", *ours, *theirs, LATE),
                None => Outcome::Different(format!("close at {theirs:?} was never made")),
            };
            self.table.note("conn", outcome);
        }
    }
}

/// When the recorded client dialled, and with what outcome; and the jitter that it drew.
fn dial_plan(trace: &Trace) -> (BTreeMap<String, VecDeque<Dial>>, VecDeque<f64>) {
    let mut plan: BTreeMap<String, VecDeque<Dial>> = BTreeMap::new();
    let mut all: Vec<(Duration, String, bool)> = Vec::new();
    for (index, event) in trace.events.iter().enumerate() {
        let text = event.text("msg");
        let Some((_, address)) = text.rsplit_once("addr=\"") else {
            continue;
        };
        let address = address.trim_end_matches('"').to_owned();
        let outcome = if let Some((_, rest)) = text.split_once("err=\"") {
            let why = rest.split("\" addr=").next().unwrap_or("").to_owned();
            Some(Err(DialError::Connect(why)))
        } else if trace.scenario == "start-silent-listener" {
            None
        } else if trace.scenario == "start-accept-then-close" {
            let next = trace.events[index..]
                .iter()
                .find(|event| event.text("msg").contains("failed health check"));
            let broken = next.is_some_and(|next| next.text("msg").contains("broken pipe"));
            Some(Err(DialError::Preface(if broken {
                format!(
                    "transport: failed to write client preface: write unix @->{address}: write: broken pipe"
                )
            } else {
                "error reading server preface: connection reset by peer".to_owned()
            })))
        } else {
            Some(Ok(()))
        };
        all.push((event.at, address.clone(), outcome == Some(Ok(()))));
        plan.entry(address).or_default().push_back(Dial {
            at: event.at,
            outcome,
        });
    }
    let loads: Vec<Duration> = trace
        .events
        .iter()
        .filter(|event| event.kind == "load")
        .map(|event| event.at)
        .collect();
    let held = if trace.scenario == "start-silent-listener" {
        20.0
    } else {
        0.0
    };
    let mut jitter = Vec::new();
    let mut by_address: BTreeMap<String, (u32, Duration)> = BTreeMap::new();
    for (index, (at, address, good)) in all.iter().enumerate() {
        let (failures, last) = by_address.entry(address.clone()).or_default();
        if loads.iter().any(|load| *last < *load && load <= at) {
            *failures = 0;
        }
        *last = *at;
        if *failures > 0 {
            let next = all[index + 1..]
                .iter()
                .find(|(_, other, _)| other == address);
            let pause = next.map_or(0.0, |(next, _, _)| (*next - *at).as_secs_f64() - held);
            let exact = 1.6f64.powi(*failures as i32).min(120.0);
            jitter.push(((pause / exact - 1.0) / 0.2).clamp(-1.0, 0.999));
        }
        *failures = if *good { 0 } else { *failures + 1 };
    }
    (plan, jitter.into())
}

/// The two values that the recording gives by their length alone: made by the script, with the
/// largest annotation that is allowed, and one byte more.
fn large_object(event: &Event) -> Option<Vec<u8>> {
    let (key_id, byte, length) = match event.body["stored_len"].as_u64()? {
        32_899 => ("k", 0x42, 32_765),
        32_904 => ("key-1", 0x41, 32_766),
        _ => return None,
    };
    let seed = [byte; 32];
    let info: [u8; 32] = std::array::from_fn(|at| 0x20 + at as u8);
    let nonce: [u8; 12] = std::array::from_fn(|at| 0x40 + at as u8);
    let mut data = info.to_vec();
    let gcm = aead::Gcm::new(&*aead::derive(&seed, &info).ok()?).ok()?;
    gcm.seal(&mut data, nonce, event.text("key").as_bytes(), b"x")
        .ok()?;
    let annotations = BTreeMap::from([("a.b".to_owned(), vec![1; length])]);
    let mut stored = b"k8s:enc:kms:v2:lab:".to_vec();
    object::encode(
        &mut stored,
        Version::NEWEST,
        &data,
        key_id,
        &xor(&seed),
        &annotations,
        object::SourceType::HkdfSeed,
    );
    assert_eq!(Some(stored.len() as u64), event.body["stored_len"].as_u64());
    Some(stored)
}

/// The same text, or one that the recording has cut short.
fn same_or_elided(ours: &str, theirs: &str) -> bool {
    match theirs.split_once("... (") {
        Some((start, _)) => ours.starts_with(start),
        None => ours == theirs,
    }
}

/// When timers fired: Status calls, dials after a failure, failed checks.
fn fired(trace: &Trace) -> Vec<Duration> {
    let mut fired: Vec<Duration> = trace
        .events
        .iter()
        .filter_map(|event| {
            let timed = event.text("method") == "Status"
                || event.text("msg").contains("failed health check");
            let ran_out = event.kind == "read" && event.text("error").contains("DeadlineExceeded");
            match (timed, ran_out) {
                (true, _) => Some(event.at),
                (_, true) => Some(event.at + event.millis("took_ms")?),
                _ => None,
            }
        })
        .collect();
    fired.sort();
    fired
}

fn short_hash(hex: &str) -> String {
    let bytes = super::trace::unhex(hex).unwrap_or_default();
    gotext::sha256(&bytes)["sha256:".len()..][..8].to_owned()
}

fn near(what: &str, ours: Duration, theirs: Duration, late: Duration) -> Outcome {
    if ours.abs_diff(theirs) <= late {
        Outcome::Alike
    } else {
        Outcome::Different(format!("{what}: {ours:?}, recorded {theirs:?}"))
    }
}

fn same(what: &str, ours: &str, theirs: &str) -> Outcome {
    if ours == theirs {
        Outcome::Alike
    } else {
        Outcome::Different(format!("{what}: {ours:?}, recorded {theirs:?}"))
    }
}

/// A log line without the request's fields: the recording's callers gave them or not.
fn without_request(text: &str) -> String {
    text.split(" group=").next().unwrap_or(text).to_owned()
}

fn deadline_line(text: &str) -> bool {
    text.contains("DeadlineExceeded")
}

/// Two sides time the same call: which of them notices first is a race (KMS2-CONN-06). And of two
/// faulty annotations either may come first.
fn same_race(ours: &str, theirs: &str) -> bool {
    let swapped = theirs
        .replace("Invalid value: \"A\"", "Invalid value: \"?\"")
        .replace("Invalid value: \"B\"", "Invalid value: \"A\"")
        .replace("Invalid value: \"?\"", "Invalid value: \"B\"");
    if swapped == ours {
        return true;
    }
    const FROM: &str = "stream terminated by RST_STREAM with error code: CANCEL";
    theirs.replace(FROM, "context deadline exceeded") == ours
}

/// A line of metrics that does not depend on how long things took.
fn comparable(line: &str) -> Option<(&str, &str)> {
    let timed = ["_sum", "_bucket", "timestamp_seconds"];
    if line.starts_with('#') || timed.iter().any(|part| line.contains(part)) {
        return None;
    }
    line.rsplit_once(' ')
}

/// One call of a validation function, as the case's name tells it.
fn validate(event: &Event) -> Outcome {
    let case = event.text("case");
    if let Some(quoted) = case.strip_prefix("hash label of ") {
        let text: String = serde_json::from_str(quoted).expect("a quoted text");
        return same(case, &gotext::hash_if_not_empty(&text), event.text("value"));
    }
    let number = case
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok());
    let number: i64 = number.unwrap_or(1);
    let size = usize::try_from(number).unwrap_or(0);
    if case.starts_with("ValidateKeyID") {
        let ours = object::validate_key_id(&"k".repeat(size));
        let (code, text) = match ours {
            Ok(()) => ("ok", "<nil>".to_owned()),
            Err(fault) => (fault.label(), fault.to_string()),
        };
        return same(
            case,
            &format!("{code} {text}"),
            &format!("{} {}", event.text("code"), event.text("error")),
        );
    }
    let mut object = EncryptedObject {
        data: vec![1],
        key_id: "k".to_owned(),
        source: vec![1],
        annotations: BTreeMap::new(),
        source_type: 1,
    };
    let mut annotate = |key: &str, length: usize| {
        object.annotations.insert(key.to_owned(), vec![0; length]);
    };
    match case {
        "minimal" => {}
        "data empty" => object.data.clear(),
        "annotations: two bad keys" => {
            annotate("A", 0);
            annotate("B", 0);
        }
        "annotations: same bad key text and too large" => annotate("A", 32_768),
        _ if case.starts_with("annotations ") => annotate("a.b", size - 3),
        _ if case.starts_with("type ") => object.source_type = number as i32,
        _ if case.starts_with("source ") => object.source = vec![1; size],
        _ if case.starts_with("key id ") => object.key_id = "k".repeat(size),
        _ => return Outcome::Different(format!("unknown case {case}")),
    }
    same(
        case,
        &object.validate().err().unwrap_or_default(),
        event.text("error"),
    )
}

fn endpoint(event: &Event) -> Outcome {
    let text = event.text("endpoint");
    let told = event.text("error");
    let parsed = Endpoint::parse(text);
    let ours = match &parsed {
        Ok(endpoint) if endpoint.scheme == "unix" => endpoint.address().to_owned(),
        _ => String::new(),
    };
    if ours != event.text("parsed") {
        return same(text, &ours, event.text("parsed"));
    }
    let alike = match &parsed {
        Err(why) => told.ends_with(why.as_str()),
        Ok(endpoint) if endpoint.scheme != "unix" => {
            text.is_empty() || told.contains(&gotext::quote(&endpoint.scheme))
        }
        Ok(_) => told.is_empty(),
    };
    if alike {
        Outcome::Alike
    } else {
        Outcome::Different(format!("{text}: {parsed:?}, recorded {told}"))
    }
}

fn headers(event: &Event) -> Outcome {
    let library = event.body["modules"]["k8s.io/apiserver"]
        .as_str()
        .unwrap_or("");
    let minor: u8 = library
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0);
    let version = Version::new(minor).expect("an emulated version");
    let endpoint = Endpoint::parse(event.text("endpoint")).expect("a good endpoint");
    let all = event.body["headers"].to_string();
    let authority = version.authority(endpoint.address());
    if all.contains(&format!(":authority: {authority}\""))
        || all.contains(&format!("\":authority\":[\"{authority}\"]"))
    {
        Outcome::Alike
    } else {
        Outcome::Different(format!("{minor}: {authority}, recorded {all}"))
    }
}

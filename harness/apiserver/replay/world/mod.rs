//! The replay itself: a clock, the model, and the script's events. Servers are in [`servers`], the plugin's side is
//! in [`peer`], what is compared in [`rpcs`], [`values`], [`health`] and [`closing`], what the recording says beforehand in
//! [`plan`].

mod alone;
mod closing;
mod health;
mod peer;
mod plan;
mod rpcs;
mod servers;
mod values;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kms_apiserver::encryption::{Encryption, Pending};
use kms_apiserver::grpc::Status;
use kms_apiserver::seam::{Action, CallId, ConnId, DialError, Now, ProbeId, ProviderId};

use super::compare::{Outcome, Table};
use super::plugin::Plugin;
use super::trace::{Event, Trace};
use alone::{endpoint, validate};
use plan::{dial_plan, fired};
use rpcs::headers;

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
        pending: Option<Box<Pending>>,
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

    fn next_op(&mut self) -> u64 {
        self.jobs_made += 1;
        self.jobs_made
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
}

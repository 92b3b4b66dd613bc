//! The encryption half of one server: what a caller drives.
//!
//! Values go in and out by [`Encryption::write`], [`Encryption::read`] and
//! [`Encryption::supply`]; the world by [`Encryption::poll`] and the methods that say what
//! happened. Any of them may leave actions behind: after each, let `poll` hand them out. Nothing
//! in here waits.

mod generations;
mod values;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::Rng;

use crate::config::{Config, content_hash};
use crate::grpc::Status;
use crate::kms::{Cx, Provider};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::reload::Reload;
use crate::seam::{
    Action, CallId, ConnId, DialError, Event, GroupResource, Now, ProbeId, ProviderId,
};
use crate::table::{Build, Generation};

pub(crate) use generations::indexed;
pub use values::{Pending, Read};

/// One server's encryption.
pub struct Encryption {
    pub(crate) options: Options,
    pub(crate) rng: Box<dyn Rng + Send>,
    pub(crate) metrics: Metrics,
    pub(crate) out: Vec<Action>,
    pub(crate) calls: u64,
    probes: u64,
    made: u32,
    pub(crate) providers: BTreeMap<ProviderId, Provider>,
    /// In force.
    pub(crate) current: Option<Generation>,
    /// Replaced, and closed at that time.
    retiring: Vec<(Duration, Generation)>,
    /// Closed, and held by reads.
    closed: Vec<Generation>,
    /// On its way.
    pub(crate) build: Option<Build>,
    /// Health checks that run, by the id that was given out.
    pub(crate) health: BTreeMap<ProbeId, Walk>,
    pub(crate) reload: Reload,
    drained: bool,
}

/// A combined health check: one provider after another (KMS2-HEALTH-05).
pub(crate) struct Walk {
    pub(crate) waiting: VecDeque<(usize, ProviderId)>,
    pub(crate) errors: Vec<String>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) cancelled: bool,
}

impl Encryption {
    /// Loads a configuration: the content of the file. The server serves nothing before
    /// [`Event::Started`]; it exits on [`Event::StartFailed`].
    ///
    /// # Errors
    /// With upstream's text, if the file is not valid (KMS2-START-02).
    pub fn start(
        now: Now,
        options: Options,
        rng: Box<dyn Rng + Send>,
        content: &[u8],
    ) -> Result<Self, String> {
        let config = Config::parse(content, &options)?;
        let hash = content_hash(content, options.version);
        let mut server = Encryption {
            metrics: Metrics::new(options.version, &options.server_id),
            reload: Reload::new(),
            options,
            rng,
            out: Vec::new(),
            calls: 0,
            probes: 0,
            made: 0,
            providers: BTreeMap::new(),
            current: None,
            retiring: Vec::new(),
            closed: Vec::new(),
            build: Some(Build::new(config, hash)),
            health: BTreeMap::new(),
            drained: false,
        };
        server.advance(now);
        let failed = server.out.iter().find_map(|action| match action {
            Action::Event(Event::StartFailed { error }) => Some(error.clone()),
            _ => None,
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(server),
        }
    }

    /// When [`poll`](Self::poll) has something to do by itself; none is never.
    pub fn next_deadline(&self) -> Option<Duration> {
        let providers = self.providers.values().filter_map(Provider::next_deadline);
        let retiring = self.retiring.iter().map(|(close, _)| *close);
        providers
            .chain(retiring)
            .chain(self.reload.next_deadline())
            .min()
    }

    /// Lets pass what is due, and hands out what is to be done, in order.
    pub fn poll(&mut self, now: Now) -> Vec<Action> {
        let ids: Vec<ProviderId> = self.providers.keys().copied().collect();
        for id in ids {
            self.with(id, now, |provider, cx| provider.poll(cx));
        }
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.retiring)
            .into_iter()
            .partition(|(close, _)| *close <= now.mono);
        self.retiring = later;
        for (_, generation) in due {
            self.close(generation, now);
        }
        self.poll_reload(now);
        self.advance(now);
        self.forget_closed();
        std::mem::take(&mut self.out)
    }

    /// A connection attempt is over.
    pub fn dialled(
        &mut self,
        now: Now,
        provider: ProviderId,
        conn: ConnId,
        outcome: Result<(), DialError>,
    ) {
        self.with(provider, now, |provider, cx| {
            provider.dialled(conn, outcome, cx);
        });
    }

    /// A connection is gone; calls on it fail with `why`, such as UNAVAILABLE `error reading from
    /// server: EOF` (KMS2-CONN-08).
    pub fn lost(&mut self, now: Now, provider: ProviderId, conn: ConnId, why: &Status) {
        self.with(provider, now, |provider, cx| provider.lost(conn, why, cx));
    }

    /// The server of a connection said GOAWAY: its calls go on, new ones need another connection.
    pub fn going_away(&mut self, now: Now, provider: ProviderId, conn: ConnId) {
        self.with(provider, now, |provider, _| provider.going_away(conn));
    }

    /// A call was provably never processed (REFUSED_STREAM, or above GOAWAY's last stream).
    pub fn unprocessed(&mut self, now: Now, provider: ProviderId, call: CallId) {
        self.with(provider, now, |provider, cx| provider.unprocessed(call, cx));
    }

    /// The answer of a call: the raw message, or the status. Ignored if nobody waits any more.
    pub fn answer(
        &mut self,
        now: Now,
        provider: ProviderId,
        call: CallId,
        outcome: Result<Vec<u8>, Status>,
    ) {
        self.with(provider, now, |provider, cx| {
            provider.answer(call, outcome, cx);
        });
    }

    /// The names of the health checks, in order (KMS2-HEALTH-02).
    pub fn check_names(&self) -> Vec<String> {
        let kms = self.current.as_ref().map_or(&[][..], |now| &now.kms);
        let any_v1 = kms.contains(&crate::table::Slot::V1);
        if self.options.reload || !kms.is_empty() && !any_v1 {
            vec!["kms-providers".to_owned()]
        } else {
            (0..kms.len())
                .map(|index| format!("kms-provider-{index}"))
                .collect()
        }
    }

    /// The resources that the configuration in force names, such as `*.apps`.
    pub fn resources(&self) -> Vec<GroupResource> {
        let generation = self.current.as_ref();
        generation.map_or(Vec::new(), |now| now.resources().cloned().collect())
    }

    /// The hash of the configuration in force, in the version's form.
    pub fn config_hash(&self) -> Option<&str> {
        self.current.as_ref().map(|now| now.hash.as_str())
    }

    /// How long the connections of the configuration in force stay open after it was replaced.
    pub fn close_grace(&self) -> Option<Duration> {
        self.current.as_ref().map(|now| now.grace)
    }

    /// Runs the check `kms-providers`: every KMS v2 provider after another. The outcome comes as
    /// [`Event::Probed`]. `deadline` is the prober's own, if it has one.
    pub fn probe(&mut self, now: Now, deadline: Option<Duration>) -> ProbeId {
        let providers: Vec<_> = self.current.as_ref().map_or(Vec::new(), indexed);
        self.walk(now, providers, deadline)
    }

    /// The id that the next walk will have.
    pub(crate) fn next_probe(&self) -> ProbeId {
        ProbeId(self.probes + 1)
    }

    pub(crate) fn walk(
        &mut self,
        now: Now,
        providers: Vec<(usize, ProviderId)>,
        deadline: Option<Duration>,
    ) -> ProbeId {
        self.probes += 1;
        let probe = ProbeId(self.probes);
        let walk = Walk {
            waiting: providers.into(),
            errors: Vec::new(),
            deadline,
            cancelled: false,
        };
        self.health.insert(probe, walk);
        self.walk_on(now, probe);
        probe
    }

    /// The prober has gone: the RPC that runs for it is cancelled, and the failure is remembered
    /// like any other (KMS2-STATUS-16).
    pub fn cancel_probe(&mut self, now: Now, probe: ProbeId) {
        let Some(walk) = self.health.get_mut(&probe) else {
            return;
        };
        walk.cancelled = true;
        if let Some((_, id)) = walk.waiting.front().copied() {
            self.with(id, now, |provider, cx| provider.cancel_probe(probe, cx));
        }
    }

    /// Lets a walk ask its next provider, or ends it.
    fn walk_on(&mut self, now: Now, probe: ProbeId) {
        let Some(walk) = self.health.get(&probe) else {
            return;
        };
        let (deadline, cancelled) = (walk.deadline, walk.cancelled);
        match walk.waiting.front().copied() {
            Some((_, id)) => {
                self.with(id, now, |provider, cx| {
                    provider.probe(probe, deadline, cancelled, cx);
                });
            }
            None => {
                let walk = self.health.remove(&probe);
                let errors = walk.map_or(Vec::new(), |walk| walk.errors);
                let result = if errors.is_empty() {
                    Ok(())
                } else {
                    Err(crate::gotext::aggregate(&errors))
                };
                if !self.reload_probed(now, probe, &result) {
                    self.out
                        .push(Action::Event(Event::Probed { probe, result }));
                }
            }
        }
    }

    /// Ends everything: polling stops, connections close, calls fail as cancelled. Cached reads,
    /// and writes until the seed expires, still work (KMS2-CONN-13).
    pub fn drain(&mut self, now: Now) {
        self.drained = true;
        self.build = None;
        self.reload.stop();
        let ids: Vec<ProviderId> = self.providers.keys().copied().collect();
        for id in ids {
            self.with(id, now, |provider, cx| provider.close(cx));
        }
    }

    /// The metrics in the text format.
    pub fn metrics(&self) -> String {
        self.metrics.render()
    }

    /// Sets or unsets the seed mode, as only upstream's own tests can.
    pub fn set_seed_mode(&mut self, mode: Option<bool>) {
        self.options.seed_mode = mode;
    }

    /// The options that it runs with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Lets one provider do something, and takes up what came of it.
    pub(crate) fn with<T>(
        &mut self,
        id: ProviderId,
        now: Now,
        step: impl FnOnce(&mut Provider, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let provider = self.providers.get_mut(&id)?;
        let mut cx = Cx {
            now,
            options: &self.options,
            rng: &mut *self.rng,
            metrics: &mut self.metrics,
            out: &mut self.out,
            calls: &mut self.calls,
        };
        let done = step(provider, &mut cx);
        for (probe, result) in provider.take_probed() {
            if let Some(walk) = self.health.get_mut(&probe) {
                if let Some((index, _)) = walk.waiting.pop_front()
                    && let Err(why) = result
                {
                    walk.errors.push(format!("kms-provider-{index}: {why}"));
                }
                self.walk_on(now, probe);
            }
        }
        Some(done)
    }
}

//! The encryption half of one server: what a caller drives.
//!
//! Values go in and out by [`Encryption::write`], [`Encryption::read`] and
//! [`Encryption::supply`]; the world by [`Encryption::poll`] and the methods that say what
//! happened. Any of them may leave actions behind: after each, let `poll` hand them out. Nothing
//! in here waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use crate::chain::{
    self, Transformer, no_kms_v1, open_local, read_identity, record, record_after, seal_local,
    together,
};
use crate::config::{Config, content_hash};
use crate::grpc::Status;
use crate::kms::{ColdRead, Cx, KmsRead, Place, Provider};
use crate::metrics::{Direction, Metrics};
use crate::options::Options;
use crate::reload::Reload;
use crate::seam::{
    Action, CallId, ConnId, DialError, Event, GroupResource, Log, Now, Plain, ProbeId, ProviderId,
    TransformError,
};
use crate::table::{Build, Chain, Generation, Step};

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

/// How far a read came.
#[derive(Debug)]
pub enum Read {
    /// It is there.
    Plain(Plain),
    /// It lacks a seed: let [`Encryption::decrypt`] ask for it, then [`Encryption::supply`] it.
    Need(Pending),
    /// It failed.
    Failed(TransformError),
}

/// A read that lacks a seed. Dropping it gives the read up.
pub struct Pending {
    resource: GroupResource,
    key: String,
    stored: Vec<u8>,
    chain: Chain,
    link: usize,
    errors: Vec<TransformError>,
    provider: ProviderId,
    cold: Box<ColdRead>,
    began: Now,
    _hold: Arc<()>,
}

impl Pending {
    /// Whose plugin has to unwrap it.
    pub fn provider(&self) -> ProviderId {
        self.provider
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("key", &self.key)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
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

    /// What goes into the store for a value under this key, which is the etcd key with its leading
    /// slash (KMS2-ETCD-02).
    ///
    /// # Errors
    /// With the text of the HTTP answer's cause (KMS2-WRITE-03).
    pub fn write(
        &mut self,
        now: Now,
        resource: &GroupResource,
        key: &str,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, TransformError> {
        let generation = self.current.as_ref().ok_or_else(not_loaded)?;
        let Some(chain) = generation.chain(resource).cloned() else {
            return Ok(plaintext.to_vec());
        };
        let link = &chain[0];
        let mut stored = Vec::with_capacity(link.prefix.len() + plaintext.len() + 256);
        stored.extend_from_slice(link.prefix.as_bytes());
        let written = match &link.transformer {
            Transformer::Identity => {
                stored.extend_from_slice(plaintext);
                Ok(())
            }
            Transformer::Local(keys, _) => {
                let sealed = seal_local(keys, &mut stored, key, plaintext, &mut *self.rng);
                let name = keys.first().map_or("", |(name, _)| name.as_str());
                record(
                    &mut self.metrics,
                    &resource.to_string(),
                    Direction::ToStorage,
                    name,
                    sealed.as_ref().err(),
                );
                sealed
            }
            Transformer::Kms(id) => self
                .with(*id, now, |provider, cx| {
                    provider.write(&mut stored, Place { resource, key }, plaintext, cx)
                })
                .unwrap_or_else(|| Err(not_loaded())),
            Transformer::KmsV1 => Err(no_kms_v1()),
        };
        record(
            &mut self.metrics,
            &resource.to_string(),
            Direction::ToStorage,
            &link.prefix,
            written.as_ref().err(),
        );
        match written {
            Ok(()) => Ok(stored),
            Err(error) => {
                self.log_failure("failed to encrypt data", &error, Place { resource, key });
                Err(error)
            }
        }
    }

    /// Reads a stored value.
    pub fn read(&mut self, now: Now, resource: &GroupResource, key: &str, stored: &[u8]) -> Read {
        let Some(generation) = &self.current else {
            return Read::Failed(not_loaded());
        };
        match generation.chain(resource).cloned() {
            None => match read_identity(stored) {
                Ok(bytes) => Read::Plain(Plain {
                    bytes,
                    stale: false,
                }),
                Err(error) => Read::Failed(error),
            },
            Some(chain) => {
                let hold = Arc::clone(&generation.hold);
                let place = Place { resource, key };
                self.read_from(now, now, place, stored, chain, hold, 0, Vec::new())
            }
        }
    }

    /// Asks the plugin for what a read lacks; the outcome comes as [`Event::Decrypted`]. `deadline`
    /// is the reader's own, if it has one (KMS2-DEC-09).
    pub fn decrypt(&mut self, now: Now, pending: &Pending, deadline: Option<Duration>) -> CallId {
        let id = pending.provider;
        let place = Place {
            resource: &pending.resource,
            key: &pending.key,
        };
        self.with(id, now, |provider, cx| {
            provider.decrypt(place, &pending.cold, deadline, cx)
        })
        .expect("a provider stays while reads hold it")
    }

    /// The reader has gone: its call is taken back and fails as cancelled.
    pub fn cancel_decrypt(&mut self, now: Now, pending: &Pending, call: CallId) {
        self.with(pending.provider, now, |provider, cx| {
            provider.cancel_decrypt(call, cx);
        });
    }

    /// Goes on with a read. It may need another seed: every provider whose prefix fits is tried.
    pub fn supply(&mut self, now: Now, pending: Pending, outcome: Result<Vec<u8>, Status>) -> Read {
        let Pending {
            resource,
            key,
            stored,
            chain,
            link,
            mut errors,
            provider,
            cold,
            began,
            _hold: hold,
        } = pending;
        let read = self
            .with(provider, now, |provider, cx| {
                provider.supply(&key, &cold, outcome, cx)
            })
            .unwrap_or_else(|| Err(not_loaded()));
        record_after(
            &mut self.metrics,
            &resource.to_string(),
            Direction::FromStorage,
            &chain[link].prefix,
            read.as_ref().err(),
            now.mono.saturating_sub(began.mono),
        );
        match read {
            Ok(KmsRead::Plain(bytes, stale)) => Read::Plain(Plain {
                bytes,
                stale: stale || link > 0,
            }),
            // A supplied read opens or fails.
            Ok(KmsRead::Cold(_)) => Read::Failed(not_loaded()),
            Err(error) => {
                errors.push(error);
                let place = Place {
                    resource: &resource,
                    key: &key,
                };
                self.read_from(now, began, place, &stored, chain, hold, link + 1, errors)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a read's whole state")]
    fn read_from(
        &mut self,
        now: Now,
        began: Now,
        place: Place<'_>,
        stored: &[u8],
        chain: Chain,
        hold: Arc<()>,
        first: usize,
        mut errors: Vec<TransformError>,
    ) -> Read {
        let Place { resource, key } = place;
        let name = resource.to_string();
        for (index, link) in chain.iter().enumerate().skip(first) {
            let Some(body) = link.body(stored) else {
                continue;
            };
            let read = match &link.transformer {
                Transformer::Identity => match read_identity(body) {
                    Ok(bytes) => Ok(Plain {
                        bytes,
                        stale: false,
                    }),
                    // Silently not its business.
                    Err(_) => continue,
                },
                Transformer::Local(keys, no_key) => {
                    open_local(keys, no_key, key, body, &name, &mut self.metrics)
                }
                Transformer::KmsV1 => Err(no_kms_v1()),
                Transformer::Kms(id) => {
                    let read = self
                        .with(*id, now, |provider, cx| provider.read(key, body, cx))
                        .unwrap_or_else(|| Err(not_loaded()));
                    match read {
                        Ok(KmsRead::Plain(bytes, stale)) => Ok(Plain { bytes, stale }),
                        Ok(KmsRead::Cold(cold)) => {
                            return Read::Need(Pending {
                                resource: resource.clone(),
                                key: key.to_owned(),
                                stored: stored.to_vec(),
                                provider: *id,
                                link: index,
                                chain: Arc::clone(&chain),
                                errors,
                                cold,
                                began,
                                _hold: hold,
                            });
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            let prefix = if link.prefix.is_empty() {
                "identity"
            } else {
                &link.prefix
            };
            record(
                &mut self.metrics,
                &name,
                Direction::FromStorage,
                prefix,
                read.as_ref().err(),
            );
            match read {
                Ok(plain) => {
                    return Read::Plain(Plain {
                        stale: plain.stale || index > 0,
                        ..plain
                    });
                }
                Err(error) => errors.push(error),
            }
        }
        let error = match together(errors) {
            Some(error) => {
                self.log_failure("failed to decrypt data", &error, place);
                error
            }
            None => {
                let error = TransformError::new("no matching prefix found");
                chain::record(
                    &mut self.metrics,
                    &name,
                    Direction::FromStorage,
                    "unknown",
                    Some(&error),
                );
                error
            }
        };
        Read::Failed(error)
    }

    fn log_failure(&mut self, what: &str, error: &TransformError, place: Place<'_>) {
        if self.options.verbosity >= 6 {
            let err = crate::gotext::log_value(&error.text);
            self.out.push(Log::info(
                6,
                format!("\"{what}\" err={err} {}", place.request()),
            ));
        }
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

    /// Goes on with the configuration that is being built.
    pub(crate) fn advance(&mut self, now: Now) {
        while let Some(mut build) = self.build.take() {
            let waiting = build.providers().last().copied();
            let primed = |id| self.providers.get(&id).is_some_and(Provider::is_primed);
            if waiting.is_some_and(|id| !primed(id)) {
                self.build = Some(build);
                return;
            }
            match build.step(&self.options) {
                Step::Start(entry) => {
                    self.made += 1;
                    let id = ProviderId(self.made);
                    build.made(&entry.name, id);
                    self.build = Some(build);
                    let mut cx = Cx {
                        now,
                        options: &self.options,
                        rng: &mut *self.rng,
                        metrics: &mut self.metrics,
                        out: &mut self.out,
                        calls: &mut self.calls,
                    };
                    let provider = Provider::start(id, entry, &mut cx);
                    self.providers.insert(id, provider);
                }
                Step::Done(generation) if self.current.is_some() => {
                    self.reload_built(now, generation);
                }
                Step::Done(generation) => {
                    if self.options.reload {
                        self.metrics.config(&generation.hash);
                        self.reload.begin(now);
                    }
                    self.current = Some(generation);
                    self.out.push(Action::Event(Event::Started));
                }
                Step::Failed(error) => {
                    let made = build.providers();
                    if self.current.is_some() {
                        self.reload_failed(now, error);
                    } else {
                        self.out.push(Action::Event(Event::StartFailed { error }));
                    }
                    for id in made {
                        self.with(id, now, |provider, cx| provider.close(cx));
                        self.providers.remove(&id);
                    }
                }
            }
        }
    }

    /// Puts a generation in force; the old one's connections close after its grace period.
    pub(crate) fn swap(&mut self, now: Now, generation: Generation) {
        self.metrics.config(&generation.hash);
        if let Some(old) = self.current.replace(generation) {
            self.retiring.push((now.mono + old.grace, old));
        }
    }

    /// Closes a generation's providers.
    pub(crate) fn close(&mut self, generation: Generation, now: Now) {
        for id in generation.providers() {
            self.with(id, now, |provider, cx| provider.close(cx));
        }
        self.closed.push(generation);
    }

    /// Forgets closed generations that no read holds and no check waits for.
    fn forget_closed(&mut self) {
        let walking: Vec<ProviderId> = self
            .health
            .values()
            .flat_map(|walk| walk.waiting.iter().map(|(_, id)| *id))
            .collect();
        let (gone, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.closed)
            .into_iter()
            .partition(|generation| {
                Arc::strong_count(&generation.hold) == 1
                    && !generation.providers().any(|id| walking.contains(&id))
            });
        self.closed = held;
        for id in gone.iter().flat_map(Generation::providers) {
            self.providers.remove(&id);
        }
    }
}

/// The KMS providers of a generation with their indices in the file.
pub(crate) fn indexed(generation: &Generation) -> Vec<(usize, ProviderId)> {
    let slots = generation.kms.iter().enumerate();
    slots
        .filter_map(|(index, slot)| match slot {
            crate::table::Slot::V1 => None,
            crate::table::Slot::V2(id) => Some((index, *id)),
        })
        .collect()
}

/// Whoever reads or writes before the configuration is loaded is too early.
fn not_loaded() -> TransformError {
    TransformError::new("the encryption configuration is not loaded")
}

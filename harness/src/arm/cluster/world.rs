//! All of it together, as a [`World`]: from the lease to the last object that is taken away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use kms_apiserver_api::{ApiServer, Pending, Trouble};
use kms_history::chaos::Event;
use kms_scenario::engine;
use kms_scenario::fault::Fault;
use kms_scenario::plan::Plan;
use kms_scenario::world::{Order, Probe, Recorder, World};
use tokio::sync::{RwLock, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::api::Api;
use super::counted::{Counted, Seen};
use super::guard::Guard;
use super::intent::{self, Count, Mend};
use super::journal::{self, Journal, Kept};
use super::namespaced::Namespaced;
use super::observe::Observer;
use super::others::Others;
use super::store::Canaries;
use super::undo::{Hands, Undo};
use super::{Parts, Why, lease, load};
use crate::commands::session;
use crate::console;
use crate::interrupt::Interrupt;

/// How long an undo is tried again before it is left to `--cleanup`.
const TRIED: Duration = Duration::from_secs(40);
/// Between two tries.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the relays.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Limit for what others said to be gathered where a run broke off.
const GATHERED: Duration = Duration::from_secs(20);
/// Between two looks at conditions of operators.
const CONDITIONS_EVERY: Duration = Duration::from_secs(10);
/// Limit for a fault that is just being made to be there or not, before all are undone.
const MADE: Duration = Duration::from_secs(30);

/// The world of one run.
pub struct ClusterWorld(Arc<Inner>);

struct Inner {
    tasks: Mutex<JoinSet<()>>,
    active: Mutex<BTreeMap<String, Active>>,
    done: Mutex<BTreeMap<String, u64>>,
    counted: Mutex<Counted>,
    // read by whoever makes a fault, written by whoever ends the run
    making: RwLock<()>,
    ended: AtomicBool,
    stopped: watch::Sender<Option<String>>,
    parts: Arc<Parts>,
    api: Api,
    hands: Hands,
    observer: Observer,
    others: Others,
    canaries: Option<Canaries>,
    journal: Journal,
    clear: Kept,
    recorder: Recorder,
}

/// A fault that is there, or is just being made.
struct Active {
    kept: Vec<Kept>,
    mend: Mend,
    count: Count,
    /// What was counted before it.
    before: Counted,
    changed: u64,
}

/// Carries a plan out on the cluster, until it is done, a signal comes, or something says that it must stop. Everything is
/// healed and taken away afterwards.
///
/// # Errors
/// It could not begin, or did not come to its end; and what could not be healed.
pub async fn run(plan: &Plan, parts: &Arc<Parts>, recorder: &Recorder) -> Result<(), Trouble> {
    if let Some(why) = parts.halt.why() {
        return Err(Trouble::new(match why {
            Why::Interrupted => "not begun: interrupted by a signal".to_owned(),
            Why::Stopped(text) => format!("not begun: an earlier run was stopped: {text}"),
        }));
    }
    let interrupt = Interrupt::listen().map_err(trouble)?;
    let world = ClusterWorld::start(parts, recorder.clone())
        .await
        .map_err(trouble)?;
    let (inner, world) = (Arc::clone(&world.0), Arc::new(world));
    let mut stops = inner.stopped.subscribe();
    let engine: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
    let ran = tokio::select! {
        biased;
        why = stops.wait_for(Option::is_some) => {
            let why = why.ok().and_then(|why| why.clone()).unwrap_or_default();
            parts.halt.say(Why::Stopped(why.clone()));
            Err(Trouble::new(format!("stopped and healed: {why}")))
        }
        ended = interrupt.or(Box::pin(engine::run(plan, engine, recorder.clone()))) => match ended {
            Ok(ran) => ran,
            Err(_) => {
                parts.halt.say(Why::Interrupted);
                Err(Trouble::new("interrupted by a signal"))
            }
        }
    };
    let healed = world.stop().await;
    match (ran, healed) {
        (Err(Trouble(first)), Err(Trouble(then))) if first != then => {
            Err(Trouble::new(format!("{first}; and {then}")))
        }
        (ran, healed) => ran.and(healed),
    }
}

impl ClusterWorld {
    /// Takes the lease, looks whether the cluster is as a run needs it, and begins load and guard.
    ///
    /// # Errors
    /// Any of it is not so. Nothing is left then.
    pub async fn start(parts: &Arc<Parts>, recorder: Recorder) -> Result<Self> {
        let api = Api::connect(&parts.kubeconfig).await?;
        let cluster = api.identity().await?;
        nothing_left(parts, &cluster)?;
        let run = session::run_id().replace(':', "");
        let journal = Journal::open(&parts.undo, &run, &cluster)?;
        let holder = Undo::Clear {
            holder: run.clone(),
        };
        let clear = journal.write("take the run's objects and its lease away", holder)?;
        let hands = Hands {
            api: api.clone(),
            vault: parts
                .vault
                .as_ref()
                .map(|vault| (vault.address.clone(), vault.admin.clone())),
        };
        if let Err(error) = lease::take(&api, &run).await {
            clear.done()?;
            return Err(error);
        }
        let begun = async {
            let observer = Observer::start(api.clone()).await?;
            let config_maps = observer.encrypts_config_maps().await?;
            let canaries = match &parts.etcd {
                Some(at) => Some(Canaries::find(at, &api).await?),
                None => None,
            };
            let others = Others::start(api.clone(), parts, recorder.clone()).await?;
            let guard = Guard::start(api.clone(), &run).await?;
            observer.look().await?;
            Ok((observer, config_maps, canaries, others, guard))
        };
        let (observer, config_maps, canaries, others, guard) = match begun.await {
            Ok(begun) => begun,
            Err(error) => {
                carry_out(&clear, &hands).await?;
                return Err(error);
            }
        };
        let inner = Arc::new(Inner {
            tasks: Mutex::default(),
            active: Mutex::default(),
            done: Mutex::default(),
            counted: Mutex::default(),
            making: RwLock::default(),
            ended: AtomicBool::new(false),
            stopped: watch::Sender::new(None),
            parts: Arc::clone(parts),
            api,
            hands,
            observer,
            others,
            canaries,
            journal,
            clear,
            recorder,
        });
        inner.count().await;
        // What was asked before the run is none of it.
        locked(&inner.counted).new_requests();
        inner.begin(run, guard, config_maps);
        inner.recorder.note(Some(0), Event::ApiServerStarted);
        if inner.canaries.is_some() {
            let wanted = Event::Provider(inner.observer.prefix());
            inner.recorder.note(None, wanted);
        }
        Ok(Self(inner))
    }
}

/// Earlier runs of this machine have undone everything.
///
/// # Errors
/// They have not; the text says how it is done.
pub fn nothing_left(parts: &Parts, cluster: &str) -> Result<()> {
    let left = journal::left(&parts.undo, cluster)?;
    let whats: Vec<&str> = left.iter().map(|kept| kept.entry.what.as_str()).collect();
    ensure!(
        left.is_empty(),
        "an earlier run ended before it had undone everything ({}); run `kms-harness chaos --arm cluster … --cleanup` first",
        whats.join("; ")
    );
    Ok(())
}

/// Carries an undo out, again and again if need be; its file goes when it is done.
///
/// # Errors
/// It could not be done in time: the file stays, and the text names it.
pub async fn carry_out(kept: &Kept, hands: &Hands) -> Result<()> {
    let start = Instant::now();
    loop {
        let done = timeout(TRIED, kept.entry.undo.carry_out(hands)).await;
        let done = done.unwrap_or_else(|_| Err(anyhow!("no answer in time")));
        match done {
            Ok(()) => return kept.done(),
            Err(error) if start.elapsed() >= TRIED => {
                return Err(error.context(format!(
                    "could not {}; it is left to --cleanup ({})",
                    kept.entry.what,
                    kept.path().display()
                )));
            }
            Err(_) => sleep(TRY_EVERY).await,
        }
    }
}

impl Inner {
    fn begin(self: &Arc<Self>, run: String, guard: Guard, config_maps: bool) {
        let mut tasks = locked(&self.tasks);
        let world = Arc::downgrade(self);
        let stop = move |why: String| {
            if let Some(world) = world.upgrade() {
                world.stopped.send_replace(Some(why));
            }
        };
        let (api, stops) = (self.api.clone(), stop.clone());
        tasks.spawn(async move { stops(lease::keep(&api, &run).await) });
        tasks.spawn(async move { stop(guard.watch().await) });
        let world = Arc::downgrade(self);
        tasks.spawn(async move {
            loop {
                sleep(COUNT_EVERY).await;
                let Some(world) = world.upgrade() else { return };
                world.count().await;
            }
        });
        let world = Arc::downgrade(self);
        tasks.spawn(async move {
            while let Some(world) = world.upgrade()
                && world.others.conditions().await
            {
                drop(world);
                sleep(CONDITIONS_EVERY).await;
            }
        });
        let server = self.server();
        load::start(&server, &self.recorder, config_maps, &mut tasks);
        let known = if config_maps {
            ""
        } else {
            " (ConfigMaps are not encrypted here, and not written)"
        };
        console::tell(&format!("load begins in {}{known}", super::NAMESPACE));
    }

    fn server(&self) -> Arc<dyn ApiServer> {
        let server = Namespaced::new(self.api.server(), self.canaries.clone());
        Arc::new(server)
    }

    async fn count(&self) {
        let seen = Seen::look(&self.parts, &self.observer).await;
        locked(&self.counted).take(seen);
    }

    fn hits_of(&self, active: &Active) -> u64 {
        match active.count {
            Count::Changed => active.changed,
            other => locked(&self.counted).since(&active.before, other),
        }
    }

    /// Makes a fault. Goes on to its end, whoever waits for it: what is half made cannot be undone.
    async fn make(self: Arc<Self>, order: Order) -> Result<()> {
        let _making = self.making.read().await;
        ensure!(!self.ended.load(Ordering::Relaxed), "the run has ended");
        let intent = intent::of(&order, &self.parts, &self.api).await?;
        if let Some(pods) = self.parts.pods.as_ref()
            && matches!(order.fault, Fault::PluginRestart | Fault::PluginStop)
        {
            self.others.before_end(pods).await;
        }
        // what was asked before is no hit; without metrics nothing is counted
        let _ = self.observer.look().await;
        self.count().await;
        let mut kept = Vec::new();
        for undo in intent.undo {
            let what = format!("undo {} ({})", order.fault.kind(), order.id);
            kept.push(self.journal.write(&what, undo)?);
        }
        let lasts = order.fault.lasts();
        let active = Active {
            kept,
            mend: intent.mend,
            count: intent.count,
            before: locked(&self.counted).clone(),
            changed: 0,
        };
        locked(&self.active).insert(order.id.clone(), active);
        match intent.deed.await {
            Ok(changed) => {
                if let Some(active) = locked(&self.active).get_mut(&order.id) {
                    active.changed = changed;
                }
            }
            Err(error) => {
                self.recover(&order.id).await?;
                return Err(error);
            }
        }
        if lasts {
            let (world, id, deadline) = (Arc::downgrade(&self), order.id, order.deadline);
            locked(&self.tasks).spawn(async move {
                sleep(deadline).await;
                if let Some(world) = world.upgrade() {
                    // The engine's own recovery tells the error, if there is one.
                    let _ = world.recover(&id).await;
                }
            });
        }
        Ok(())
    }

    async fn recover(&self, id: &str) -> Result<()> {
        let Some(active) = locked(&self.active).remove(id) else {
            return Ok(());
        };
        let mut healed = Ok(());
        match &active.mend {
            Mend::Undo => {
                for kept in active.kept.iter().rev() {
                    healed = healed.and(carry_out(kept, &self.hands).await);
                }
            }
            Mend::Relays(relays) => {
                for (relay, kept) in relays.iter().zip(&active.kept) {
                    // One that does not answer ends the fault by itself, at its time.
                    let ended = match relay.end(id).await {
                        Ok(()) => kept.done(),
                        Err(_) => carry_out(kept, &self.hands).await,
                    };
                    healed = healed.and(ended);
                }
            }
        }
        // the observer may not have been asked for a while
        let _ = self.observer.look().await;
        self.count().await;
        let hits = self.hits_of(&active);
        locked(&self.done).insert(id.to_owned(), hits);
        healed
    }

    /// Heals everything, and takes everything away. What cannot be done stays in its file.
    async fn leave(&self) -> Result<()> {
        if self.ended.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        // whoever makes a fault just now comes to an end first
        let making = timeout(MADE, self.making.write()).await;
        let mut left = Ok(());
        let all: Vec<String> = locked(&self.active).keys().cloned().collect();
        for id in all {
            left = left.and(self.recover(&id).await);
        }
        drop(making);
        // a run that broke off says most by what others said
        let _ = timeout(GATHERED, self.others.gather(&[])).await;
        locked(&self.tasks).abort_all();
        left.and(carry_out(&self.clear, &self.hands).await)
    }
}

impl World for ClusterWorld {
    fn apiserver(&self, _node: u32) -> Arc<dyn ApiServer> {
        self.0.server()
    }

    fn fresh_apiserver(&self, node: u32) -> Pending<'_, Arc<dyn ApiServer>> {
        Box::pin(async move { Ok(self.apiserver(node)) })
    }

    fn endpoint(&self, _node: u32) -> String {
        String::new()
    }

    fn status(&self, _node: u32, limit: Duration) -> Pending<'_, Probe> {
        Box::pin(async move { Ok(self.0.observer.status(limit).await) })
    }

    fn encrypt<'a>(
        &'a self,
        _node: u32,
        plaintext: &'a [u8],
        limit: Duration,
    ) -> Pending<'a, Probe> {
        Box::pin(async move { Ok(self.0.observer.encrypt(plaintext, limit).await) })
    }

    fn inject<'a>(&'a self, order: &'a Order) -> Pending<'a, ()> {
        Box::pin(async move {
            let (made, told) = tokio::sync::oneshot::channel();
            let making = Arc::clone(&self.0).make(order.clone());
            locked(&self.0.tasks).spawn(async move {
                // who asked may be gone
                let _ = made.send(making.await);
            });
            let told = told.await.context("the run has ended");
            told.flatten().map_err(trouble)
        })
    }

    fn recover<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        Box::pin(async move { self.0.recover(id).await.map_err(trouble) })
    }

    fn hits(&self, id: &str) -> u64 {
        let active = locked(&self.0.active)
            .get(id)
            .map(|active| self.0.hits_of(active));
        active
            .or_else(|| locked(&self.0.done).get(id).copied())
            .unwrap_or_default()
    }

    fn note_vault_calls(&self) {
        if !self.0.parts.counts() {
            return;
        }
        let new = locked(&self.0.counted).new_requests();
        if !new.is_empty() {
            self.0.recorder.note(Some(0), Event::VaultCalls(new));
        }
    }

    /// In what others said; the store is looked at object by object.
    fn leaks<'a>(&'a self, needles: &'a [Vec<u8>]) -> Pending<'a, Vec<String>> {
        Box::pin(async { Ok(self.0.others.gather(needles).await) })
    }

    fn stop(&self) -> Pending<'_, ()> {
        Box::pin(async move { self.0.leave().await.map_err(trouble) })
    }
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn trouble(error: anyhow::Error) -> Trouble {
    Trouble::new(format!("{error:#}"))
}

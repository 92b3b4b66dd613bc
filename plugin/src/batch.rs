//! Many calls at once: equal Decrypts share one request, distinct calls share batches.
//!
//! A lane is one operation at one place. Its first call goes out at once; what arrives while
//! requests are in flight is gathered and goes out together. A request belongs to no caller: it
//! lives until its last waiter has gone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until, timeout};

use crate::event::{Event, VaultOp};
use crate::fault::{Fault, Weight};
use crate::keyring::Keyring;
use crate::seam::Env;
use crate::transit::{self, Input, Item, Output};

/// Requests of one lane that go out without gathering.
const EAGER: usize = 2;
/// Longest time that a call is held to be gathered while more than [`EAGER`] are in flight.
const LINGER: Duration = Duration::from_millis(1);
/// A request that its callers left earlier than this says nothing about the server.
const ABANDONED: Duration = Duration::from_secs(1);
/// Places that callers leave free for the probe and for a login.
const RESERVED: usize = 2;
/// Pause before a node that does not know a version yet is asked again; it doubles.
const LAG_PAUSE: Duration = Duration::from_millis(50);

/// Requests of all lanes together.
pub struct Gate {
    max: usize,
    all: AtomicUsize,
    decrypts: AtomicUsize,
    released: Notify,
}

impl Gate {
    /// At most `max_in_flight` requests to Vault at once, those of probe and login included.
    pub fn new(max_in_flight: usize) -> Self {
        Self {
            max: max_in_flight.saturating_sub(RESERVED).max(1),
            all: AtomicUsize::new(0),
            decrypts: AtomicUsize::new(0),
            released: Notify::new(),
        }
    }

    /// Takes a place; Decrypts always leave one to Encrypt.
    fn take(self: &Arc<Self>, op: VaultOp) -> Option<Pass> {
        let all = self.all.load(Ordering::Relaxed);
        let decrypts = self.decrypts.load(Ordering::Relaxed);
        let is_decrypt = op == VaultOp::Decrypt;
        if all >= self.max || (is_decrypt && decrypts >= (self.max - 1).max(1)) {
            return None;
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        self.decrypts
            .fetch_add(usize::from(is_decrypt), Ordering::Relaxed);
        Some(Pass {
            gate: self.clone(),
            is_decrypt,
        })
    }
}

struct Pass {
    gate: Arc<Gate>,
    is_decrypt: bool,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.all.fetch_sub(1, Ordering::Relaxed);
        self.gate
            .decrypts
            .fetch_sub(usize::from(self.is_decrypt), Ordering::Relaxed);
        self.gate.released.notify_waiters();
    }
}

type Key = (Bytes, Box<str>);

/// A result, and our id of the request that gave it.
type Finished = (Item, u64);

/// Why a call failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The fault.
    pub fault: Fault,
    /// Our id of the request, 0 when there was none.
    pub request_id: u64,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            request_id: 0,
        }
    }
}

/// One input with everybody who waits for it.
struct Job {
    input: Input,
    state: Mutex<JobState>,
}

#[derive(Default)]
struct JobState {
    waiters: Vec<oneshot::Sender<Finished>>,
    /// Waiters that have not gone.
    alive: usize,
    /// It has its result: nobody may join any more.
    done: bool,
    deadline: Option<Instant>,
    flight: Weak<Flight>,
}

impl Job {
    fn with<T>(&self, f: impl FnOnce(&mut JobState) -> T) -> T {
        f(&mut self.state.lock().expect("no panic while locked"))
    }

    fn key(&self) -> Option<Key> {
        match &self.input {
            Input::Ciphertext { text, key_id } => Some((text.clone(), key_id.clone())),
            Input::Plaintext(_) => None,
        }
    }
}

/// One request in flight.
struct Flight {
    /// Our id of it.
    id: u64,
    /// Jobs with a waiter.
    alive: AtomicUsize,
    abandoned: Notify,
}

/// A place among the waiters of a job; leaving it may cancel the request.
struct Ticket<'a> {
    lane: &'a Lane,
    job: Arc<Job>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let flight = self.job.with(|s| {
            s.alive -= 1;
            if s.alive == 0 {
                s.flight.upgrade()
            } else {
                None
            }
        });
        if let Some(flight) = flight
            && flight.alive.fetch_sub(1, Ordering::Relaxed) == 1
        {
            flight.abandoned.notify_one();
        }
        self.lane.leave();
    }
}

/// One operation at one place.
pub struct Lane {
    op: VaultOp,
    at: usize,
    keyring: Arc<Keyring>,
    gate: Arc<Gate>,
    env: Env,
    max_waiting: usize,
    waiting: AtomicUsize,
    inner: Mutex<Inner>,
    work: Notify,
    completed: Notify,
    flights: Mutex<JoinSet<()>>,
    /// Ids count up from a random start: the system's randomness costs a call each time.
    next_id: AtomicU64,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Arc<Job>>,
    shared: BTreeMap<Key, Weak<Job>>,
    in_flight: usize,
}

impl Inner {
    /// No later call may join `job`.
    fn forget(&mut self, job: &Arc<Job>) {
        let Some(key) = job.key() else { return };
        if self
            .shared
            .get(&key)
            .is_some_and(|shared| std::ptr::eq(shared.as_ptr(), &**job))
        {
            self.shared.remove(&key);
        }
    }
}

impl Lane {
    /// A lane for `op` at place `at`.
    pub fn new(
        op: VaultOp,
        at: usize,
        keyring: Arc<Keyring>,
        gate: Arc<Gate>,
        max_waiting: usize,
        env: Env,
    ) -> Arc<Self> {
        Arc::new(Self {
            op,
            at,
            keyring,
            gate,
            next_id: AtomicU64::new(env.entropy.next_u64() | 1),
            env,
            max_waiting,
            waiting: AtomicUsize::new(0),
            inner: Mutex::default(),
            work: Notify::new(),
            completed: Notify::new(),
            flights: Mutex::default(),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().expect("no panic while locked"))
    }

    fn enter(&self) -> Result<(), Fault> {
        let calls = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        if calls > self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Fault::Full(self.max_waiting));
        }
        self.env.observer.event(&Event::Waiting { calls });
        Ok(())
    }

    fn leave(&self) {
        let calls = self.waiting.fetch_sub(1, Ordering::Relaxed) - 1;
        self.env.observer.event(&Event::Waiting { calls });
    }

    /// Carries out `input` before `deadline`.
    ///
    /// # Errors
    /// The item's own fault, or the request's; at once when all waiting places are taken.
    pub async fn call(self: &Arc<Self>, input: Input, deadline: Instant) -> Result<Output, Failed> {
        loop {
            let (ticket, waiter) = self.join(input.clone(), deadline)?;
            let result = waiter.await;
            drop(ticket);
            match result {
                // It shared a request with less time; its own is not over.
                Ok((Err(Fault::Timeout { .. }), _))
                    if Instant::now() + Duration::from_millis(100) < deadline => {}
                Ok((Ok(output), _)) => return Ok(output),
                Ok((Err(fault), request_id)) => return Err(Failed { fault, request_id }),
                // The lane was shut down under it.
                Err(_) => return Err(Fault::HeldBack("the plugin is stopping".to_owned()).into()),
            }
        }
    }

    fn join(
        self: &Arc<Self>,
        input: Input,
        deadline: Instant,
    ) -> Result<(Ticket<'_>, oneshot::Receiver<Finished>), Fault> {
        self.enter()?;
        let (sender, waiter) = oneshot::channel();
        let new = Arc::new(Job {
            input,
            state: Mutex::default(),
        });
        let key = new.key();
        let (job, is_new, alone) = self.with(|inner| {
            let equal = key
                .as_ref()
                .and_then(|k| inner.shared.get(k))
                .and_then(Weak::upgrade);
            // A job all of whose waiters have left may be on its way out: it is not joined.
            if let Some(job) = equal.filter(|job| job.with(|s| s.alive > 0 && !s.done)) {
                return (job, false, false);
            }
            if let Some(key) = key {
                inner.shared.insert(key, Arc::downgrade(&new));
            }
            (new, true, inner.in_flight == 0 && inner.queue.is_empty())
        });
        job.with(|s| {
            s.waiters.push(sender);
            s.alive += 1;
            s.deadline = Some(s.deadline.map_or(deadline, |d| d.max(deadline)));
        });
        let ticket = Ticket {
            lane: self,
            job: job.clone(),
        };
        if !is_new {
            self.env.observer.event(&Event::Coalesced);
        } else if let (true, Some(pass)) = (alone, self.gate.take(self.op)) {
            self.launch(vec![job], pass);
        } else {
            self.with(|inner| inner.queue.push_back(job));
            self.work.notify_one();
        }
        Ok((ticket, waiter))
    }

    /// Sends what was gathered, for ever. The owner drops it at the end.
    pub async fn pump(self: Arc<Self>) {
        loop {
            self.work.notified().await;
            // What came in the same read of the socket goes out together.
            yield_now().await;
            while self.with(|inner| !inner.queue.is_empty()) {
                if self.with(|inner| inner.in_flight) >= EAGER {
                    let _ = timeout(LINGER, self.completed.notified()).await;
                }
                let released = self.gate.released.notified();
                let Some(pass) = self.gate.take(self.op) else {
                    released.await;
                    continue;
                };
                let jobs = self.with(|inner| {
                    let n = inner.queue.len().min(transit::max_items(self.op));
                    let (alive, gone) = inner
                        .queue
                        .drain(..n)
                        .partition::<Vec<_>, _>(|job| job.with(|s| s.alive > 0));
                    gone.iter().for_each(|job| inner.forget(job));
                    alive
                });
                if !jobs.is_empty() {
                    self.launch(jobs, pass);
                }
            }
        }
    }

    fn launch(self: &Arc<Self>, jobs: Vec<Arc<Job>>, pass: Pass) {
        self.with(|inner| inner.in_flight += 1);
        let flight = Arc::new(Flight {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            alive: AtomicUsize::new(jobs.len()),
            abandoned: Notify::new(),
        });
        for job in &jobs {
            job.with(|s| s.flight = Arc::downgrade(&flight));
        }
        let lane = self.clone();
        let mut flights = self.flights.lock().expect("no panic while locked");
        while flights.try_join_next().is_some() {}
        flights.spawn(async move {
            let began = Instant::now();
            tokio::select! {
                biased;
                () = flight.abandoned.notified() => lane.book_abandoned(began),
                () = lane.fly(&jobs, flight.id) => {}
            }
            drop(pass);
            lane.with(|inner| {
                inner.in_flight -= 1;
                jobs.iter().for_each(|job| inner.forget(job));
            });
            lane.completed.notify_one();
        });
    }

    async fn fly(&self, jobs: &[Arc<Job>], id: u64) {
        let now = Instant::now();
        let deadline = jobs
            .iter()
            .filter_map(|j| j.with(|s| s.deadline))
            .max()
            .unwrap_or(now);
        // Ends a little before its waiters give up, so that they hear why.
        let deadline = deadline - deadline.saturating_duration_since(now) / 50;
        let jobs: Vec<&Arc<Job>> = jobs.iter().collect();
        self.send(&jobs, id, deadline, Split::Halves).await;
    }

    /// Ends every request in flight; its waiters are told.
    pub fn stop(&self) {
        self.flights
            .lock()
            .expect("no panic while locked")
            .abort_all();
    }

    /// Sends `jobs` as one request; a batch that is refused as such goes out in halves, then alone.
    async fn send(&self, jobs: &[&Arc<Job>], id: u64, deadline: Instant, split: Split) {
        match self.attempt(jobs, id, deadline).await {
            Ok(items) => {
                let mut unseen = Vec::new();
                for (job, item) in jobs.iter().zip(items) {
                    // Perhaps only the node that answered has not seen this version yet.
                    match item {
                        Err(Fault::PinTooNew(_)) if self.op == VaultOp::Decrypt => {
                            unseen.push(*job)
                        }
                        item => self.finish(job, item, id),
                    }
                }
                self.ask_again(unseen, id, deadline).await;
            }
            Err(fault) if jobs.len() > 1 && transit::is_batch_refusal(&fault) => {
                let (size, next) = match split {
                    Split::Halves => (jobs.len().div_ceil(2), Split::Singles),
                    Split::Singles => (1, Split::Singles),
                };
                for part in jobs.chunks(size) {
                    Box::pin(self.send(part, id, deadline, next)).await;
                }
            }
            Err(fault) => {
                for job in jobs {
                    self.finish(job, Err(fault.clone()), id);
                }
            }
        }
    }

    /// Ciphertexts of a version that a node did not know: twice more, then it is the object's fault.
    async fn ask_again(&self, mut jobs: Vec<&Arc<Job>>, id: u64, deadline: Instant) {
        let mut pause = LAG_PAUSE;
        for _ in 0..2 {
            if jobs.is_empty() || Instant::now() + pause * 2 >= deadline {
                break;
            }
            sleep_until(Instant::now() + pause).await;
            pause *= 2;
            let Ok(items) = self.attempt(&jobs, id, deadline).await else {
                break;
            };
            let results: Vec<_> = jobs.drain(..).zip(items).collect();
            for (job, item) in results {
                match item {
                    Err(Fault::PinTooNew(_)) => jobs.push(job),
                    item => self.finish(job, item, id),
                }
            }
        }
        for job in jobs {
            self.finish(
                job,
                Err(Fault::Data(
                    "invalid ciphertext: version is too new".to_owned(),
                )),
                id,
            );
        }
    }

    fn finish(&self, job: &Job, item: Item, id: u64) {
        let waiters = job.with(|s| {
            s.done = true;
            std::mem::take(&mut s.waiters)
        });
        for waiter in waiters {
            // A waiter that has gone needs no answer.
            let _ = waiter.send((item.clone(), id));
        }
    }

    /// One request, repeated while a pin or a lagging node stands in its way and time is left.
    async fn attempt(
        &self,
        jobs: &[&Arc<Job>],
        id: u64,
        deadline: Instant,
    ) -> Result<Vec<Item>, Fault> {
        let inputs: Vec<&Input> = jobs.iter().map(|j| &j.input).collect();
        let is_current = self.at == 0;
        let mut lag_pause = LAG_PAUSE;
        let mut refreshed = false;
        loop {
            let version = self.keyring.places[self.at]
                .with(|t| t.current().cloned())
                .or_else(|| (self.op == VaultOp::Decrypt).then(no_version))
                .ok_or_else(|| {
                    Fault::HeldBack("the key has not been read since the start".to_owned())
                })?;
            let began = Instant::now();
            let result = self
                .keyring
                .request(self.at, self.op, id, &inputs, &version, deadline)
                .await;
            // A refused pin of a lone item is that item's, as in a batch.
            let result = match result {
                Err(fault @ (Fault::PinTooOld(_) | Fault::PinTooNew(_))) => Ok(vec![Err(fault)]),
                other => other,
            };
            if is_current {
                self.book(began, &result);
            }
            let items = result?;
            let pin = items.iter().find_map(|i| match i {
                Err(Fault::PinTooOld(_)) => Some(Pin::TooOld),
                Err(Fault::PinTooNew(_)) => Some(Pin::TooNew),
                _ => None,
            });
            match pin {
                Some(Pin::TooOld) if !refreshed => {
                    refreshed = true;
                    self.keyring.refresh(self.at, deadline).await?;
                }
                Some(Pin::TooNew)
                    if self.op == VaultOp::Encrypt && Instant::now() + lag_pause * 2 < deadline =>
                {
                    sleep_until(Instant::now() + lag_pause).await;
                    lag_pause *= 2;
                }
                // Status has moved on meanwhile: an answer under the old key_id would be thrown away.
                None if self.op == VaultOp::Encrypt
                    && self.keyring.version().as_ref() != Some(&version)
                    && !refreshed =>
                {
                    refreshed = true;
                }
                _ => return Ok(items),
            }
        }
    }

    /// Callers who gave up on a server that was slow to answer: that counts, too.
    fn book_abandoned(&self, began: Instant) {
        let limit = began.elapsed();
        if self.at == 0 && limit >= ABANDONED {
            let address = "the configured address".to_owned();
            self.keyring
                .evidence(self.op, began, Err(&Fault::Timeout { address, limit }));
        }
    }

    /// Evidence for Status: a request as a whole, never a single bad object.
    fn book(&self, began: Instant, result: &Result<Vec<Item>, Fault>) {
        let fault = match result {
            Err(fault) if transit::is_batch_refusal(fault) => return,
            Err(fault) => Some(fault),
            Ok(items) if items.iter().any(|i| i.is_ok()) => None,
            Ok(items) => {
                let weighty = items
                    .iter()
                    .filter_map(|i| i.as_ref().err())
                    .find(|f| f.weight() != Weight::None);
                match weighty {
                    // Refused pins are repaired here, and a damaged object says nothing.
                    None | Some(Fault::PinTooOld(_) | Fault::PinTooNew(_)) => return,
                    some => some,
                }
            }
        };
        self.keyring
            .evidence(self.op, began, fault.map_or(Ok(()), Err));
    }
}

#[derive(Clone, Copy)]
enum Split {
    Halves,
    Singles,
}

enum Pin {
    TooOld,
    TooNew,
}

/// A Decrypt names no version; its key_id comes from the caller.
fn no_version() -> crate::key::table::Version {
    crate::key::table::Version {
        number: 0,
        key_id: "".into(),
    }
}

//! Many calls at once: equal Decrypts share one request, distinct calls share batches.
//!
//! A lane is one operation at one place. Its first call goes out at once; what arrives while
//! requests are in flight is gathered and goes out together. A request belongs to no caller: it
//! lives until its last waiter has gone.
//!
//! In reading order: `gate` (how many requests at once), this file (who shares one), `send` (what
//! becomes of it).

mod gate;
mod send;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, timeout};

pub use gate::Gate;
use gate::Pass;
use send::Split;

use crate::event::{Event, VaultOp};
use crate::fault::Fault;
use crate::keyring::Keyring;
use crate::seam::Env;
use crate::transit::{self, Input, Item, Output};

/// Requests of one lane that go out without gathering.
const EAGER: usize = 2;
/// Longest time that a call is held to be gathered while more than [`EAGER`] are in flight.
const LINGER: Duration = Duration::from_millis(1);
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
            Input::Ciphertext { text, key_id, .. } => Some((text.clone(), key_id.clone())),
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
}

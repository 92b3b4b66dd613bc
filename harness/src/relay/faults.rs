//! What a relay does, and until when: every fault has an end, and where two want something the harder one counts.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_history::chaos::VaultPath;
use kms_proxy::{Action, Direction, End, Rule, RuleId, Rules, SocketProxy, TcpProxy};
use kms_sim::answers;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use zeroize::Zeroizing;

use super::process::Process;
use super::{Calls, Deed, Harm, LONGEST, Ordered, State, Way};
use crate::arm::process::wire::Wire;

/// Most faults at a time.
const FAULTS: usize = 64;
/// Between two looks whether a process is there again that must not be.
const AGAIN: Duration = Duration::from_millis(50);

/// Everything of a relay that its control address reaches.
pub(super) struct Relay {
    link: Option<TcpProxy>,
    socket: Option<SocketProxy>,
    wire: Option<Wire>,
    process: Option<Process>,
    pub(super) token: Zeroizing<String>,
    inner: Mutex<Inner>,
    changed: Notify,
    kept_away: Notify,
}

#[derive(Default)]
struct Inner {
    faults: BTreeMap<String, Active>,
    requests: BTreeMap<VaultPath, u64>,
    ended_hits: u64,
}

struct Active {
    deed: Deed,
    rule: Option<RuleId>,
    until: Instant,
}

impl Relay {
    /// One without any fault.
    pub(super) fn new(
        link: Option<TcpProxy>,
        socket: Option<SocketProxy>,
        wire: Option<Wire>,
        process: Option<Process>,
        token: Zeroizing<String>,
    ) -> Self {
        Self {
            link,
            socket,
            wire,
            process,
            token,
            inner: Mutex::default(),
            changed: Notify::new(),
            kept_away: Notify::new(),
        }
    }

    /// Waits for the end of the fault that ends first, and ends it; or until there are other faults.
    pub(super) async fn due(&self) {
        let first = {
            let inner = self.inner();
            let ends = inner.faults.iter().map(|(id, fault)| (fault.until, id));
            ends.min().map(|(until, id)| (until, id.clone()))
        };
        let due = async {
            match first {
                Some((until, id)) => {
                    sleep_until(until).await;
                    self.end(&id);
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.changed.notified() => {}
            () = due => {}
        }
    }

    /// Ends processes again that must not be there, for ever.
    pub(super) async fn keep_away(self: Arc<Self>) {
        loop {
            while self.process.as_ref().is_some_and(Process::again) {
                sleep(AGAIN).await;
            }
            self.kept_away.notified().await;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has seen.
    pub(super) fn state(&self) -> State {
        let mut inner = self.inner();
        if let Some(wire) = &self.wire {
            for (path, count) in wire.take_calls() {
                *inner.requests.entry(path).or_default() += count;
            }
        }
        let live = inner.faults.values().filter_map(|fault| fault.rule);
        let live: u64 = live.map(|rule| self.call_hits(rule)).sum();
        State {
            vault: self.link.is_some(),
            socket: self.socket.is_some(),
            node_faults: self.process.is_some(),
            requests: self.wire.as_ref().map(|_| inner.requests.clone()),
            link_hits: self.link.as_ref().map_or(0, |link| link.touched().hits()),
            call_hits: inner.ended_hits + live,
            faults: inner.faults.len(),
        }
    }

    fn call_hits(&self, rule: RuleId) -> u64 {
        self.socket.as_ref().map_or(0, |socket| socket.hits(rule))
    }

    /// Has something go wrong under this name.
    ///
    /// # Errors
    /// It stands elsewhere, the name is taken, or it could not be done.
    pub(super) fn make(&self, id: &str, order: Ordered) -> Result<()> {
        ensure!(
            (1..=LONGEST).contains(&order.millis),
            "a fault lasts 1 to {LONGEST} ms, not {}",
            order.millis
        );
        let link = || {
            self.link
                .as_ref()
                .context("this relay is on no way to Vault")
        };
        let socket = || self.socket.as_ref().context("this relay is on no socket");
        let process = || {
            self.process.as_ref().context(
                "this relay breaks no process: start it with --plugin-executable and --allow-node-faults",
            )
        };
        let mut rule = None;
        match &order.deed {
            Deed::ResetLinks => {
                link()?.reset();
                return Ok(());
            }
            Deed::ResetCalls => {
                socket()?.reset();
                return Ok(());
            }
            Deed::HalfClose { requests } => {
                let towards = if *requests { End::Server } else { End::Client };
                link()?.half_close(towards);
                return Ok(());
            }
            Deed::Process(Harm::Kill) => return process()?.make(id, Harm::Kill),
            Deed::Process(_) => drop(process()?),
            Deed::Link { .. } => drop(link()?),
            Deed::Calls { .. } => drop(socket()?),
        }
        let mut inner = self.inner();
        ensure!(
            inner.faults.len() < FAULTS,
            "there are {FAULTS} faults already"
        );
        ensure!(
            !inner.faults.contains_key(id),
            "there is a fault {id} already"
        );
        if let Deed::Calls { method, action } = &order.deed {
            rule = Some(socket()?.add(Rule {
                method: method.clone(),
                action: call_action(action),
                times: None,
            }));
        }
        if let Deed::Process(harm) = order.deed {
            process()?.make(id, harm)?;
            self.kept_away.notify_one();
        }
        let until = Instant::now() + Duration::from_millis(order.millis);
        let active = Active {
            deed: order.deed,
            rule,
            until,
        };
        inner.faults.insert(id.to_owned(), active);
        self.apply(&inner);
        self.changed.notify_one();
        Ok(())
    }

    /// Ends a fault; one that has ended already is fine.
    pub(super) fn end(&self, id: &str) {
        let mut inner = self.inner();
        if let Some(fault) = inner.faults.remove(id) {
            if let Some(process) = &self.process {
                process.end(id);
            }
            if let (Some(rule), Some(socket)) = (fault.rule, &self.socket) {
                inner.ended_hits += socket.remove(rule);
            }
            self.apply(&inner);
        }
    }

    /// Ends all of them.
    pub(super) fn clear(&self) {
        let all: Vec<String> = self.inner().faults.keys().cloned().collect();
        for id in all {
            self.end(&id);
        }
    }

    /// The rules on the link that all faults make together: where two want something, the harder one counts.
    fn apply(&self, inner: &Inner) {
        let Some(link) = &self.link else { return };
        let mut rules = Rules::default();
        for fault in inner.faults.values() {
            if let Deed::Link { requests, answers } = &fault.deed {
                put_on(&mut rules.to_server, *requests);
                put_on(&mut rules.to_client, *answers);
            }
        }
        link.set(rules);
    }
}

fn put_on(direction: &mut Direction, way: Way) {
    direction.held |= way.held;
    let latency = way
        .latency
        .map(|(least, most)| (Duration::from_millis(least), Duration::from_millis(most)));
    direction.latency = direction.latency.max(latency);
    let bandwidth = way.bandwidth.and_then(NonZeroU64::new);
    direction.bandwidth = match (direction.bandwidth, bandwidth) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
}

fn call_action(action: &Calls) -> Action {
    match action {
        Calls::Delay(millis) => Action::Delay(Duration::from_millis(*millis)),
        Calls::Hold => Action::Hold,
        Calls::Status { code, message } => Action::Status {
            code: *code,
            message: message.clone(),
        },
        // Inside the answer's first frame.
        Calls::Cut => Action::Cut(20),
        Calls::Sick => Action::Alter(answers::sick),
        Calls::WrongKey => Action::Alter(answers::wrong_key),
    }
}

//! A model behind byte streams: faults, the request log, and the handle that tests hold.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{Core, Node, Options, Request, Response};

mod admin;
pub mod control;
mod fault;
pub mod frozen;
mod http1;
pub mod init_file;
mod serve;
pub mod server;
#[cfg(feature = "wiremock")]
mod wiremock;

pub use admin::TokenSettings;
pub use fault::{Action, Fault, FaultId, Hook};
use fault::{Faults, Verdict};
pub use serve::BoxFuture;

/// Most entries the log keeps; the oldest go first.
const LOG_LIMIT: usize = 1_000_000;

/// One request in the log. The path carries no secrets: tokens and passwords travel in headers and bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Arrival, since the server's birth.
    pub at: Duration,
    /// As sent.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// The model's answer; `None` if a fault kept the request from it.
    pub status: Option<u16>,
    /// The header `X-Vault-Namespace`; empty without.
    pub namespace: String,
    /// It carried a token of any kind, good or bad.
    pub authenticated: bool,
    /// Items of a Transit batch; 1 for a single encryption or decryption, 0 for anything else.
    pub items: usize,
    /// Which connection brought it, counted from 1; 0 for direct calls.
    pub connection: u64,
}

/// A simulated Vault or OpenBao; clones share it.
///
/// Time is [`tokio::time`] since its creation plus what [`SimVault::advance`] added, so it needs a tokio runtime and moves in
/// virtual time too.
#[derive(Clone)]
pub struct SimVault {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Mutex<Shared>>,
    state: Mutex<State>,
    born: Instant,
    freeze: watch::Sender<Freeze>,
}

/// What all nodes of a cluster have in common.
struct Shared {
    core: Core,
    added: Duration,
}

struct State {
    node: Node,
    faults: Faults,
    log: VecDeque<Logged>,
    connections: u64,
    idle_limit: Option<Duration>,
}

/// Which connections are answered nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Freeze {
    all: bool,
    /// Connections with a number up to this one.
    up_to: u64,
}

impl Freeze {
    fn holds(self, connection: u64) -> bool {
        self.all || connection <= self.up_to
    }
}

impl SimVault {
    /// A fresh server, born now.
    pub fn new(options: Options) -> Self {
        let shared = Shared {
            core: Core::new(options),
            added: Duration::ZERO,
        };
        Self::node_of(
            Arc::new(Mutex::new(shared)),
            Instant::now(),
            Node::default(),
        )
    }

    fn node_of(shared: Arc<Mutex<Shared>>, born: Instant, node: Node) -> Self {
        let state = State {
            node,
            faults: Faults::default(),
            log: VecDeque::new(),
            connections: 0,
            idle_limit: None,
        };
        let freeze = watch::Sender::new(Freeze::default());
        Self {
            inner: Arc::new(Inner {
                shared,
                state: Mutex::new(state),
                born,
                freeze,
            }),
        }
    }

    /// Another node of the same cluster: same data and clock, but faults, connections and log of its own.
    #[must_use]
    pub fn join(&self, node: Node) -> Self {
        Self::node_of(Arc::clone(&self.inner.shared), self.inner.born, node)
    }

    /// Changes what this node is: leader or standby, how far it lags, whether it has a leader.
    pub fn set_node(&self, change: impl FnOnce(&mut Node)) {
        change(&mut self.state().node);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // a panic inside the model is a bug that the panicking task reports; the others go on
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.inner
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since birth, what was added included.
    pub fn now(&self) -> Duration {
        self.inner.born.elapsed() + self.shared().added
    }

    /// Moves the server's clock forward: tokens expire, lockouts end.
    pub fn advance(&self, by: Duration) {
        self.shared().added += by;
    }

    /// The root token.
    pub fn root_token(&self) -> String {
        self.shared().core.root_token().to_owned()
    }

    /// Works on the model directly, between two requests.
    pub fn core<R>(&self, work: impl FnOnce(&mut Core) -> R) -> R {
        work(&mut self.shared().core)
    }

    /// Answers a request without a connection; faults do not apply, the log does.
    pub fn call(&self, request: &Request) -> Response {
        self.answer(request, 0, None).0
    }

    /// Installs a fault; the earliest installed one that fits a request and is not used up decides.
    pub fn fault(&self, fault: Fault) -> FaultId {
        self.state().faults.add(fault)
    }

    /// How many requests a fault has hit, after its removal too.
    pub fn hits(&self, id: FaultId) -> u64 {
        self.state().faults.hits(id)
    }

    /// Removes a fault. What it holds already stays held.
    pub fn clear(&self, id: FaultId) {
        self.state().faults.clear(id);
    }

    /// Removes all faults, thaws, and forgets the limit on idle connections.
    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.faults.clear_all();
        state.idle_limit = None;
        drop(state);
        self.thaw();
    }

    /// Connections are accepted and requests read, but nothing is answered until [`SimVault::thaw`].
    pub fn freeze(&self) {
        self.inner.freeze.send_modify(|f| f.all = true);
    }

    /// Only the connections present now are answered nothing, as if the peer behind them had vanished; new ones work.
    pub fn freeze_existing(&self) {
        let up_to = self.state().connections;
        self.inner.freeze.send_modify(|f| f.up_to = up_to);
    }

    /// Ends both kinds of freezing; what waited is handled now.
    pub fn thaw(&self) {
        self.inner.freeze.send_replace(Freeze::default());
    }

    /// The server closes a connection that has been idle this long; `None` never does.
    pub fn close_idle_after(&self, limit: Option<Duration>) {
        self.state().idle_limit = limit;
    }

    /// The requests so far, in the order of arrival.
    pub fn log(&self) -> Vec<Logged> {
        self.state().log.iter().cloned().collect()
    }

    /// Takes the log: what [`SimVault::log`] shows, forgotten from then on.
    pub fn take_log(&self) -> Vec<Logged> {
        std::mem::take(&mut self.state().log).into()
    }

    /// Forgets the log.
    pub fn clear_log(&self) {
        self.state().log.clear();
    }

    /// Requests in the log whose path begins so, e.g. `/v1/transit/encrypt/`.
    pub fn count(&self, prefix: &str) -> usize {
        self.state()
            .log
            .iter()
            .filter(|l| l.path.starts_with(prefix))
            .count()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.state().connections
    }

    fn idle_limit(&self) -> Option<Duration> {
        self.state().idle_limit
    }

    /// What is answered to a body that ends too early.
    fn unreadable_body(&self, text: &str) -> Response {
        self.shared().core.unreadable_body(text)
    }

    /// Vault reads JSON as it comes: what is none is refused long before its end.
    fn refuses_early(&self, body: &[u8]) -> bool {
        let json = body
            .iter()
            .find(|b| !b.is_ascii_whitespace())
            .is_none_or(|b| *b == b'{');
        !json && self.core(|core| core.flavour().is_vault())
    }

    fn next_connection(&self) -> u64 {
        let mut state = self.state();
        state.connections += 1;
        state.connections
    }

    /// Waits while the connection is frozen.
    async fn thawed(&self, connection: u64) {
        if !self.inner.freeze.borrow().holds(connection) {
            return;
        }
        let mut freeze = self.inner.freeze.subscribe();
        // the sender lives in `self`: the wait cannot fail
        let _ = freeze.wait_for(|f| !f.holds(connection)).await;
    }

    /// What happens to a request before the model sees it.
    fn judge(&self, request: &Request, connection: u64) -> Verdict {
        let now = self.now();
        let mut state = self.state();
        let verdict = state.faults.judge(request);
        if !verdict.reaches_model() {
            state.note(now, request, None, 0, connection);
        }
        verdict
    }

    /// Lets the model answer and runs what a fault wants done right after.
    fn answer(
        &self,
        request: &Request,
        connection: u64,
        then: Option<FaultId>,
    ) -> (Response, Duration) {
        let mut state = self.state();
        let mut shared = self.shared();
        let now = self.inner.born.elapsed() + shared.added;
        let response = shared.core.handle_on(&mut state.node, now, request);
        let items = shared.core.take_items();
        state.note(now, request, Some(response.status), items, connection);
        if let Some(id) = then {
            state.faults.run_hook(id, &mut shared.core);
        }
        (response, now)
    }
}

impl State {
    fn note(
        &mut self,
        at: Duration,
        request: &Request,
        status: Option<u16>,
        items: usize,
        connection: u64,
    ) {
        if self.log.len() >= LOG_LIMIT {
            self.log.pop_front();
        }
        self.log.push_back(Logged {
            at,
            method: request.method.clone(),
            path: request.path.clone(),
            status,
            namespace: request
                .get("X-Vault-Namespace")
                .unwrap_or_default()
                .to_owned(),
            authenticated: request.get("X-Vault-Token").is_some()
                || request.get("Authorization").is_some(),
            items,
            connection,
        });
    }
}

/// Bytes as they are; never a secret's text.
impl std::fmt::Debug for SimVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimVault").finish_non_exhaustive()
    }
}

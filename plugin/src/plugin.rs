//! The plugin as one value: what `serve` runs, and what health endpoints and signals ask of it.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::{Stream, StreamExt};

use crate::batch::{Gate, Lane};
use crate::config::Config;
use crate::event::{Event, VaultOp};
use crate::grpc;
use crate::keyring::Keyring;
use crate::probe::Probe;
use crate::seam::{Env, Io};
use crate::service::Service;
use crate::session::Session;
use crate::token::Tokens;
use crate::vault::Client;

/// Limit of a probe's request before any caller has named one: the API server's default.
const DEFAULT_CALLER_LIMIT: Duration = Duration::from_secs(3);
/// A caller's limit is remembered this long.
const CALLER_LIMIT_MEMORY: Duration = Duration::from_secs(600);
/// Calls in flight may take this long at a stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Streams beyond the waiting places: Status and refusals need some.
const EXTRA_STREAMS: usize = 128;

/// What every connection shares.
pub struct Core {
    config: Config,
    env: Env,
    service: Service,
    keyring: Arc<Keyring>,
    session: Arc<Session>,
    lanes: Vec<Arc<Lane>>,
    alarm: Arc<Notify>,
    caller_limit: Mutex<Option<(Duration, Instant)>>,
}

impl Core {
    /// The three calls.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Streams that one connection may have open.
    pub fn max_streams(&self) -> usize {
        self.config.max_waiting + EXTRA_STREAMS
    }

    /// Tells the observer; a failed call brings the next probe forward.
    pub fn observe(&self, event: &Event<'_>) {
        self.env.observer.event(event);
        if let Event::Call {
            http_status,
            remedy,
            code,
            ..
        } = event
            && *code != 0
            && (*http_status >= 500
                || matches!(
                    *remedy,
                    "network" | "server" | "sealed" | "token" | "policy" | "key"
                ))
            && self.keyring.health(|h| h.is_suspicious())
        {
            self.alarm.notify_one();
        }
    }

    /// The caller's uid, or a local one; control characters have no place in a log line.
    pub fn uid(&self, uid: &str) -> String {
        if uid.is_empty() {
            return format!("local-{:016x}", self.env.entropy.next_u64());
        }
        uid.chars().filter(|c| !c.is_control()).take(64).collect()
    }

    /// A caller waits this long.
    pub fn note_caller_limit(&self, limit: Duration) {
        let now = Instant::now();
        let mut noted = self.caller_limit.lock().expect("no panic while locked");
        if noted.is_none_or(|(most, at)| {
            limit >= most || now.saturating_duration_since(at) > CALLER_LIMIT_MEMORY
        }) {
            *noted = Some((limit, now));
        }
    }

    /// The longest limit that callers have named lately.
    fn caller_limit(&self) -> Duration {
        let noted = *self.caller_limit.lock().expect("no panic while locked");
        let limit = noted.map_or(DEFAULT_CALLER_LIMIT, |(limit, _)| limit);
        limit.clamp(Duration::from_millis(500), Duration::from_secs(60))
    }
}

/// A plugin that can be served.
pub struct Plugin {
    core: Arc<Core>,
}

impl Plugin {
    /// Makes a plugin. Nothing is contacted before [`Plugin::serve`].
    pub fn new(config: Config, env: Env) -> Arc<Self> {
        let client = Arc::new(Client::new(
            &config.vault,
            config.max_in_flight,
            env.clone(),
        ));
        let auth_namespace = config.vault.auth_namespace.clone();
        let tokens = Tokens::new(
            config.auth.clone(),
            auth_namespace,
            client.clone(),
            env.clone(),
        );
        let session = Arc::new(Session::new(client, tokens, env.clone()));
        let keyring = Arc::new(Keyring::new(
            config.place.clone(),
            &config.decrypt_only,
            session.clone(),
            env.clone(),
        ));
        let gate = Arc::new(Gate::new(config.max_in_flight));
        let lane = |op, at| {
            Lane::new(
                op,
                at,
                keyring.clone(),
                gate.clone(),
                config.max_waiting,
                env.clone(),
            )
        };
        let encrypt = lane(VaultOp::Encrypt, 0);
        let decrypt: Vec<_> = (0..keyring.places.len())
            .map(|at| lane(VaultOp::Decrypt, at))
            .collect();
        let lanes = std::iter::once(encrypt.clone())
            .chain(decrypt.iter().cloned())
            .collect();
        let service = Service::new(config.status_version, keyring.clone(), encrypt, decrypt);
        let alarm = Arc::new(Notify::new());
        let core = Core {
            config,
            env,
            service,
            keyring,
            session,
            lanes,
            alarm,
            caller_limit: Mutex::default(),
        };
        Arc::new(Self {
            core: Arc::new(core),
        })
    }

    /// Status as readiness.
    ///
    /// # Errors
    /// The text that Status answers with.
    pub fn readiness(&self) -> Result<(), String> {
        self.core.service.status().map(drop).map_err(|e| e.message)
    }

    /// Reads credential files again at once (SIGHUP).
    pub fn reload(&self) {
        self.core.session.tokens.reload();
        self.core.alarm.notify_one();
    }

    /// Serves every connection of `incoming` until `shutdown` ends; then takes no new connection,
    /// lets calls in flight finish for at most 5 s, revokes an own token within 0.5 s, and returns.
    pub async fn serve<S, IO>(self: Arc<Self>, incoming: S, shutdown: impl Future<Output = ()>)
    where
        S: Stream<Item = io::Result<IO>>,
        IO: Io + 'static,
    {
        let mut background = self.background();
        let mut connections = JoinSet::new();
        let draining = Arc::new(Drain::default());
        {
            let mut incoming = std::pin::pin!(incoming);
            let mut shutdown = std::pin::pin!(shutdown);
            loop {
                tokio::select! {
                    biased;
                    () = shutdown.as_mut() => break,
                    accepted = incoming.next() => match accepted {
                        Some(Ok(io)) => {
                            while connections.try_join_next().is_some() {}
                            let (core, draining) = (self.core.clone(), draining.clone());
                            connections.spawn(async move {
                                grpc::serve_connection(core, io, draining.begun()).await;
                            });
                        }
                        Some(Err(_)) => {}
                        None => break,
                    },
                }
            }
        }
        draining.begin();
        let finish = async { while connections.join_next().await.is_some() {} };
        let in_time = timeout(DRAIN_LIMIT, finish).await.is_ok();
        if !in_time {
            let text = "calls were still in flight 5 s after the stop began; they were cut";
            self.core
                .env
                .observer
                .event(&Event::Notice { warn: true, text });
        }
        connections.shutdown().await;
        self.core.lanes.iter().for_each(|lane| lane.stop());
        background.shutdown().await;
        if self.core.config.revoke_on_exit {
            self.core.session.tokens.revoke().await;
        }
    }

    /// Token keeper, probe and pumps: owned, so that none outlives the plugin.
    fn background(&self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let core = self.core.clone();
        tasks.spawn(async move { core.session.tokens.keep().await });
        let core = self.core.clone();
        tasks.spawn(async move {
            let probe = Probe {
                keyring: core.keyring.clone(),
                session: core.session.clone(),
                env: core.env.clone(),
                alarm: core.alarm.clone(),
            };
            probe.run(|| core.caller_limit()).await;
        });
        for lane in &self.core.lanes {
            tasks.spawn(lane.clone().pump());
        }
        tasks
    }
}

/// Tells every connection that the stop has begun, those that open late included.
#[derive(Default)]
struct Drain {
    begun: std::sync::atomic::AtomicBool,
    changed: Notify,
}

impl Drain {
    fn begin(&self) {
        self.begun.store(true, std::sync::atomic::Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    async fn begun(self: Arc<Self>) {
        let mut changed = std::pin::pin!(self.changed.notified());
        changed.as_mut().enable();
        if !self.begun.load(std::sync::atomic::Ordering::Relaxed) {
            changed.await;
        }
    }
}

//! The plugin as one value: what `serve` runs, and what health endpoints and signals ask of it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};

use crate::config::Config;
use crate::core::Core;
use crate::event::Event;
use crate::grpc;
use crate::probe::Probe;
use crate::seam::{BoxFuture, BoxIo, Env, Io};

/// Calls in flight may take this long at a stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// A plugin that can be served.
pub struct Plugin {
    core: Arc<Core>,
}

impl Plugin {
    /// Makes a plugin. Nothing is contacted before [`Plugin::serve`].
    pub fn new(config: Config, env: Env) -> Arc<Self> {
        Arc::new(Self {
            core: Arc::new(Core::new(config, env)),
        })
    }

    /// Status as readiness.
    ///
    /// # Errors
    /// The text that Status answers with.
    pub fn readiness(&self) -> Result<(), String> {
        self.core
            .service()
            .status()
            .map(drop)
            .map_err(|e| e.message)
    }

    /// Reads credential files again at once (SIGHUP).
    pub fn reload(&self) {
        self.core.session.tokens.reload();
        self.core.alarm.notify_one();
    }

    /// Serves every connection of `incoming` until `shutdown` ends; then takes no new connection,
    /// lets calls in flight finish for at most 5 s, revokes an own token within 0.5 s, and returns.
    pub async fn serve<S, IO>(
        self: Arc<Self>,
        incoming: S,
        shutdown: impl Future<Output = ()> + Send,
    ) where
        S: Stream<Item = io::Result<IO>> + Send,
        IO: Io + 'static,
    {
        // Boxed: what serves them is compiled here, and not in each crate for its kind of stream.
        let incoming = incoming.map(|accepted| accepted.map(|io| Box::new(io) as BoxIo));
        self.serve_boxed(Box::pin(incoming), Box::pin(shutdown))
            .await;
    }

    fn serve_boxed<'a>(
        self: Arc<Self>,
        incoming: Pin<Box<dyn Stream<Item = io::Result<BoxIo>> + Send + 'a>>,
        shutdown: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.serve_until(incoming, shutdown))
    }

    async fn serve_until(
        self: Arc<Self>,
        mut incoming: Pin<Box<dyn Stream<Item = io::Result<BoxIo>> + Send + '_>>,
        mut shutdown: BoxFuture<'_, ()>,
    ) {
        let mut background = self.background();
        let mut connections = JoinSet::new();
        let draining = Arc::new(Drain::default());
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
        drop((incoming, shutdown));
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

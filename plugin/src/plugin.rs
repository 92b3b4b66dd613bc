//! The plugin as one value: what `serve` runs, and what health endpoints and signals ask of it.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio_stream::Stream;

use crate::config::Config;
use crate::seam::{Env, Io};

/// A plugin that can be served.
pub struct Plugin {
    _config: Config,
    _env: Env,
}

impl Plugin {
    /// Makes a plugin. Nothing is contacted before [`Plugin::serve`].
    pub fn new(config: Config, env: Env) -> Arc<Self> {
        Arc::new(Self {
            _config: config,
            _env: env,
        })
    }

    /// Status as readiness: `Err` holds the text that Status answers with.
    pub fn readiness(&self) -> Result<(), String> {
        Err("not started".to_owned())
    }

    /// Reads credential files again at once (SIGHUP).
    pub fn reload(&self) {}

    /// Serves every connection of `incoming` until `shutdown` ends; then takes no new connection,
    /// lets calls in flight finish for at most 5 s, revokes an own token within 0.5 s, and returns.
    pub async fn serve<S, IO>(self: Arc<Self>, incoming: S, shutdown: impl Future<Output = ()>)
    where
        S: Stream<Item = io::Result<IO>>,
        IO: Io + 'static,
    {
        drop(incoming);
        shutdown.await;
    }
}

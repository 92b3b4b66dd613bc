//! The plugin's parts, put together: what every connection and every background task shares.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::batch::{Gate, Lane};
use crate::config::Config;
use crate::event::{Event, VaultOp};
use crate::keyring::Keyring;
use crate::seam::Env;
use crate::service::Service;
use crate::session::Session;
use crate::token::Tokens;
use crate::vault::Client;

/// Limit of a probe's request before any caller has named one: the API server's default.
const DEFAULT_CALLER_LIMIT: Duration = Duration::from_secs(3);
/// A caller's limit is remembered this long.
const CALLER_LIMIT_MEMORY: Duration = Duration::from_secs(600);
/// Streams beyond the waiting places: Status and refusals need some.
const EXTRA_STREAMS: usize = 128;

/// What every connection shares.
pub struct Core {
    pub(crate) config: Config,
    pub(crate) env: Env,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) session: Arc<Session>,
    pub(crate) lanes: Vec<Arc<Lane>>,
    pub(crate) alarm: Arc<Notify>,
    service: Service,
    caller_limit: Mutex<Option<(Duration, Instant)>>,
}

impl Core {
    /// Puts the parts together; nothing is contacted.
    pub fn new(config: Config, env: Env) -> Self {
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
        let keyring = Arc::new(Keyring::new(&config, session.clone(), env.clone()));
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
        Self {
            config,
            env,
            service,
            keyring,
            session,
            lanes,
            alarm,
            caller_limit: Mutex::default(),
        }
    }

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
            ..
        } = event
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
    pub fn caller_limit(&self) -> Duration {
        let noted = *self.caller_limit.lock().expect("no panic while locked");
        let limit = noted.map_or(DEFAULT_CALLER_LIMIT, |(limit, _)| limit);
        limit.clamp(Duration::from_millis(500), Duration::from_secs(60))
    }
}

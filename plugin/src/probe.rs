//! The probe: reads the key, encrypts and decrypts, and so keeps Status true while nobody calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::event::Event;
use crate::fault::Fault;
use crate::keyring::Keyring;
use crate::seam::Env;
use crate::session::Session;

/// Pause between good probes, from and to: three requests each stay below twelve a minute.
const GOOD: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(20));
/// Pause after a bad probe: the first, and the longest.
const BAD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// Longest `Retry-After` that is honoured; longer, and a healed server would show too late.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(15);

/// What the probe works with.
pub struct Probe {
    /// Tables and evidence.
    pub keyring: Arc<Keyring>,
    /// Client and tokens.
    pub session: Arc<Session>,
    /// World.
    pub env: Env,
    /// Rung when live calls fail, or on reload.
    pub alarm: Arc<Notify>,
}

impl Probe {
    /// Probes for ever; `limit` gives the limit of one request. The owner drops it at the end.
    pub async fn run(&self, limit: impl Fn() -> Duration) {
        let mut failures = 0;
        let mut serves = true;
        loop {
            self.end_pause_of_logins(&mut serves, limit()).await;
            let result = self.once(&limit).await;
            let new_credentials = self.session.tokens.look_at_credentials();
            let pause = match &result {
                Ok(()) => {
                    failures = 0;
                    self.between(GOOD.0, GOOD.1)
                }
                Err(fault) => {
                    // What is wrong may be mended by them, so it is looked at soon.
                    failures = if new_credentials { 1 } else { failures + 1 };
                    let grown = (BAD.0 * 2_u32.pow(failures.min(4) - 1)).min(BAD.1);
                    match fault {
                        Fault::Quota {
                            retry_after: Some(after),
                        } => (*after).clamp(grown, MAX_RETRY_AFTER),
                        _ => grown,
                    }
                }
            };
            self.wait(Instant::now() + pause, result.is_ok()).await;
        }
    }

    /// Until `next`; after a good probe a failing live call brings the next one forward.
    async fn wait(&self, next: Instant, was_good: bool) {
        if was_good && timeout_at(next, self.alarm.notified()).await.is_ok() {
            sleep_until(next.min(Instant::now() + BAD.0)).await;
        } else {
            sleep_until(next).await;
        }
    }

    fn between(&self, from: Duration, to: Duration) -> Duration {
        let span = (to - from).as_millis() as u64;
        from + Duration::from_millis(self.env.entropy.next_u64() % (span + 1))
    }

    /// Logins that a dead server refused are paused for up to a minute. When it serves again they
    /// need not wait: a healed server shows within KMS2-AVAIL-01's time. A server that serves and
    /// refuses logins all the same gains nothing by this.
    async fn end_pause_of_logins(&self, serves: &mut bool, limit: Duration) {
        let tokens = &self.session.tokens;
        if !tokens.waits_for_server() {
            return;
        }
        let before = std::mem::replace(
            serves,
            self.session.client.serves(Instant::now() + limit).await,
        );
        if *serves && !before {
            tokens.server_is_back();
        }
    }

    /// One probe: at its first fault it ends, so that an outage costs one request.
    async fn once(&self, limit: &impl Fn() -> Duration) -> Result<(), Fault> {
        let keyring = &self.keyring;
        let taken_before = keyring.version();
        keyring.refresh(0, Instant::now() + limit()).await?;
        let version = keyring
            .version()
            .ok_or_else(|| Fault::HeldBack("no version is in use".to_owned()))?;
        // A version just taken up has had its round trip.
        if taken_before.as_ref() == Some(&version) {
            keyring
                .round_trip(&version, Instant::now() + limit())
                .await?;
        }
        let before = keyring.health(|h| h.status());
        keyring.health(|h| h.probe_good());
        keyring.tell_change(before);
        self.session.tokens.all_good();
        self.former_places(limit).await;
        Ok(())
    }

    /// Documents of former places are read once; later only when a version is missing.
    async fn former_places(&self, limit: &impl Fn() -> Duration) {
        for (at, place) in self.keyring.places.iter().enumerate().skip(1) {
            if !place.with(|t| t.is_empty()) {
                continue;
            }
            let result = self.keyring.refresh(at, Instant::now() + limit()).await;
            let detail = result
                .as_ref()
                .err()
                .map(ToString::to_string)
                .unwrap_or_default();
            self.env.observer.event(&Event::FormerPlace {
                index: at - 1,
                ok: result.is_ok(),
                detail: &detail,
            });
        }
    }
}

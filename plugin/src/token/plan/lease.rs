//! What the token in use was granted, and when it is renewed or replaced.

use std::time::Duration;

use tokio::time::Instant;

use super::Grant;
use super::pauses::stretch;

/// Renewal is tried again until this share of the lease is left; then a login takes over.
const LAST_SHARE: u32 = 10;

/// What the lease asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Renew,
    Login,
}

/// The token in use, without the token.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) generation: u64,
    /// When the login gave it.
    pub(super) since: Instant,
    grant: Grant,
    pub(super) expires: Option<Instant>,
    pub(super) next: Option<(Next, Instant)>,
    /// Some use accepted it.
    pub(super) accepted: bool,
    renewals_failed: u32,
}

impl Held {
    /// Nothing is planned for it yet.
    pub(super) fn new(generation: u64, since: Instant, grant: Grant) -> Self {
        Self {
            generation,
            since,
            grant,
            expires: None,
            next: None,
            accepted: false,
            renewals_failed: 0,
        }
    }

    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.expires.is_none_or(|e| now < e)
    }

    /// Plans for `ttl` from now on.
    pub(super) fn schedule(&mut self, now: Instant, ttl: Duration, may_renew: bool, jitter: u64) {
        if ttl.is_zero() {
            (self.expires, self.next) = (None, None);
            return;
        }
        self.expires = Some(now + ttl);
        let kind = if may_renew && self.grant.renewable {
            Next::Renew
        } else {
            Next::Login
        };
        // Half to two thirds of what the server gave.
        self.next = Some((kind, now + stretch(ttl, jitter, 50, 66)));
    }

    pub(super) fn renewed(&mut self, now: Instant, ttl: Duration, jitter: u64) {
        // The server rounds to whole seconds.
        let at_cliff = ttl + Duration::from_secs(1) < self.grant.ttl || ttl.is_zero();
        self.renewals_failed = 0;
        self.schedule(now, ttl.max(Duration::from_secs(1)), !at_cliff, jitter);
    }

    pub(super) fn renewal_refused(&mut self, now: Instant, jitter: u64) {
        let left = self
            .expires
            .map_or(Duration::ZERO, |e| e.saturating_duration_since(now));
        self.next = Some((Next::Login, now + stretch(left, jitter, 20, 40)));
    }

    pub(super) fn renewal_failed(&mut self, now: Instant, jitter: u64) {
        let left = self
            .expires
            .map_or(Duration::MAX, |e| e.saturating_duration_since(now));
        let pause = stretch(
            Duration::from_secs(1 << self.renewals_failed.min(6)).min(left / 4),
            jitter,
            80,
            120,
        );
        self.renewals_failed += 1;
        let kind = if left < self.grant.ttl / LAST_SHARE {
            Next::Login
        } else {
            Next::Renew
        };
        self.next = Some((kind, now + pause));
    }
}

//! When a provider is checked by itself: a ticker of 60 s, and loops of 10 s after failures
//! (KMS2-STATUS-09, KMS2-STATUS-10).

use std::time::Duration;

use super::check::{Checker, Origin};
use super::{Cx, Provider};
use crate::seam::Now;

/// Between polls of a healthy plugin.
pub const POLL: Duration = Duration::from_secs(60);
/// Between polls of an unhealthy plugin.
pub const FAST_POLL: Duration = Duration::from_secs(10);

/// The loops of one provider.
#[derive(Default)]
pub(super) struct Loops {
    /// From the end of the inline check, for ever.
    main: Option<Ticker>,
    /// Inside the main loop, after a failed check, until a good one.
    nested: Option<Ticker>,
    /// From the end of an inline check that failed, until a good one.
    first: Option<Ticker>,
}

/// A fixed ticker whose ticks are lost while its reader is busy.
#[derive(Clone, Copy)]
struct Ticker {
    next: Duration,
    period: Duration,
    busy: bool,
}

impl Ticker {
    fn from(now: Now, period: Duration) -> Option<Self> {
        Some(Ticker {
            next: now.mono + period,
            period,
            busy: false,
        })
    }

    /// Lets the ticks up to now pass; whether the reader takes one up.
    fn tick(&mut self, now: Now) -> bool {
        let mut ticked = false;
        while self.next <= now.mono {
            self.next += self.period;
            ticked = true;
        }
        let taken = ticked && !self.busy;
        self.busy |= taken;
        taken
    }
}

impl Loops {
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        [&self.main, &self.nested, &self.first]
            .into_iter()
            .flatten()
            .map(|ticker| ticker.next)
            .min()
    }

    /// Ends all loops: their context is over.
    pub(super) fn stop(&mut self) {
        (self.main, self.nested, self.first) = (None, None, None);
    }

    /// The inline check is over: the main loop begins, and a fast one if it failed.
    pub(super) fn begin(&mut self, failed: bool, now: Now) {
        self.main = Ticker::from(now, POLL);
        if failed {
            self.first = Ticker::from(now, FAST_POLL);
        }
    }

    /// A check that a loop asked for is over.
    pub(super) fn checked(&mut self, origin: Origin, failed: bool, now: Now) {
        match origin {
            Origin::Main if failed => {
                // The main loop is gone meanwhile if the provider was closed.
                self.nested = self.main.and_then(|_| Ticker::from(now, FAST_POLL));
            }
            Origin::Main => self.main_is_free(),
            Origin::Nested if !failed => {
                self.nested = None;
                self.main_is_free();
            }
            Origin::Nested => free(&mut self.nested),
            Origin::First if !failed => self.first = None,
            Origin::First => free(&mut self.first),
            Origin::Inline | Origin::Probe(_) => {}
        }
    }

    fn main_is_free(&mut self) {
        free(&mut self.main);
    }
}

fn free(ticker: &mut Option<Ticker>) {
    if let Some(ticker) = ticker {
        ticker.busy = false;
    }
}

impl Provider {
    pub(super) fn poll_loops(&mut self, cx: &mut Cx<'_>) {
        let loops = &mut self.loops;
        let due: Vec<Origin> = [
            (Origin::Main, &mut loops.main),
            (Origin::First, &mut loops.first),
            (Origin::Nested, &mut loops.nested),
        ]
        .into_iter()
        .filter_map(|(origin, ticker)| ticker.as_mut()?.tick(cx.now).then_some(origin))
        .collect();
        for origin in due {
            self.check(Checker::of_loop(origin), cx);
        }
    }
}

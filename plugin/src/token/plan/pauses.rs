//! What holds logins back: each reason has pauses of its own.

use std::time::Duration;

use tokio::time::Instant;

use super::LoginFailure;

/// Pause after a login that an unreachable or failing server refused.
const UNREACHABLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Pause after a login that gave no token for a reason that only a person can mend: no lease is
/// left behind, so the server is asked at least each minute.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Pause between logins that do not help: their tokens are refused, or allowed nothing, and leave
/// leases behind.
const UNHELPFUL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// Pause after a refused credential: five refusals lock the user or role for every node.
const REJECTED: Duration = Duration::from_secs(15 * 60);
/// Pauses after the first refusals of a credential that is new: its file may be there before Vault
/// knows of it. With that of its predecessor they are four, so no node locks a role by itself.
const REJECTED_NEW: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(120)];

/// `d` times a factor between `from` and `to` hundredths, by jitter.
pub(super) fn stretch(d: Duration, jitter: u64, from: u64, to: u64) -> Duration {
    let factor = from * 1000 + jitter % ((to - from) * 1000 + 1);
    Duration::from_nanos((d.as_nanos() * u128::from(factor) / 100_000) as u64)
}

/// A pause that doubles from `first` to `most`, with jitter.
#[derive(Debug)]
pub(super) struct Backoff {
    range: (Duration, Duration),
    failures: u32,
    /// When it ends.
    pub(super) until: Option<Instant>,
}

impl Backoff {
    fn new(range: (Duration, Duration)) -> Self {
        Self {
            range,
            failures: 0,
            until: None,
        }
    }

    /// Begins the next pause at `now`.
    pub(super) fn fail(&mut self, now: Instant, jitter: u64) {
        let (first, most) = self.range;
        let pause = first.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures += 1;
        self.until = Some(now + stretch(pause, jitter, 80, 120));
    }

    /// Ends the pause, and the growth of the next ones.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.range);
    }
}

/// Refusals of the credential itself.
#[derive(Debug, Default)]
struct Rejected {
    until: Option<Instant>,
    /// Refusals that may still be followed by a short pause.
    short: usize,
}

impl Rejected {
    fn fail(&mut self, now: Instant, jitter: u64) {
        let pause = match self.short.checked_sub(1) {
            Some(left) => {
                self.short = left;
                REJECTED_NEW[REJECTED_NEW.len() - 1 - left]
            }
            None => REJECTED,
        };
        self.until = Some(now + stretch(pause, jitter, 100, 120));
    }
}

/// All pauses of logins.
#[derive(Debug)]
pub(super) struct Pauses {
    unreachable: Backoff,
    refused: Backoff,
    unhelpful: Backoff,
    rejected: Rejected,
    /// Of logins for a token that lives and is allowed too little.
    pub(super) denied: Backoff,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            unreachable: Backoff::new(UNREACHABLE),
            refused: Backoff::new(REFUSED),
            unhelpful: Backoff::new(UNHELPFUL),
            rejected: Rejected::default(),
            denied: Backoff::new(UNHELPFUL),
        }
    }
}

impl Pauses {
    /// Earliest time of the next login.
    pub(super) fn not_before(&self) -> Option<Instant> {
        [
            self.unreachable.until,
            self.refused.until,
            self.unhelpful.until,
            self.rejected.until,
        ]
        .into_iter()
        .flatten()
        .max()
    }

    /// A login gave no token.
    pub(super) fn login_failed(&mut self, now: Instant, why: LoginFailure, jitter: u64) {
        match why {
            LoginFailure::Unreachable => self.unreachable.fail(now, jitter),
            LoginFailure::Refused => self.refused.fail(now, jitter),
            LoginFailure::Rejected => self.rejected.fail(now, jitter),
        }
    }

    /// A login gave a token.
    pub(super) fn logged_in(&mut self) {
        self.unreachable.reset();
        self.refused.reset();
        self.rejected = Rejected::default();
    }

    /// No use ever accepted the token of a login.
    pub(super) fn did_not_help(&mut self, now: Instant, jitter: u64) {
        self.unhelpful.fail(now, jitter);
    }

    /// A use accepted the token.
    pub(super) fn helped(&mut self) {
        self.unhelpful.reset();
    }

    /// The server serves again.
    pub(super) fn server_back(&mut self) {
        self.unreachable.reset();
    }

    /// Somebody asked to log in again at once.
    pub(super) fn end(&mut self) {
        let short = self.rejected.short;
        *self = Self::default();
        self.rejected.short = short;
    }

    /// The credential is another one than before.
    pub(super) fn credential_changed(&mut self) {
        *self = Self::default();
        self.rejected.short = REJECTED_NEW.len();
    }
}

//! When to log in, renew or wait: a pure plan, fed with what happened.
//!
//! It holds times and counters, no secret, does no I/O and reads no clock. Which request a login
//! is, and what a static token's file says, is the keeper's business ([`super`]).
//!
//! In reading order: this file, `lease` (what the token in use was granted, and when it is renewed),
//! `pauses` (what holds logins back).

mod lease;
mod pauses;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use lease::{Held, Next};
use pauses::Pauses;

/// What the server granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Time to live; zero means for ever.
    pub ttl: Duration,
    /// Whether renewal makes sense: renewable and not a batch token.
    pub renewable: bool,
}

/// Why a login gave no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// Nobody answered, or a server that cannot serve.
    Unreachable,
    /// The credential itself was refused.
    Rejected,
    /// Refused for another reason that only a person can mend: lockout, mount, namespace, file.
    Refused,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Log in (or read the static token) now.
    Login,
    /// Renew the token now.
    Renew,
    /// Nothing before this time, unless something happens.
    Wait(Option<Instant>),
}

/// The plan of one plugin's token.
#[derive(Debug, Default)]
pub struct Plan {
    held: Option<Held>,
    generations: u64,
    /// When a login is due although the token lives: it is allowed too little.
    wanted: Option<Instant>,
    renewal_refused: bool,
    pauses: Pauses,
    last_failure: Option<LoginFailure>,
}

impl Plan {
    /// What to do now.
    pub fn next(&self, now: Instant) -> Action {
        let login_at = match self.held.as_ref().filter(|held| held.is_alive(now)) {
            Some(held) => match held.next {
                _ if self.wanted.is_some() => self.wanted,
                Some((Next::Login, at)) => Some(at),
                Some((Next::Renew, at)) if at <= now => return Action::Renew,
                Some((Next::Renew, at)) => return Action::Wait(Some(at)),
                None => return Action::Wait(None),
            },
            None => Some(now),
        };
        match login_at.map(|at| self.pauses.not_before().map_or(at, |n| n.max(at))) {
            Some(at) if at <= now => Action::Login,
            at => Action::Wait(at),
        }
    }

    /// The generation of the token that may be used now.
    pub fn usable(&self, now: Instant) -> Option<u64> {
        self.held
            .as_ref()
            .filter(|held| held.is_alive(now))
            .map(|held| held.generation)
    }

    /// When the token in use ends.
    pub fn expires(&self) -> Option<Instant> {
        self.held.as_ref().and_then(|held| held.expires)
    }

    /// With no usable token: when the next login is due and why not now. `None` when one is due or
    /// under way.
    pub fn held_back(&self, now: Instant) -> Option<(Instant, LoginFailure)> {
        let at = self.pauses.not_before().filter(|at| *at > now)?;
        Some((at, self.last_failure.unwrap_or(LoginFailure::Refused)))
    }

    /// A login gave a token. Returns its generation.
    pub fn on_login(&mut self, now: Instant, grant: Grant, jitter: u64) -> u64 {
        self.generations += 1;
        self.wanted = None;
        self.pauses.logged_in();
        let mut held = Held::new(self.generations, now, grant);
        held.schedule(now, grant.ttl, !self.renewal_refused, jitter);
        self.held = Some(held);
        self.generations
    }

    /// A login gave none.
    pub fn on_login_failed(&mut self, now: Instant, why: LoginFailure, jitter: u64) {
        self.last_failure = Some(why);
        self.pauses.login_failed(now, why, jitter);
    }

    /// A renewal was answered with a new time to live. A lease that does not grow is at its cliff.
    pub fn on_renewed(&mut self, now: Instant, ttl: Duration, jitter: u64) {
        if let Some(held) = &mut self.held {
            held.renewed(now, ttl, jitter);
        }
    }

    /// Renewal is not allowed for this kind of token: a login before the end instead.
    pub fn on_renewal_refused(&mut self, now: Instant, jitter: u64) {
        self.renewal_refused = true;
        if let Some(held) = &mut self.held {
            held.renewal_refused(now, jitter);
        }
    }

    /// Nobody answered a renewal, or a failing server: again later, and near the end a login.
    pub fn on_renewal_failed(&mut self, now: Instant, jitter: u64) {
        if let Some(held) = &mut self.held {
            held.renewal_failed(now, jitter);
        }
    }

    /// The server does not accept this token.
    pub fn on_refused(&mut self, generation: u64, jitter: u64) {
        let Some(held) = self.held.take_if(|h| h.generation == generation) else {
            return;
        };
        if !held.accepted {
            self.last_failure = Some(LoginFailure::Refused);
            // counted from its login: one that is revoked before its first use is replaced at once
            self.pauses.did_not_help(held.since, jitter);
        }
    }

    /// The server accepted this token.
    pub fn on_accepted(&mut self, generation: u64) {
        if let Some(held) = self
            .held
            .as_mut()
            .filter(|h| h.generation == generation && !h.accepted)
        {
            held.accepted = true;
            self.pauses.helped();
        }
    }

    /// The token lives, but a policy denied it something: a token keeps the policies of its login.
    pub fn on_denied(&mut self, now: Instant, generation: u64, jitter: u64) {
        if self.wanted.is_some()
            || self
                .held
                .as_ref()
                .is_none_or(|h| h.generation != generation)
        {
            return;
        }
        let denied = &mut self.pauses.denied;
        let due = denied.until.map_or(now, |until| until.max(now));
        self.wanted = Some(due);
        denied.fail(due, jitter);
    }

    /// A whole probe was good: nothing is missing any more.
    pub fn on_all_good(&mut self) {
        self.wanted = None;
        self.pauses.denied.reset();
    }

    /// The server serves again.
    pub fn on_server_back(&mut self) {
        self.pauses.server_back();
    }

    /// The credential changed: it is tried at once, and soon again if it is refused.
    pub fn on_credential_changed(&mut self) {
        self.pauses.credential_changed();
    }

    /// Somebody asked to try again at once, with whatever credential there is.
    pub fn on_asked(&mut self) {
        self.pauses.end();
    }
}

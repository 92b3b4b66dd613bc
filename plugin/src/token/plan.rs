//! When to log in, renew or wait: a pure plan, fed with what happened.
//!
//! It holds times and counters, no secret, does no I/O and reads no clock. Which request a login
//! is, and what a static token's file says, is the keeper's business ([`super`]).

use std::time::Duration;

use tokio::time::Instant;

/// Pause after a login that an unreachable or failing server refused.
const UNREACHABLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Pause between logins that do not help: their tokens are refused, or allowed nothing.
const UNHELPFUL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// Pause after a refused credential: five refusals lock the user or role for every node.
const REJECTED: Duration = Duration::from_secs(15 * 60);
/// Renewal is tried again until this share of the lease is left; then a login takes over.
const LAST_SHARE: u32 = 10;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Renew,
    Login,
}

#[derive(Debug)]
struct Held {
    generation: u64,
    grant: Grant,
    expires: Option<Instant>,
    next: Option<(Next, Instant)>,
    accepted: bool,
    renewals_failed: u32,
}

/// A pause that doubles from `first` to `most`, with jitter.
#[derive(Debug)]
struct Backoff {
    range: (Duration, Duration),
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    fn new(range: (Duration, Duration)) -> Self {
        Self {
            range,
            failures: 0,
            until: None,
        }
    }

    fn fail(&mut self, now: Instant, jitter: u64) {
        let (first, most) = self.range;
        let pause = first.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures += 1;
        self.until = Some(now + stretch(pause, jitter, 80, 120));
    }

    fn reset(&mut self) {
        *self = Self::new(self.range);
    }
}

/// `d` times a factor between `from` and `to` hundredths, by jitter.
fn stretch(d: Duration, jitter: u64, from: u64, to: u64) -> Duration {
    let factor = from * 1000 + jitter % ((to - from) * 1000 + 1);
    Duration::from_nanos((d.as_nanos() * u128::from(factor) / 100_000) as u64)
}

/// The plan of one plugin's token.
#[derive(Debug)]
pub struct Plan {
    held: Option<Held>,
    generations: u64,
    /// When a login is due although the token lives: it is allowed too little.
    wanted: Option<Instant>,
    renewal_refused: bool,
    unreachable: Backoff,
    unhelpful: Backoff,
    denied: Backoff,
    rejected_until: Option<Instant>,
    last_failure: Option<LoginFailure>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            held: None,
            generations: 0,
            wanted: None,
            renewal_refused: false,
            unreachable: Backoff::new(UNREACHABLE),
            unhelpful: Backoff::new(UNHELPFUL),
            denied: Backoff::new(UNHELPFUL),
            rejected_until: None,
            last_failure: None,
        }
    }
}

impl Plan {
    /// What to do now.
    pub fn next(&self, now: Instant) -> Action {
        let alive = self.alive(now);
        let login_at = match (&self.held, alive) {
            (Some(held), true) => match held.next {
                _ if self.wanted.is_some() => self.wanted,
                Some((Next::Login, at)) => Some(at),
                Some((Next::Renew, at)) if at <= now => return Action::Renew,
                Some((Next::Renew, at)) => return Action::Wait(Some(at)),
                None => return Action::Wait(None),
            },
            _ => Some(now),
        };
        match login_at.map(|at| self.not_before().map_or(at, |n| n.max(at))) {
            Some(at) if at <= now => Action::Login,
            at => Action::Wait(at),
        }
    }

    /// Earliest time of the next login by the pauses in force.
    fn not_before(&self) -> Option<Instant> {
        [
            self.unreachable.until,
            self.unhelpful.until,
            self.rejected_until,
        ]
        .into_iter()
        .flatten()
        .max()
    }

    fn alive(&self, now: Instant) -> bool {
        self.held
            .as_ref()
            .is_some_and(|h| h.expires.is_none_or(|e| now < e))
    }

    /// The generation of the token that may be used now.
    pub fn usable(&self, now: Instant) -> Option<u64> {
        self.held
            .as_ref()
            .filter(|_| self.alive(now))
            .map(|h| h.generation)
    }

    /// When the token in use ends.
    pub fn expires(&self) -> Option<Instant> {
        self.held.as_ref().and_then(|h| h.expires)
    }

    /// With no usable token: when the next login is due and why not now. `None` when one is due or
    /// under way.
    pub fn held_back(&self, now: Instant) -> Option<(Instant, LoginFailure)> {
        let at = self.not_before().filter(|at| *at > now)?;
        Some((at, self.last_failure.unwrap_or(LoginFailure::Refused)))
    }

    /// A login gave a token. Returns its generation.
    pub fn on_login(&mut self, now: Instant, grant: Grant, jitter: u64) -> u64 {
        self.generations += 1;
        self.wanted = None;
        self.unreachable.reset();
        let mut held = Held {
            generation: self.generations,
            grant,
            expires: None,
            next: None,
            accepted: false,
            renewals_failed: 0,
        };
        held.schedule(now, grant.ttl, !self.renewal_refused, jitter);
        self.held = Some(held);
        self.generations
    }

    /// A login gave none.
    pub fn on_login_failed(&mut self, now: Instant, why: LoginFailure, jitter: u64) {
        self.last_failure = Some(why);
        match why {
            LoginFailure::Unreachable => self.unreachable.fail(now, jitter),
            LoginFailure::Refused => self.unhelpful.fail(now, jitter),
            LoginFailure::Rejected => {
                self.rejected_until = Some(now + stretch(REJECTED, jitter, 100, 120));
            }
        }
    }

    /// A renewal was answered with a new time to live. A lease that does not grow is at its cliff.
    pub fn on_renewed(&mut self, now: Instant, ttl: Duration, jitter: u64) {
        let Some(held) = &mut self.held else { return };
        let full = held.grant.ttl;
        // The server rounds to whole seconds.
        let at_cliff = ttl + Duration::from_secs(1) < full || ttl.is_zero();
        held.renewals_failed = 0;
        held.schedule(now, ttl.max(Duration::from_secs(1)), !at_cliff, jitter);
    }

    /// Renewal is not allowed for this kind of token: a login before the end instead.
    pub fn on_renewal_refused(&mut self, now: Instant, jitter: u64) {
        self.renewal_refused = true;
        if let Some(held) = &mut self.held {
            let left = held
                .expires
                .map_or(Duration::ZERO, |e| e.saturating_duration_since(now));
            held.next = Some((Next::Login, now + stretch(left, jitter, 20, 40)));
        }
    }

    /// Nobody answered a renewal, or a failing server: again later, and near the end a login.
    pub fn on_renewal_failed(&mut self, now: Instant, jitter: u64) {
        let Some(held) = &mut self.held else { return };
        let left = held
            .expires
            .map_or(Duration::MAX, |e| e.saturating_duration_since(now));
        let pause = stretch(
            Duration::from_secs(1 << held.renewals_failed.min(6)).min(left / 4),
            jitter,
            80,
            120,
        );
        held.renewals_failed += 1;
        let kind = if left < held.grant.ttl / LAST_SHARE {
            Next::Login
        } else {
            Next::Renew
        };
        held.next = Some((kind, now + pause));
    }

    /// The server does not accept this token.
    pub fn on_refused(&mut self, now: Instant, generation: u64, jitter: u64) {
        let Some(held) = self.held.take_if(|h| h.generation == generation) else {
            return;
        };
        if !held.accepted {
            self.last_failure = Some(LoginFailure::Refused);
            self.unhelpful.fail(now, jitter);
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
            self.unhelpful.reset();
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
        let due = self.denied.until.map_or(now, |until| until.max(now));
        self.wanted = Some(due);
        self.denied.fail(due, jitter);
    }

    /// A whole probe was good: nothing is missing any more.
    pub fn on_all_good(&mut self) {
        self.wanted = None;
        self.denied.reset();
    }

    /// The server serves again.
    pub fn on_server_back(&mut self) {
        self.unreachable.reset();
    }

    /// The credential changed, or somebody asked to read it again.
    pub fn on_credential_changed(&mut self) {
        self.rejected_until = None;
        self.unhelpful.reset();
        self.unreachable.reset();
        self.denied.reset();
    }
}

impl Held {
    fn schedule(&mut self, now: Instant, ttl: Duration, may_renew: bool, jitter: u64) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const JITTER: u64 = 0;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn renewable(ttl: u64) -> Grant {
        Grant {
            ttl: secs(ttl),
            renewable: true,
        }
    }

    #[test]
    fn renews_at_half_to_two_thirds_whatever_the_jitter() {
        let now = Instant::now();
        for jitter in [0, 1, 7_777, u64::MAX] {
            let mut plan = Plan::default();
            plan.on_login(now, renewable(60), jitter);
            let Action::Wait(Some(at)) = plan.next(now) else {
                panic!("waits first")
            };
            let share = (at - now).as_secs_f64() / 60.0;
            assert!((0.5..=0.667).contains(&share), "{share}");
            assert_eq!(plan.next(at), Action::Renew);
        }
    }

    #[test]
    fn bug_002_a_renewal_that_does_not_extend_is_the_cliff() {
        let now = Instant::now();
        let mut plan = Plan::default();
        plan.on_login(now, renewable(60), JITTER);
        plan.on_renewed(now + secs(105), secs(45), JITTER);
        let Action::Wait(Some(at)) = plan.next(now + secs(105)) else {
            panic!("waits")
        };
        assert!(at < now + secs(150));
        assert_eq!(plan.next(at), Action::Login);
    }

    #[test]
    fn bug_007_a_batch_token_is_never_renewed() {
        let now = Instant::now();
        let mut plan = Plan::default();
        plan.on_login(
            now,
            Grant {
                ttl: secs(120),
                renewable: false,
            },
            JITTER,
        );
        assert_eq!(plan.next(now + secs(60)), Action::Login);
        assert_eq!(plan.next(now + secs(130)), Action::Login);
    }

    #[test]
    fn logins_refused_by_a_failing_server_are_held_back_from_one_to_sixty_seconds() {
        let now = Instant::now();
        let mut plan = Plan::default();
        let mut at = now;
        let mut attempts = 0;
        while at < now + secs(300) {
            assert_eq!(plan.next(at), Action::Login);
            plan.on_login_failed(at, LoginFailure::Unreachable, JITTER);
            attempts += 1;
            let Action::Wait(Some(next)) = plan.next(at) else {
                panic!("held back")
            };
            assert!(next - at <= secs(72));
            at = next;
        }
        assert!(attempts <= 20, "{attempts}");
    }

    #[test]
    fn a_refused_credential_waits_a_quarter_of_an_hour_unless_it_changes() {
        let now = Instant::now();
        let mut plan = Plan::default();
        plan.on_login_failed(now, LoginFailure::Rejected, JITTER);
        let Action::Wait(Some(at)) = plan.next(now) else {
            panic!("held back")
        };
        assert!(at - now >= secs(900));
        plan.on_credential_changed();
        assert_eq!(plan.next(now), Action::Login);
    }

    #[test]
    fn a_token_that_was_never_accepted_does_not_cause_a_login_at_once() {
        let now = Instant::now();
        let mut plan = Plan::default();
        let mut at = now;
        let mut logins = 0;
        while at < now + secs(3600) {
            let generation = plan.on_login(at, renewable(3600), JITTER);
            logins += 1;
            plan.on_refused(at, generation, JITTER);
            let Action::Wait(Some(next)) = plan.next(at) else {
                panic!("held back")
            };
            at = next;
        }
        assert!(logins <= 25, "leases would pile up: {logins} in an hour");
    }

    #[test]
    fn a_dead_token_that_worked_causes_one_login_at_once() {
        let now = Instant::now();
        let mut plan = Plan::default();
        let generation = plan.on_login(now, renewable(3600), JITTER);
        plan.on_accepted(generation);
        plan.on_refused(now + secs(5), generation, JITTER);
        assert_eq!(plan.usable(now + secs(5)), None);
        assert_eq!(plan.next(now + secs(5)), Action::Login);
        let newer = plan.on_login(now + secs(5), renewable(3600), JITTER);
        plan.on_refused(now + secs(6), generation, JITTER);
        assert_eq!(
            plan.usable(now + secs(6)),
            Some(newer),
            "a late refusal of the old one changes nothing"
        );
    }

    #[test]
    fn bug_016_a_denied_live_token_logs_in_with_growing_pauses() {
        let now = Instant::now();
        let mut plan = Plan::default();
        let mut generation = plan.on_login(now, renewable(3600), JITTER);
        let mut at = now;
        let mut logins = 0;
        while at < now + secs(600) {
            plan.on_denied(at, generation, JITTER);
            match plan.next(at) {
                Action::Login => {
                    generation = plan.on_login(at, renewable(3600), JITTER);
                    logins += 1;
                }
                Action::Wait(Some(next)) => at = next.min(at + secs(1)),
                other => panic!("{other:?}"),
            }
        }
        assert!((2..=9).contains(&logins), "{logins}");
    }

    #[test]
    fn bug_006_renewal_that_nobody_answers_keeps_the_token() {
        let now = Instant::now();
        let mut plan = Plan::default();
        plan.on_login(now, renewable(3600), JITTER);
        let mut at = now + secs(1800);
        while at < now + secs(1890) {
            match plan.next(at) {
                Action::Renew => plan.on_renewal_failed(at, JITTER),
                Action::Wait(Some(next)) => at = next,
                other => panic!("no login in an outage with half the lease left: {other:?}"),
            }
        }
        assert!(plan.usable(at).is_some());
    }

    /// The time until the next login or renewal.
    fn wait(plan: &Plan, now: Instant) -> Duration {
        match plan.next(now) {
            Action::Wait(Some(at)) => at - now,
            other => panic!("{other:?} instead of a pause"),
        }
    }

    #[test]
    fn a_token_is_used_up_to_its_end_and_not_after() {
        let now = Instant::now();
        let mut plan = Plan::default();
        let generation = plan.on_login(now, renewable(60), JITTER);
        let end = now + secs(60);
        assert_eq!(plan.usable(end - Duration::from_nanos(1)), Some(generation));
        assert_eq!(plan.usable(end), None);
        assert_eq!(plan.next(end), Action::Login);
    }

    #[test]
    fn logins_are_held_back_until_the_pause_is_over() {
        let now = Instant::now();
        let mut plan = Plan::default();
        plan.on_login_failed(now, LoginFailure::Unreachable, JITTER);
        let pause = wait(&plan, now);
        let held = Some((now + pause, LoginFailure::Unreachable));
        assert_eq!(plan.held_back(now), held);
        assert_eq!(plan.held_back(now + pause), None);
    }

    #[test]
    fn a_login_ends_the_growth_of_the_pauses() {
        let now = Instant::now();
        let mut plan = Plan::default();
        for _ in 0..5 {
            plan.on_login_failed(now, LoginFailure::Unreachable, JITTER);
        }
        assert!(wait(&plan, now) > secs(10));
        let later = now + secs(100);
        plan.on_login(later, renewable(60), JITTER);
        plan.on_login_failed(later + secs(60), LoginFailure::Unreachable, JITTER);
        assert!(wait(&plan, later + secs(60)) < secs(2));
    }

    #[test]
    fn bug_002_a_lease_of_nothing_is_no_lease_for_ever() {
        let now = Instant::now();
        for full in [1, 60] {
            let mut plan = Plan::default();
            plan.on_login(now, renewable(full), JITTER);
            plan.on_renewed(now, Duration::ZERO, JITTER);
            assert!(plan.expires() <= Some(now + secs(1)));
            assert_eq!(plan.next(now + wait(&plan, now)), Action::Login, "{full} s");
        }
    }

    #[test]
    fn failed_renewals_are_repeated_in_growing_pauses_and_begin_anew() {
        let now = Instant::now();
        let mut plan = Plan::default();
        plan.on_login(now, renewable(3600), JITTER);
        let mut last = Duration::ZERO;
        for most in [2, 3, 5, 10] {
            plan.on_renewal_failed(now, JITTER);
            let pause = wait(&plan, now);
            assert!(pause > last && pause <= secs(most), "{pause:?}");
            last = pause;
        }
        plan.on_renewed(now, secs(3600), JITTER);
        plan.on_renewal_failed(now, JITTER);
        assert!(wait(&plan, now) < secs(2));
    }

    #[test]
    fn a_use_that_is_accepted_ends_the_pauses_of_logins_that_did_not_help() {
        let now = Instant::now();
        let mut plan = Plan::default();
        for _ in 0..4 {
            let unused = plan.on_login(now, renewable(3600), JITTER);
            plan.on_refused(now, unused, JITTER);
        }
        assert!(wait(&plan, now) > secs(20));
        let later = now + secs(60);
        let used = plan.on_login(later, renewable(3600), JITTER);
        plan.on_accepted(used);
        plan.on_refused(later, used, JITTER);
        let unused = plan.on_login(later, renewable(3600), JITTER);
        plan.on_refused(later, unused, JITTER);
        assert!(wait(&plan, later) < secs(7));
    }

    #[test]
    fn bug_016_only_the_token_in_use_is_replaced_for_what_it_is_denied() {
        let now = Instant::now();
        let mut plan = Plan::default();
        let old = plan.on_login(now, renewable(3600), JITTER);
        let current = plan.on_login(now, renewable(3600), JITTER);
        plan.on_denied(now, old, JITTER);
        assert!(wait(&plan, now) > secs(60), "a late answer to the old one");
        plan.on_denied(now, current, JITTER);
        assert_eq!(plan.next(now), Action::Login);
        plan.on_all_good();
        assert!(wait(&plan, now) > secs(60), "nothing is missing any more");
        plan.on_denied(now, current, JITTER);
        assert_eq!(plan.next(now), Action::Login, "and the pauses begin anew");
    }

    #[test]
    fn a_changed_credential_ends_every_pause() {
        let now = Instant::now();
        for why in [
            LoginFailure::Unreachable,
            LoginFailure::Refused,
            LoginFailure::Rejected,
        ] {
            let mut plan = Plan::default();
            plan.on_login_failed(now, why, JITTER);
            assert!(plan.held_back(now).is_some(), "{why:?}");
            plan.on_credential_changed();
            assert_eq!(plan.next(now), Action::Login, "{why:?}");
        }
        let mut plan = Plan::default();
        let denied = plan.on_login(now, renewable(3600), JITTER);
        plan.on_denied(now, denied, JITTER);
        plan.on_credential_changed();
        let denied = plan.on_login(now, renewable(3600), JITTER);
        plan.on_denied(now, denied, JITTER);
        assert_eq!(plan.next(now), Action::Login, "the first of a new series");
    }
}

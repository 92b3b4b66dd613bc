//! The plan, told what happens: each rule of logins, renewals and pauses.

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
    plan.on_asked();
    assert_eq!(plan.next(now), Action::Login, "somebody asked");
    plan.on_login_failed(now, LoginFailure::Rejected, JITTER);
    assert!(wait(&plan, now) >= secs(900), "it is still the same one");
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
        plan.on_refused(generation, JITTER);
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
    plan.on_refused(generation, JITTER);
    assert_eq!(plan.usable(now + secs(5)), None);
    assert_eq!(plan.next(now + secs(5)), Action::Login);
    let newer = plan.on_login(now + secs(5), renewable(3600), JITTER);
    plan.on_refused(generation, JITTER);
    assert_eq!(
        plan.usable(now + secs(6)),
        Some(newer),
        "a late refusal of the old one changes nothing"
    );
}

#[test]
fn a_token_that_is_revoked_before_its_first_use_is_replaced_at_once() {
    let now = Instant::now();
    let mut plan = Plan::default();
    let unused = plan.on_login(now, renewable(30), JITTER);
    plan.on_refused(unused, JITTER);
    assert_eq!(
        plan.next(now + secs(7)),
        Action::Login,
        "5 s after its login"
    );
    let again = plan.on_login(now + secs(7), renewable(30), JITTER);
    plan.on_refused(again, JITTER);
    assert!(
        wait(&plan, now + secs(7)) > secs(7),
        "the next pause is longer"
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
        plan.on_refused(unused, JITTER);
    }
    assert!(wait(&plan, now) > secs(20));
    let later = now + secs(60);
    let used = plan.on_login(later, renewable(3600), JITTER);
    plan.on_accepted(used);
    plan.on_refused(used, JITTER);
    let unused = plan.on_login(later, renewable(3600), JITTER);
    plan.on_refused(unused, JITTER);
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

/// A right credential whose file is there before Vault knows of it heals within minutes; a wrong
/// one is refused four times in the quarter of an hour that counts, its predecessor included.
#[test]
fn a_changed_credential_that_is_refused_is_tried_again_soon_but_not_often() {
    let now = Instant::now();
    let mut plan = Plan::default();
    plan.on_login_failed(now, LoginFailure::Rejected, JITTER);
    plan.on_credential_changed();
    let (mut at, mut pauses) = (now, Vec::new());
    for _ in 0..4 {
        assert_eq!(plan.next(at), Action::Login);
        plan.on_login_failed(at, LoginFailure::Rejected, JITTER);
        pauses.push(wait(&plan, at).as_secs());
        at += wait(&plan, at);
    }
    assert_eq!(pauses, [30, 120, 900, 900]);
    // Once it has worked, its later refusal is an expiry, which no repetition mends.
    plan.on_credential_changed();
    plan.on_login(at, renewable(60), JITTER);
    let end = at + secs(60);
    plan.on_login_failed(end, LoginFailure::Rejected, JITTER);
    assert_eq!(wait(&plan, end), secs(900));
}

/// No lease is left behind by a login that is refused: once a minute is often enough to heal soon.
#[test]
fn refused_logins_are_tried_again_within_a_minute() {
    let now = Instant::now();
    let mut plan = Plan::default();
    let mut at = now;
    for _ in 0..8 {
        plan.on_login_failed(at, LoginFailure::Refused, u64::MAX);
        assert!(wait(&plan, at) <= secs(72), "{:?}", wait(&plan, at));
        at += wait(&plan, at);
    }
    assert!(wait_after_one(LoginFailure::Refused) < secs(7));
}

fn wait_after_one(why: LoginFailure) -> Duration {
    let (now, mut plan) = (Instant::now(), Plan::default());
    plan.on_login_failed(now, why, JITTER);
    wait(&plan, now)
}

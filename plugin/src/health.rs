//! What the plugin knows of its health: the answer to Status, and whether a call is worth a request.
//!
//! Pure: fed with evidence and times. Live calls and the probe give evidence alike, kept per
//! operation; see [`crate::fault::Weight`] for what each fault is worth.

use std::time::Duration;

use tokio::time::Instant;

use crate::event::VaultOp;
use crate::fault::{Code, Fault, Weight};

/// Two transient failures at least this far apart are needed before Status says so.
const APART: Duration = Duration::from_secs(2);
/// While an operation is known to fail, one call in this time may try whether it still does.
const TRIAL_PAUSE: Duration = Duration::from_secs(4);

/// What Status says before anything was tried.
const NEVER_READ: &str = "the key has not been read since the start";

/// Operations that evidence is kept for.
const OPS: [VaultOp; 3] = [VaultOp::ReadKey, VaultOp::Encrypt, VaultOp::Decrypt];

#[derive(Debug, Default)]
struct Evidence {
    failing: Option<Failing>,
    next_trial: Option<Instant>,
}

#[derive(Debug)]
struct Failing {
    /// When the first call of this series began.
    since: Instant,
    since_wall: String,
    fault: Fault,
    /// Two failures, far enough apart.
    confirmed: bool,
}

/// A fault that only a whole probe ends.
#[derive(Debug)]
struct Definite {
    text: String,
    /// The operation that met it; `None` when the key document showed it.
    op: Option<VaultOp>,
    /// The key may be missing or another one, so nothing is encrypted before it has been read again:
    /// made anew meanwhile, it would be used under the old one's key_id.
    key: bool,
}

/// Why Status is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sick {
    /// `Unavailable` or `FailedPrecondition`.
    pub code: Code,
    /// What and since when, or the remedy.
    pub text: String,
}

/// Whether an answer to Status tells a person something that the one before did not: good or not, the first cause
/// after a start, or that what was hoped to pass needs somebody to act. Causes that take turns are no news.
pub fn is_news(before: &Result<(), Sick>, after: &Result<(), Sick>) -> bool {
    match (before, after) {
        (Ok(()), Ok(())) => false,
        (Err(before), Err(after)) => {
            before.code != after.code || (before.text == NEVER_READ && after.text != NEVER_READ)
        }
        _ => true,
    }
}

/// The evidence.
#[derive(Debug, Default)]
pub struct Health {
    ops: [Evidence; 3],
    definite: Option<Definite>,
    /// A version is in use.
    started: bool,
    start_fault: Option<Fault>,
}

impl Health {
    fn of(&mut self, op: VaultOp) -> Option<&mut Evidence> {
        let at = OPS.iter().position(|o| *o == op)?;
        Some(&mut self.ops[at])
    }

    /// `op` worked at the current version.
    pub fn good(&mut self, op: VaultOp) {
        if let Some(evidence) = self.of(op) {
            *evidence = Evidence::default();
        }
    }

    /// `op`, begun at `began`, failed at `now`; `wall` is the beginning as a wall-clock text.
    pub fn bad(
        &mut self,
        op: VaultOp,
        fault: &Fault,
        began: Instant,
        now: Instant,
        wall: impl FnOnce() -> String,
    ) {
        match fault.weight() {
            Weight::None => {}
            Weight::Definite => {
                self.definite = Some(Definite {
                    text: fault.to_string(),
                    op: Some(op),
                    // A policy without `create` denies an Encrypt with a key that is missing.
                    key: op == VaultOp::Encrypt || matches!(fault, Fault::Key(_)),
                });
            }
            Weight::Transient => {
                if !self.started {
                    self.start_fault = Some(fault.clone());
                }
                let Some(evidence) = self.of(op) else { return };
                match &mut evidence.failing {
                    Some(failing) => {
                        failing.confirmed |= now.saturating_duration_since(failing.since) >= APART;
                        failing.fault = fault.clone();
                    }
                    None => {
                        let since_wall = wall();
                        evidence.failing = Some(Failing {
                            since: began,
                            since_wall,
                            fault: fault.clone(),
                            confirmed: false,
                        });
                    }
                }
            }
        }
    }

    /// The key itself is not fit for use.
    pub fn unfit(&mut self, text: String) {
        self.definite = Some(Definite {
            text,
            op: None,
            key: true,
        });
    }

    /// A whole probe was good: key read, encrypt, decrypt.
    pub fn probe_good(&mut self) {
        *self = Self {
            started: true,
            ..Self::default()
        };
    }

    /// Whether anything is wrong since the start, confirmed or not: the probe then comes sooner.
    pub fn is_suspicious(&self) -> bool {
        self.definite.is_some() || self.ops.iter().any(|e| e.failing.is_some())
    }

    /// The answer to Status.
    ///
    /// # Errors
    /// Code and text of the gRPC error.
    pub fn status(&self) -> Result<(), Sick> {
        if let Some(Definite { text, .. }) = &self.definite {
            return Err(Sick {
                code: Code::FailedPrecondition,
                text: text.clone(),
            });
        }
        if !self.started {
            let text = self.start_fault.as_ref().map_or_else(
                || NEVER_READ.to_owned(),
                |fault| format!("{NEVER_READ}: {fault}"),
            );
            return Err(Sick {
                code: Code::Unavailable,
                text,
            });
        }
        let confirmed = self
            .ops
            .iter()
            .zip(OPS)
            .find_map(|(e, op)| e.failing.as_ref().filter(|f| f.confirmed).map(|f| (op, f)));
        match confirmed {
            Some((op, f)) => Err(Sick {
                code: Code::Unavailable,
                text: format!("{} fails since {}: {}", op.as_str(), f.since_wall, f.fault),
            }),
            None => Ok(()),
        }
    }

    /// Whether the key is fit to encrypt with, as far as is known.
    ///
    /// # Errors
    /// Why not.
    pub fn key_is_fit(&self) -> Result<(), Fault> {
        match &self.definite {
            Some(Definite {
                text, key: true, ..
            }) => Err(Fault::Key(format!("held back: {text}"))),
            _ => Ok(()),
        }
    }

    /// Whether a call of `op` is worth a request now. While it is known to fail, only now and then;
    /// with a key that is not fit nothing is encrypted at all.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&mut self, op: VaultOp, now: Instant) -> Result<(), Fault> {
        if op == VaultOp::Encrypt {
            self.key_is_fit()?;
        }
        let definite = self
            .definite
            .as_ref()
            .map(|d| (d.op, format!("held back: {}", d.text)));
        let Some(evidence) = self.of(op) else {
            return Ok(());
        };
        let why = match (&evidence.failing, definite) {
            (_, Some((Some(failed), text))) if failed == op => text,
            (Some(f), _) if f.confirmed => {
                format!(
                    "held back, {} fails since {}: {}",
                    op.as_str(),
                    f.since_wall,
                    f.fault
                )
            }
            _ => return Ok(()),
        };
        match evidence.next_trial {
            Some(at) if now < at => Err(Fault::HeldBack(why)),
            _ => {
                evidence.next_trial = Some(now + TRIAL_PAUSE);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Fault {
        Fault::Sealed { status: 503 }
    }

    fn healthy() -> Health {
        let mut health = Health::default();
        health.probe_good();
        health
    }

    fn fail(health: &mut Health, op: VaultOp, fault: &Fault, began: Instant, now: Instant) {
        health.bad(op, fault, began, now, || "2026-01-01T00:00:00Z".to_owned());
    }

    #[test]
    fn one_failure_is_no_outage_two_apart_are() {
        let (mut health, t) = (healthy(), Instant::now());
        let at = |ms| t + Duration::from_millis(ms);
        fail(&mut health, VaultOp::Encrypt, &sealed(), at(0), at(1));
        fail(&mut health, VaultOp::Encrypt, &sealed(), at(1900), at(1999));
        assert_eq!(health.status(), Ok(()));
        assert!(health.is_suspicious());
        fail(&mut health, VaultOp::Encrypt, &sealed(), at(1999), at(2000));
        let sick = health.status().expect_err("an outage");
        assert_eq!(sick.code, Code::Unavailable);
        assert!(
            sick.text.contains("since 2026-01-01T00:00:00Z") && sick.text.contains("sealed"),
            "{}",
            sick.text
        );
        health.good(VaultOp::Decrypt);
        assert!(
            health.status().is_err(),
            "another operation's success heals nothing"
        );
        health.good(VaultOp::Encrypt);
        assert_eq!(health.status(), Ok(()));
    }

    #[test]
    fn a_call_that_hung_for_three_seconds_counts_from_its_beginning() {
        let (mut health, t) = (healthy(), Instant::now());
        let at = |ms| t + Duration::from_millis(ms);
        let hung = Fault::Timeout {
            address: "a".into(),
            limit: Duration::from_secs(3),
        };
        fail(&mut health, VaultOp::Decrypt, &hung, at(0), at(3000));
        fail(&mut health, VaultOp::Decrypt, &hung, at(20), at(3020));
        assert!(health.status().is_err());
    }

    #[test]
    fn a_definite_fault_shows_at_once_and_only_a_whole_probe_ends_it() {
        let (mut health, t) = (healthy(), Instant::now());
        let fault = Fault::Denied {
            path: "transit/decrypt/k".into(),
            capability: "update",
            namespace: String::new(),
        };
        fail(&mut health, VaultOp::Decrypt, &fault, t, t);
        let sick = health.status().expect_err("definite");
        assert_eq!(sick.code, Code::FailedPrecondition);
        assert!(sick.text.contains("transit/decrypt/k"));
        health.good(VaultOp::Decrypt);
        assert!(health.status().is_err());
        health.probe_good();
        assert_eq!(health.status(), Ok(()));
    }

    #[test]
    fn bug_105_a_bad_object_is_no_evidence() {
        let (mut health, t) = (healthy(), Instant::now());
        for s in 0..100 {
            let now = t + Duration::from_secs(s);
            fail(
                &mut health,
                VaultOp::Decrypt,
                &Fault::Data("damaged".into()),
                now,
                now,
            );
            fail(&mut health, VaultOp::Decrypt, &Fault::Full(4096), now, now);
        }
        assert!(!health.is_suspicious());
    }

    #[test]
    fn in_a_known_outage_one_call_in_four_seconds_tries() {
        let (mut health, t) = (healthy(), Instant::now());
        let at = |ms| t + Duration::from_millis(ms);
        fail(&mut health, VaultOp::Encrypt, &sealed(), at(0), at(0));
        fail(&mut health, VaultOp::Encrypt, &sealed(), at(2000), at(2000));
        let mut admitted = 0;
        for ms in (2000..62_000).step_by(10) {
            admitted += usize::from(health.admit(VaultOp::Encrypt, at(ms)).is_ok());
        }
        assert_eq!(admitted, 15);
        assert!(
            health.admit(VaultOp::Decrypt, at(0)).is_ok(),
            "the other operation is free"
        );
    }

    #[test]
    fn what_is_denied_is_tried_now_and_then_and_the_rest_goes_on() {
        let (mut health, t) = (healthy(), Instant::now());
        let denied = Fault::Denied {
            path: "transit/decrypt/k".into(),
            capability: "update",
            namespace: String::new(),
        };
        fail(&mut health, VaultOp::Decrypt, &denied, t, t);
        assert!(health.admit(VaultOp::Decrypt, t).is_ok(), "a trial");
        let held = health.admit(VaultOp::Decrypt, t).expect_err("one only");
        assert!(held.to_string().contains("transit/decrypt/k"), "{held}");
        for _ in 0..3 {
            assert!(health.admit(VaultOp::Encrypt, t).is_ok());
        }
        health.unfit("key k was replaced".into());
        let refused = health.admit(VaultOp::Encrypt, t).expect_err("unfit");
        assert_eq!(refused.weight(), Weight::Definite);
        assert!(health.admit(VaultOp::Decrypt, t).is_ok(), "old values");
    }

    #[test]
    fn with_a_missing_key_nothing_is_encrypted_whichever_operation_met_it() {
        let t = Instant::now();
        let missing = Fault::Key("key not found: k".into());
        for op in OPS {
            let mut health = healthy();
            fail(&mut health, op, &missing, t, t);
            for s in [0, 5, 60] {
                let at = t + Duration::from_secs(s);
                let refused = health
                    .admit(VaultOp::Encrypt, at)
                    .expect_err("not read again");
                assert!(refused.to_string().contains("key not found"), "{refused}");
            }
            health.good(op);
            assert!(health.key_is_fit().is_err(), "one success is no reading");
            health.probe_good();
            assert_eq!(health.admit(VaultOp::Encrypt, t), Ok(()));
        }
    }

    /// A key that was never right is told as one that went wrong is: once, and once more when it will not pass.
    #[test]
    fn what_stands_in_the_way_from_the_start_is_news_once() {
        let t = Instant::now();
        let mut health = Health::default();
        let steps = [
            (Some(sealed()), true),
            (Some(sealed()), false),
            (Some(Fault::Quota { retry_after: None }), false),
            (Some(Fault::Key("key not found: k".into())), true),
            (Some(Fault::Key("key not found: k".into())), false),
            (Some(sealed()), false),
            (None, true),
            (None, false),
        ];
        for (step, (fault, news)) in steps.into_iter().enumerate() {
            let before = health.status();
            match fault {
                Some(fault) => fail(&mut health, VaultOp::ReadKey, &fault, t, t),
                None => health.probe_good(),
            }
            assert_eq!(is_news(&before, &health.status()), news, "step {step}");
        }
    }

    #[test]
    fn before_the_start_status_says_what_stands_in_its_way() {
        let (mut health, t) = (Health::default(), Instant::now());
        assert!(
            health
                .status()
                .expect_err("nothing yet")
                .text
                .contains("not been read")
        );
        fail(&mut health, VaultOp::ReadKey, &sealed(), t, t);
        let sick = health.status().expect_err("sealed");
        assert_eq!(sick.code, Code::Unavailable);
        assert!(sick.text.contains("sealed"), "{}", sick.text);
    }
}

//! What the plugin knows of its health: the answer to Status, and whether a call is worth a request.
//!
//! Pure: fed with evidence and times. Live calls and the probe give evidence alike, kept per
//! operation; see [`crate::fault::Weight`] for what each fault is worth.

#[cfg(test)]
mod tests;

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

impl Failing {
    fn text(&self, op: VaultOp) -> String {
        format!(
            "{} fails since {}: {}",
            op.as_str(),
            self.since_wall,
            self.fault
        )
    }
}

/// A fault that only a whole probe ends.
#[derive(Debug)]
struct Definite {
    text: String,
    /// The operation that met it; `None` when the key document showed it.
    op: Option<VaultOp>,
    /// When it was met last.
    at: Instant,
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
/// after a start, or whether somebody must act or it may pass. Causes of one kind that take turns are no news.
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
    /// The key may be missing or another one, so nothing is encrypted before it has been read again: made anew meanwhile,
    /// it would be used under the old one's key_id.
    unfit: bool,
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
                // A policy without `create` denies an Encrypt with a key that is missing.
                self.unfit |= op == VaultOp::Encrypt || matches!(fault, Fault::Key(_));
                self.definite = Some(Definite {
                    text: fault.to_string(),
                    op: Some(op),
                    at: now,
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

    /// The key itself is not fit for use, as its document showed at `now`.
    pub fn unfit(&mut self, text: String, now: Instant) {
        self.unfit = true;
        self.definite = Some(Definite {
            text,
            op: None,
            at: now,
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

    /// An outage that is known, and that began after the definite fault was met last, if there is one: what a server
    /// that cannot be asked any more said before may be mended, and is not what has to be done now.
    fn outage(&self) -> Option<(VaultOp, &Failing)> {
        let counts = |f: &&Failing| {
            let newest = self.definite.as_ref().is_none_or(|d| f.since > d.at);
            f.confirmed && newest
        };
        let mut all = self.ops.iter().zip(OPS);
        all.find_map(|(e, op)| Some((op, e.failing.as_ref().filter(counts)?)))
    }

    /// The answer to Status. Of several reasons it has the newest.
    ///
    /// # Errors
    /// Code and text of the gRPC error.
    pub fn status(&self) -> Result<(), Sick> {
        let outage = self.outage();
        if let (Some(Definite { text, .. }), None) = (&self.definite, &outage) {
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
        outage.map_or(Ok(()), |(op, failing)| {
            Err(Sick {
                code: Code::Unavailable,
                text: failing.text(op),
            })
        })
    }

    /// Whether the key is fit to encrypt with, as far as is known.
    ///
    /// # Errors
    /// Why not.
    pub fn key_is_fit(&self) -> Result<(), Fault> {
        match self.status() {
            Err(Sick { text, .. }) if self.unfit => Err(Fault::Key(format!(
                "held back until the key has been read again: {text}"
            ))),
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
        let met = self.definite.as_ref().filter(|d| d.op == Some(op));
        let met = met.map(|d| match self.outage() {
            Some((op, failing)) => failing.text(op),
            None => d.text.clone(),
        });
        let Some(evidence) = self.of(op) else {
            return Ok(());
        };
        let failing = evidence.failing.as_ref().filter(|f| f.confirmed);
        let Some(why) = met.or_else(|| failing.map(|f| f.text(op))) else {
            return Ok(());
        };
        let why = format!("held back: {why}");
        match evidence.next_trial {
            Some(at) if now < at => Err(Fault::HeldBack(why)),
            _ => {
                evidence.next_trial = Some(now + TRIAL_PAUSE);
                Ok(())
            }
        }
    }
}

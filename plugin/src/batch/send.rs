//! One request of a lane: sent, repeated where that helps, its results handed out, and what it says
//! about Vault booked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Job, Lane};
use crate::event::VaultOp;
use crate::fault::{Fault, Weight};
use crate::transit::{self, Input, Item};

/// A request that its callers left earlier than this says nothing about the server.
const ABANDONED: Duration = Duration::from_secs(1);
/// Pause before a node that does not know a version yet is asked again; it doubles.
const LAG_PAUSE: Duration = Duration::from_millis(50);

impl Lane {
    /// Sends `jobs` as one request; a batch that is refused as such goes out in halves, then alone.
    pub(super) async fn send(&self, jobs: &[&Arc<Job>], id: u64, deadline: Instant, split: Split) {
        match self.attempt(jobs, id, deadline).await {
            Ok(items) => {
                let mut unseen = Vec::new();
                for (job, item) in jobs.iter().zip(items) {
                    // Perhaps only the node that answered has not seen this version yet.
                    match item {
                        Err(Fault::PinTooNew(_)) if self.op == VaultOp::Decrypt => {
                            unseen.push(*job)
                        }
                        item => self.finish(job, item, id),
                    }
                }
                self.ask_again(unseen, id, deadline).await;
            }
            Err(fault) if jobs.len() > 1 && transit::is_batch_refusal(&fault) => {
                let (size, next) = match split {
                    Split::Halves => (jobs.len().div_ceil(2), Split::Singles),
                    Split::Singles => (1, Split::Singles),
                };
                for part in jobs.chunks(size) {
                    Box::pin(self.send(part, id, deadline, next)).await;
                }
            }
            Err(fault) => {
                for job in jobs {
                    self.finish(job, Err(fault.clone()), id);
                }
            }
        }
    }

    /// Ciphertexts of a version that a node did not know: twice more, then it is the object's fault.
    async fn ask_again(&self, mut jobs: Vec<&Arc<Job>>, id: u64, deadline: Instant) {
        let mut pause = LAG_PAUSE;
        for _ in 0..2 {
            if jobs.is_empty() || Instant::now() + pause * 2 >= deadline {
                break;
            }
            sleep_until(Instant::now() + pause).await;
            pause *= 2;
            let Ok(items) = self.attempt(&jobs, id, deadline).await else {
                break;
            };
            let results: Vec<_> = jobs.drain(..).zip(items).collect();
            for (job, item) in results {
                match item {
                    Err(Fault::PinTooNew(_)) => jobs.push(job),
                    item => self.finish(job, item, id),
                }
            }
        }
        for job in jobs {
            self.finish(
                job,
                Err(Fault::Data(
                    "invalid ciphertext: version is too new".to_owned(),
                )),
                id,
            );
        }
    }

    fn finish(&self, job: &Job, item: Item, id: u64) {
        let waiters = job.with(|s| {
            s.done = true;
            std::mem::take(&mut s.waiters)
        });
        for waiter in waiters {
            // A waiter that has gone needs no answer.
            let _ = waiter.send((item.clone(), id));
        }
    }

    /// One request, repeated while a pin or a lagging node stands in its way and time is left.
    async fn attempt(
        &self,
        jobs: &[&Arc<Job>],
        id: u64,
        deadline: Instant,
    ) -> Result<Vec<Item>, Fault> {
        let inputs: Vec<&Input> = jobs.iter().map(|j| &j.input).collect();
        let is_current = self.at == 0;
        let mut lag_pause = LAG_PAUSE;
        let mut refreshed = false;
        loop {
            let version = self.keyring.places[self.at]
                .with(|t| t.current().cloned())
                .or_else(|| (self.op == VaultOp::Decrypt).then(no_version))
                .ok_or_else(|| {
                    Fault::HeldBack("the key has not been read since the start".to_owned())
                })?;
            // It may have waited for its turn, or for the answer, while the key went away.
            if self.op == VaultOp::Encrypt {
                self.keyring.health(|h| h.key_is_fit())?;
            }
            let began = Instant::now();
            let result = self
                .keyring
                .request(self.at, self.op, id, &inputs, &version, deadline)
                .await;
            // A refused pin of a lone item is that item's, as in a batch.
            let result = match result {
                Err(fault @ (Fault::PinTooOld(_) | Fault::PinTooNew(_))) => Ok(vec![Err(fault)]),
                other => other,
            };
            if is_current {
                self.book(began, &result);
            }
            let items = result?;
            if self.op == VaultOp::Encrypt && items.iter().any(Result::is_ok) {
                self.keyring.health(|h| h.key_is_fit())?;
            }
            let pin = items.iter().find_map(|i| match i {
                Err(Fault::PinTooOld(_)) => Some(Pin::TooOld),
                Err(Fault::PinTooNew(_)) => Some(Pin::TooNew),
                _ => None,
            });
            match pin {
                Some(Pin::TooOld) if !refreshed => {
                    refreshed = true;
                    self.keyring.refresh(self.at, deadline).await?;
                }
                Some(Pin::TooNew)
                    if self.op == VaultOp::Encrypt && Instant::now() + lag_pause * 2 < deadline =>
                {
                    sleep_until(Instant::now() + lag_pause).await;
                    lag_pause *= 2;
                }
                // Status has moved on meanwhile: an answer under the old key_id would be thrown away.
                None if self.op == VaultOp::Encrypt
                    && self.keyring.version().as_ref() != Some(&version)
                    && !refreshed =>
                {
                    refreshed = true;
                }
                _ => return Ok(items),
            }
        }
    }

    /// Callers who gave up on a server that was slow to answer: that counts, too.
    pub(super) fn book_abandoned(&self, began: Instant) {
        let limit = began.elapsed();
        if self.at == 0 && limit >= ABANDONED {
            let address = "the configured address".to_owned();
            self.keyring
                .evidence(self.op, began, Err(&Fault::Timeout { address, limit }));
        }
    }

    /// Evidence for Status: a request as a whole, never a single bad object.
    fn book(&self, began: Instant, result: &Result<Vec<Item>, Fault>) {
        let fault = match result {
            Err(fault) if transit::is_batch_refusal(fault) => return,
            Err(fault) => Some(fault),
            Ok(items) if items.iter().any(|i| i.is_ok()) => None,
            Ok(items) => {
                let weighty = items
                    .iter()
                    .filter_map(|i| i.as_ref().err())
                    .find(|f| f.weight() != Weight::None);
                match weighty {
                    // Refused pins are repaired here, and a damaged object says nothing.
                    None | Some(Fault::PinTooOld(_) | Fault::PinTooNew(_)) => return,
                    some => some,
                }
            }
        };
        self.keyring
            .evidence(self.op, began, fault.map_or(Ok(()), Err));
    }
}

/// How a batch is taken apart that is refused as such.
#[derive(Clone, Copy)]
pub(super) enum Split {
    Halves,
    Singles,
}

enum Pin {
    TooOld,
    TooNew,
}

/// A Decrypt names no version; its key_id comes from the caller.
fn no_version() -> crate::key::table::Version {
    crate::key::table::Version {
        number: 0,
        key_id: "".into(),
        format: crate::key::format::Format::Bound,
    }
}

//! Values in and out: what is written, and reads, which may lack a seed half-way.

use std::sync::Arc;
use std::time::Duration;

use super::Encryption;
use crate::chain;
use crate::chain::{
    Transformer, no_kms_v1, open_local, read_identity, record, record_after, seal_local, together,
};
use crate::grpc::Status;
use crate::kms::{ColdRead, KmsRead, Place};
use crate::metrics::Direction;
use crate::seam::{CallId, GroupResource, Log, Now, Plain, ProviderId, TransformError};
use crate::table::Chain;

/// How far a read came.
#[derive(Debug)]
pub enum Read {
    /// It is there.
    Plain(Plain),
    /// It lacks a seed: let [`Encryption::decrypt`] ask for it, then [`Encryption::supply`] it.
    Need(Pending),
    /// It failed.
    Failed(TransformError),
}

/// A read that lacks a seed. Dropping it gives the read up.
pub struct Pending {
    resource: GroupResource,
    key: String,
    stored: Vec<u8>,
    chain: Chain,
    link: usize,
    errors: Vec<TransformError>,
    provider: ProviderId,
    cold: Box<ColdRead>,
    began: Now,
    _hold: Arc<()>,
}

impl Pending {
    /// Whose plugin has to unwrap it.
    pub fn provider(&self) -> ProviderId {
        self.provider
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending")
            .field("key", &self.key)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl Encryption {
    /// What goes into the store for a value under this key, which is the etcd key with its leading
    /// slash (KMS2-ETCD-02).
    ///
    /// # Errors
    /// With the text of the HTTP answer's cause (KMS2-WRITE-03).
    pub fn write(
        &mut self,
        now: Now,
        resource: &GroupResource,
        key: &str,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, TransformError> {
        let generation = self.current.as_ref().ok_or_else(not_loaded)?;
        let Some(chain) = generation.chain(resource).cloned() else {
            return Ok(plaintext.to_vec());
        };
        let link = &chain[0];
        let resource_name = resource.name();
        let mut stored = Vec::with_capacity(link.prefix.len() + plaintext.len() + 256);
        stored.extend_from_slice(link.prefix.as_bytes());
        let written = match &link.transformer {
            Transformer::Identity => {
                stored.extend_from_slice(plaintext);
                Ok(())
            }
            Transformer::Local(keys, _) => {
                let sealed = seal_local(keys, &mut stored, key, plaintext, &mut *self.rng);
                let name = keys.first().map_or("", |(name, _)| name.as_str());
                record(
                    &mut self.metrics,
                    &resource_name,
                    Direction::ToStorage,
                    name,
                    sealed.as_ref().err(),
                );
                sealed
            }
            Transformer::Kms(id) => self
                .with(*id, now, |provider, cx| {
                    provider.write(&mut stored, Place { resource, key }, plaintext, cx)
                })
                .unwrap_or_else(|| Err(not_loaded())),
            Transformer::KmsV1 => Err(no_kms_v1()),
        };
        record(
            &mut self.metrics,
            &resource_name,
            Direction::ToStorage,
            &link.prefix,
            written.as_ref().err(),
        );
        match written {
            Ok(()) => Ok(stored),
            Err(error) => {
                self.log_failure("failed to encrypt data", &error, Place { resource, key });
                Err(error)
            }
        }
    }

    /// Reads a stored value.
    pub fn read(&mut self, now: Now, resource: &GroupResource, key: &str, stored: &[u8]) -> Read {
        let Some(generation) = &self.current else {
            return Read::Failed(not_loaded());
        };
        match generation.chain(resource).cloned() {
            None => match read_identity(stored) {
                Ok(bytes) => Read::Plain(Plain {
                    bytes,
                    stale: false,
                }),
                Err(error) => Read::Failed(error),
            },
            Some(chain) => {
                let hold = Arc::clone(&generation.hold);
                let place = Place { resource, key };
                self.read_from(now, now, place, stored, chain, hold, 0, Vec::new())
            }
        }
    }

    /// Asks the plugin for what a read lacks; the outcome comes as
    /// [`Event::Decrypted`](crate::seam::Event::Decrypted). `deadline`
    /// is the reader's own, if it has one (KMS2-DEC-09).
    pub fn decrypt(&mut self, now: Now, pending: &Pending, deadline: Option<Duration>) -> CallId {
        let id = pending.provider;
        let place = Place {
            resource: &pending.resource,
            key: &pending.key,
        };
        self.with(id, now, |provider, cx| {
            provider.decrypt(place, &pending.cold, deadline, cx)
        })
        .expect("a provider stays while reads hold it")
    }

    /// The reader has gone: its call is taken back and fails as cancelled.
    pub fn cancel_decrypt(&mut self, now: Now, pending: &Pending, call: CallId) {
        self.with(pending.provider, now, |provider, cx| {
            provider.cancel_decrypt(call, cx);
        });
    }

    /// Goes on with a read. It may need another seed: every provider whose prefix fits is tried.
    pub fn supply(&mut self, now: Now, pending: Pending, outcome: Result<Vec<u8>, Status>) -> Read {
        let Pending {
            resource,
            key,
            stored,
            chain,
            link,
            mut errors,
            provider,
            cold,
            began,
            _hold: hold,
        } = pending;
        let read = self
            .with(provider, now, |provider, cx| {
                provider.supply(&key, &cold, outcome, cx)
            })
            .unwrap_or_else(|| Err(not_loaded()));
        record_after(
            &mut self.metrics,
            &resource.name(),
            Direction::FromStorage,
            &chain[link].prefix,
            read.as_ref().err(),
            now.mono.saturating_sub(began.mono),
        );
        match read {
            Ok(KmsRead::Plain(bytes, stale)) => Read::Plain(Plain {
                bytes,
                stale: stale || link > 0,
            }),
            // A supplied read opens or fails.
            Ok(KmsRead::Cold(_)) => Read::Failed(not_loaded()),
            Err(error) => {
                errors.push(error);
                let place = Place {
                    resource: &resource,
                    key: &key,
                };
                self.read_from(now, began, place, &stored, chain, hold, link + 1, errors)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a read's whole state")]
    fn read_from(
        &mut self,
        now: Now,
        began: Now,
        place: Place<'_>,
        stored: &[u8],
        chain: Chain,
        hold: Arc<()>,
        first: usize,
        mut errors: Vec<TransformError>,
    ) -> Read {
        let Place { resource, key } = place;
        let name = resource.name();
        for (index, link) in chain.iter().enumerate().skip(first) {
            let Some(body) = link.body(stored) else {
                continue;
            };
            let read = match &link.transformer {
                Transformer::Identity => match read_identity(body) {
                    Ok(bytes) => Ok(Plain {
                        bytes,
                        stale: false,
                    }),
                    // Silently not its business.
                    Err(_) => continue,
                },
                Transformer::Local(keys, no_key) => {
                    open_local(keys, no_key, key, body, &name, &mut self.metrics)
                }
                Transformer::KmsV1 => Err(no_kms_v1()),
                Transformer::Kms(id) => {
                    let read = self
                        .with(*id, now, |provider, cx| provider.read(key, body, cx))
                        .unwrap_or_else(|| Err(not_loaded()));
                    match read {
                        Ok(KmsRead::Plain(bytes, stale)) => Ok(Plain { bytes, stale }),
                        Ok(KmsRead::Cold(cold)) => {
                            return Read::Need(Pending {
                                resource: resource.clone(),
                                key: key.to_owned(),
                                stored: stored.to_vec(),
                                provider: *id,
                                link: index,
                                chain: Arc::clone(&chain),
                                errors,
                                cold,
                                began,
                                _hold: hold,
                            });
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            let prefix = if link.prefix.is_empty() {
                "identity"
            } else {
                &link.prefix
            };
            record(
                &mut self.metrics,
                &name,
                Direction::FromStorage,
                prefix,
                read.as_ref().err(),
            );
            match read {
                Ok(plain) => {
                    return Read::Plain(Plain {
                        stale: plain.stale || index > 0,
                        ..plain
                    });
                }
                Err(error) => errors.push(error),
            }
        }
        let error = match together(errors) {
            Some(error) => {
                self.log_failure("failed to decrypt data", &error, place);
                error
            }
            None => {
                let error = TransformError::new("no matching prefix found");
                chain::record(
                    &mut self.metrics,
                    &name,
                    Direction::FromStorage,
                    "unknown",
                    Some(&error),
                );
                error
            }
        };
        Read::Failed(error)
    }

    fn log_failure(&mut self, what: &str, error: &TransformError, place: Place<'_>) {
        if self.options.verbosity >= 6 {
            let err = crate::gotext::log_value(&error.text);
            self.out.push(Log::info(
                6,
                format!("\"{what}\" err={err} {}", place.request()),
            ));
        }
    }
}

/// Whoever reads or writes before the configuration is loaded is too early.
fn not_loaded() -> TransformError {
    TransformError::new("the encryption configuration is not loaded")
}

//! Writes and reads of the script, and what they leave in the store.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_apiserver::encryption::Read;
use kms_apiserver::object::EncryptedObject;
use kms_apiserver::seam::GroupResource;
use kms_apiserver::version::Version;
use kms_apiserver::{aead, gotext, object};

use super::super::compare::{Outcome, normal};
use super::super::plugin::xor;
use super::super::trace::Event;
use super::health::same_race;
use super::words::{near, same};
use super::{Job, Op, World};

impl<'t> World<'t> {
    pub(super) fn write(&mut self, event: &'t Event) {
        if event.text("key").is_empty() && event.body["plaintext_hex"].is_null() {
            // Told in short: the last write again.
            let now = self.at();
            let secrets = GroupResource::core("secrets");
            let mut done = false;
            self.model(self.current, |model| {
                let key = "/registry/secrets/default/demo";
                done = model.write(now, &secrets, key, b"again").is_ok();
            });
            let outcome = if done == event.ok() {
                Outcome::Alike
            } else {
                Outcome::Different(format!("write at {:?}: {done}", self.now))
            };
            return self.table.note("write", outcome);
        }
        let now = self.at();
        let plaintext = event
            .bytes("plaintext_hex")
            .unwrap_or_else(|| b"hi".to_vec());
        let resource = GroupResource::parse(event.text("resource"));
        let mut written = None;
        self.model(self.current, |model| {
            written = Some(model.write(now, &resource, event.text("key"), &plaintext));
        });
        let outcome = match written {
            None => Outcome::Different("no server to write with".to_owned()),
            Some(Err(error)) => same(
                &format!("write at {:?}", self.now),
                &normal(&error.text, self.trace.is_virtual),
                &normal(event.text("error"), self.trace.is_virtual),
            ),
            Some(Ok(_)) if !event.ok() => Outcome::Different(format!(
                "write at {:?} went well, recorded {}",
                self.now,
                event.text("error")
            )),
            Some(Ok(stored)) => {
                let outcome = self.compare_stored(event, &stored, &plaintext);
                let mut short = event.text("stored_sha256_8").to_owned();
                if short.is_empty() {
                    short = short_hash(event.text("stored_hex"));
                }
                if event.body["stored_hex"].is_string() || !event.text("stored_sha256_8").is_empty()
                {
                    self.stored.insert(short, stored);
                }
                outcome
            }
        };
        self.table.note("write", outcome);
    }

    /// Compares a stored value with the recorded one in everything that is not random, and opens
    /// it without the model's state.
    pub(super) fn compare_stored(
        &mut self,
        event: &Event,
        stored: &[u8],
        plaintext: &[u8],
    ) -> Outcome {
        let at = self.now;
        let different = |why: &str| Outcome::Different(format!("value written at {at:?}: {why}"));
        if let Some(recorded) = event.bytes("stored_hex")
            && recorded.len() != stored.len()
        {
            return different("another length");
        }
        let expected = &event.body["object"];
        let short = event.text("dek_source_sha256_8");
        if expected.is_null() && short.is_empty() {
            return Outcome::Alike;
        }
        let Some(start) = stored
            .windows(15)
            .position(|bytes| bytes == b"k8s:enc:kms:v2:")
        else {
            let local = expected["type"].is_null();
            return if local {
                Outcome::Alike
            } else {
                different("no prefix")
            };
        };
        let name = stored[start + 15..].iter().position(|byte| *byte == b':');
        let body = &stored[start + 15 + name.unwrap_or(0) + 1..];
        let version = Version::new(self.trace.minor).expect("an emulated version");
        let Ok(object) = EncryptedObject::decode(body, version) else {
            return different("no object");
        };
        let text = |field: &str| expected[field].as_str().unwrap_or("").to_owned();
        let (key_id, theirs) = if expected.is_null() {
            (event.text("key_id").to_owned(), short.to_owned())
        } else {
            let source = text("encrypted_dek_source_hex");
            (text("key_id"), short_hash(&source))
        };
        if object.key_id != key_id {
            return different(&format!("key_id {}, recorded {key_id}", object.key_id));
        }
        // One recorded seed is one of ours.
        let full = text("encrypted_dek_source_hex");
        if !full.is_empty() {
            self.seeds
                .entry(full)
                .or_insert_with(|| object.source.clone());
        }
        let known = self
            .seeds
            .entry(theirs)
            .or_insert_with(|| object.source.clone());
        let elided = text("encrypted_dek_source_hex").contains("... (");
        if *known != object.source && !elided {
            return different("another seed");
        }
        if expected.is_null() {
            return Outcome::Alike;
        }
        if expected["type"].as_i64() != Some(i64::from(object.source_type)) {
            return different("another type");
        }
        let left_out = !expected["annotations"]["left.out"].is_null();
        let count = expected["annotations"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        if object.annotations.len() != count && !left_out {
            return different("other annotations");
        }
        let seed = if object.source.len() == 32 {
            xor(&object.source)
        } else {
            Vec::new()
        };
        let opened = match (object.source_type, seed.len()) {
            (_, 0) => return Outcome::Alike,
            (1, _) => aead::split_info(&object.data).and_then(|(info, sealed)| {
                let key = aead::derive(&seed, info)?;
                aead::Gcm::new(&*key)?.open(event.text("key").as_bytes(), sealed)
            }),
            _ => aead::Gcm::new(&seed)
                .and_then(|gcm| gcm.open(event.text("key").as_bytes(), &object.data)),
        };
        // A plugin that does not wrap as usual hides its seed from here.
        let usual = event.body["object"]["opened_offline_hex"].is_string();
        match opened {
            Ok(opened) if opened == plaintext => Outcome::Alike,
            _ if !usual || text("seed_hex") == text("encrypted_dek_source_hex") => Outcome::Alike,
            _ => different("cannot be opened"),
        }
    }

    pub(super) fn read(&mut self, event: &'t Event) {
        let short = event.text("stored_sha256_8");
        let stored = self
            .stored
            .get(short)
            .cloned()
            .or_else(|| event.bytes("stored_hex"));
        let stored = stored.or_else(|| {
            let given = self.trace.events.iter().find(|other| {
                other.text("stored_sha256_8") == short && other.body["stored_hex"].is_string()
            });
            given.and_then(|given| given.bytes("stored_hex"))
        });
        let stored = stored.or_else(|| {
            // A plain value is what it was.
            let plain = event.bytes("plaintext_hex")?;
            (gotext::sha256(&plain)["sha256:".len()..][..8] == *short).then_some(plain)
        });
        let stored = stored.or_else(|| large_object(event));
        let Some(stored) = stored else {
            let why = "the value itself is not in the recording";
            return self.table.note("read", Outcome::Elsewhere(why));
        };
        let server = self.server_of(event);
        let op = self.next_op();
        let now = self.at();
        let resource = GroupResource::parse(event.text("resource"));
        let Some(model) = self
            .servers
            .get_mut(server)
            .and_then(|server| server.model.as_mut())
        else {
            let why = "no server to read with".to_owned();
            return self.table.note("read", Outcome::Different(why));
        };
        let read = model.read(now, &resource, event.text("key"), &stored);
        self.ops.insert(
            op,
            Op::Read {
                event,
                server,
                pending: None,
                call: None,
                decrypts: self.decrypts,
            },
        );
        self.read_came(op, read);
        self.poll(server);
    }

    pub(super) fn read_came(&mut self, op: u64, read: Read) {
        let now = self.at();
        let Some(Op::Read {
            event,
            server,
            decrypts,
            pending,
            call: known,
            ..
        }) = self.ops.get_mut(&op)
        else {
            return;
        };
        let (event, server, before) = (*event, *server, *decrypts);
        let outcome = match read {
            Read::Need(needs) => {
                let note = event.text("note");
                let deadline = match note {
                    "context already over" => Some(self.now),
                    "own deadline 500 ms" => Some(self.now + Duration::from_millis(500)),
                    _ if self.trace.scenario == "wire-frames"
                        && event.text("error").contains("DeadlineExceeded") =>
                    {
                        Some(self.now + Duration::from_millis(100))
                    }
                    "own deadline 60 s, timeout 2 s" => Some(self.now + Duration::from_secs(60)),
                    _ => None,
                };
                let gives_up = note.contains("cancelled after 100 ms")
                    || event.text("error").contains("context canceled");
                let model = self.servers[server].model.as_mut().expect("it has read");
                let call = model.decrypt(now, &needs, deadline);
                *pending = Some(Box::new(needs));
                *known = Some(call);
                self.servers[server].reads.insert(call, op);
                if gives_up {
                    self.schedule(Duration::from_millis(100), Job::CancelRead(op));
                }
                return;
            }
            Read::Plain(plain) => {
                let want = event.bytes("plaintext_hex");
                let stale = event.body["stale"] == true;
                if !event.ok() {
                    Err(format!("went well, recorded {}", event.text("error")))
                } else if plain.stale != stale {
                    Err(format!("stale {}, recorded {stale}", plain.stale))
                } else if want.is_some_and(|want| want != plain.bytes) {
                    Err("another value".to_owned())
                } else {
                    Ok(())
                }
            }
            Read::Failed(error) => {
                let (ours, theirs) = (
                    normal(&error.text, false),
                    normal(event.text("error"), false),
                );
                if ours == theirs || same_race(&ours, &theirs) {
                    Ok(())
                } else {
                    Err(format!("{ours}, recorded {theirs}"))
                }
            }
        };
        self.ops.remove(&op);
        let took = self.now - event.at.min(self.now);
        let recorded = event.millis("took_ms").unwrap_or_default();
        let asked = event.body["decrypt_rpcs"].as_u64();
        let outcome = match outcome {
            Err(why) => Outcome::Different(format!(
                "read at {:?} ({}): {why}",
                event.at,
                event.text("note")
            )),
            Ok(()) if asked.is_some_and(|asked| asked != self.decrypts - before) => {
                Outcome::Different(format!(
                    "read at {:?} ({}): {} Decrypts, recorded {asked:?}",
                    event.at,
                    event.text("note"),
                    self.decrypts - before
                ))
            }
            Ok(()) => near("read took", took, recorded, self.late()),
        };
        self.table.note("read", outcome);
    }
}

/// The two values that the recording gives by their length alone: made by the script, with the
/// largest annotation that is allowed, and one byte more.
pub(super) fn large_object(event: &Event) -> Option<Vec<u8>> {
    let (key_id, byte, length) = match event.body["stored_len"].as_u64()? {
        32_899 => ("k", 0x42, 32_765),
        32_904 => ("key-1", 0x41, 32_766),
        _ => return None,
    };
    let seed = [byte; 32];
    let info: [u8; 32] = std::array::from_fn(|at| 0x20 + at as u8);
    let nonce: [u8; 12] = std::array::from_fn(|at| 0x40 + at as u8);
    let mut data = info.to_vec();
    let gcm = aead::Gcm::new(&*aead::derive(&seed, &info).ok()?).ok()?;
    gcm.seal(&mut data, nonce, event.text("key").as_bytes(), b"x")
        .ok()?;
    let annotations = BTreeMap::from([("a.b".to_owned(), vec![1; length])]);
    let mut stored = b"k8s:enc:kms:v2:lab:".to_vec();
    object::encode(
        &mut stored,
        Version::NEWEST,
        &data,
        key_id,
        &xor(&seed),
        &annotations,
        object::SourceType::HkdfSeed,
    );
    assert_eq!(Some(stored.len() as u64), event.body["stored_len"].as_u64());
    Some(stored)
}

/// The same text, or one that the recording has cut short.
pub(super) fn same_or_elided(ours: &str, theirs: &str) -> bool {
    match theirs.split_once("... (") {
        Some((start, _)) => ours.starts_with(start),
        None => ours == theirs,
    }
}

pub(super) fn short_hash(hex: &str) -> String {
    let bytes = super::super::trace::unhex(hex).unwrap_or_default();
    gotext::sha256(&bytes)["sha256:".len()..][..8].to_owned()
}

//! The places whose keys are in use, and how their tables are kept up to date.
//!
//! Reads key documents, proves a version by a round trip, and only then takes it up. When to do so
//! is decided elsewhere: by the probe, by a pin that was refused, by a version not seen yet.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::config::{Adopt, Config, Place};
use crate::event::{Event, VaultOp};
use crate::fault::Fault;
use crate::health::{self, Health};
use crate::key::document::{self, KeyDocument};
use crate::key::format::Format;
use crate::key::table::{Due, Lookup, Table, Version};
use crate::seam::Env;
use crate::session::{Operation, Session};
use crate::transit::{self, Input, Output, Paths};

/// A version that was not found is looked for at most this often.
const REREAD_PAUSE: Duration = Duration::from_secs(5);

/// What a round trip encrypts; no secret.
const PROBE_PLAINTEXT: &[u8] = b"vault-kubernetes-kms round trip.";

/// One key somewhere.
pub struct KeyPlace {
    /// Where.
    pub place: Place,
    /// API paths.
    pub paths: Paths,
    table: Mutex<Table>,
    /// End of the last reading; held while one is under way, so that all waiters share it.
    last_read: tokio::sync::Mutex<Option<Instant>>,
}

impl KeyPlace {
    fn new(place: Place, adopt: Option<Adopt>) -> Self {
        Self {
            paths: Paths::new(&place),
            table: Mutex::new(Table::new(place.clone(), adopt)),
            last_read: tokio::sync::Mutex::new(None),
            place,
        }
    }

    /// The table.
    pub fn with<T>(&self, f: impl FnOnce(&mut Table) -> T) -> T {
        f(&mut self.table.lock().expect("no panic while locked"))
    }
}

/// All places: the current one first, then those that only decrypt.
pub struct Keyring {
    /// The places.
    pub places: Vec<KeyPlace>,
    /// What may be read besides our own values.
    pub adopt: Option<Adopt>,
    /// Evidence about the current place.
    pub health: Arc<Mutex<Health>>,
    session: Arc<Session>,
    env: Env,
}

impl Keyring {
    /// Empty tables for the current place and the former ones. What another plugin wrote is looked
    /// for at the current one alone.
    pub fn new(config: &Config, session: Arc<Session>, env: Env) -> Self {
        let former = config.decrypt_only.iter().map(|place| (place, None));
        let places = std::iter::once((&config.place, config.adopt))
            .chain(former)
            .map(|(place, adopt)| KeyPlace::new(place.clone(), adopt))
            .collect();
        Self {
            places,
            adopt: config.adopt,
            health: Arc::default(),
            session,
            env,
        }
    }

    /// The place that encrypts.
    pub fn current(&self) -> &KeyPlace {
        &self.places[0]
    }

    /// The version in use.
    pub fn version(&self) -> Option<Version> {
        self.current().with(|t| t.current().cloned())
    }

    /// Evidence.
    pub fn health<T>(&self, f: impl FnOnce(&mut Health) -> T) -> T {
        f(&mut self.health.lock().expect("no panic while locked"))
    }

    /// Books the end of an operation at the current place, begun at `began`.
    pub fn evidence(&self, op: VaultOp, began: Instant, result: Result<(), &Fault>) {
        let now = Instant::now();
        let before = self.health(|h| h.status());
        self.health(|h| match result {
            Ok(()) => h.good(op),
            Err(fault) => h.bad(op, fault, began, now, || self.wall_text(now - began)),
        });
        self.tell_change(before);
    }

    /// Tells the observer when Status has changed since `before`, so that a person should know.
    pub fn tell_change(&self, before: Result<(), health::Sick>) {
        let after = self.health(|h| h.status());
        if health::is_news(&before, &after) {
            let detail = after.as_ref().err().map_or("", |sick| &sick.text);
            self.env.observer.event(&Event::StatusChanged {
                ok: after.is_ok(),
                detail,
            });
        }
    }

    /// Tells the observer that a value was read which only taking over reads.
    pub fn tell_unbound(&self, format: Format) {
        self.env.observer.event(&Event::UnboundRead {
            foreign: format.is_foreign(),
        });
    }

    fn wall_text(&self, ago: Duration) -> String {
        let at = self
            .env
            .wall
            .now()
            .checked_sub(ago)
            .unwrap_or(std::time::UNIX_EPOCH);
        jiff::Timestamp::try_from(at)
            .map_or_else(|_| "an unknown time".to_owned(), |t| format!("{t:.0}"))
    }

    /// Reads the document of place `at`, waits for a reading under way instead, or does nothing if
    /// the last one ended less than 5 s ago. Returns whether it has been read since the call.
    ///
    /// # Errors
    /// Why the document cannot be read.
    pub async fn reread(&self, at: usize, deadline: Instant) -> Result<bool, Fault> {
        let began = Instant::now();
        let place = &self.places[at];
        let mut last = place.last_read.lock().await;
        if let Some(read) = last.filter(|at| at.elapsed() < REREAD_PAUSE) {
            return Ok(read > began);
        }
        let result = self.read_and_take_up(at, deadline).await;
        *last = Some(Instant::now());
        result.map(|()| true)
    }

    /// Reads the document of place `at` now and takes up what is new there.
    ///
    /// # Errors
    /// Why that was not possible.
    pub async fn refresh(&self, at: usize, deadline: Instant) -> Result<(), Fault> {
        let mut last = self.places[at].last_read.lock().await;
        let result = self.read_and_take_up(at, deadline).await;
        *last = Some(Instant::now());
        result
    }

    async fn read_and_take_up(&self, at: usize, deadline: Instant) -> Result<(), Fault> {
        let began = Instant::now();
        let place = &self.places[at];
        let read = self.read(at, deadline).await;
        let is_current = at == 0;
        if is_current {
            self.evidence(VaultOp::ReadKey, began, read.as_ref().map(|_| ()));
        }
        let document = read?;
        let now = Instant::now();
        match place.with(|t| t.observe(now, &document)) {
            Due::Nothing => {}
            Due::Fault(text) => {
                if is_current {
                    let before = self.health(|h| h.status());
                    self.health(|h| h.unfit(text.clone(), Instant::now()));
                    self.tell_change(before);
                }
                return Err(Fault::Key(text));
            }
            // Former places encrypt nothing, so there is nothing to prove.
            Due::TakeUp(version) if !is_current => place.with(|t| t.take_up(version, &document)),
            Due::TakeUp(version) => {
                let sealed = self.round_trip(&version, deadline).await?;
                if version.format.is_bound() {
                    self.prove_binding(sealed, &version, deadline).await?;
                }
                let key_id = version.key_id.clone();
                place.with(|t| t.take_up(version.clone(), &document));
                self.env.observer.event(&Event::KeyTaken {
                    version: version.number,
                    key_id: &key_id,
                });
            }
        }
        Ok(())
    }

    /// Reads the document of place `at`, and does nothing with it.
    ///
    /// # Errors
    /// Why that was not possible.
    pub async fn read(&self, at: usize, deadline: Instant) -> Result<KeyDocument, Fault> {
        let key_place = &self.places[at];
        let place = &key_place.place;
        let operation = Operation {
            op: VaultOp::ReadKey,
            id: self.env.entropy.next_u64(),
            namespace: &place.namespace,
            path: &key_place.paths.key,
            body: Bytes::new(),
            items: 1,
        };
        let answer = self.session.call(&operation, deadline).await?;
        match answer.status {
            200 => {
                let document = document::parse(&place.key, &answer.body.0).map_err(|what| {
                    Fault::BadAnswer {
                        address: "this address".to_owned(),
                        what,
                    }
                })?;
                self.session.client.remember_index(&answer);
                Ok(document)
            }
            404 | 204 => Err(transit::missing(place)),
            status => Err(Fault::Refused {
                what: "the read of the key",
                status,
                text: answer.known_text().to_owned(),
            }),
        }
    }

    /// Encrypts and decrypts at `version` of the current place; gives the ciphertext.
    ///
    /// # Errors
    /// What failed, booked as evidence under its operation.
    pub async fn round_trip(&self, version: &Version, deadline: Instant) -> Result<Bytes, Fault> {
        let sealed = self.probe_encrypt(version, deadline).await?;
        let began = Instant::now();
        let input = Input::Ciphertext {
            text: sealed.clone(),
            key_id: (&*version.key_id).into(),
            bound: version.format.is_bound(),
        };
        let opened = self.one(VaultOp::Decrypt, &input, version, deadline).await.and_then(|output| match output {
            Output::Plaintext(plaintext) if plaintext == PROBE_PLAINTEXT => Ok(()),
            _ => Err(Fault::Key(format!(
                "decrypt does not undo encrypt at version {}; the mount is not a sound transit engine",
                version.number
            ))),
        });
        self.evidence(VaultOp::Decrypt, began, opened.as_ref().copied());
        opened.map(|()| sealed)
    }

    async fn probe_encrypt(&self, version: &Version, deadline: Instant) -> Result<Bytes, Fault> {
        let began = Instant::now();
        let input = Input::Plaintext(Bytes::from_static(PROBE_PLAINTEXT));
        let sealed = self
            .one(VaultOp::Encrypt, &input, version, deadline)
            .await
            .and_then(|output| match output {
                Output::Ciphertext { text, .. } => Ok(text),
                Output::Plaintext(_) => Err(Fault::Key("encrypt gave no ciphertext".to_owned())),
            });
        self.evidence(VaultOp::Encrypt, began, sealed.as_ref().map(|_| ()));
        sealed
    }

    /// Changed associated data must make decryption fail, or key_id and ciphertext are not bound.
    async fn prove_binding(
        &self,
        text: Bytes,
        version: &Version,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let other = Input::Ciphertext {
            text,
            key_id: "v1.another key_id".into(),
            bound: true,
        };
        match self.one(VaultOp::Decrypt, &other, version, deadline).await {
            Err(Fault::Data(_)) => Ok(()),
            Err(fault) => Err(fault),
            Ok(_) => {
                let place = &self.current().place;
                let text = format!(
                    "key {} at {} ignores associated data; this server is too old or the key type is unsafe",
                    place.key, place.mount
                );
                let before = self.health(|h| h.status());
                self.health(|h| h.unfit(text.clone(), Instant::now()));
                self.tell_change(before);
                Err(Fault::Key(text))
            }
        }
    }

    async fn one(
        &self,
        op: VaultOp,
        input: &Input,
        version: &Version,
        deadline: Instant,
    ) -> Result<Output, Fault> {
        let mut items = self
            .request(
                0,
                op,
                self.env.entropy.next_u64(),
                &[input],
                version,
                deadline,
            )
            .await?;
        items
            .pop()
            .unwrap_or_else(|| Err(Fault::Key("no result".to_owned())))
    }

    /// One request for `inputs` at place `at`; `id` is ours, for the log.
    ///
    /// # Errors
    /// A fault that concerns them all; each item has its own result otherwise.
    pub async fn request(
        &self,
        at: usize,
        op: VaultOp,
        id: u64,
        inputs: &[&Input],
        version: &Version,
        deadline: Instant,
    ) -> Result<Vec<transit::Item>, Fault> {
        let key_place = &self.places[at];
        let place = &key_place.place;
        let path = if op == VaultOp::Encrypt {
            &key_place.paths.encrypt
        } else {
            &key_place.paths.decrypt
        };
        let operation = Operation {
            op,
            id,
            namespace: &place.namespace,
            path,
            body: transit::body(inputs, version),
            items: inputs.len(),
        };
        let answer = self.session.call(&operation, deadline).await?;
        transit::items(op, place, &answer, inputs.len(), version)
    }

    /// Which place a ciphertext belongs to.
    pub fn find(&self, key_id: &str, number: u64, format: Format) -> Found {
        let mut unknown = Vec::new();
        let mut mismatch = false;
        // The place that is taken over is the current one. The community plugin's key_id says nothing of a place.
        let n = if format.is_foreign() {
            1
        } else {
            self.places.len()
        };
        for (at, place) in self.places.iter().enumerate().take(n) {
            match place.with(|t| t.lookup(key_id, number, format)) {
                Lookup::Match(version) => return Found::At(at, version),
                Lookup::Mismatch => mismatch |= place.with(|t| t.knows(key_id)),
                Lookup::Unknown => unknown.push(at),
            }
        }
        if mismatch || unknown.is_empty() {
            Found::Nowhere
        } else {
            Found::Unknown(unknown)
        }
    }
}

/// Where a ciphertext belongs.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// To this version of this place.
    At(usize, Version),
    /// Certainly not to any.
    Nowhere,
    /// Perhaps to a version that these places have not shown yet.
    Unknown(Vec<usize>),
}

//! A KMS v2 plugin that is right, and can be made wrong in one way at a time.
//!
//! AES-256-GCM; key_id and annotations are associated data. It works on message bytes, so that a bug can be on the wire
//! as well as in the meaning.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusResponse,
};
use prost::Message;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom, SystemRandom};
use tonic::codegen::http::HeaderMap;
use tonic::{Code, Status};

use crate::CREDENTIAL;
use crate::bug::Bug;
use crate::faults::Faults;
use crate::kms::{Keys, Kms, Remote, name};

const ANNOTATION: &str = "format.plugin.example";
/// Length of a tag.
const TAG: usize = 16;
/// Length of what becomes of a seed.
const SEALED_SEED: usize = NONCE_LEN + 32 + TAG;
/// The longest ciphertext that a server takes (KMS2-ENC-05).
const LONGEST: usize = 1024;
/// What [`Bug::MemoryGrows`] keeps of a call, in bytes.
const KEPT_OF_A_CALL: usize = 20_000;
/// What [`Bug::VersionsAreKeptWhole`] keeps of a version, in bytes.
const KEPT_OF_A_VERSION: usize = 1 << 20;
/// The key_id that [`Bug::EncryptKeyIdLags`] gives out.
const LAGS: &str = "key-4f1c9b77";
/// Calls after a rotation that [`Bug::KeyIdOfAnotherRequest`] labels too new.
const TOO_NEW: u64 = 4;

type Annotations = BTreeMap<String, Bytes>;

/// Where lines about failed calls go.
pub(crate) enum Log {
    File(PathBuf),
    Stderr,
}

/// The plugin. What is in here lives as long as the process, or is thought to.
pub(crate) struct Plugin {
    pub bug: Option<Bug>,
    pub kms: Kms,
    pub faults: Faults,
    log: Log,
    /// It is a further process beside the main one.
    beside: bool,
    crash: AtomicBool,
    was_restarted: AtomicBool,
    was_answered: AtomicBool,
    sick: AtomicBool,
    calls: AtomicU64,
    statuses: AtomicU64,
    errors: AtomicU64,
    too_new: AtomicU64,
    remembered: Mutex<Bytes>,
    kept: Mutex<Vec<Vec<u8>>>,
}

fn associated_data(key_id: &str, annotations: &Annotations) -> Vec<u8> {
    let mut data = format!("{}:{key_id}", key_id.len()).into_bytes();
    for (key, value) in annotations {
        data.extend(format!("{}:{key}{}:", key.len(), value.len()).into_bytes());
        data.extend(value);
    }
    data
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unreadable(error: &io::Error) -> Status {
    Status::unavailable(format!("the keys cannot be read: {error}"))
}

impl Plugin {
    pub fn new(bug: Option<Bug>, kms: Kms, log: Log, beside: bool) -> Self {
        Plugin {
            bug,
            kms,
            faults: Faults::default(),
            log,
            beside,
            crash: AtomicBool::new(false),
            was_restarted: AtomicBool::new(false),
            was_answered: AtomicBool::new(false),
            sick: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            statuses: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            too_new: AtomicU64::new(0),
            remembered: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    pub fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// It starts again, on the same keys.
    pub fn restarted(&self) -> io::Result<()> {
        self.crash.store(false, Ordering::Relaxed);
        self.was_restarted.store(true, Ordering::Relaxed);
        self.kms.restarted()
    }

    /// Whether a bug wants the process to die now.
    pub fn crashed(&self) -> bool {
        self.crash.load(Ordering::Relaxed)
    }

    /// Bytes that a bug has kept.
    pub fn kept(&self) -> u64 {
        let kept = lock(&self.kept);
        kept.iter().map(|bytes| bytes.len() as u64).sum()
    }

    fn keep(&self, bytes: usize) {
        lock(&self.kept).push(vec![1; bytes]);
    }

    /// The operator rotates the key.
    pub fn rotate(&self) -> io::Result<()> {
        if self.is(Bug::VersionsAreKeptWhole) {
            self.keep(KEPT_OF_A_VERSION);
        }
        self.kms.rotate()
    }

    /// Its metrics, in Prometheus' text format.
    pub fn exposition(&self) -> String {
        let errors = self.errors.load(Ordering::Relaxed);
        let mut text = format!("# TYPE calls counter\ncalls{{ok=\"no\"}} {errors}\n");
        if self.is(Bug::SeriesForEachError) {
            (0..errors).for_each(|n| text.push_str(&format!("error{{uid=\"{n}\"}} 1\n")));
        }
        if self.is(Bug::CredentialInMetrics) {
            text.push_str(&format!("login{{token=\"{CREDENTIAL}\"}} 1\n"));
        }
        text
    }

    /// What the second node makes of an answer.
    pub fn other_node(&self, method: &str, answer: Result<Bytes, Status>) -> Result<Bytes, Status> {
        match (self.bug, method) {
            (Some(Bug::NodesNameKeysApart), "Status") => {
                let status = StatusResponse::decode(answer?);
                let mut status = status.map_err(|error| Status::internal(error.to_string()))?;
                status.key_id.push_str("-node-b");
                Ok(status.encode_to_vec().into())
            }
            (Some(Bug::OtherNodeLags), "Decrypt") if self.keys()?.rotations() > 1 => {
                Err(Status::invalid_argument("unknown key_id"))
            }
            _ => answer,
        }
    }

    fn keys(&self) -> Result<Keys, Status> {
        self.kms.keys().map_err(|error| unreadable(&error))
    }

    /// What every call that needs the remote KMS meets there.
    async fn ask_remote(&self) -> Result<Keys, Status> {
        let keys = self.keys()?;
        match self.kms.remote() {
            Remote::Silent if self.is(Bug::SilentBackendHangs) => std::future::pending().await,
            Remote::There if keys.is_empty() => {
                Err(Status::failed_precondition("the key is missing"))
            }
            Remote::There => {
                self.was_answered.store(true, Ordering::Relaxed);
                Ok(keys)
            }
            Remote::Away | Remote::Silent => Err(Status::unavailable("no remote KMS")),
        }
    }

    /// One call through a transport that may be broken.
    pub async fn serve(
        &self,
        method: &str,
        headers: &HeaderMap,
        request: Bytes,
    ) -> Result<Bytes, Status> {
        let Some(bug) = self.bug else {
            return self.call(method, request).await;
        };
        let request = self.faults.before(bug, method, headers, request).await?;
        let answer = self.call(method, request).await?;
        Ok(self.faults.after(bug, method, answer))
    }

    /// One call: request bytes in, answer bytes out.
    async fn call(&self, method: &str, request: Bytes) -> Result<Bytes, Status> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.is(Bug::MemoryGrows) {
            self.keep(KEPT_OF_A_CALL);
        }
        match method {
            "Status" => self.status(number).await,
            "Encrypt" => self.encrypt(request).await,
            "Decrypt" => self.decrypt(request).await,
            _ => Err(Status::unimplemented("no such method")),
        }
    }

    async fn status(&self, number: u64) -> Result<Bytes, Status> {
        let statuses = self.statuses.fetch_add(1, Ordering::Relaxed);
        let mut answer = StatusResponse {
            version: "v2".into(),
            healthz: "ok".into(),
            key_id: name(self.bug, 1),
        };
        let answered = self.was_answered.load(Ordering::Relaxed);
        match self.ask_remote().await {
            Ok(keys) => answer.key_id = keys.newest().unwrap_or_default(),
            Err(_) if self.is(Bug::StatusKnowsNothing) => {}
            Err(status) if self.is(Bug::SickWithKeyId) => {
                answer.healthz = status.message().into();
            }
            Err(status) if self.is(Bug::KeyIdBeforeFirstContact) && !answered => {
                answer.healthz = status.message().into();
                answer.key_id = "projects/p/keys/k".into();
            }
            Err(status) => return Err(status),
        }
        match self.bug {
            Some(Bug::VersionUnknown) => answer.version = "v3".into(),
            Some(Bug::VersionFlips) if number % 5 == 4 => answer.version = "v2beta1".into(),
            Some(Bug::HealthzUpperCase) => answer.healthz = "OK".into(),
            Some(Bug::StatusRefuses) => return Err(Status::unavailable("not ready")),
            Some(Bug::KeyIdFlipFlops) if (8..10).contains(&statuses) && !self.beside => {
                answer.key_id.push('x');
            }
            Some(Bug::OneBadObjectMakesSick) if self.sick.load(Ordering::Relaxed) => {
                answer.healthz = "decryption failed".into();
            }
            Some(Bug::VersionChangesWithRestart) if self.was_restarted.load(Ordering::Relaxed) => {
                answer.version = "v2beta1".into();
            }
            Some(Bug::StatusSlow) => tokio::time::sleep(Duration::from_millis(120)).await,
            _ => {}
        }
        Ok(answer.encode_to_vec().into())
    }

    async fn encrypt(&self, request: Bytes) -> Result<Bytes, Status> {
        let EncryptRequest { plaintext, uid } = EncryptRequest::decode(request)
            .map_err(|e| Status::invalid_argument(format!("bad request: {e}")))?;
        let outcome = match self.wrap(&plaintext, &uid).await {
            Err(status)
                if self.is(Bug::EmptyCiphertextOnError)
                    && status.code() != Code::InvalidArgument =>
            {
                Ok(EncryptResponse {
                    key_id: name(self.bug, 1),
                    ..EncryptResponse::default()
                })
            }
            outcome => outcome,
        };
        self.note("Encrypt", &uid, outcome.as_ref().err());
        outcome.map(|answer| answer.encode_to_vec().into())
    }

    async fn wrap(&self, plaintext: &Bytes, uid: &str) -> Result<EncryptResponse, Status> {
        let keys = self.ask_remote().await?;
        if uid.is_empty() && self.is(Bug::EmptyUidInternal) {
            return Err(Status::internal("no uid"));
        }
        if self.faults.poisoned.swap(false, Ordering::Relaxed) {
            return Err(Status::internal("a lock is poisoned"));
        }
        if plaintext.is_empty() || plaintext.len() > LONGEST / 2 {
            return Err(Status::invalid_argument(
                "the plaintext must have 1 to 512 bytes",
            ));
        }
        if self.is(Bug::EncryptSlow) {
            tokio::time::sleep(Duration::from_millis(110)).await;
        }
        let (key_id, key) = match self.bug {
            Some(Bug::RotationByStatusOnly | Bug::EncryptKeyIdLags) => {
                let oldest = keys.oldest();
                (oldest.clone(), oldest.and_then(|id| keys.find(&id)))
            }
            Some(Bug::KeyIdOfAnotherRequest)
                if keys.rotations() == 1
                    && self.too_new.fetch_add(1, Ordering::Relaxed) < TOO_NEW =>
            {
                (keys.newest(), keys.previous_key())
            }
            _ => (keys.newest(), keys.newest_key()),
        };
        let (Some(key_id), Some(key)) = (key_id, key) else {
            return Err(Status::failed_precondition("the key is missing"));
        };
        let annotations = self.annotations(plaintext);
        let sealed = self.seal(&key, &key_id, &annotations, plaintext)?;
        if self.is(Bug::ErrorHoldsPlaintext) {
            *lock(&self.remembered) = plaintext.clone();
        }
        Ok(EncryptResponse {
            ciphertext: self.dressed(sealed, plaintext),
            key_id: match self.bug {
                Some(Bug::EncryptKeyIdLags) => LAGS.into(),
                _ => key_id,
            },
            annotations,
        })
    }

    fn annotations(&self, plaintext: &[u8]) -> Annotations {
        let mut annotations =
            Annotations::from([(ANNOTATION.to_string(), Bytes::from_static(b"1"))]);
        let padding = |total: usize| Bytes::from(vec![b'a'; total - ANNOTATION.len() - 9]);
        let (key, value) = match self.bug {
            Some(Bug::AnnotationKeyBare) => ("format", "1".into()),
            Some(Bug::AnnotationsTooLarge) => ("pad.examp", padding(32768)),
            Some(Bug::AnnotationsCostly) => ("pad.examp", padding(2048)),
            Some(Bug::PlaintextHexInAnnotation) => ("dek.examp", hex(plaintext).into()),
            _ => return annotations,
        };
        annotations.insert(key.into(), value);
        annotations
    }

    fn seal(
        &self,
        key: &LessSafeKey,
        key_id: &str,
        annotations: &Annotations,
        plaintext: &[u8],
    ) -> Result<Bytes, Status> {
        let mut nonce = [0u8; NONCE_LEN];
        if self.is(Bug::Deterministic) {
            let of = plaintext.iter().fold(7u64, |hash, byte| {
                hash.wrapping_mul(131).wrapping_add(u64::from(*byte))
            });
            nonce[..8].copy_from_slice(&of.to_le_bytes());
        } else {
            SystemRandom::new()
                .fill(&mut nonce)
                .map_err(|_| Status::internal("the system has no randomness"))?;
        }
        let bound = Aad::from(self.bound(key_id, annotations));
        let mut sealed = plaintext.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed)
            .map_err(|_| Status::internal("sealing failed"))?;
        Ok([&nonce[..], &sealed].concat().into())
    }

    /// What a bug makes of a ciphertext.
    fn dressed(&self, sealed: Bytes, plaintext: &[u8]) -> Bytes {
        let padded = |total: usize| {
            let mut bytes = sealed.to_vec();
            bytes.resize(total.max(sealed.len()), 0);
            Bytes::from(bytes)
        };
        match self.bug {
            Some(Bug::PlaintextEchoed) => [&sealed[..], plaintext].concat().into(),
            Some(Bug::CiphertextAtItsLimit) => padded(LONGEST),
            Some(Bug::CiphertextTooLong) => padded(LONGEST + 1),
            Some(Bug::SimpleSeedsShareAnAnswer)
                if plaintext.iter().all(|byte| Some(byte) == plaintext.first()) =>
            {
                let mut first = lock(&self.remembered);
                if first.len() != SEALED_SEED {
                    *first = sealed;
                }
                first.clone()
            }
            _ => sealed,
        }
    }

    /// The same undone.
    fn undressed(&self, ciphertext: Bytes) -> Bytes {
        let of_a_seed = |total: usize| ciphertext.len() == total;
        let cut = match self.bug {
            Some(Bug::PlaintextEchoed) => ciphertext.len() > SEALED_SEED,
            Some(Bug::CiphertextTooLong) => of_a_seed(LONGEST + 1),
            Some(Bug::CiphertextAtItsLimit) => {
                of_a_seed(LONGEST) && ciphertext[SEALED_SEED..].iter().all(|byte| *byte == 0)
            }
            _ => false,
        };
        match cut {
            true => ciphertext.slice(..SEALED_SEED),
            false => ciphertext,
        }
    }

    fn bound(&self, key_id: &str, annotations: &Annotations) -> Vec<u8> {
        match self.bug {
            Some(Bug::AnnotationsNotBound) => associated_data(key_id, &Annotations::new()),
            Some(Bug::KeyIdIgnored) => associated_data("", annotations),
            _ => associated_data(key_id, annotations),
        }
    }

    fn open(
        &self,
        key_id: &str,
        annotations: &Annotations,
        sealed: &[u8],
    ) -> Result<Bytes, Status> {
        let refused = || Status::invalid_argument("not a ciphertext of this plugin");
        if sealed.len() < NONCE_LEN + TAG || sealed.len() > LONGEST {
            return Err(refused());
        }
        let (nonce, sealed) = sealed.split_at(NONCE_LEN);
        let keys = self.keys()?;
        let key = match keys.find(key_id) {
            None if self.is(Bug::KeyIdIgnored) => keys.newest_key(),
            found => found,
        };
        let key = key.ok_or_else(|| Status::invalid_argument("unknown key_id"))?;
        let bound = Aad::from(self.bound(key_id, annotations));
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut bytes = sealed.to_vec();
        let opened = key.open_in_place(nonce, bound, &mut bytes);
        Ok(Bytes::copy_from_slice(opened.map_err(|_| refused())?))
    }

    async fn decrypt(&self, request: Bytes) -> Result<Bytes, Status> {
        let request = DecryptRequest::decode(request)
            .map_err(|e| Status::invalid_argument(format!("bad request: {e}")))?;
        let uid = request.uid.clone();
        let outcome = self.unwrap(request).await;
        self.note("Decrypt", &uid, outcome.as_ref().err());
        if let (Ok(plaintext), true) = (&outcome, self.is(Bug::LogHoldsPlaintext)) {
            self.write(&format!("decrypted {:?}", plaintext.to_vec()));
        }
        self.sick.fetch_or(outcome.is_err(), Ordering::Relaxed);
        let mut plaintext = outcome?;
        match self.bug {
            Some(Bug::DecryptDropsLastByte) => {
                plaintext.truncate(plaintext.len().saturating_sub(1));
            }
            Some(Bug::DecryptTrimsLineEnds) if plaintext.ends_with(b"\n\n") => {
                let last = plaintext.iter().rposition(|byte| *byte != b'\n');
                plaintext.truncate(last.map_or(0, |at| at + 1));
            }
            _ => {}
        }
        Ok(DecryptResponse { plaintext }.encode_to_vec().into())
    }

    async fn unwrap(&self, request: DecryptRequest) -> Result<Bytes, Status> {
        if self.is(Bug::DecryptSlow) {
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        let ciphertext = self.undressed(request.ciphertext);
        let key_id = match self.bug {
            Some(Bug::EncryptKeyIdLags) if request.key_id == LAGS => {
                self.keys()?.oldest().unwrap_or_default()
            }
            _ => request.key_id,
        };
        let opened = self.open(&key_id, &request.annotations, &ciphertext);
        match self.bug {
            Some(Bug::DamageGivesOtherBytes) if opened.is_err() && ciphertext.len() > 40 => {
                Ok(ciphertext.slice(..32))
            }
            Some(Bug::DamageGivesEmptySuccess) if opened.is_err() => Ok(Bytes::new()),
            Some(Bug::ErrorHoldsPlaintext) if opened.is_err() => {
                let expected = hex(&lock(&self.remembered));
                Err(Status::invalid_argument(format!("expected {expected}")))
            }
            Some(Bug::EmptyCiphertextCrashes) if ciphertext.is_empty() => {
                self.crash.store(true, Ordering::Relaxed);
                opened
            }
            _ => opened,
        }
    }

    fn note(&self, method: &str, uid: &str, error: Option<&Status>) {
        let Some(error) = error else { return };
        self.errors.fetch_add(1, Ordering::Relaxed);
        let uid = match self.bug {
            Some(Bug::LogWithoutUid) => "",
            _ => uid,
        };
        let with = match self.bug {
            Some(Bug::CredentialInLog) => CREDENTIAL,
            _ => "",
        };
        let (code, text) = (error.code(), error.message());
        self.write(&format!(
            "{method} failed: uid={uid:?} code={code:?} {text:?} {with}"
        ));
    }

    /// A line for the log. One that cannot be written is lost: the calls go on.
    fn write(&self, line: &str) {
        let _ = match &self.log {
            Log::Stderr => writeln!(io::stderr(), "{line}"),
            Log::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                file.and_then(|mut file| writeln!(file, "{line}"))
            }
        };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

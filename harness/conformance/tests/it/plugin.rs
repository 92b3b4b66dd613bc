//! A KMS v2 plugin that is right, and can be made wrong in one way at a time.
//!
//! AES-256-GCM under keys it holds itself; key_id and annotations are associated data. It works on
//! message bytes, so that a breakage can be on the wire as well as in the meaning.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusResponse,
};
use prost::Message;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tonic::codegen::http::HeaderMap;
use tonic::{Code, Status};

use crate::breakages::Breakage;
use crate::faults::Faults;

const ANNOTATION: &str = "format.plugin.example";

/// State that outlives a restart, as a remote KMS does.
pub struct Plugin {
    pub breakage: Option<Breakage>,
    pub faults: Faults,
    keys: Mutex<Vec<(String, LessSafeKey)>>,
    nonces: AtomicU64,
    pub calls: AtomicU64,
    pub log: Option<PathBuf>,
    crash: AtomicBool,
    statuses: AtomicU64,
    rotations: AtomicU64,
    last_plaintext: Mutex<Bytes>,
    sick: AtomicBool,
    was_restarted: AtomicBool,
    errors: AtomicU64,
    /// What its remote KMS is like.
    pub remote: Mutex<Remote>,
    /// It is a further process beside the main one.
    pub beside: bool,
}

/// State of the remote KMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    There,
    Away,
    Silent,
}

/// A credential that it was given.
pub const CREDENTIAL: &str = "hvs.CAESIJ-planted-credential";

type Annotations = BTreeMap<String, Bytes>;

fn key(number: u16) -> LessSafeKey {
    let mut bytes = [number as u8; 32];
    bytes[0] = (number >> 8) as u8;
    let unbound = UnboundKey::new(&AES_256_GCM, &bytes).unwrap();
    LessSafeKey::new(unbound)
}

/// The key_id of the numbered key.
fn name(breakage: Option<Breakage>, number: u16) -> String {
    match breakage {
        Some(Breakage::KeyIdTooLong) => format!("{number:k>1025}"),
        Some(Breakage::KeyIdAtItsLimit) => format!("{number:k>1024}"),
        Some(Breakage::KeyIdNotUtf8) => format!("key-4f1c9a{number:02}~"),
        _ => format!("key-4f1c9a{number:02}"),
    }
}

fn associated_data(key_id: &str, annotations: &Annotations) -> Vec<u8> {
    let mut data = format!("{}:{key_id}", key_id.len()).into_bytes();
    for (key, value) in annotations {
        data.extend(format!("{}:{key}{}:", key.len(), value.len()).into_bytes());
        data.extend(value);
    }
    data
}

impl Plugin {
    pub fn new(breakage: Option<Breakage>) -> Self {
        Plugin {
            breakage,
            faults: Faults::default(),
            keys: Mutex::new(vec![(name(breakage, 1), key(1))]),
            nonces: AtomicU64::new(1),
            calls: AtomicU64::new(0),
            log: None,
            crash: AtomicBool::new(false),
            statuses: AtomicU64::new(0),
            rotations: AtomicU64::new(0),
            last_plaintext: Mutex::new(Bytes::new()),
            sick: AtomicBool::new(false),
            was_restarted: AtomicBool::new(false),
            errors: AtomicU64::new(0),
            remote: Mutex::new(Remote::There),
            beside: false,
        }
    }

    pub fn is(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }

    /// What the remote KMS does when its operator rotates the key.
    pub fn rotate(&self) {
        if self.is(Breakage::RotationUnseen) {
            return;
        }
        let mut keys = self.keys.lock().unwrap();
        let number = self.rotations.fetch_add(1, Ordering::Relaxed) as u16 + 2;
        if self.is(Breakage::KeyIdComesBack) && number == 3 {
            // Back to the first key under its old name.
            let first = keys.remove(0);
            keys.push(first);
            return;
        }
        if self.is(Breakage::RotationDropsOldKeys) {
            keys.clear();
        }
        keys.push((name(self.breakage, number), key(number)));
    }

    /// A rotation that the remote KMS refuses.
    pub fn rotate_in_vain(&self) {
        if self.is(Breakage::RefusedRotationTakenUp) {
            self.rotate();
        }
    }

    /// The key is gone, and all its versions.
    pub fn delete_key(&self) {
        self.keys.lock().unwrap().clear();
    }

    /// Another key of the same name.
    pub fn make_key(&self) {
        let number = 1000;
        let id = match self.is(Breakage::NameIsTheKeyId) {
            true => name(self.breakage, 1),
            false => name(self.breakage, number),
        };
        self.keys.lock().unwrap().push((id, key(number)));
    }

    /// Bytes in memory, as far as anybody can see.
    pub fn memory(&self) -> u64 {
        let each = if self.is(Breakage::MemoryGrows) {
            100_000
        } else {
            0
        };
        let version = if self.is(Breakage::VersionsAreKeptWhole) {
            1 << 20
        } else {
            0
        };
        (20 << 20)
            + each * self.calls.load(Ordering::Relaxed)
            + version * self.rotations.load(Ordering::Relaxed)
    }

    /// Its metrics.
    pub fn exposition(&self) -> String {
        let errors = self.errors.load(Ordering::Relaxed);
        let mut text = format!("# TYPE calls counter\ncalls{{ok=\"no\"}} {errors}\n");
        if self.is(Breakage::SeriesForEachError) {
            (0..errors).for_each(|n| text.push_str(&format!("error{{uid=\"{n}\"}} 1\n")));
        }
        if self.is(Breakage::CredentialInMetrics) {
            text.push_str(&format!("login{{token=\"{CREDENTIAL}\"}} 1\n"));
        }
        text
    }

    /// Its command line.
    pub fn arguments(&self) -> String {
        match self.is(Breakage::CredentialInArguments) {
            true => format!("plugin\0--token={CREDENTIAL}\0"),
            false => "plugin\0--token-file=/run/token\0".into(),
        }
    }

    /// What the second node makes of an answer.
    pub fn other_node(&self, method: &str, answer: Result<Bytes, Status>) -> Result<Bytes, Status> {
        let rotated = self.keys.lock().unwrap().len() > 2;
        match (self.breakage, method) {
            (Some(Breakage::NodesNameKeysApart), "Status") => {
                let mut status = StatusResponse::decode(answer?).unwrap();
                status.key_id.push_str("-node-b");
                Ok(status.encode_to_vec().into())
            }
            (Some(Breakage::OtherNodeLags), "Decrypt") if rotated => {
                Err(Status::invalid_argument("unknown key_id"))
            }
            _ => answer,
        }
    }

    /// Whether a breakage wants the process to die now.
    pub fn crashed(&self) -> bool {
        self.crash.load(Ordering::Relaxed)
    }

    /// What a restart loses.
    pub fn restarted(&self) {
        self.crash.store(false, Ordering::Relaxed);
        self.was_restarted.store(true, Ordering::Relaxed);
        if self.is(Breakage::RestartLosesKeys) {
            let mut keys = self.keys.lock().unwrap();
            let fresh = keys.len() as u16 + 100;
            for (_, key) in keys.iter_mut() {
                *key = self::key(fresh);
            }
        }
        if self.is(Breakage::LocalKeyPerStart) {
            let mut keys = self.keys.lock().unwrap();
            let number = keys.len() as u16 + 500;
            keys.push((name(self.breakage, number), key(number)));
        }
    }

    /// What every call that needs the remote KMS meets there.
    async fn ask_remote(&self) -> Result<(), Status> {
        let remote = *self.remote.lock().unwrap();
        match remote {
            Remote::Silent if self.is(Breakage::SilentBackendHangs) => std::future::pending().await,
            Remote::There if self.keys.lock().unwrap().is_empty() => {
                Err(Status::failed_precondition("the key is missing"))
            }
            Remote::There => Ok(()),
            Remote::Away | Remote::Silent => Err(Status::unavailable("no remote KMS")),
        }
    }

    fn current(&self) -> String {
        self.keys.lock().unwrap().last().unwrap().0.clone()
    }

    fn first(&self) -> String {
        self.keys.lock().unwrap()[0].0.clone()
    }

    fn seal(&self, key_id: &str, annotations: &Annotations, plaintext: &[u8]) -> Bytes {
        let mut nonce = [0u8; 12];
        let count = match self.is(Breakage::Deterministic) {
            true => plaintext
                .iter()
                .fold(7u64, |h, b| h.wrapping_mul(131).wrapping_add(u64::from(*b))),
            false => self.nonces.fetch_add(1, Ordering::Relaxed),
        };
        nonce[..8].copy_from_slice(&count.to_le_bytes());
        let aad = self.bound(key_id, annotations);
        let keys = self.keys.lock().unwrap();
        let (_, key) = keys.iter().find(|(id, _)| id == key_id).unwrap();
        let mut sealed = plaintext.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut sealed,
        )
        .unwrap();
        [&nonce[..], &sealed].concat().into()
    }

    fn bound(&self, key_id: &str, annotations: &Annotations) -> Vec<u8> {
        match self.breakage {
            Some(Breakage::AnnotationsNotBound) => associated_data(key_id, &Annotations::new()),
            Some(Breakage::KeyIdIgnored) => associated_data("", annotations),
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
        if sealed.len() < 12 + 16 || sealed.len() > 1024 {
            return Err(refused());
        }
        let (nonce, sealed) = sealed.split_at(12);
        let aad = self.bound(key_id, annotations);
        let keys = self.keys.lock().unwrap();
        let found = keys.iter().find(|(id, _)| id == key_id);
        let (_, key) = match found {
            None if self.is(Breakage::KeyIdIgnored) => keys.last(),
            found => found,
        }
        .ok_or_else(|| Status::invalid_argument("unknown key_id"))?;
        let mut bytes = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let opened = key
            .open_in_place(nonce, Aad::from(aad), &mut bytes)
            .map_err(|_| refused())?;
        Ok(Bytes::copy_from_slice(opened))
    }

    /// One call through a transport that may be broken.
    pub async fn serve(
        &self,
        method: &str,
        headers: &HeaderMap,
        request: Bytes,
    ) -> Result<Bytes, Status> {
        let Some(breakage) = self.breakage else {
            return self.call(method, request).await;
        };
        let request = self
            .faults
            .before(breakage, method, headers, request)
            .await?;
        let answer = self.call(method, request).await?;
        Ok(self.faults.after(breakage, method, answer))
    }

    /// One call: request bytes in, answer bytes out.
    async fn call(&self, method: &str, request: Bytes) -> Result<Bytes, Status> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
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
            key_id: name(self.breakage, 1),
        };
        match self.ask_remote().await {
            Ok(()) => answer.key_id = self.current(),
            Err(_) if self.is(Breakage::StatusKnowsNothing) => {}
            Err(status) if self.is(Breakage::SickWithKeyId) => {
                answer.healthz = status.message().into();
            }
            Err(status) => return Err(status),
        }
        match self.breakage {
            Some(Breakage::VersionUnknown) => answer.version = "v3".into(),
            Some(Breakage::VersionFlips) if number % 5 == 4 => answer.version = "v2beta1".into(),
            Some(Breakage::HealthzUpperCase) => answer.healthz = "OK".into(),
            Some(Breakage::StatusRefuses) => return Err(Status::unavailable("not ready")),
            Some(Breakage::KeyIdFlipFlops) if (8..10).contains(&statuses) && !self.beside => {
                answer.key_id.push('x')
            }
            Some(Breakage::KeyIdNames) => {
                answer.key_id = format!("arn:aws:kms:eu-1:1234:{}", answer.key_id)
            }
            Some(Breakage::OneBadObjectMakesSick) if self.sick.load(Ordering::Relaxed) => {
                answer.healthz = "decryption failed".into();
            }
            Some(Breakage::VersionChangesWithRestart)
                if self.was_restarted.load(Ordering::Relaxed) =>
            {
                answer.version = "v2beta1".into();
            }
            Some(Breakage::StatusSlow) => tokio::time::sleep(Duration::from_millis(120)).await,
            _ => {}
        }
        Ok(answer.encode_to_vec().into())
    }

    async fn encrypt(&self, request: Bytes) -> Result<Bytes, Status> {
        let EncryptRequest { plaintext, uid } = EncryptRequest::decode(request)
            .map_err(|e| Status::invalid_argument(format!("bad request: {e}")))?;
        let outcome = self.wrap(&plaintext, &uid).await;
        self.note("Encrypt", &uid, outcome.as_ref().err());
        outcome.map(|answer| answer.encode_to_vec().into())
    }

    async fn wrap(&self, plaintext: &Bytes, uid: &str) -> Result<EncryptResponse, Status> {
        self.ask_remote().await?;
        if uid.is_empty() && self.is(Breakage::EmptyUidInternal) {
            return Err(Status::internal("no uid"));
        }
        if self.faults.poisoned.swap(false, Ordering::Relaxed) {
            return Err(Status::internal("a lock is poisoned"));
        }
        if plaintext.is_empty() || plaintext.len() > 512 {
            return Err(Status::invalid_argument(
                "the plaintext must have 1 to 512 bytes",
            ));
        }
        if self.is(Breakage::EncryptSlow) {
            tokio::time::sleep(Duration::from_millis(110)).await;
        }
        let key_id = match self.breakage {
            Some(Breakage::RotationByStatusOnly | Breakage::EncryptKeyIdLags) => self.first(),
            _ => self.current(),
        };
        let mut annotations =
            Annotations::from([(ANNOTATION.to_string(), Bytes::from_static(b"1"))]);
        let padding = |total: usize| Bytes::from(vec![b'a'; total - ANNOTATION.len() - 9]);
        match self.breakage {
            Some(Breakage::AnnotationKeyBare) => {
                drop(annotations.insert("format".into(), "1".into()))
            }
            Some(Breakage::AnnotationsTooLarge) => {
                drop(annotations.insert("pad.examp".into(), padding(32768)))
            }
            Some(Breakage::AnnotationsCostly) => {
                drop(annotations.insert("pad.examp".into(), padding(2048)))
            }
            Some(Breakage::PlaintextHexInAnnotation) => {
                let hex: String = plaintext.iter().map(|b| format!("{b:02x}")).collect();
                drop(annotations.insert("dek.examp".into(), hex.into()));
            }
            _ => {}
        }
        let mut ciphertext = self.seal(&key_id, &annotations, plaintext);
        match self.breakage {
            Some(Breakage::PlaintextEchoed) => {
                ciphertext = [&ciphertext[..], plaintext].concat().into()
            }
            Some(Breakage::CiphertextAtItsLimit) => {
                ciphertext = [&ciphertext[..], &vec![0; 1024 - ciphertext.len()]]
                    .concat()
                    .into();
            }
            Some(Breakage::SimpleSeedsShareAnAnswer)
                if plaintext.iter().all(|b| *b == plaintext[0]) =>
            {
                let mut first = self.last_plaintext.lock().unwrap();
                if first.len() != 60 {
                    *first = ciphertext.clone();
                }
                ciphertext = first.clone();
            }
            Some(Breakage::CiphertextTooLong) => {
                ciphertext = [&ciphertext[..], &vec![0; 1025 - ciphertext.len()]]
                    .concat()
                    .into();
            }
            _ => {}
        }
        let key_id = match self.breakage {
            Some(Breakage::EncryptKeyIdLags) => "key-4f1c9b77".into(),
            _ => key_id,
        };
        if self.is(Breakage::ErrorHoldsPlaintext) {
            *self.last_plaintext.lock().unwrap() = plaintext.clone();
        }
        Ok(EncryptResponse {
            ciphertext,
            key_id,
            annotations,
        })
    }

    async fn decrypt(&self, request: Bytes) -> Result<Bytes, Status> {
        let request = DecryptRequest::decode(request)
            .map_err(|e| Status::invalid_argument(format!("bad request: {e}")))?;
        let uid = request.uid.clone();
        let outcome = self.unwrap(request).await;
        self.note("Decrypt", &uid, outcome.as_ref().err());
        if let (Ok(plaintext), true) = (&outcome, self.is(Breakage::LogHoldsPlaintext)) {
            self.write(&format!("decrypted {:?}", plaintext.to_vec()));
        }
        self.sick.fetch_or(outcome.is_err(), Ordering::Relaxed);
        let mut plaintext = outcome?;
        match self.breakage {
            Some(Breakage::DecryptDropsLastByte) => drop(plaintext.split_off(plaintext.len() - 1)),
            Some(Breakage::DecryptTrimsLineEnds) if plaintext.ends_with(b"\n\n") => {
                let len = plaintext
                    .iter()
                    .rposition(|b| *b != b'\n')
                    .map_or(0, |at| at + 1);
                plaintext.truncate(len);
            }
            _ => {}
        }
        Ok(DecryptResponse { plaintext }.encode_to_vec().into())
    }

    async fn unwrap(&self, request: DecryptRequest) -> Result<Bytes, Status> {
        let DecryptRequest {
            ciphertext,
            key_id,
            annotations,
            ..
        } = request;
        if self.is(Breakage::DecryptSlow) {
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        let ciphertext = match self.breakage {
            Some(Breakage::PlaintextEchoed) if ciphertext.len() > 60 => ciphertext.slice(..60),
            Some(Breakage::CiphertextAtItsLimit) if ciphertext.len() == 1024 => {
                match ciphertext[60..].iter().all(|b| *b == 0) {
                    true => ciphertext.slice(..60),
                    false => ciphertext,
                }
            }
            Some(Breakage::CiphertextTooLong) if ciphertext.len() == 1025 => ciphertext.slice(..60),
            _ => ciphertext,
        };
        let key_id = match self.breakage {
            Some(Breakage::EncryptKeyIdLags) if key_id == "key-4f1c9b77" => self.first(),
            _ => key_id,
        };
        let opened = self.open(&key_id, &annotations, &ciphertext);
        match self.breakage {
            Some(Breakage::DamageGivesOtherBytes) if opened.is_err() && ciphertext.len() > 40 => {
                Ok(ciphertext.slice(..32))
            }
            Some(Breakage::ErrorHoldsPlaintext) if opened.is_err() => {
                let last = self.last_plaintext.lock().unwrap().clone();
                let hex: String = last.iter().map(|b| format!("{b:02x}")).collect();
                Err(Status::invalid_argument(format!("expected {hex}")))
            }
            Some(Breakage::EmptyCiphertextCrashes) if ciphertext.is_empty() => {
                self.crash.store(true, Ordering::Relaxed);
                opened
            }
            Some(Breakage::DamageGivesEmptySuccess) if opened.is_err() => Ok(Bytes::new()),
            _ => opened,
        }
    }

    fn note(&self, method: &str, uid: &str, error: Option<&Status>) {
        let Some(error) = error else { return };
        self.errors.fetch_add(1, Ordering::Relaxed);
        let uid = if self.is(Breakage::LogWithoutUid) {
            ""
        } else {
            uid
        };
        let code: Code = error.code();
        self.write(&format!(
            "{method} failed: uid={uid:?} code={code:?} {:?}",
            error.message()
        ));
    }

    fn write(&self, line: &str) {
        let Some(path) = &self.log else { return };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

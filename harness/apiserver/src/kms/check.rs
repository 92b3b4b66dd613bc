//! The one function that every probe goes through: a queue of one, a result that is kept for a
//! while, Status, and Encrypt if the answer asks for a new seed (KMS2-STATUS-11, KMS2-STATUS-12).

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::seed::Opener;
use super::state::{State, expiry_from};
use super::{Context, Cx, Provider, shown};
use crate::gotext::{ZERO_TIME, aggregate, hash_if_not_empty, log_value, quote};
use crate::grpc::{Method, Status};
use crate::object::{self, EncryptedObject, SourceType};
use crate::proto::{self, EncryptAnswer, StatusAnswer};
use crate::seam::{CallId, Log, Now, ProbeId};

/// How long a good result is used again.
pub const GOOD_RESULT: Duration = Duration::from_secs(20);
/// How long a bad result is used again.
pub const BAD_RESULT: Duration = Duration::from_secs(3);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The load, which waits.
    Inline,
    /// The loop of 60 s.
    Main,
    /// The loop of 10 s inside of it.
    Nested,
    /// The loop of 10 s after a failed load.
    First,
    /// A health endpoint or a reload.
    Probe(ProbeId),
}

/// One who waits for a check, with the context that the RPCs inherit (KMS2-STATUS-16).
pub(super) struct Checker {
    origin: Origin,
    context: Context,
}

impl Checker {
    pub(super) fn inline() -> Self {
        Checker::of_loop(Origin::Inline)
    }

    pub(super) fn of_loop(origin: Origin) -> Self {
        Checker {
            origin,
            context: Context::default(),
        }
    }
}

/// The check that runs.
pub(super) struct Running {
    checker: Checker,
    stage: Stage,
}

enum Stage {
    /// Waits for Status.
    Status(CallId),
    /// Waits for Encrypt.
    Encrypt(CallId, Box<Rotation>),
}

/// A new seed on its way to the plugin and back.
struct Rotation {
    key: Zeroizing<[u8; 32]>,
    source_type: SourceType,
    uid: String,
    status_key_id: String,
    /// From before the call (KMS2-STATE-02).
    expiry: Now,
    /// What else was wrong with the Status answer.
    faults: Vec<String>,
}

/// The result of the last check.
pub(super) struct LastResult {
    received: Duration,
    ttl: Duration,
    result: Result<(), String>,
}

impl Provider {
    /// Checks for a health endpoint; the result comes out of `take_probed`.
    pub(crate) fn probe(
        &mut self,
        probe: ProbeId,
        deadline: Option<Duration>,
        cancelled: bool,
        cx: &mut Cx<'_>,
    ) {
        let checker = Checker {
            origin: Origin::Probe(probe),
            context: Context {
                deadline,
                cancelled,
            },
        };
        self.check(checker, cx);
    }

    /// The prober has gone: its RPC is cancelled, now or when its turn comes.
    pub(crate) fn cancel_probe(&mut self, probe: ProbeId, cx: &mut Cx<'_>) {
        let origin = Origin::Probe(probe);
        for waiting in &mut self.waiting {
            waiting.context.cancelled |= waiting.origin == origin;
        }
        let Some(running) = &mut self.running else {
            return;
        };
        if running.checker.origin != origin {
            return;
        }
        running.checker.context.cancelled = true;
        let (Stage::Status(call) | Stage::Encrypt(call, _)) = running.stage;
        if let Some(status) = self.channel.cancel(call, cx.out) {
            self.finish(call, Err(status), cx);
        }
    }

    pub(super) fn check(&mut self, checker: Checker, cx: &mut Cx<'_>) {
        self.waiting.push_back(checker);
        self.next_check(cx);
    }

    fn next_check(&mut self, cx: &mut Cx<'_>) {
        while self.running.is_none()
            && let Some(checker) = self.waiting.pop_front()
        {
            if let Some(last) = &self.last
                && cx.now.mono.saturating_sub(last.received) < last.ttl
            {
                let result = last.result.clone();
                self.tell(checker.origin, result, cx);
                continue;
            }
            let call = self.call(Method::Status, Vec::new(), checker.context, cx);
            let stage = Stage::Status(call);
            self.running = Some(Running { checker, stage });
            self.settle(cx);
        }
    }

    /// An RPC of the running check is over.
    pub(super) fn check_answered(
        &mut self,
        call: CallId,
        outcome: Result<Vec<u8>, Status>,
        cx: &mut Cx<'_>,
    ) {
        let Some(Running { checker, stage }) = self.running.take() else {
            return;
        };
        match stage {
            Stage::Status(expected) if expected == call => {
                self.status_answered(checker, outcome, cx);
            }
            Stage::Encrypt(expected, rotation) if expected == call => {
                let mut faults = rotation.faults.clone();
                if let Err(why) = self.encrypt_answered(&rotation, outcome, cx) {
                    faults.push(why);
                }
                self.judged(checker.origin, &faults, cx);
            }
            stage => self.running = Some(Running { checker, stage }),
        }
    }

    fn status_answered(
        &mut self,
        checker: Checker,
        outcome: Result<Vec<u8>, Status>,
        cx: &mut Cx<'_>,
    ) {
        // Whatever came back has been parsed before.
        let answer =
            outcome.and_then(|bytes| StatusAnswer::decode(&bytes).map_err(Status::unparsable));
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => {
                // Kept bare, told with a wrapper (KMS2-HEALTH-06); nothing else happens
                // (KMS2-STATUS-14).
                self.keep(Err(status.to_string()), cx);
                let told = format!(
                    "failed to perform status section of the healthz check for KMS Provider {}, \
                     error: {status}",
                    self.entry.name
                );
                self.tell(checker.origin, Err(told), cx);
                return self.next_check(cx);
            }
        };
        let mut faults = self.status_faults(&answer, cx);
        match object::validate_key_id(&answer.key_id) {
            Err(fault) => {
                cx.metrics.invalid_key_id(&self.entry.name, fault.label());
                faults.push(format!(
                    "got invalid KMSv2 KeyID hash {}: {fault}",
                    quote(&hash_if_not_empty(&answer.key_id))
                ));
            }
            Ok(()) => {
                let hash = hash_if_not_empty(&answer.key_id);
                cx.metrics
                    .status_key_id(&self.entry.name, &hash, cx.now.unix);
                let act = faults.is_empty() || cx.options.act_on_sick_status;
                if act && !self.extend(&answer.key_id, cx) {
                    return self.rotate(checker, answer.key_id, faults, cx);
                }
            }
        }
        self.judged(checker.origin, &faults, cx);
    }

    /// What is wrong with health and version (KMS2-STATUS-01 to -03).
    fn status_faults(&mut self, answer: &StatusAnswer, cx: &Cx<'_>) -> Vec<String> {
        let mut faults = Vec::new();
        if answer.healthz != "ok" {
            faults.push(format!("got unexpected healthz status: {}", answer.healthz));
        }
        let accepted = cx.options.version.api_versions();
        if !accepted.contains(&answer.version.as_str()) {
            faults.push(format!(
                "expected KMSv2 API version {}, got {}",
                accepted[0], answer.version
            ));
        } else {
            match &self.pinned {
                None => self.pinned = Some(answer.version.clone()),
                Some(pinned) if *pinned != answer.version => faults.push(format!(
                    "KMSv2 API version should not change after the initial status response \
                     version {pinned}, got {}",
                    answer.version
                )),
                Some(_) => {}
            }
        }
        faults
    }

    /// Extends the state if it is of this key_id and of the type that is written now; an expired
    /// one as well (KMS2-STATE-04).
    fn extend(&mut self, key_id: &str, cx: &Cx<'_>) -> bool {
        match &mut self.state {
            Some(state)
                if state.key_id == key_id && state.source_type == cx.options.source_type() =>
            {
                state.expiry = expiry_from(cx.now);
                true
            }
            _ => false,
        }
    }

    /// Makes a seed and has it wrapped (KMS2-ENC-01, KMS2-ENC-02).
    fn rotate(
        &mut self,
        checker: Checker,
        status_key_id: String,
        faults: Vec<String>,
        cx: &mut Cx<'_>,
    ) {
        let mut key = Zeroizing::new([0; 32]);
        let uid = cx.uid();
        cx.rng.fill_bytes(&mut *key);
        cx.metrics.key_generated();
        cx.log(6, || {
            format!(
                "\"encrypting content using envelope service\" uid={}",
                quote(&uid)
            )
        });
        let request = proto::encrypt_request(&*key, &uid);
        let rotation = Box::new(Rotation {
            key,
            source_type: cx.options.source_type(),
            uid,
            status_key_id,
            expiry: expiry_from(cx.now),
            faults,
        });
        let call = self.call(Method::Encrypt, request, checker.context, cx);
        let stage = Stage::Encrypt(call, rotation);
        self.running = Some(Running { checker, stage });
        self.settle(cx);
    }

    /// Takes the wrapped seed for the new state, or says why not and keeps the old one
    /// (KMS2-ENC-06, KMS2-ENC-09).
    fn encrypt_answered(
        &mut self,
        rotation: &Rotation,
        outcome: Result<Vec<u8>, Status>,
        cx: &mut Cx<'_>,
    ) -> Result<(), String> {
        let wrapped = outcome
            .map_err(|status| format!("failed to encrypt DEK, error: {status}"))
            .and_then(|bytes| EncryptAnswer::decode(&bytes).map_err(|error| error.to_string()))
            .and_then(|answer| {
                object::validate_parts(&answer.ciphertext, &answer.key_id, &answer.annotations)?;
                Ok(answer)
            });
        match wrapped {
            Ok(answer) if answer.key_id == rotation.status_key_id => {
                self.take_up(rotation, answer, cx);
                Ok(())
            }
            other => Err(self.rotation_error(rotation, other)),
        }
    }

    fn take_up(&mut self, rotation: &Rotation, answer: EncryptAnswer, cx: &mut Cx<'_>) {
        let opener = match rotation.source_type {
            SourceType::AesGcmKey => Opener::writing_key(&rotation.key),
            SourceType::HkdfSeed => {
                Opener::seed(&*rotation.key).expect("32 bytes are enough for a seed")
            }
        };
        let object = EncryptedObject {
            data: Vec::new(),
            key_id: answer.key_id,
            source: answer.ciphertext,
            annotations: answer.annotations,
            // 0 or 1.
            source_type: rotation.source_type.number() as i32,
        };
        let cache_key = object.cache_key();
        let key_id_hash = hash_if_not_empty(&object.key_id);
        cx.log(6, || {
            let old = self.state.as_ref().map(|state| state.key_id_hash.as_str());
            format!(
                "\"successfully rotated DEK\" uid={} useSeed={} newKeyIDHash={} oldKeyIDHash={} \
                 expirationTimestamp={}",
                quote(&rotation.uid),
                rotation.source_type == SourceType::HkdfSeed,
                quote(&key_id_hash),
                quote(old.unwrap_or_default()),
                quote(&shown(rotation.expiry))
            )
        });
        self.state = Some(State {
            opener: Arc::new(opener),
            key_id_hash,
            key_id: object.key_id,
            source: object.source,
            annotations: object.annotations,
            source_type: rotation.source_type,
            uid: rotation.uid.clone(),
            expiry: rotation.expiry,
            cache_key,
        });
    }

    fn rotation_error(
        &self,
        rotation: &Rotation,
        wrapped: Result<EncryptAnswer, String>,
    ) -> String {
        let (fault, answered) = match wrapped {
            Ok(answer) => ("<nil>".to_owned(), answer.key_id),
            Err(why) => (why, String::new()),
        };
        let (state_fault, key_id, expiry) = match &self.state {
            Some(state) => ("<nil>", state.key_id.as_str(), shown(state.expiry)),
            None => ("got unexpected nil transformer", "", ZERO_TIME.to_owned()),
        };
        format!(
            "failed to rotate DEK uid={}, useSeed={}, errState={state_fault}, errGen={fault}, \
             statusKeyIDHash={}, encryptKeyIDHash={}, stateKeyIDHash={}, \
             expirationTimestamp={expiry}",
            quote(&rotation.uid),
            rotation.source_type == SourceType::HkdfSeed,
            quote(&hash_if_not_empty(&rotation.status_key_id)),
            quote(&hash_if_not_empty(&answered)),
            quote(&hash_if_not_empty(key_id)),
        )
    }

    /// The check has come to its end.
    fn judged(&mut self, origin: Origin, faults: &[String], cx: &mut Cx<'_>) {
        let result = if faults.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "kmsv2 Provider {} is not healthy, error: {}",
                self.entry.name,
                aggregate(faults)
            ))
        };
        self.keep(result.clone(), cx);
        self.tell(origin, result, cx);
        self.next_check(cx);
    }

    fn keep(&mut self, result: Result<(), String>, cx: &Cx<'_>) {
        self.last = Some(LastResult {
            received: cx.now.mono,
            ttl: if result.is_ok() {
                GOOD_RESULT
            } else {
                BAD_RESULT
            },
            result,
        });
    }

    fn tell(&mut self, origin: Origin, result: Result<(), String>, cx: &mut Cx<'_>) {
        if let (Err(why), false) = (&result, matches!(origin, Origin::Probe(_))) {
            cx.out.push(Log::error(format!(
                "\"kms plugin failed health check probe\" err={} name={}",
                log_value(why),
                quote(&self.entry.name)
            )));
        }
        match origin {
            Origin::Probe(probe) => self.probed.push((probe, result)),
            Origin::Inline => {
                self.primed = true;
                if !self.channel.is_closed() {
                    self.loops.begin(result.is_err(), cx.now);
                }
            }
            _ => self.loops.checked(origin, result.is_err(), cx.now),
        }
    }
}

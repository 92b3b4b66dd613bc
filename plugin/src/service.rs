//! The three calls, as the API server means them; no wire format here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, MAX_FIELD_BYTES,
    StatusResponse,
};
use tokio::time::{Instant, timeout_at};

use crate::batch::{Failed, Lane};
use crate::config::{Adopt, StatusVersion};
use crate::event::VaultOp;
use crate::fault::{Code, Fault};
use crate::key::format::{self, Format};
use crate::key::hashicorp::Words;
use crate::key::id;
use crate::keyring::{Found, Keyring};
use crate::transit::{self, Input, Output};

/// Why a call failed: what goes to the caller, and what goes to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// gRPC code.
    pub code: Code,
    /// Text for the caller.
    pub message: String,
    /// HTTP status behind it, 0 when there was none.
    pub http_status: u16,
    /// What to look at.
    pub remedy: &'static str,
    /// Our id of the request to Vault that decided it, 0 when there was none.
    pub request_id: u64,
}

impl CallError {
    fn invalid(message: impl Into<String>) -> Self {
        Self {
            code: Code::InvalidArgument,
            message: message.into(),
            http_status: 0,
            remedy: "request",
            request_id: 0,
        }
    }
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        Self {
            code: fault.code(),
            message: fault.to_string(),
            http_status: fault.http_status(),
            remedy: fault.remedy(),
            request_id: 0,
        }
    }
}

impl From<Failed> for CallError {
    fn from(failed: Failed) -> Self {
        Self {
            request_id: failed.request_id,
            ..failed.fault.into()
        }
    }
}

/// The plugin's answers.
pub struct Service {
    status_version: StatusVersion,
    keyring: Arc<Keyring>,
    encrypt: Arc<Lane>,
    /// One lane a place.
    decrypt: Vec<Arc<Lane>>,
}

impl Service {
    /// Over lanes that somebody else pumps.
    pub fn new(
        status_version: StatusVersion,
        keyring: Arc<Keyring>,
        encrypt: Arc<Lane>,
        decrypt: Vec<Arc<Lane>>,
    ) -> Self {
        Self {
            status_version,
            keyring,
            encrypt,
            decrypt,
        }
    }

    /// From memory: no request to Vault (KMS2-STATUS-15). Sickness is an error, never a `healthz`
    /// beside a valid key_id, which would let the API server write for ever (KMS2-STATUS-13).
    ///
    /// # Errors
    /// What is wrong and since when, or the remedy.
    pub fn status(&self) -> Result<StatusResponse, CallError> {
        self.keyring
            .health(|h| h.status())
            .map_err(|sick| CallError {
                code: sick.code,
                message: sick.text,
                http_status: 0,
                remedy: "status",
                request_id: 0,
            })?;
        let version = self.keyring.version().ok_or_else(|| CallError {
            code: Code::Unavailable,
            message: "the key has not been read since the start".to_owned(),
            http_status: 0,
            remedy: "key",
            request_id: 0,
        })?;
        Ok(StatusResponse {
            version: self.status_version.as_str().to_owned(),
            healthz: "ok".to_owned(),
            key_id: version.key_id.to_string(),
        })
    }

    /// # Errors
    /// As [`Fault`]; a plaintext of unfit length without a request.
    pub async fn encrypt(
        &self,
        request: EncryptRequest,
        deadline: Instant,
    ) -> Result<EncryptResponse, CallError> {
        self.check_length(request.plaintext.len())?;
        if self.keyring.version().is_none() {
            // It came with the start, as calls do when another program had the socket before.
            let reread = Box::pin(self.keyring.reread(0, deadline));
            within::<_, Fault>(deadline, reread).await?;
            self.check_length(request.plaintext.len())?;
        }
        self.keyring
            .health(|h| h.admit(VaultOp::Encrypt, Instant::now()))?;
        let output = within(
            deadline,
            self.encrypt
                .call(Input::Plaintext(request.plaintext), deadline),
        )
        .await?;
        let Output::Ciphertext { text, version } = output else {
            return Err(broken("encrypt gave no ciphertext"));
        };
        // The API server would throw a longer one away (KMS2-ENC-05).
        if text.is_empty() || text.len() > MAX_FIELD_BYTES {
            return Err(broken("the ciphertext does not fit 1024 bytes"));
        }
        let annotation = (
            id::FORMAT_ANNOTATION.to_owned(),
            Bytes::from_static(version.format.word().as_bytes()),
        );
        Ok(EncryptResponse {
            ciphertext: text,
            key_id: version.key_id.to_string(),
            annotations: [annotation].into(),
        })
    }

    /// Whether a plaintext of `n` bytes can be encrypted at the version in use, or at the first one before there is one.
    fn check_length(&self, n: usize) -> Result<(), CallError> {
        let most = transit::max_plaintext(self.keyring.version().map_or(1, |v| v.number));
        match n {
            0 => Err(CallError::invalid("plaintext is empty")),
            n if n > most => Err(CallError::invalid(format!(
                "plaintext has {n} bytes, more than the {most} whose ciphertext fits 1024 bytes"
            ))),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// `InvalidArgument` without a request for whatever can be recognised here; else as [`Fault`].
    pub async fn decrypt(
        &self,
        request: DecryptRequest,
        deadline: Instant,
    ) -> Result<DecryptResponse, CallError> {
        let (number, format) = check_shape(&request, self.keyring.adopt)?;
        let mut found = self.keyring.find(&request.key_id, number, format);
        if let Found::Unknown(places) = &found {
            // A value is one of ours whether or not the document can be read, if its key_id binds
            // it; and another plugin's says no more than the label, or names place and version.
            let may_try = format.is_bound()
                || format == Format::HashiCorp
                || request.key_id == number.to_string();
            let mut read_now = true;
            for at in places.clone() {
                // Boxed because it is rare and large: each call would carry its room.
                let reread = Box::pin(self.keyring.reread(at, deadline));
                let read = within::<_, Fault>(deadline, reread).await;
                if !may_try {
                    read_now &= read?;
                }
            }
            found = self.keyring.find(&request.key_id, number, format);
            if !may_try && matches!(found, Found::Unknown(_)) {
                if !read_now {
                    return Err(Fault::PinTooNew(number).into());
                }
                found = Found::Nowhere;
            }
        }
        let places = match found {
            Found::At(at, _) => vec![at],
            Found::Unknown(places) => places,
            Found::Nowhere => {
                return Err(CallError::invalid(format!(
                    "key_id {} does not belong to a ciphertext of version {number} of any configured key",
                    request.key_id
                )));
            }
        };
        let input = Input::Ciphertext {
            text: request.ciphertext,
            key_id: request.key_id.into(),
            bound: format.is_bound(),
        };
        let mut last = None;
        for at in places {
            if at == 0 {
                self.keyring
                    .health(|h| h.admit(VaultOp::Decrypt, Instant::now()))?;
            }
            match within(deadline, self.decrypt[at].call(input.clone(), deadline)).await {
                Ok(Output::Plaintext(plaintext)) => {
                    if !format.is_bound() {
                        self.keyring.tell_unbound(format);
                    }
                    return Ok(DecryptResponse { plaintext });
                }
                Ok(Output::Ciphertext { .. }) => return Err(broken("decrypt gave no plaintext")),
                Err(failed) => last = Some(failed),
            }
        }
        Err(last.map_or_else(
            || CallError::invalid("no configured key decrypts this value"),
            CallError::from,
        ))
    }
}

fn broken(message: &str) -> CallError {
    CallError {
        code: Code::Internal,
        message: message.to_owned(),
        http_status: 0,
        remedy: "server",
        request_id: 0,
    }
}

/// The caller's deadline ends a wait with a text of our own, before the caller's own timer does.
async fn within<T, E: From<Fault>>(
    deadline: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let began = Instant::now();
    timeout_at(deadline, work).await.unwrap_or_else(|_| {
        Err(Fault::Timeout {
            address: "the configured address".to_owned(),
            limit: deadline - began,
        }
        .into())
    })
}

/// Everything that can be recognised without Vault; returns the version of the label, and how the
/// value was written.
fn check_shape(request: &DecryptRequest, adopt: Option<Adopt>) -> Result<(u64, Format), CallError> {
    let DecryptRequest {
        ciphertext,
        key_id,
        annotations,
        ..
    } = request;
    match ciphertext.len() {
        0 => return Err(CallError::invalid("ciphertext is empty")),
        n if n > MAX_FIELD_BYTES => {
            return Err(CallError::invalid(format!(
                "ciphertext has {n} bytes, more than 1024"
            )));
        }
        _ => {}
    }
    let number = transit::label(ciphertext)
        .ok_or_else(|| CallError::invalid("ciphertext has no canonical vault:vN: label"))?;
    if !transit::has_canonical_payload(ciphertext) {
        return Err(CallError::invalid(
            "ciphertext is not standard padded base64 behind its label",
        ));
    }
    match key_id.len() {
        0 => return Err(CallError::invalid("key_id is empty")),
        n if n > MAX_FIELD_BYTES => {
            return Err(CallError::invalid(format!(
                "key_id has {n} bytes, more than 1024"
            )));
        }
        _ => {}
    }
    let format = Format::of(annotations.iter(), adopt).map_err(CallError::invalid)?;
    let fits = match format {
        Format::Community => format::is_community_key_id(key_id),
        Format::HashiCorp => Words::of(key_id).is_some(),
        Format::Bound | Format::Unbound => id::is_key_id(key_id),
    };
    if !fits {
        return Err(CallError::invalid("key_id is not one of this plugin's"));
    }
    Ok((number, format))
}

/// How long before a caller's deadline the answer goes out.
pub fn margin(timeout: Duration) -> Duration {
    (timeout / 20).min(Duration::from_millis(100))
}

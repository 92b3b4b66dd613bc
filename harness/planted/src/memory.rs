//! What a broken plugin remembers, over all of its connections.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use kms_v2_api::{EncryptResponse, StatusResponse};
use tonic::Status;

use crate::variant::Variant;

/// One life of a plugin with a bug: a restarted process is a new one. Clones share their memory.
#[derive(Clone, Debug)]
pub struct Planted {
    pub(crate) variant: Variant,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Calls or requests so far.
    pub calls: u64,
    /// The first good Status and the newest.
    pub first: Option<StatusResponse>,
    pub newest: Option<StatusResponse>,
    /// The key before the newest.
    pub before: Option<String>,
    pub sick: Option<Status>,
    pub encrypted: Option<EncryptResponse>,
    pub ciphertexts: BTreeSet<Bytes>,
    /// The newest login, and the first one's answer.
    pub login: Option<Sent>,
    pub login_answer: Option<Got>,
    pub key: Option<Got>,
}

/// A request to Vault.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Vault's answer.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Planted {
    /// A plugin that starts.
    #[must_use]
    pub fn new(variant: Variant) -> Self {
        let memory = Arc::default();
        Self { variant, memory }
    }

    /// Which bug it has.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

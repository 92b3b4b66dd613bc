//! What goes wrong with stored objects, in the words of the real server.

use kms_apiserver_api::Resource;
use thiserror::Error;

use crate::store::StoreError;

/// A stored value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// Its key: whole in a list, without the server's prefix otherwise.
    pub key: String,
    /// Why.
    pub cause: String,
}

impl Corrupt {
    /// The text of versions that can delete such objects.
    pub fn not_transformable(&self) -> String {
        format!(
            "data from the storage is not transformable revision=0: {}",
            self.cause
        )
    }

    /// The same with the key.
    pub fn text(&self) -> String {
        format!(
            "StorageError: corrupt object, Code: 7, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: {}",
            self.key,
            self.not_transformable()
        )
    }
}

/// Why an operation on objects failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// The object has changed since it was read, or is there already.
    #[error("changed")]
    Changed,
    /// One object cannot be read, in versions that can delete such objects.
    #[error("{}", .0.text())]
    Corrupt(Corrupt),
    /// Objects of a list cannot be read, in versions that can delete such objects.
    #[error("{}", list_text(*resource, corrupt))]
    List {
        /// Of which kind.
        resource: Resource,
        /// Which; at least one.
        corrupt: Vec<Corrupt>,
    },
    /// Anything else that is no fault of the client.
    #[error("{0}")]
    Internal(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list_text(resource: Resource, corrupt: &[Corrupt]) -> String {
    let first = corrupt.first().map(Corrupt::text).unwrap_or_default();
    let more = if corrupt.len() > 1 {
        format!(" (and {} more)", corrupt.len() - 1)
    } else {
        String::new()
    };
    format!(
        "failed to read one or more {} from the storage: {first}{more}",
        resource.plural()
    )
}

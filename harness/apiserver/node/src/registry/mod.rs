//! Objects in the store: keys, encryption, and what a read or write of one object or a page does.
//!
//! The texts of errors are those of the real server; which form they take depends on whether undecryptable objects can
//! be deleted (KMS2-DEC-13).

mod error;
mod keys;

use std::sync::Arc;

use bytes::Bytes;
use kms_apiserver_api::Resource;

pub use error::{Corrupt, RegistryError};
pub use keys::Keys;

use crate::encryption::Encryption;
use crate::object::{Object, protobuf};
use crate::store::{Changed, Entry, Expect, Page, Range, Store};

/// How many undecryptable objects one list names; the rest is not looked at.
const CORRUPT_NAMED: usize = 100;

/// The objects of one server in its store.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    encryption: Encryption,
    keys: Keys,
    /// Whether undecryptable objects are reported one by one and can be deleted.
    names_corrupt: bool,
}

/// An object as it was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The object.
    pub object: Object,
    /// Its stored form, decrypted.
    pub plain: Vec<u8>,
    /// The store's revision of it.
    pub mod_revision: i64,
    /// Whether it must be written again even if nothing changes (KMS2-STALE-04).
    pub stale: bool,
}

impl Registry {
    /// The objects under a prefix of a store.
    pub fn new(
        store: Arc<dyn Store>,
        encryption: Encryption,
        keys: Keys,
        names_corrupt: bool,
    ) -> Self {
        Registry {
            store,
            encryption,
            keys,
            names_corrupt,
        }
    }

    /// How keys are made.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Whether undecryptable objects are reported one by one and can be deleted.
    pub fn names_corrupt(&self) -> bool {
        self.names_corrupt
    }

    /// Reads a stored entry.
    ///
    /// # Errors
    /// It cannot be decrypted, or is no object of this kind.
    pub async fn open(&self, resource: Resource, entry: &Entry) -> Result<Read, Corrupt> {
        let corrupt = |cause: String| Corrupt {
            key: entry.key.clone(),
            cause,
        };
        let plain = self
            .encryption
            .read(resource, &entry.key, &entry.value)
            .await;
        let plain = plain.map_err(|error| corrupt(error.text))?;
        let object =
            protobuf::decode(resource, &plain.bytes, entry.mod_revision).map_err(corrupt)?;
        Ok(Read {
            object,
            plain: plain.bytes,
            mod_revision: entry.mod_revision,
            stale: plain.stale,
        })
    }

    /// Reads one object, newest state.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], or what the store or the decryption says.
    pub async fn get(&self, resource: Resource, key: &str) -> Result<Read, RegistryError> {
        let (entry, _) = self.store.get(key).await?;
        let entry = entry.ok_or(RegistryError::NotFound)?;
        self.open(resource, &entry)
            .await
            .map_err(|corrupt| self.unreadable(corrupt))
    }

    /// Reads one object in order to change it: the same, with the other text of the real server.
    ///
    /// # Errors
    /// As [`Registry::get`].
    pub async fn get_for_update(
        &self,
        resource: Resource,
        key: &str,
    ) -> Result<Read, RegistryError> {
        let (entry, _) = self.store.get(key).await?;
        let entry = entry.ok_or(RegistryError::NotFound)?;
        let read = self.open(resource, &entry).await;
        read.map_err(|corrupt| RegistryError::Internal(self.cause(&corrupt)))
    }

    /// Reads a page of objects, one after another (KMS2-DEC-14).
    ///
    /// # Errors
    /// One unreadable object fails the whole page.
    pub async fn page(
        &self,
        resource: Resource,
        range: Range,
    ) -> Result<(Vec<(String, Object)>, Page), RegistryError> {
        let mut page = self.store.range(range).await?;
        let mut objects = Vec::with_capacity(page.entries.len());
        let mut corrupt = Vec::new();
        for entry in std::mem::take(&mut page.entries) {
            match self.open(resource, &entry).await {
                Ok(read) => objects.push((entry.key, read.object)),
                Err(found) if self.names_corrupt => {
                    corrupt.push(found);
                    if corrupt.len() == CORRUPT_NAMED {
                        break;
                    }
                }
                Err(found) => {
                    let text = format!("unable to transform key {:?}: {}", found.key, found.cause);
                    return Err(RegistryError::Internal(text));
                }
            }
        }
        if corrupt.is_empty() {
            Ok((objects, page))
        } else {
            Err(RegistryError::List { resource, corrupt })
        }
    }

    /// Writes an object; its resource version becomes the new revision.
    ///
    /// # Errors
    /// [`RegistryError::Changed`] if the expectation does not hold; what the store or the encryption says.
    pub async fn write(
        &self,
        key: &str,
        object: &mut Object,
        plain: &[u8],
        expect: Expect,
    ) -> Result<(), RegistryError> {
        let resource = object.resource();
        let stored = self
            .encryption
            .write(resource, key, plain)
            .map_err(|error| RegistryError::Internal(error.text))?;
        match self.store.put(key, Bytes::from(stored), expect).await? {
            Changed::Done { revision } => {
                object.meta.resource_version = revision.to_string();
                Ok(())
            }
            Changed::Conflict { .. } => Err(RegistryError::Changed),
        }
    }

    /// Removes an object.
    ///
    /// # Errors
    /// [`RegistryError::Changed`] if the expectation does not hold; what the store says.
    pub async fn remove(&self, key: &str, expect: Expect) -> Result<i64, RegistryError> {
        match self.store.delete(key, expect).await? {
            Changed::Done { revision } => Ok(revision),
            Changed::Conflict { .. } => Err(RegistryError::Changed),
        }
    }

    fn unreadable(&self, corrupt: Corrupt) -> RegistryError {
        if self.names_corrupt {
            let key = self.keys.without_prefix(&corrupt.key).to_owned();
            RegistryError::Corrupt(Corrupt { key, ..corrupt })
        } else {
            RegistryError::Internal(corrupt.cause)
        }
    }

    /// Why a value cannot be read, in the words of this version.
    pub fn cause(&self, corrupt: &Corrupt) -> String {
        if self.names_corrupt {
            corrupt.not_transformable()
        } else {
            corrupt.cause.clone()
        }
    }
}

//! The remote KMS: versions of a key, in memory or in a file that outlives the plugin and that its operator rotates.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::bug::Bug;

/// Name of the file in the state's folder.
const FILE: &str = "keys";
/// Its first line.
const FORMAT: &str = "kms-zoo state 1";
/// Material of a key that was made again, and of keys that a process makes for itself: beyond all rotations.
const MADE_AGAIN: u32 = 100_000;
const LOCAL: u32 = 200_000;

/// How the remote KMS is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    There,
    Away,
    Silent,
}

/// A version of the key: what it is called by, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    name: u32,
    material: u32,
}

/// All versions, the newest last.
#[derive(Clone)]
struct State {
    seed: Zeroizing<[u8; 32]>,
    rotations: u32,
    versions: Vec<Version>,
}

pub(crate) struct Kms {
    bug: Option<Bug>,
    file: Option<PathBuf>,
    state: Mutex<State>,
    remote: Mutex<Remote>,
}

/// The keys at one moment.
pub(crate) struct Keys {
    bug: Option<Bug>,
    state: State,
}

impl Kms {
    /// A KMS with one key, in memory.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn in_memory(bug: Option<Bug>, remote: Remote) -> io::Result<Self> {
        Ok(Self {
            bug,
            file: None,
            state: Mutex::new(State::new()?),
            remote: Mutex::new(remote),
        })
    }

    /// The KMS in a folder, made where there is none; and whether there was one.
    ///
    /// # Errors
    /// The folder cannot be used, or the file in it is none of ours.
    pub fn in_folder(bug: Option<Bug>, folder: &Path) -> io::Result<(Self, bool)> {
        let file = folder.join(FILE);
        let (state, found) = match State::read(&file) {
            Ok(state) => (state, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let state = State::new()?;
                state.write(&file)?;
                (state, false)
            }
            Err(error) => return Err(error),
        };
        let kms = Self {
            bug,
            file: Some(file),
            state: Mutex::new(state),
            remote: Mutex::new(Remote::There),
        };
        Ok((kms, found))
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub fn remote(&self) -> Remote {
        *lock(&self.remote)
    }

    pub fn becomes(&self, remote: Remote) {
        *lock(&self.remote) = remote;
    }

    /// The keys as they are now.
    pub fn keys(&self) -> io::Result<Keys> {
        let mut state = lock(&self.state);
        if let Some(file) = &self.file {
            *state = State::read(file)?;
        }
        let state = state.clone();
        Ok(Keys {
            bug: self.bug,
            state,
        })
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut state = lock(&self.state);
        if let Some(file) = &self.file {
            *state = State::read(file)?;
        }
        change(&mut state);
        self.file.as_ref().map_or(Ok(()), |file| state.write(file))
    }

    /// The operator rotates the key.
    pub fn rotate(&self) -> io::Result<()> {
        if self.is(Bug::RotationUnseen) {
            return Ok(());
        }
        self.change(|state| {
            state.rotations += 1;
            let number = state.rotations + 1;
            if self.is(Bug::KeyIdComesBack) && number == 3 {
                // Back to the first key under its old name.
                state.versions.rotate_left(1);
                return;
            }
            if self.is(Bug::RotationDropsOldKeys) {
                state.versions.clear();
            }
            state.versions.push(Version::numbered(number));
        })
    }

    /// A rotation that the KMS refuses.
    pub fn rotate_in_vain(&self) -> io::Result<()> {
        match self.bug {
            Some(Bug::RefusedRotationTakenUp) => self.rotate(),
            _ => Ok(()),
        }
    }

    /// The key is gone, and all its versions.
    pub fn delete(&self) -> io::Result<()> {
        self.change(|state| state.versions.clear())
    }

    /// Another key of the same name.
    pub fn make_again(&self) -> io::Result<()> {
        let name = match self.bug {
            Some(Bug::NameIsTheKeyId) => 1,
            _ => MADE_AGAIN,
        };
        self.change(|state| {
            state.versions.push(Version {
                name,
                material: MADE_AGAIN,
            });
        })
    }

    /// What a bug loses when the plugin starts again.
    pub fn restarted(&self) -> io::Result<()> {
        match self.bug {
            Some(Bug::RestartLosesKeys) => self.change(|state| {
                for version in &mut state.versions {
                    version.material += LOCAL;
                }
            }),
            Some(Bug::RestartForgetsEarlierKeys) => self.change(|state| {
                let newest = state.versions.pop();
                state.versions = newest.into_iter().collect();
            }),
            Some(Bug::LocalKeyPerStart) => self.change(|state| {
                let number = LOCAL + state.versions.len() as u32;
                state.versions.push(Version::numbered(number));
            }),
            _ => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Version {
    fn numbered(number: u32) -> Self {
        Self {
            name: number,
            material: number,
        }
    }

    fn key(self, seed: &[u8; 32]) -> LessSafeKey {
        let mut hash = Sha256::new();
        hash.update(seed);
        hash.update(self.material.to_be_bytes());
        let key = UnboundKey::new(&AES_256_GCM, &hash.finalize())
            .expect("SHA-256 gives as many bytes as AES-256 takes");
        LessSafeKey::new(key)
    }
}

impl Keys {
    pub fn is_empty(&self) -> bool {
        self.state.versions.is_empty()
    }

    pub fn rotations(&self) -> u32 {
        self.state.rotations
    }

    /// key_id of the newest.
    pub fn newest(&self) -> Option<String> {
        let newest = self.state.versions.last()?;
        Some(name(self.bug, newest.name))
    }

    /// key_id of the oldest.
    pub fn oldest(&self) -> Option<String> {
        let oldest = self.state.versions.first()?;
        Some(name(self.bug, oldest.name))
    }

    pub fn newest_key(&self) -> Option<LessSafeKey> {
        let newest = self.state.versions.last()?;
        Some(newest.key(&self.state.seed))
    }

    /// The one before the newest.
    pub fn previous_key(&self) -> Option<LessSafeKey> {
        let previous = self.state.versions.iter().rev().nth(1)?;
        Some(previous.key(&self.state.seed))
    }

    pub fn find(&self, key_id: &str) -> Option<LessSafeKey> {
        let mut versions = self.state.versions.iter();
        let found = versions.find(|version| name(self.bug, version.name) == key_id)?;
        Some(found.key(&self.state.seed))
    }
}

/// The key_id of the numbered version.
pub(crate) fn name(bug: Option<Bug>, number: u32) -> String {
    match bug {
        Some(Bug::KeyIdTooLong) => format!("{number:k>1025}"),
        Some(Bug::KeyIdAtItsLimit) => format!("{number:k>1024}"),
        Some(Bug::KeyIdNotUtf8) => format!("key-4f1c9a{number:02}~"),
        Some(Bug::KeyIdNames) => format!("arn:aws:kms:eu-1:1234:key/{number}"),
        Some(Bug::KeyIdHoldsAddress) => STANDARD.encode(format!(
            "{{\"address\":\"https://vault.example:8200\",\"key\":\"transit/kms\",\"version\":{number}}}"
        )),
        _ => format!("key-4f1c9a{number:02}"),
    }
}

impl State {
    fn new() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(&mut *seed)
            .map_err(|_| io::Error::other("the system has no randomness"))?;
        Ok(Self {
            seed,
            rotations: 0,
            versions: vec![Version::numbered(1)],
        })
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        let seed = Zeroizing::new(STANDARD.encode(*self.seed));
        let mut text = Zeroizing::new(format!(
            "{FORMAT}\nseed {}\nrotations {}\n",
            *seed, self.rotations
        ));
        for Version { name, material } in &self.versions {
            text.push_str(&format!("version {name} {material}\n"));
        }
        // Whole or not at all: the plugin reads it at any moment.
        let beside = file.with_extension("new");
        fs::write(&beside, text.as_bytes())?;
        fs::rename(&beside, file)
    }

    fn read(file: &Path) -> io::Result<Self> {
        let text = Zeroizing::new(fs::read_to_string(file)?);
        Self::parse(&text).ok_or_else(|| {
            let text = format!("{} is no state of this plugin: remove it", file.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        lines.next().filter(|line| *line == FORMAT)?;
        let seed = lines.next()?.strip_prefix("seed ")?;
        let seed = Zeroizing::new(STANDARD.decode(seed).ok()?);
        let rotations = lines.next()?.strip_prefix("rotations ")?.parse().ok()?;
        let versions = lines.map(|line| {
            let (name, material) = line.strip_prefix("version ")?.split_once(' ')?;
            Some(Version {
                name: name.parse().ok()?,
                material: material.parse().ok()?,
            })
        });
        Some(Self {
            seed: Zeroizing::new(seed.as_slice().try_into().ok()?),
            rotations,
            versions: versions.collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was encrypted is read by the next process, and the operator's rotation is seen at once.
    #[test]
    fn a_folder_keeps_the_keys_and_shows_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let (first, found) = Kms::in_folder(None, folder.path()).unwrap();
        assert!(!found);
        let (second, found) = Kms::in_folder(None, folder.path()).unwrap();
        assert!(found);
        let before = first.keys().unwrap().newest().unwrap();
        assert_eq!(second.keys().unwrap().newest().unwrap(), before);
        second.rotate().unwrap();
        let keys = first.keys().unwrap();
        assert_ne!(keys.newest().unwrap(), before);
        assert!(keys.find(&before).is_some());
        assert_eq!(keys.rotations(), 1);
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        for text in ["", "kms-zoo state 1\nseed AAAA\nrotations 0\n", "something"] {
            fs::write(&file, text).unwrap();
            let error = Kms::in_folder(None, folder.path()).err().unwrap();
            assert!(error.to_string().contains("remove it"), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }

    /// Two lives of a plugin that forgets: the newest key is all that is left.
    #[test]
    fn what_a_restart_loses_is_lost_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let bug = Some(Bug::RestartForgetsEarlierKeys);
        let (kms, _) = Kms::in_folder(bug, folder.path()).unwrap();
        let before = kms.keys().unwrap().newest().unwrap();
        kms.rotate().unwrap();
        kms.restarted().unwrap();
        let keys = kms.keys().unwrap();
        assert!(keys.find(&before).is_none());
        assert_eq!(keys.newest(), keys.oldest());
    }
}

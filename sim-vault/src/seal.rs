//! The barrier's state: initialised or not, sealed or not, key shares.

use sha2::{Digest, Sha256};

/// Shares and progress. The shares are random texts of the right length; nothing in the model is really encrypted with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seal {
    pub initialised: bool,
    pub sealed: bool,
    pub threshold: u8,
    pub shares: Vec<Vec<u8>>,
    /// Shares given so far, each once.
    pub given: Vec<Vec<u8>>,
    pub nonce: String,
}

/// What came of giving one share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Unsealed,
    /// Enough shares, but not the right ones.
    Wrong,
}

impl Seal {
    /// Takes a share.
    pub(crate) fn give(&mut self, share: &[u8]) -> Progress {
        if !self.given.iter().any(|g| g == share) {
            self.given.push(share.to_vec());
        }
        if self.given.len() < usize::from(self.threshold) {
            return Progress::More;
        }
        let given = std::mem::take(&mut self.given);
        self.nonce.clear();
        let known: Vec<[u8; 32]> = self
            .shares
            .iter()
            .map(|s| Sha256::digest(s).into())
            .collect();
        if given
            .iter()
            .all(|g| known.contains(&Sha256::digest(g).into()))
        {
            self.sealed = false;
            Progress::Unsealed
        } else {
            Progress::Wrong
        }
    }

    pub(crate) fn reset(&mut self) {
        self.given.clear();
        self.nonce.clear();
    }
}

//! Invariants of chaos runs: pure functions over the typed history.
//!
//! Safety (`always`) is judged over all phases, liveness (`eventually`) after heal only, `sometimes` wants to be seen
//! once. What was never observed gives [`Result::Nothing`], never a pass.
//!
//! Reading order: this file (the words), [`view`] (the history by subject), `data`, `pairs`, `keys`, `service`, `calls`.

mod calls;
mod data;
mod keys;
mod pairs;
mod service;
pub mod view;

use std::fmt;
use std::time::Duration;

use kms_history::chaos::{Entry, Phase};

use view::View;

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// No acknowledged write is lost: what is read was written, and not overwritten before (KMS2-RT-01).
    NoAcknowledgedWriteLost,
    /// Nothing is read that was never written.
    NoWrongBytes,
    /// Everything stored can be read by a fresh API server with the current configuration.
    ReadableByFreshApiserver,
    /// No value stands in clear in the store, in logs, in metrics, or on the way to Vault.
    NoPlaintextAnywhere,
    /// Status does not differ from what Encrypt shows for longer than this.
    StatusTruthful {
        /// The bound.
        within: Duration,
    },
    /// The key_id changes no more often than the key did.
    KeyIdNeverFlaps,
    /// A key_id that was replaced does not come back.
    KeyIdNeverReturns,
    /// Status and Encrypt do not name different keys for longer than this (KMS2-STATUS-07).
    KeyIdAgrees {
        /// The bound.
        within: Duration,
    },
    /// Every RPC of the plugin ends within this.
    DeadlinesKept {
        /// The bound.
        limit: Duration,
    },
    /// So many logins at most in any window of this length.
    VaultLoginsAtMost {
        /// How many.
        limit: u64,
        /// The window.
        per: Duration,
    },
    /// So many requests to Vault at most in any window of this length.
    VaultRequestsAtMost {
        /// How many.
        limit: u64,
        /// The window.
        per: Duration,
    },
    /// No second plugin runs on a node.
    NoSecondOwner,
    /// Every stored object is under the key that Status names at the end.
    StoredUnderCurrentKey,
    /// Every stored object begins as the provider in use writes it. Not for scenarios to say: judged where a cluster's store
    /// is looked at.
    StoredByProvider,
    /// Some stored object cannot be read by a fresh API server.
    ObjectsUnreadable,
    /// Plugin, API server and clients are well.
    Recovers,
    /// Status is ok.
    StatusOk,
    /// Status is not ok.
    StatusBad,
    /// Writes succeed.
    WritesOk,
    /// Reads succeed.
    ReadsOk,
    /// Writes fail.
    WritesFail,
    /// Reads fail.
    ReadsFail,
    /// Status names another key than before.
    KeyIdChanges,
}

impl Claim {
    /// The name in a scenario.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoAcknowledgedWriteLost => "no-acknowledged-write-lost",
            Self::NoWrongBytes => "no-wrong-bytes",
            Self::ReadableByFreshApiserver => "readable-by-fresh-apiserver",
            Self::NoPlaintextAnywhere => "no-plaintext-anywhere",
            Self::StatusTruthful { .. } => "status-truthful",
            Self::KeyIdNeverFlaps => "key-id-never-flaps",
            Self::KeyIdNeverReturns => "key-id-never-returns",
            Self::KeyIdAgrees { .. } => "key-id-agrees",
            Self::DeadlinesKept { .. } => "deadlines-kept",
            Self::VaultLoginsAtMost { .. } => "vault-logins-at-most",
            Self::VaultRequestsAtMost { .. } => "vault-requests-at-most",
            Self::NoSecondOwner => "no-second-owner",
            Self::StoredUnderCurrentKey => "stored-under-current-key",
            Self::StoredByProvider => "stored-by-provider",
            Self::ObjectsUnreadable => "objects-unreadable",
            Self::Recovers => "recovers",
            Self::StatusOk => "status-ok",
            Self::StatusBad => "status-bad",
            Self::WritesOk => "writes-ok",
            Self::ReadsOk => "reads-ok",
            Self::WritesFail => "writes-fail",
            Self::ReadsFail => "reads-fail",
            Self::KeyIdChanges => "key-id-changes",
        }
    }
}

/// How a claim is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing in the run, or in this phase, speaks against it.
    Always {
        /// Only this phase.
        during: Option<Phase>,
    },
    /// It holds from a moment within this after heal, to the end of liveness.
    Eventually {
        /// How soon.
        within: Duration,
    },
    /// It is seen at least once, in this phase if there is one.
    Sometimes {
        /// Only this phase.
        during: Option<Phase>,
    },
}

/// One expectation of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// How.
    pub mode: Mode,
    /// What.
    pub claim: Claim,
    /// Only on this node.
    pub node: Option<u32>,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, during) = match self.mode {
            Mode::Always { during } => ("always", during),
            Mode::Eventually { .. } => ("eventually", None),
            Mode::Sometimes { during } => ("sometimes", during),
        };
        write!(f, "{mode}:{}", self.claim.name())?;
        if let Some(phase) = during {
            write!(f, "@{}", phase.as_str())?;
        }
        if let Some(node) = self.node {
            write!(f, "#{node}")?;
        }
        Ok(())
    }
}

/// What a judge found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Result {
    /// It holds; the text says what was measured.
    Held(String),
    /// It does not: when, and what was seen.
    Broken {
        /// Since the run's start.
        at: Duration,
        /// What was seen.
        text: String,
    },
    /// Nothing was observed that could have shown it.
    Nothing(String),
}

/// Judges one expectation.
#[must_use]
pub fn judge(expectation: &Expectation, history: &[Entry]) -> Result {
    let view = View::of(history, expectation.node);
    match expectation.claim {
        Claim::NoAcknowledgedWriteLost => data::no_acknowledged_write_lost(&view),
        Claim::NoWrongBytes => data::no_wrong_bytes(&view),
        Claim::ReadableByFreshApiserver => data::readable_by_fresh(&view),
        Claim::ObjectsUnreadable => data::unreadable(&view),
        Claim::NoPlaintextAnywhere => data::no_plaintext(&view),
        Claim::StoredByProvider => data::stored_by_provider(&view),
        Claim::StoredUnderCurrentKey => keys::stored_under_current(&view),
        Claim::KeyIdNeverFlaps => keys::never_flaps(&view),
        Claim::KeyIdNeverReturns => keys::never_returns(&view),
        Claim::KeyIdAgrees { within } => keys::agrees(&view, within),
        Claim::StatusTruthful { within } => service::status_truthful(&view, within),
        Claim::DeadlinesKept { limit } => service::deadlines(&view, limit),
        Claim::NoSecondOwner => service::no_second_owner(&view),
        Claim::VaultLoginsAtMost { limit, per } => calls::logins(&view, limit, per),
        Claim::VaultRequestsAtMost { limit, per } => calls::requests(&view, limit, per),
        Claim::Recovers
        | Claim::StatusOk
        | Claim::StatusBad
        | Claim::WritesOk
        | Claim::ReadsOk
        | Claim::WritesFail
        | Claim::ReadsFail
        | Claim::KeyIdChanges => service::state(&view, expectation),
    }
}

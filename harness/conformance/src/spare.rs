//! Further processes of the subject, each for one question that would cost the main one its key,
//! its backend or its credentials.
//!
//! Nothing is started here: whoever runs the suite implements [`Spares`]. A spare has a socket and,
//! where its question needs one, a key of its own.

use std::sync::Arc;

use crate::process::Process;
use crate::target::{BoxFuture, Connect};

/// What stands behind a spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The right backend behind an address where nobody listens until [`Act::Hold`] or
    /// [`Act::Come`]. The process need not have become ready.
    Late,
    /// The right backend, and a key there that nobody else uses. The process is ready.
    OwnKey,
    /// A false backend. The process need not have become ready, and may have ended.
    False(Falsehood),
}

/// In what way a backend is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Falsehood {
    /// Its certificate comes from an authority that the subject was not told to trust.
    OtherAuthority,
    /// Its certificate comes from the right authority and names somebody else.
    OtherName,
    /// It speaks plain HTTP where the subject was told `https`.
    PlainHttp,
    /// It is the right one, and redirects every request to an address that the subject was not told.
    ForeignRedirect,
}

impl Falsehood {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::OtherAuthority,
        Self::OtherName,
        Self::PlainHttp,
        Self::ForeignRedirect,
    ];

    /// Its name in a transcript; never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherAuthority => "other-authority",
            Self::OtherName => "other-name",
            Self::PlainHttp => "plain-http",
            Self::ForeignRedirect => "foreign-redirect",
        }
    }
}

/// What the operator does to a spare or its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The late backend takes connections and answers nobody.
    Hold,
    /// The late backend is there.
    Come,
    /// The spare's key is rotated.
    Rotate,
    /// A rotation of the spare's key is asked for by somebody who has no right to: it works when the
    /// backend has refused.
    RotateInVain,
    /// The spare's key is deleted.
    DeleteKey,
    /// A key of the same name is made.
    MakeKey,
    /// The spare is restarted, and is ready.
    Restart,
}

impl Act {
    /// Its name in a transcript; never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "backend-silent",
            Self::Come => "backend-comes",
            Self::Rotate => "rotate-spare",
            Self::RotateInVain => "rotate-in-vain",
            Self::DeleteKey => "delete-key",
            Self::MakeKey => "make-key",
            Self::Restart => "restart-spare",
        }
    }
}

/// What a false backend saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Connections; with [`Falsehood::ForeignRedirect`] the redirects given.
    pub contacts: u64,
    /// Requests that could be read; with [`Falsehood::ForeignRedirect`] those at the foreign address.
    pub requests: u64,
    /// Those of them with a credential.
    pub credentials: u64,
}

/// Starts further processes of the subject.
pub trait Spares: Send + Sync {
    /// Starts one; it is gone when it is dropped. The text of an error begins with a reason code, and
    /// says why the question cannot be asked.
    fn start(&self, backend: Backend) -> BoxFuture<'_, Result<Box<dyn Spare>, String>>;
}

/// One further process.
pub trait Spare: Send + Sync {
    /// How to reach it.
    fn connect(&self) -> Arc<dyn Connect>;

    /// The process.
    fn process(&self) -> Arc<dyn Process>;

    /// Does something to it or its backend. The text of an error goes into the transcript.
    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), String>>;

    /// What its false backend has seen so far.
    fn seen(&self) -> Seen;
}

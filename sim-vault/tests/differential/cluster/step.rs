//! One step of a sequence: a call to a node, or something done to a node. Nodes are named by their roles.

use std::fmt;

use serde_json::{Value, json};

use crate::call::Call;

/// Something done to a node, beside calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// It is asked to give up leading; a standby passes that on.
    StepDown,
    Seal,
    Unseal,
    /// The process ends without a word.
    Kill,
    /// The process starts again, sealed.
    Start,
}

/// A step, and the role of the node that it meets: 0 leads or did last.
#[derive(Clone, PartialEq)]
pub enum Step {
    Ask(usize, Call),
    Do(usize, Deed),
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::StepDown,
        Self::Seal,
        Self::Unseal,
        Self::Kill,
        Self::Start,
    ];

    /// The call that does it; a process is not asked.
    pub fn call(self, unseal_key: &str) -> Option<Call> {
        let (path, body) = match self {
            Self::StepDown => ("sys/step-down", Value::Null),
            Self::Seal => ("sys/seal", Value::Null),
            Self::Unseal => ("sys/unseal", json!({ "key": unseal_key })),
            Self::Kill | Self::Start => return None,
        };
        Some(Call::new("PUT", path, body))
    }

    fn word(self) -> &'static str {
        match self {
            Self::StepDown => "step-down",
            Self::Seal => "seal",
            Self::Unseal => "unseal",
            Self::Kill => "kill",
            Self::Start => "start",
        }
    }
}

impl Step {
    /// `ROLE WORD` or `ROLE METHOD PATH ...`, as it is printed.
    pub fn parse(line: &str) -> Option<Self> {
        let (role, rest) = line.split_once(' ')?;
        let role = role.parse().ok()?;
        let deed = Deed::ALL.into_iter().find(|deed| deed.word() == rest);
        match deed {
            Some(deed) => Some(Self::Do(role, deed)),
            None => Some(Self::Ask(role, Call::parse(rest)?)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(role, call) => write!(f, "{role} {call}"),
            Self::Do(role, deed) => write!(f, "{role} {}", deed.word()),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

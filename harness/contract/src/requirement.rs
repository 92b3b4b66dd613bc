//! What the registry knows about one requirement.
//!
//! Not for how a requirement is checked: checks, tests and zoo plugins are the business of the
//! crates that have them, which hand their names in as [`crate::Coverage`].

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who has to obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// The plugin: judged on every subject.
    Plugin,
    /// The API server: the pass list of the simulated one.
    ApiServer,
    /// Plugin and API server.
    Both,
    /// Nobody: a fact about other people's code.
    Info,
}

impl Who {
    /// Whether a selection of `self` (`--who`) includes requirements on `other`: both sides
    /// include what binds both.
    pub fn includes(self, other: Who) -> bool {
        self == other || (other == Who::Both && matches!(self, Who::Plugin | Who::ApiServer))
    }

    /// The word used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Who::Plugin => "plugin",
            Who::ApiServer => "apiserver",
            Who::Both => "both",
            Who::Info => "info",
        }
    }
}

/// How binding a requirement is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A breach loses data or service.
    Must,
    /// A breach hurts in production.
    Should,
    /// Noted only. Also the level of information and of entries whose source names none.
    May,
}

impl Level {
    /// The word used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
            Level::May => "may",
        }
    }
}

/// How firm the ground of a requirement is; the firmest that applies.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Stated in the proto files.
    Proto,
    /// Enforced, or relied on, by the API server's code.
    Caller,
    /// Kubernetes documentation or an enhancement proposal.
    Docs,
    /// This project's judgement of production use; never a must.
    Practice,
}

impl Basis {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Basis::Proto => "proto",
            Basis::Caller => "caller",
            Basis::Docs => "docs",
            Basis::Practice => "practice",
        }
    }
}

/// How a fact is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Read in the code.
    Code,
    /// Follows from several places in the code, none of which states it.
    Derived,
    /// Documentation only.
    Doc,
    /// Behaviour of the transport library grpc-go.
    GrpcGo,
    /// Executed on records that upstream wrote.
    Verified,
    /// Recorded from the real client code as a library.
    Measured,
    /// Recorded from a real kube-apiserver.
    Live,
}

impl Confidence {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Confidence::Code => "code",
            Confidence::Derived => "derived",
            Confidence::Doc => "doc",
            Confidence::GrpcGo => "grpc-go",
            Confidence::Verified => "verified",
            Confidence::Measured => "measured",
            Confidence::Live => "live",
        }
    }
}

/// A set of requirements with one question behind it; each holds the ones before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Will an API server accept this plugin?
    Core,
    /// Will it survive an ordinary bad week?
    Production,
    /// How far have we looked?
    Chaos,
}

impl Profile {
    /// All profiles, smallest first.
    pub const ALL: [Profile; 3] = [Profile::Core, Profile::Production, Profile::Chaos];

    /// The word used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Core => "core",
            Profile::Production => "production",
            Profile::Chaos => "chaos",
        }
    }
}

/// A minor version of Kubernetes 1, shown as `1.NN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minor(pub u8);

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// A text that is not a version `1.NN`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("server version {0:?} is not of the form 1.NN, such as 1.34")]
pub struct BadMinor(String);

impl FromStr for Minor {
    type Err = BadMinor;

    /// Reads `1.NN`, with or without a leading `v`.
    ///
    /// # Errors
    /// On any other text, a patch version included.
    fn from_str(text: &str) -> Result<Self, BadMinor> {
        let digits = text.strip_prefix('v').unwrap_or(text).strip_prefix("1.");
        digits
            .filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|rest| rest.parse().ok())
            .map(Minor)
            .ok_or_else(|| BadMinor(text.to_owned()))
    }
}

/// One numbered requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// `KMS2-<AREA>-<NN>`; never renumbered, never reused.
    pub id: &'static str,
    /// A few words, without a full stop.
    pub title: &'static str,
    /// The requirement, as full sentences.
    pub sentence: &'static str,
    /// Who has to obey.
    pub who: Who,
    /// How binding it is.
    pub level: Level,
    /// How firm its ground is.
    pub basis: Basis,
    /// How it is known; empty for practice, which is no fact.
    pub confidence: &'static [Confidence],
    /// Where it comes from, separated by `; `, in the short names of [`crate::sources`].
    pub source: &'static str,
    /// First server version it holds for.
    pub since: Minor,
    /// Last server version it holds for, if it ended.
    pub until: Option<Minor>,
    /// Where sources disagree at an edge, and what that means for the verdict.
    pub source_conflict: Option<&'static str>,
    /// Why no check can fail on it.
    pub reason: Option<&'static str>,
}

impl Requirement {
    /// The part of the id between the hyphens, such as `ENC`.
    pub fn area(&self) -> &'static str {
        self.id.split('-').nth(1).unwrap_or_default()
    }

    /// The smallest profile it counts for; none if it does not bind a plugin.
    ///
    /// What an API server would refuse or suffer from is core, everything else production; chaos
    /// adds runs and no requirements.
    pub fn profile(&self) -> Option<Profile> {
        if !Who::Plugin.includes(self.who) {
            return None;
        }
        let core = self.level == Level::Must && matches!(self.basis, Basis::Proto | Basis::Caller);
        Some(if core {
            Profile::Core
        } else {
            Profile::Production
        })
    }

    /// A must that is only derived: a breach is a warning until a run against a real API server
    /// has confirmed the rule.
    pub fn is_unconfirmed(&self) -> bool {
        self.level == Level::Must && self.confidence == [Confidence::Derived]
    }

    /// Whether it holds for a server of this version.
    pub fn holds_for(&self, server: Minor) -> bool {
        self.since <= server && self.until.is_none_or(|last| server <= last)
    }

    /// The entries of [`source`](field@Self::source).
    pub fn sources(&self) -> impl Iterator<Item = &'static str> {
        self.source.split("; ")
    }

    const fn new(
        id: &'static str,
        who: Who,
        level: Level,
        basis: Basis,
        confidence: &'static [Confidence],
    ) -> Self {
        Requirement {
            id,
            title: "",
            sentence: "",
            who,
            level,
            basis,
            confidence,
            source: "",
            // The first release with the service `v2` and the state machine described here.
            since: Minor(27),
            until: None,
            source_conflict: None,
            reason: None,
        }
    }

    pub(crate) const fn title(mut self, title: &'static str) -> Self {
        self.title = title;
        self
    }

    pub(crate) const fn says(mut self, sentence: &'static str) -> Self {
        self.sentence = sentence;
        self
    }

    pub(crate) const fn source(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    pub(crate) const fn since(mut self, minor: u8) -> Self {
        self.since = Minor(minor);
        self
    }

    pub(crate) const fn until(mut self, minor: u8) -> Self {
        self.until = Some(Minor(minor));
        self
    }

    pub(crate) const fn source_conflict(mut self, note: &'static str) -> Self {
        self.source_conflict = Some(note);
        self
    }

    pub(crate) const fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }
}

/// Starts an entry that binds the plugin.
pub(crate) const fn plugin(
    id: &'static str,
    level: Level,
    basis: Basis,
    confidence: &'static [Confidence],
) -> Requirement {
    Requirement::new(id, Who::Plugin, level, basis, confidence)
}

/// Starts an entry that binds the API server.
pub(crate) const fn apiserver(
    id: &'static str,
    level: Level,
    basis: Basis,
    confidence: &'static [Confidence],
) -> Requirement {
    Requirement::new(id, Who::ApiServer, level, basis, confidence)
}

/// Starts an entry that binds both sides.
pub(crate) const fn both(
    id: &'static str,
    level: Level,
    basis: Basis,
    confidence: &'static [Confidence],
) -> Requirement {
    Requirement::new(id, Who::Both, level, basis, confidence)
}

/// Starts an entry that binds nobody.
pub(crate) const fn info(
    id: &'static str,
    level: Level,
    basis: Basis,
    confidence: &'static [Confidence],
) -> Requirement {
    Requirement::new(id, Who::Info, level, basis, confidence)
}

//! What can be asked for: procedures, categories, modes, and what is wrong with a wish that cannot be meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::{self, Row};

/// Which operators the cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The procedure's own generation: the plugin is a static pod put there by hand.
    Seed,
    /// Its successor: plugin configuration in the spec, preflight, a socket for each key.
    V2,
    /// The same, and everything is rewritten by itself after the remote key was rotated.
    Newest,
}

/// Words and values of an option.
pub trait Words: Sized + Copy + 'static {
    /// All of them, in the order of the documentation.
    const ALL: &'static [(&'static str, Self)];
    /// What they are, for a complaint.
    const WHAT: &'static str;

    /// The value of a word.
    ///
    /// # Errors
    /// A sentence that names the right words.
    fn read(word: &str) -> Result<Self, Wrong> {
        let found = Self::ALL.iter().find(|(known, _)| *known == word);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|(known, _)| *known).collect();
            Wrong(format!(
                "there is no {} {word:?}: say one of {}",
                Self::WHAT,
                known.join(", ")
            ))
        })
    }
}

impl Words for Mode {
    const ALL: &'static [(&'static str, Self)] = &[
        ("seed", Self::Seed),
        ("v2", Self::V2),
        ("newest", Self::Newest),
    ];
    const WHAT: &'static str = "mode";
}

impl FromStr for Mode {
    type Err = Wrong;

    fn from_str(word: &str) -> Result<Self, Wrong> {
        Self::read(word)
    }
}

/// A procedure.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Procedure {
    /// Nothing encrypted, then KMS.
    Enable,
    /// Whether everything is encrypted.
    Verify,
    /// A new version of the Transit key.
    Rotate,
    /// From aescbc to KMS.
    MigrateFromLocal,
    /// From KMS to aescbc.
    BackToLocal,
    /// From KMS to nothing.
    Disable,
    /// What must be saved, and together.
    Backup,
    /// A backup is put back, at the right and at the wrong moment.
    Restore,
    /// The status of every day.
    Monitor,
    /// What is wrong, by category.
    Troubleshoot,
    /// Evidence for whoever helps.
    Collect,
}

impl Words for Procedure {
    const ALL: &'static [(&'static str, Self)] = &[
        ("enable", Self::Enable),
        ("verify", Self::Verify),
        ("rotate", Self::Rotate),
        ("migrate-from-local", Self::MigrateFromLocal),
        ("back-to-local", Self::BackToLocal),
        ("disable", Self::Disable),
        ("backup", Self::Backup),
        ("restore", Self::Restore),
        ("monitor", Self::Monitor),
        ("troubleshoot", Self::Troubleshoot),
        ("collect", Self::Collect),
    ];
    const WHAT: &'static str = "procedure";
}

impl Procedure {
    /// Its word.
    pub fn word(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| *word)
    }

    /// Whether something can be made to go wrong in it.
    pub fn takes_faults(self) -> bool {
        !matches!(self, Self::Restore | Self::Backup | Self::Collect)
    }

    /// The ids of its steps, in order.
    pub fn steps(self) -> &'static [&'static str] {
        match self {
            Self::Enable => &[
                "backup",
                "manifest",
                "deploy",
                "pods",
                "socket",
                "edit",
                "rollout",
                "type",
                "revisions",
                "condition",
                "completion",
                "secret",
                "etcd-pod",
                "etcd",
                "clean-up",
            ],
            Self::Verify => &[
                "type",
                "revisions",
                "condition",
                "completion",
                "secret",
                "etcd-pod",
                "etcd",
                "clean-up",
            ],
            Self::Rotate => &["rotate", "read", "settle", "secrets", "etcd"],
            Self::MigrateFromLocal => &[
                "backup",
                "save",
                "edit",
                "rollout",
                "conditions",
                "completion",
                "etcd",
            ],
            Self::BackToLocal | Self::Disable => &[
                "backup",
                "save",
                "edit",
                "rollout",
                "conditions",
                "completion",
                "etcd",
                "plugin",
            ],
            Self::Backup => &["etcd", "configuration", "vault", "manifest"],
            Self::Restore => &["scan", "restore", "read"],
            Self::Monitor => &["operator-log", "server-log", "configuration"],
            Self::Troubleshoot => &["diagnosis"],
            Self::Collect => &["cluster", "provider", "redaction"],
        }
    }
}

/// A category of the procedure's troubleshooting.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Invalid configuration.
    InvalidConfig,
    /// Permissions.
    Permissions,
    /// Expired or deleted key.
    Key,
    /// API server degraded or unavailable.
    Degraded,
    /// Migration stuck or slow.
    Migration,
}

impl Words for Category {
    const ALL: &'static [(&'static str, Self)] = &[
        ("invalid-config", Self::InvalidConfig),
        ("permissions", Self::Permissions),
        ("key", Self::Key),
        ("degraded", Self::Degraded),
        ("migration", Self::Migration),
    ];
    const WHAT: &'static str = "category";
}

impl Category {
    /// Its word.
    pub fn word(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| *word)
    }
}

/// A wish.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is played.
    pub procedure: Procedure,
    /// For [`Procedure::Troubleshoot`] only.
    pub category: Option<Category>,
    /// What goes wrong, and before which step.
    pub fault: Option<(Arc<Row>, &'static str)>,
    /// Which operators.
    pub mode: Mode,
    /// Control plane nodes, 1 to 9.
    pub nodes: usize,
    /// Objects that are stored at the beginning.
    pub objects: u64,
    /// Root of all randomness.
    pub seed: u64,
}

/// The wish as words; what is not given has its default.
#[derive(Clone, Debug, Default)]
pub struct Wish<'a> {
    /// The procedure.
    pub procedure: &'a str,
    /// The category.
    pub category: Option<&'a str>,
    /// Id of the fault.
    pub fault: Option<&'a str>,
    /// The step before which it happens.
    pub at: Option<&'a str>,
    /// The mode.
    pub mode: Option<&'a str>,
    /// Control plane nodes.
    pub nodes: Option<usize>,
    /// Objects.
    pub objects: Option<u64>,
    /// The seed.
    pub seed: u64,
}

/// A wish that cannot be meant: what is wrong, and what is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// Most nodes and objects that a rehearsal takes.
pub const MOST: (usize, u64) = (9, 200_000);

impl Options {
    /// Reads a wish.
    ///
    /// # Errors
    /// An unknown word, or words that do not go together.
    pub fn read(wish: &Wish<'_>) -> Result<Self, Wrong> {
        let procedure = Procedure::read(wish.procedure)?;
        let category = match (procedure, wish.category) {
            (Procedure::Troubleshoot, Some(word)) => Some(Category::read(word)?),
            (Procedure::Troubleshoot, None) => {
                let known: Vec<&str> = Category::ALL.iter().map(|(known, _)| *known).collect();
                return Err(Wrong(format!(
                    "troubleshoot needs a category: one of {}",
                    known.join(", ")
                )));
            }
            (_, Some(word)) => {
                return Err(Wrong(format!(
                    "{} takes no category: {word:?} goes with troubleshoot",
                    wish.procedure
                )));
            }
            (_, None) => None,
        };
        let given = wish.mode.map(Mode::read).transpose()?;
        let fault = wish.fault.map(scenario::find).transpose()?;
        let fault = match (fault, wish.at) {
            (None, Some(_)) => return Err(Wrong("--at says when a --fault happens".to_owned())),
            (None, None) => None,
            (Some(row), at) => {
                let at = step(procedure, &row, at)?;
                Some((row, at))
            }
        };
        if let Some((row, _)) = &fault {
            check(row, procedure, category, given)?;
        }
        let mode = given
            .or(fault.as_ref().map(|(row, _)| row.mode()))
            .unwrap_or(Mode::Seed);
        let nodes = wish
            .nodes
            .or(fault.as_ref().and_then(|(row, _)| row.nodes()))
            .unwrap_or(3);
        let objects = wish.objects.unwrap_or(500);
        if !(1..=MOST.0).contains(&nodes) {
            return Err(Wrong(format!("--nodes {nodes}: say 1 to {}", MOST.0)));
        }
        if objects > MOST.1 {
            return Err(Wrong(format!("--objects {objects}: say 0 to {}", MOST.1)));
        }
        Ok(Self {
            procedure,
            category,
            fault,
            mode,
            nodes,
            objects,
            seed: wish.seed,
        })
    }
}

fn step(procedure: Procedure, row: &Row, at: Option<&str>) -> Result<&'static str, Wrong> {
    let steps = procedure.steps();
    let wanted = at.unwrap_or(if procedure == Procedure::Troubleshoot {
        "diagnosis"
    } else {
        row.at
    });
    let found = steps.iter().find(|step| **step == wanted);
    found.copied().ok_or_else(|| {
        let word = procedure.word();
        let known = steps.join(", ");
        Wrong(match at {
            Some(at) => format!("{word} has no step {at:?}: say one of {known}"),
            None => format!(
                "{} belongs to {} (--at {}); in {word} say --at with one of {known}",
                row.id(),
                row.procedure().word(),
                row.at
            ),
        })
    })
}

fn check(
    row: &Row,
    procedure: Procedure,
    category: Option<Category>,
    mode: Option<Mode>,
) -> Result<(), Wrong> {
    if let Some(category) = category
        && row.category() != category
    {
        return Err(Wrong(format!(
            "{} belongs to troubleshoot {}, not to {}",
            row.id(),
            row.category().word(),
            category.word()
        )));
    }
    if !procedure.takes_faults() {
        return Err(Wrong(format!(
            "{} takes no fault: its own mismatches are played without one",
            procedure.word()
        )));
    }
    match mode {
        Some(mode) if (mode == Mode::Seed) != (row.mode() == Mode::Seed) => Err(Wrong(format!(
            "{} shows in mode {} only",
            row.id(),
            if row.mode() == Mode::Seed {
                "seed"
            } else {
                "v2"
            }
        ))),
        _ => Ok(()),
    }
}

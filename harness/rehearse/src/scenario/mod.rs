//! The fault table as files: what goes wrong, how it shows, how it is found, what helps.
//!
//! A file of [`scenarios/openshift`](../../../../scenarios/openshift) is one [`Row`]. `rehearse --fault` and `rehearse
//! troubleshoot` play the ones that were compiled in ([`ROWS`]), `chaos` plays any ([`run`]). How a fault is made and
//! undone is not here: see [`crate::fault`].
//!
//! Reading order: [`form`], `meaning` (form to [`Row`]), `library`, [`run`].

pub mod form;
mod library;
mod meaning;
pub mod run;

use std::time::Duration;

use kms_scenario::language::{Problem, read_form, schema_of};
use serde_json::Value;

use self::form::{RehearsalFile, SignName};
use crate::fault::Kind;
use crate::oc::ask::Ask;
use crate::options::{Category, Mode, Procedure};
use crate::report::Rule;

pub use library::{FILES, ROWS, find};

/// Something that goes wrong: one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The form that it was read from.
    pub form: RehearsalFile,
    /// The step before which it happens if nothing else is said.
    pub at: &'static str,
    /// What is seen of it.
    pub seen: Vec<Sign>,
    /// What commands show of it.
    pub detected: Vec<Detection>,
}

/// A sign that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Which.
    pub name: SignName,
    /// How many, with [`SignName::PodsNotReady`]: a number, or all.
    pub count: Option<Option<usize>>,
    /// HTTP statuses.
    pub status: Vec<u16>,
    /// What stands in it.
    pub text: String,
}

/// A command whose output is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// The command.
    pub ask: Ask,
    /// The node, from 0; any if nothing.
    pub node: Option<usize>,
    /// What stands in the output.
    pub contains: Vec<String>,
    /// What does not.
    pub lacks: Vec<String>,
}

impl Row {
    /// The name that `--fault` takes: what it proves first.
    pub fn id(&self) -> &str {
        self.form.proves.first().map_or("", String::as_str)
    }

    /// What goes wrong, in words.
    pub fn title(&self) -> &str {
        &self.form.title
    }

    /// What goes wrong.
    pub fn fault(&self) -> Kind {
        self.form.rehearsal.fault
    }

    /// The category of troubleshooting that leads to it.
    pub fn category(&self) -> Category {
        self.form.rehearsal.category
    }

    /// Where it happens if nothing else is said.
    pub fn procedure(&self) -> Procedure {
        self.form.rehearsal.procedure
    }

    /// The operators that it needs.
    pub fn mode(&self) -> Mode {
        self.form.rehearsal.mode
    }

    /// The Vault that it needs.
    pub fn flavour(&self) -> sim_vault::Flavour {
        meaning::flavour(self.form.rehearsal.vault)
    }

    /// Nodes that it needs.
    pub fn nodes(&self) -> Option<usize> {
        self.form.rehearsal.nodes
    }

    /// So long after the procedure it is looked for.
    pub fn look_after(&self) -> Duration {
        self.form.rehearsal.look_after.0
    }

    /// So long after the fault somebody comes to troubleshoot.
    pub fn diagnose_after(&self) -> Duration {
        self.form.rehearsal.diagnose_after.0
    }

    /// Rules that it breaks.
    pub fn breaks(&self) -> &[Rule] {
        &self.form.rehearsal.breaks
    }
}

/// Reads a file. `stem` is its name without folder and ending, which the id must equal.
///
/// # Errors
/// Everything that is wrong with it, by line.
pub fn read(text: &str, stem: Option<&str>) -> Result<Row, Vec<Problem>> {
    read_form(text, |form, source| meaning::check(form, source, stem))
}

/// Whether a text is meant as one of these, and not as a scenario for a plugin: it has a table `[rehearsal]`.
pub fn is_meant(text: &str) -> bool {
    kms_scenario::language::has_key(text, "rehearsal")
}

/// The JSON schema of a file.
pub fn schema() -> Value {
    schema_of::<RehearsalFile>()
}

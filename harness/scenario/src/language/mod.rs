//! The scenario language: strict TOML, every error with line, column, field and the fix.
//!
//! Reading order: `file` (the form), [`time`], [`problem`], `read` (text to form), `meaning` (form to [`Scenario`]),
//! `faults`, `expects`.

mod expects;
mod faults;
pub mod file;
pub mod ids;
mod meaning;
pub mod problem;
mod read;
pub mod time;

pub use expects::{DEFAULT_SAFETY, names};
pub use file::ScenarioFile;
pub use meaning::{Scenario, TimedFault};
pub use problem::Problem;
pub use read::{read, schema, write};

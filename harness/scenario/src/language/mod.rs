//! The scenario language: strict TOML, every error with line, column, field and the fix.
//!
//! Reading order: `file` (the form), [`time`], [`problem`], `read` (text to form), [`head`], `meaning` (form to
//! [`Scenario`]), `faults`, `expects`. A form of another kind is read in the same way by [`read_form`].

mod expects;
mod faults;
pub mod file;
pub mod head;
pub mod ids;
mod meaning;
pub mod problem;
mod read;
pub mod time;

pub use expects::{DEFAULT_SAFETY, names};
pub use file::ScenarioFile;
pub use meaning::{Scenario, TimedFault};
pub use problem::Problem;
pub use read::{has_key, read, read_form, schema, schema_of, write};

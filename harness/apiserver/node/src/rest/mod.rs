//! The Kubernetes API as far as it is words: paths, `Status` objects, selectors, patches, discovery. Nothing here waits
//! or stores.

pub mod discovery;
pub mod patch;
pub mod route;
pub mod select;
pub mod status;
pub mod table;

pub use route::{Query, Route, Verb};
pub use status::Refusal;

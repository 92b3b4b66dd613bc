//! Pure judges over a recorded transcript, one per check.
//!
//! A judge sees the contract and a history, nothing else: a stored run can be judged again.

pub mod result;

pub use result::{CheckResult, CheckStatus};

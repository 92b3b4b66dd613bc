//! Answers of Vault that tests put in the place of real ones.

use serde_json::json;
use sim_vault::Action;

/// An error as Vault words it.
pub fn answer(code: u16, text: &str) -> Action {
    raw_answer(code, json!({ "errors": [text] }).to_string())
}

/// Any body.
pub fn raw_answer(code: u16, body: impl Into<Vec<u8>>) -> Action {
    Action::Status {
        code,
        body: body.into().into(),
        headers: Vec::new(),
    }
}

/// What a sealed server says to everything.
pub fn sealed() -> Action {
    answer(503, "Vault is sealed")
}

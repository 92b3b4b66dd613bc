//! What the recorder brought along from outside: keys, certificates, signed tokens. Made anew here.

use serde_json::Value;
use sim_vault::ClientCert;

use super::Vars;

/// The outside world of one topic.
pub struct Outside;

impl Outside {
    pub fn new() -> Self {
        Self
    }

    /// A value that a step calls external.
    pub fn make(
        &mut self,
        topic: &str,
        step: &Value,
        _now: u64,
        _vars: &Vars,
    ) -> Result<String, String> {
        Err(format!(
            "{topic}: {} comes from outside",
            step["var"].as_str().unwrap_or_default()
        ))
    }

    /// The certificate that a step shows.
    pub fn certificate(&self, _name: &str) -> Option<ClientCert> {
        None
    }
}

/// Bodies that the recordings only describe.
pub fn described_body(note: &str) -> Option<Vec<u8>> {
    let nested = |depth: usize| {
        format!(
            "{{\"plaintext\":\"aGk=\",\"x\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
        .into_bytes()
    };
    match note {
        "deep nesting" => return Some(nested(2_000)),
        "very deep nesting" => return Some(nested(20_000)),
        "33 MiB of x" => return Some(vec![b'x'; 33 << 20]),
        _ => {}
    }
    let size = note
        .strip_prefix("{\"plaintext\":\"aGk=\",\"x\":\"yyy...\"} of ")?
        .strip_suffix(" bytes")?;
    let frame = "{\"plaintext\":\"aGk=\",\"x\":\"\"}";
    let fill = size.parse::<usize>().ok()?.checked_sub(frame.len())?;
    Some(
        frame
            .replacen("\"\"", &format!("\"{}\"", "y".repeat(fill)), 1)
            .into_bytes(),
    )
}

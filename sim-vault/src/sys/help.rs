//! `?help=1` on `transit/encrypt/NAME`, the endpoint that clients probe: the recorded API description. Of the prose only the
//! beginning was recorded; its size is kept.

use serde_json::{Value, json};

use crate::{Core, Flavour};

/// The document, or `None` for an endpoint whose help is not simulated.
pub(crate) fn document(core: &Core, kind: &str, path: &str) -> Option<Value> {
    if kind != "transit" || !path.starts_with("encrypt/") {
        return None;
    }
    let text = match core.flavour {
        Flavour::OpenBao => include_str!("help/openbao.json"),
        Flavour::Vault => include_str!("help/vault.json"),
    };
    let recorded: Value = serde_json::from_str(text).ok()?;
    let head = recorded["head"].as_str()?;
    let size = usize::try_from(recorded["size"].as_u64()?).ok()?;
    let filler = " ".repeat(size.saturating_sub(head.len()));
    Some(
        json!({ "help": format!("{head}{filler}"), "see_also": null, "openapi": recorded["openapi"] }),
    )
}

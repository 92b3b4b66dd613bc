//! From evidence to findings. A pure function: the same evidence gives the same findings.
//!
//! Causes come first, and what follows from a cause is no finding of its own: an object that cannot be read while Vault is
//! sealed is not damaged. In the order of the rules: `objects`, `keys`, `plugins`, `remote`, `rest`.

mod keys;
mod objects;
mod plugins;
mod remote;
mod rest;
mod view;

use crate::evidence::Evidence;
use crate::finding::Finding;
use view::View;

/// Everything that is wrong, by id; each row at most once.
pub fn diagnose(seen: &Evidence) -> Vec<Finding> {
    let view = View::of(seen);
    let mut found = objects::look(&view);
    found.extend(keys::look(&view, &found));
    let plugins = plugins::look(&view);
    found.extend(plugins.findings);
    found.extend(remote::look(&view, &plugins.down));
    found.extend(rest::look(&view, &found));
    found.sort();
    found.dedup();
    let mut rows: Vec<Finding> = Vec::new();
    for it in found {
        match rows.last_mut().filter(|last| last.id == it.id) {
            Some(last) => {
                last.saw.push_str("; ");
                last.saw.push_str(&it.saw);
            }
            None => rows.push(it),
        }
    }
    rows
}

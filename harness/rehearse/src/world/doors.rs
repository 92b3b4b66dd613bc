//! Which plugin answers at a socket of a node: the one that was deployed there, unless a key has a plugin of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::plugin::{NodePlugin, lock};

/// Where a socket leads.
#[derive(Clone)]
struct Door {
    host: String,
    file: Arc<AtomicBool>,
}

/// The sockets of a node. Clones share them.
#[derive(Clone)]
pub struct Doors {
    first: Door,
    others: Arc<Mutex<BTreeMap<String, Door>>>,
}

impl Doors {
    /// All sockets lead to one plugin.
    pub fn to(plugin: &NodePlugin) -> Self {
        Self {
            first: door(plugin),
            others: Arc::default(),
        }
    }

    /// One of them leads to another plugin from now on.
    pub fn lead(&self, endpoint: &str, plugin: &NodePlugin) {
        lock(&self.others).insert(path(endpoint).to_owned(), door(plugin));
    }

    /// The plugin's name in the network; nothing if there is no socket.
    pub fn behind(&self, endpoint: &str) -> Option<String> {
        let others = lock(&self.others);
        let door = others.get(path(endpoint)).unwrap_or(&self.first);
        door.file.load(Ordering::Relaxed).then(|| door.host.clone())
    }
}

/// Configurations name a socket as a URL, whoever dials it by its path.
fn path(endpoint: &str) -> &str {
    endpoint.strip_prefix("unix://").unwrap_or(endpoint)
}

fn door(plugin: &NodePlugin) -> Door {
    Door {
        host: plugin.host().to_owned(),
        file: Arc::clone(&plugin.socket),
    }
}

//! Namespaces: each has its own mounts, policies and tokens.

use std::collections::BTreeMap;

use crate::{Core, policy::Policy};

/// One namespace; the root namespace has the path "".
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub id: String,
    pub uuid: String,
    /// "" or `a/b/`.
    pub path: String,
    pub policies: BTreeMap<String, Policy>,
    /// The unlock key while the API is locked.
    pub lock: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

impl Core {
    /// Creates a namespace with what every namespace has.
    pub(crate) fn add_namespace(&mut self, path: &str) {
        let id = if path.is_empty() {
            "root".to_owned()
        } else {
            self.base62(6)
        };
        let uuid = self.uuid();
        let mut policies = BTreeMap::new();
        policies.insert("default".to_owned(), Policy::default_policy(self.flavour));
        policies.insert("response-wrapping".to_owned(), Policy::response_wrapping());
        let space = Namespace {
            id,
            uuid,
            path: path.to_owned(),
            policies,
            lock: None,
            metadata: BTreeMap::new(),
        };
        self.namespaces.insert(path.to_owned(), space);
        for (mount, kind) in [
            ("sys/", "system"),
            ("identity/", "identity"),
            ("cubbyhole/", "cubbyhole"),
            ("auth/token/", "token"),
        ] {
            self.mount_engine(path, mount, kind, None);
        }
    }

    /// Removes a namespace with its mounts and tokens.
    pub(crate) fn remove_namespace(&mut self, path: &str) {
        let mounts: Vec<_> = self
            .mounts
            .values()
            .filter(|m| m.ns == path)
            .map(|m| m.id)
            .collect();
        for id in mounts {
            self.unmount(id);
        }
        self.namespaces.remove(path);
        let ids: Vec<String> = self
            .tokens
            .iter()
            .filter(|t| t.ns == path)
            .map(|t| t.id.clone())
            .collect();
        for id in ids {
            self.tokens.revoke(&id, true);
        }
    }

    /// Splits `a/b/transit/encrypt/k` into the longest namespace at or below `base` and the rest.
    pub(crate) fn resolve_namespace<'p>(&self, base: &str, path: &'p str) -> (String, &'p str) {
        let mut ns = base.to_owned();
        let mut rest = path;
        if self.namespaces.len() == 1 {
            // the root alone
            return (ns, rest);
        }
        while let Some((head, tail)) = rest.split_once('/') {
            let below = format!("{ns}{head}/");
            if !self.namespaces.contains_key(&below) {
                break;
            }
            ns = below;
            rest = tail;
        }
        (ns, rest)
    }

    /// The first locked namespace on the way from the root to `ns`.
    pub(crate) fn locked_by(&self, ns: &str) -> Option<&str> {
        let mut end = 0;
        while let Some(slash) = ns.get(end..).and_then(|rest| rest.find('/')) {
            end += slash + 1;
            let space = self.namespaces.get(ns.get(..end)?)?;
            if space.lock.is_some() {
                return Some(&space.path);
            }
        }
        None
    }
}

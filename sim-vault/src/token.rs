//! The token store: entries, parents and children, expiry.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};

use crate::mounts::MountId;

/// What a token keeps in the cubbyholes, by their mount and the path there.
pub(crate) type Cubbyhole = BTreeMap<(MountId, String), Map<String, Value>>;

/// Service tokens live in storage, batch tokens in their own text; a caller sees it in renewal, revocation and children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Service,
    Batch,
}

/// One token. Times count from the server's birth.
#[derive(Clone)]
pub(crate) struct Entry {
    pub id: String,
    pub accessor: String,
    /// Namespace it lives in.
    pub ns: String,
    pub parent: Option<String>,
    pub policies: Vec<String>,
    pub identity_policies: Vec<String>,
    pub meta: Option<BTreeMap<String, String>>,
    pub display_name: String,
    /// The path it was created at.
    pub path: String,
    /// The mount it was issued by, and the user or role there.
    pub mount: MountId,
    pub owner: String,
    pub issued: Duration,
    pub creation_ttl: Duration,
    /// What the latest renewal granted: the next one grants it again unless it says otherwise.
    pub granted: Duration,
    pub explicit_max_ttl: Duration,
    pub period: Duration,
    /// The uses it was created with: renewals show them.
    pub initial_uses: i64,
    /// 0 is unlimited, -1 used up and about to be revoked.
    pub num_uses: i64,
    pub renewable: bool,
    pub kind: TokenKind,
    pub orphan: bool,
    pub entity_id: String,
    pub bound_cidrs: Vec<String>,
    pub role: Option<String>,
    /// `None` never expires.
    pub expires: Option<Duration>,
    pub last_renewal: Option<Duration>,
    /// The root token of `sys/init` shows no issue time and no renewability.
    pub has_issue_time: bool,
    /// Where a wrapping token keeps the wrapped answer.
    pub wrapped: Option<Arc<str>>,
}

impl Entry {
    pub(crate) fn new(id: String, accessor: String, mount: MountId, now: Duration) -> Self {
        Self {
            id,
            accessor,
            ns: String::new(),
            parent: None,
            policies: Vec::new(),
            identity_policies: Vec::new(),
            meta: None,
            display_name: String::new(),
            path: String::new(),
            mount,
            owner: String::new(),
            issued: now,
            creation_ttl: Duration::ZERO,
            granted: Duration::ZERO,
            explicit_max_ttl: Duration::ZERO,
            period: Duration::ZERO,
            initial_uses: 0,
            num_uses: 0,
            renewable: false,
            kind: TokenKind::Service,
            orphan: false,
            entity_id: String::new(),
            bound_cidrs: Vec::new(),
            role: None,
            expires: None,
            last_renewal: None,
            has_issue_time: true,
            wrapped: None,
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.policies.iter().any(|p| p == "root")
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.kind {
            TokenKind::Service => "service",
            TokenKind::Batch => "batch",
        }
    }
}

/// A token's text must not reach a log: only the accessor is shown.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("accessor", &self.accessor)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// All living tokens.
#[derive(Clone, Default)]
pub(crate) struct Store {
    by_id: BTreeMap<String, Arc<Entry>>,
    by_accessor: BTreeMap<String, String>,
    children: BTreeMap<String, BTreeSet<String>>,
    expiry: BTreeSet<(Duration, String)>,
    /// They end with their tokens.
    cubbyholes: BTreeMap<String, Cubbyhole>,
}

impl Store {
    pub(crate) fn insert(&mut self, mut entry: Entry) {
        entry.initial_uses = entry.num_uses;
        if entry.kind == TokenKind::Batch {
            // nobody counts the uses of what is not stored
            entry.num_uses = 0;
            // in its text nothing and an empty map are the same
            entry.meta = entry.meta.filter(|meta| !meta.is_empty());
        }
        entry.granted = entry.creation_ttl;
        if !entry.accessor.is_empty() {
            self.by_accessor
                .insert(entry.accessor.clone(), entry.id.clone());
        }
        if let Some(parent) = &entry.parent {
            self.children
                .entry(parent.clone())
                .or_default()
                .insert(entry.id.clone());
        }
        if let Some(at) = entry.expires {
            self.expiry.insert((at, entry.id.clone()));
        }
        self.by_id.insert(entry.id.clone(), Arc::new(entry));
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Entry>> {
        self.by_id.get(id)
    }

    pub(crate) fn by_accessor(&self, accessor: &str) -> Option<&Arc<Entry>> {
        self.by_id.get(self.by_accessor.get(accessor)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_id.values()
    }

    /// Changes an entry in place; its expiry goes through [`Store::set_expiry`].
    pub(crate) fn update(&mut self, id: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.by_id.get_mut(id) {
            change(Arc::make_mut(entry));
        }
    }

    pub(crate) fn set_expiry(&mut self, id: &str, at: Option<Duration>) {
        let Some(entry) = self.by_id.get_mut(id) else {
            return;
        };
        if let Some(old) = entry.expires {
            self.expiry.remove(&(old, id.to_owned()));
        }
        Arc::make_mut(entry).expires = at;
        if let Some(at) = at {
            self.expiry.insert((at, id.to_owned()));
        }
    }

    /// Removes a token, and its children unless they are to become orphans.
    pub(crate) fn revoke(&mut self, id: &str, with_children: bool) {
        let mut pending = vec![id.to_owned()];
        while let Some(id) = pending.pop() {
            let Some(entry) = self.by_id.remove(&id) else {
                continue;
            };
            self.by_accessor.remove(&entry.accessor);
            self.cubbyholes.remove(&id);
            if let Some(at) = entry.expires {
                self.expiry.remove(&(at, id.clone()));
            }
            if let Some(siblings) = entry.parent.as_ref().and_then(|p| self.children.get_mut(p)) {
                siblings.remove(&id);
            }
            let children = self.children.remove(&id).unwrap_or_default();
            if with_children {
                pending.extend(children);
            } else {
                for child in children {
                    self.update(&child, |e| {
                        e.parent = None;
                        e.orphan = true;
                    });
                }
            }
        }
    }

    /// What a living token keeps.
    pub(crate) fn cubbyhole(&mut self, id: &str) -> &mut Cubbyhole {
        self.cubbyholes.entry(id.to_owned()).or_default()
    }

    /// Removes what has run out.
    pub(crate) fn expire(&mut self, now: Duration) {
        while let Some((at, id)) = self.expiry.first().cloned() {
            if at > now {
                break;
            }
            self.expiry.remove(&(at, id.clone()));
            self.revoke(&id, true);
        }
    }

    /// Revokes all service tokens that fulfil the condition; batch tokens cannot be revoked.
    pub(crate) fn revoke_where(&mut self, condition: impl Fn(&Entry) -> bool) -> usize {
        let ids: Vec<String> = self
            .by_id
            .values()
            .filter(|e| e.kind == TokenKind::Service && condition(e))
            .map(|e| e.id.clone())
            .collect();
        for id in &ids {
            self.revoke(id, true);
        }
        ids.len()
    }
}

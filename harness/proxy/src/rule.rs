//! What can happen to calls on the socket.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Action {
    /// It reaches the plugin later.
    Delay(Duration),
    /// It does not reach the plugin before the rule is removed.
    Hold,
    /// The plugin never sees it; the caller gets this gRPC status.
    Status {
        /// The code, 1 to 16.
        code: u8,
        /// The message.
        message: String,
    },
    /// The plugin answers, and the connection breaks after so many bytes of what the caller would have read next. An
    /// HTTP/2 frame begins with 9 bytes of header, so 5 cuts one inside its header and 20 inside its content.
    Cut(usize),
    /// The plugin answers, and the caller gets this message in the answer's place.
    Alter(fn(&[u8]) -> Vec<u8>),
}

/// Which calls, and what happens to them.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `Status`, `Encrypt` or `Decrypt`; nothing means all.
    pub method: Option<String>,
    /// What happens.
    pub action: Action,
    /// For so many calls only; nothing means until it is removed.
    pub times: Option<u64>,
}

/// Names a rule in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(u64);

/// One call that the proxy saw, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it came.
    pub at: Instant,
    /// The last part of its path.
    pub method: String,
    /// Whether a rule touched it.
    pub touched: bool,
}

/// The rules in force, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rules: Vec<(RuleId, Rule, u64)>,
    next: u64,
    gone: std::collections::BTreeMap<RuleId, u64>,
}

impl Table {
    pub fn add(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next);
        self.next += 1;
        self.rules.push((id, rule, 0));
        id
    }

    /// The calls it touched.
    pub fn remove(&mut self, id: RuleId) -> u64 {
        let hits = self.hits(id);
        self.rules.retain(|(other, _, _)| *other != id);
        self.gone.insert(id, hits);
        hits
    }

    pub fn hits(&self, id: RuleId) -> u64 {
        let live = self.rules.iter().find(|(other, _, _)| *other == id);
        live.map_or_else(
            || self.gone.get(&id).copied().unwrap_or_default(),
            |(_, _, hits)| *hits,
        )
    }

    pub fn holds(&self, id: RuleId) -> bool {
        self.rules.iter().any(|(other, _, _)| *other == id)
    }

    /// The first rule for a call of this method; it counts as a hit.
    pub fn meet(&mut self, method: &str) -> Option<(RuleId, Action)> {
        let (id, rule, hits) = self.rules.iter_mut().find(|(_, rule, hits)| {
            rule.method.as_deref().is_none_or(|only| only == method)
                && rule.times.is_none_or(|times| *hits < times)
        })?;
        *hits += 1;
        Some((*id, rule.action.clone()))
    }
}

/// Waits until a rule is removed, or the proxy is gone.
pub(crate) async fn removed(mut table: watch::Receiver<Table>, id: RuleId) {
    let _ = table.wait_for(|table| !table.holds(id)).await;
}

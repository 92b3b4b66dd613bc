//! May this token do that? The policies of a token joined into one answer per path.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    Core,
    call::Op,
    policy::{Cap, Caps, Rule},
    token::Entry,
};

/// The joined rules for one path.
#[derive(Clone, Debug, Default)]
struct Verdict<'a> {
    caps: Caps,
    rules: Vec<&'a Rule>,
}

impl Core {
    /// Whether the policies allow the operation on a path. `path` is relative to the token's namespace.
    pub(crate) fn allowed(
        &self,
        token: &Entry,
        op: Op,
        path: &str,
        raw: &Map<String, Value>,
    ) -> bool {
        if token.is_root() {
            return true;
        }
        let Some(verdict) = self.verdict(token, path, op == Op::List || op == Op::Scan) else {
            return false;
        };
        if verdict.caps.has(Cap::Deny) {
            return false;
        }
        let needed = match op {
            Op::Create => Cap::Create,
            Op::Read => Cap::Read,
            // no capability stands for HEAD
            Op::Header => return false,
            Op::Update => Cap::Update,
            Op::Patch => Cap::Patch,
            Op::Delete => Cap::Delete,
            Op::List => Cap::List,
            Op::Scan => Cap::Scan,
        };
        verdict.caps.has(needed)
            && (!matches!(op, Op::Create | Op::Update | Op::Patch)
                || parameters_fit(&verdict.rules, raw))
    }

    /// Whether the token has `sudo` on a path.
    pub(crate) fn has_sudo(&self, token: &Entry, path: &str) -> bool {
        token.is_root()
            || self
                .verdict(token, path, false)
                .is_some_and(|v| v.caps.has(Cap::Sudo) && !v.caps.has(Cap::Deny))
    }

    /// The capabilities on a path, as `sys/capabilities` lists them.
    pub(crate) fn capabilities(&self, token: &Entry, path: &str) -> Vec<&'static str> {
        if token.is_root() {
            return vec!["root"];
        }
        let names = self
            .verdict(token, path, false)
            .map(|v| v.caps.names())
            .unwrap_or_default();
        if names.is_empty() || names.contains(&"deny") {
            vec!["deny"]
        } else {
            names
        }
    }

    fn verdict(&self, token: &Entry, path: &str, listing: bool) -> Option<Verdict<'_>> {
        let space = self.namespace(&token.ns)?;
        let names = token.policies.iter().chain(&token.identity_policies);
        let mut exact: Verdict<'_> = Verdict::default();
        let mut best: BTreeMap<Rank, Verdict<'_>> = BTreeMap::new();
        let bare = path.trim_end_matches('/');
        for rule in names
            .filter_map(|name| space.policies.get(name))
            .flat_map(|p| &p.rules)
        {
            let same = !rule.pattern.contains('+')
                && !rule.prefix
                && (rule.pattern == path
                    || listing
                        && (rule.pattern == bare || rule.pattern.trim_end_matches('/') == bare));
            if same {
                exact.add(rule);
            } else if let Some(rank) = rank(rule, path) {
                best.entry(rank).or_default().add(rule);
            }
        }
        if !exact.rules.is_empty() {
            return Some(exact);
        }
        best.pop_last().map(|(_, verdict)| verdict)
    }
}

impl<'a> Verdict<'a> {
    fn add(&mut self, rule: &'a Rule) {
        self.caps.join(rule.caps);
        self.rules.push(rule);
    }
}

/// Orders matching patterns by how specific they are; the greatest wins.
/// First wildcard later, no glob at the end, fewer `+`, longer, then by text.
type Rank = (usize, bool, std::cmp::Reverse<usize>, usize, String);

fn rank(rule: &Rule, path: &str) -> Option<Rank> {
    let pattern = rule.pattern.as_str();
    let mut plus = 0;
    if pattern.contains('+') {
        let mut wanted = pattern.split('/');
        let mut found = path.split('/');
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => break,
                (Some("+"), Some(segment)) if !segment.is_empty() => plus += 1,
                (Some(w), Some(f)) if w == f => {}
                (Some(w), Some(f))
                    if rule.prefix && f.starts_with(w) && wanted.next().is_none() =>
                {
                    break;
                }
                _ => return None,
            }
        }
    } else if !(rule.prefix && path.starts_with(pattern)) {
        return None;
    }
    let first = pattern.find('+').unwrap_or(pattern.len());
    Some((
        first,
        !rule.prefix,
        std::cmp::Reverse(plus),
        pattern.len(),
        pattern.to_owned(),
    ))
}

/// `denied_parameters`, `allowed_parameters` and `required_parameters`.
fn parameters_fit(rules: &[&Rule], raw: &Map<String, Value>) -> bool {
    let matches_value = |wanted: &[Value], got: &Value| {
        wanted.is_empty()
            || wanted.iter().any(|w| match (w.as_str(), got.as_str()) {
                (Some(w), Some(g)) => {
                    w == g || w.strip_suffix('*').is_some_and(|p| g.starts_with(p))
                }
                _ => w == got,
            })
    };
    for rule in rules {
        if rule.required.iter().any(|name| !raw.contains_key(name)) {
            return false;
        }
        for (name, wanted) in &rule.denied {
            if name == "*" && !raw.is_empty() {
                return false;
            }
            if raw
                .iter()
                .any(|(k, v)| k.eq_ignore_ascii_case(name) && matches_value(wanted, v))
            {
                return false;
            }
        }
        if let Some(allowed) = &rule.allowed {
            let open = allowed.contains_key("*");
            let fits = |(k, v): (&String, &Value)| match allowed
                .iter()
                .find(|(n, _)| n.eq_ignore_ascii_case(k))
            {
                Some((_, wanted)) => matches_value(wanted, v),
                None => open,
            };
            if !raw.iter().all(fits) {
                return false;
            }
        }
    }
    true
}

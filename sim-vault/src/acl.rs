//! May this token do that? The policies of a token joined into one answer per path, by the servers' own rules: an exact path
//! wins, else the most specific pattern does; rules of the same pattern join, and `deny` silences them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value};

use crate::{
    Core,
    call::{Call, Op},
    policy::{Cap, Caps, Rule, Shape},
    token::Entry,
};

/// What is asked of the policies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub op: Op,
    /// Relative to the token's namespace.
    pub path: &'a str,
    /// Body or query as sent.
    pub raw: &'a Map<String, Value>,
    /// The answer is to be put aside for so long.
    pub wrap: Option<Duration>,
    /// The path is one of those that need `sudo` as well.
    pub sudo: bool,
}

/// A token's rules by pattern, in the order in which they join.
#[derive(Default)]
struct Acl<'a> {
    exact: BTreeMap<&'a str, Vec<&'a Rule>>,
    prefix: BTreeMap<&'a str, Vec<&'a Rule>>,
    segments: BTreeMap<&'a str, Vec<&'a Rule>>,
    /// OpenBao looks for patterns that fit a list's path as it is before those that fit it without its slash; Vault the other
    /// way round, since a pattern with a glob may fit the shorter one alone.
    slash_first: bool,
}

/// The joined rules of one pattern.
#[derive(Clone, Debug, Default)]
struct Permissions<'a> {
    caps: Caps,
    allowed: BTreeMap<&'a str, Vec<&'a Value>>,
    denied: BTreeMap<&'a str, Vec<&'a Value>>,
    required: BTreeSet<&'a str>,
    min_wrap: Duration,
    max_wrap: Duration,
}

impl Core {
    /// Whether the policies allow the operation.
    pub(crate) fn allowed(&self, token: &Entry, asked: Asked<'_>) -> bool {
        if token.is_root() {
            return true;
        }
        let exact: Vec<&Rule> = self
            .rules(token)
            .filter(|rule| rule.shape == Shape::Exact)
            .filter(|rule| rule.pattern == asked.path.trim_start_matches('/'))
            .collect();
        let found = if exact.is_empty() {
            let listing = matches!(asked.op, Op::List | Op::Scan);
            self.acl(token).permissions(asked.path, listing)
        } else {
            // they win, whatever the others are: those need not be put in order
            Some(Permissions::of(&exact))
        };
        let Some(found) = found else {
            return false;
        };
        let needed = match asked.op {
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
        let modifies = matches!(asked.op, Op::Create | Op::Read | Op::Update | Op::Patch);
        found.caps.has(needed)
            && (!asked.sudo || found.caps.has(Cap::Sudo))
            && found.wrapping_fits(asked.wrap)
            && (!modifies || found.parameters_fit(asked.raw))
    }

    /// Whether the token has `sudo` where the call goes, at or below its own namespace.
    pub(crate) fn has_sudo(&self, token: &Entry, call: &Call) -> bool {
        let full = format!("{}{}", call.ns, call.full);
        let of = |path: &str| {
            let found = self.acl(token).permissions(path, false);
            found.is_some_and(|p| p.caps.has(Cap::Sudo))
        };
        token.is_root() || full.strip_prefix(token.ns.as_str()).is_some_and(of)
    }

    /// The capabilities on a path, as `sys/capabilities` lists them.
    pub(crate) fn capabilities(&self, token: &Entry, path: &str) -> Vec<&'static str> {
        if token.is_root() {
            return vec!["root"];
        }
        self.acl(token).capabilities(path)
    }

    /// Whether the token may do anything at all below a mount's path, which ends in a slash.
    pub(crate) fn may_see_mount(&self, token: &Entry, path: &str) -> bool {
        token.is_root() || self.acl(token).gives_access(path)
    }

    /// The rules of a token's policies, in the order in which they join.
    fn rules(&self, token: &Entry) -> impl Iterator<Item = &Rule> {
        let names = token.policies.iter().chain(&token.identity_policies);
        let space = self.namespace(&token.ns);
        space.into_iter().flat_map(move |space| {
            let policies = names.clone().filter_map(|name| space.policies.get(name));
            policies.flat_map(|policy| &policy.rules)
        })
    }

    fn acl(&self, token: &Entry) -> Acl<'_> {
        let mut acl = Acl {
            slash_first: self.flavour.is_openbao(),
            ..Acl::default()
        };
        for rule in self.rules(token) {
            let tree = match rule.shape {
                Shape::Exact => &mut acl.exact,
                Shape::Prefix => &mut acl.prefix,
                Shape::Segments => &mut acl.segments,
            };
            tree.entry(&rule.pattern).or_default().push(rule);
        }
        acl
    }
}

impl<'a> Acl<'a> {
    fn permissions(&self, path: &str, listing: bool) -> Option<Permissions<'a>> {
        let path = path.trim_start_matches('/');
        let bare = path.strip_suffix('/').filter(|_| listing);
        let exact = |path: &str| self.exact.get(path);
        let (first, second) = if self.slash_first {
            (Some(path), bare)
        } else {
            (bare, Some(path))
        };
        exact(path)
            .or_else(|| exact(bare?))
            .or_else(|| self.by_pattern(first?))
            .or_else(|| self.by_pattern(second?))
            .map(|rules| Permissions::of(rules))
    }

    /// The rules of the most specific pattern that fits.
    fn by_pattern(&self, path: &str) -> Option<&Vec<&'a Rule>> {
        let prefixes = self
            .prefix
            .iter()
            .filter(|(pattern, _)| path.starts_with(**pattern))
            .map(|(pattern, rules)| (Rank::new(pattern.len(), true, 0, pattern), rules));
        let segments = self
            .segments
            .iter()
            .filter_map(|(pattern, rules)| Some((fit(pattern, path)?, rules)));
        prefixes
            .chain(segments)
            .max_by(|(a, _), (b, _)| a.cmp(b))
            .map(|(_, rules)| rules)
    }

    fn capabilities(&self, path: &str) -> Vec<&'static str> {
        // asked as for a list, whose fallbacks find the most
        let found = self.permissions(path, true).unwrap_or_default();
        let names = found.caps.names();
        if names.is_empty() || found.caps.has(Cap::Deny) {
            vec!["deny"]
        } else {
            names
        }
    }

    fn gives_access(&self, mount: &str) -> bool {
        let grants = |rules: &Vec<&'a Rule>| Permissions::of(rules).caps.grants();
        let below = |tree: &BTreeMap<&str, Vec<&'a Rule>>| {
            tree.iter()
                .any(|(pattern, rules)| pattern.starts_with(mount) && grants(rules))
        };
        let found = !self.capabilities(mount).contains(&"deny");
        if found || below(&self.exact) || below(&self.prefix) {
            return true;
        }
        if self.segments.is_empty() {
            // whatever it says, a `deny` included
            return self.prefix.keys().any(|p| mount.starts_with(*p));
        }
        self.segments
            .iter()
            .any(|(pattern, rules)| leads_to(pattern, mount) && grants(rules))
    }
}

/// Orders matching patterns by how specific they are; the greatest wins: first wildcard later, no glob at the end, fewer `+`,
/// longer, then by text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a>(usize, bool, Reverse<usize>, usize, &'a str);

impl<'a> Rank<'a> {
    fn new(first: usize, glob: bool, plus: usize, pattern: &'a str) -> Self {
        Self(first, !glob, Reverse(plus), pattern.len(), pattern)
    }
}

/// A pattern with `+` against a path.
fn fit<'a>(pattern: &'a str, path: &str) -> Option<Rank<'a>> {
    let first = pattern.find('+')?;
    let (text, glob) = match pattern.strip_suffix('*') {
        Some(text) => (text, true),
        None => (pattern, false),
    };
    let wanted: Vec<&str> = text.split('/').collect();
    let found: Vec<&str> = path.split('/').collect();
    if found.len() < wanted.len() || !glob && found.len() != wanted.len() {
        return None;
    }
    let last = wanted.len() - 1;
    let mut plus = 0;
    for (n, (part, segment)) in wanted.iter().zip(&found).enumerate() {
        match *part {
            "+" => plus += 1,
            part if part == *segment => {}
            part if glob && n == last && segment.starts_with(part) => {}
            _ => return None,
        }
    }
    Some(Rank::new(first, glob, plus, text))
}

/// Whether the beginning of a pattern with `+` is the path of a mount.
fn leads_to(pattern: &str, mount: &str) -> bool {
    let text = pattern.strip_suffix('*').unwrap_or(pattern);
    let segments: Vec<&str> = mount.trim_end_matches('/').split('/').collect();
    let parts: Vec<&str> = text.split('/').collect();
    parts.len() >= segments.len()
        && parts.iter().zip(&segments).enumerate().all(|(n, (p, s))| {
            let glob = pattern.ends_with('*') && n + 1 == parts.len();
            *p == "+" || p == s || glob && s.starts_with(p)
        })
}

impl<'a> Permissions<'a> {
    fn of(rules: &[&'a Rule]) -> Self {
        let mut joined = Self::default();
        for rule in rules {
            if rule.caps.has(Cap::Deny) {
                return Self {
                    caps: rule.caps,
                    ..Self::default()
                };
            }
            joined.add(rule);
        }
        joined
    }

    fn add(&mut self, rule: &'a Rule) {
        self.caps.join(rule.caps);
        for (lowest, own) in [
            (&mut self.min_wrap, rule.min_wrap),
            (&mut self.max_wrap, rule.max_wrap),
        ] {
            if !own.is_zero() && (lowest.is_zero() || own < *lowest) {
                *lowest = own;
            }
        }
        join(&mut self.allowed, &rule.allowed);
        join(&mut self.denied, &rule.denied);
        self.required
            .extend(rule.required.iter().map(String::as_str));
    }

    /// The limits on how long an answer is put aside, or whether it is.
    fn wrapping_fits(&self, wrap: Option<Duration>) -> bool {
        let (min, max) = (self.min_wrap, self.max_wrap);
        (max.is_zero() || wrap.is_some_and(|w| w <= max))
            && (min.is_zero() || wrap.is_some_and(|w| w >= min))
            && (min.is_zero() || max.is_zero() || min <= max)
    }

    /// `required_parameters`, `denied_parameters` and `allowed_parameters`.
    fn parameters_fit(&self, raw: &Map<String, Value>) -> bool {
        let missing = |name: &&str| !raw.contains_key(&name.to_lowercase());
        if self.required.iter().any(missing) {
            return false;
        }
        if raw.is_empty() {
            return true;
        }
        if self.denied.contains_key("*") {
            return false;
        }
        let listed = |list: &BTreeMap<&str, Vec<&Value>>, name: &str, got: &Value| {
            let values = list.get(name.to_lowercase().as_str())?;
            Some(values.is_empty() || values.iter().any(|wanted| is_value(wanted, got)))
        };
        if raw
            .iter()
            .any(|(name, got)| listed(&self.denied, name, got) == Some(true))
        {
            return false;
        }
        let open = self.allowed.contains_key("*");
        let all = self.allowed.is_empty() || open && self.allowed.len() == 1;
        all || raw
            .iter()
            .all(|(name, got)| listed(&self.allowed, name, got).unwrap_or(open))
    }
}

/// A parameter's empty list allows or denies every value.
fn join<'a>(into: &mut BTreeMap<&'a str, Vec<&'a Value>>, from: &'a BTreeMap<String, Vec<Value>>) {
    for (name, values) in from {
        match into.get_mut(name.as_str()) {
            Some(known) if known.is_empty() || values.is_empty() => known.clear(),
            Some(known) => known.extend(values),
            None => {
                into.insert(name, values.iter().collect());
            }
        }
    }
}

/// Texts may have a glob at either end. Numbers are never equal: the policy's are integers, the request's still texts.
fn is_value(wanted: &Value, got: &Value) -> bool {
    match (wanted, got) {
        (Value::String(wanted), Value::String(got)) => globbed(wanted, got),
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Null, Value::Null) => true,
        _ => false,
    }
}

/// `*` at either end stands for anything.
pub(crate) fn globbed(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}

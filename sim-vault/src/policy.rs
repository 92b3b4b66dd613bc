//! Policies: the rules, and the two notations they are written in (HCL and JSON).

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::flavour::Flavour;

mod decode;
mod hcl;

/// One capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cap {
    Create = 1,
    Read = 2,
    Update = 4,
    Delete = 8,
    List = 16,
    Sudo = 32,
    Deny = 64,
    Patch = 128,
    Scan = 256,
    Subscribe = 512,
}

const NAMES: [(&str, Cap); 10] = [
    ("create", Cap::Create),
    ("read", Cap::Read),
    ("update", Cap::Update),
    ("delete", Cap::Delete),
    ("list", Cap::List),
    ("sudo", Cap::Sudo),
    ("deny", Cap::Deny),
    ("patch", Cap::Patch),
    ("scan", Cap::Scan),
    ("subscribe", Cap::Subscribe),
];

impl Cap {
    /// The newest capabilities are each product's own.
    fn named(name: &str, flavour: Flavour) -> Option<Self> {
        let (_, cap) = NAMES.iter().find(|(n, _)| *n == name)?;
        let foreign = match cap {
            Self::Scan => flavour.is_vault(),
            Self::Subscribe => flavour.is_openbao(),
            _ => false,
        };
        (!foreign).then_some(*cap)
    }
}

/// A set of capabilities. Within one path `deny` silences all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caps(u16);

impl Caps {
    pub(crate) fn has(self, cap: Cap) -> bool {
        self.0 & cap as u16 != 0
    }

    /// Whether anything is allowed at all.
    pub(crate) fn grants(self) -> bool {
        self.0 != 0 && !self.has(Cap::Deny)
    }

    pub(crate) fn add(&mut self, cap: Cap) {
        self.0 |= cap as u16;
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// In alphabetical order.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let mut names: Vec<&str> = NAMES
            .iter()
            .filter(|(_, c)| self.has(*c))
            .map(|(n, _)| *n)
            .collect();
        names.sort_unstable();
        names
    }
}

/// How a pattern is compared with a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As it stands there.
    #[default]
    Exact,
    /// A `*` stood at its end.
    Prefix,
    /// Some segment is `+`; a `*` at the end still stands there.
    Segments,
}

/// The rule of one `path` block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    pub pattern: String,
    pub shape: Shape,
    pub caps: Caps,
    /// Empty: nothing is denied.
    pub denied: BTreeMap<String, Vec<Value>>,
    /// Empty: everything is allowed.
    pub allowed: BTreeMap<String, Vec<Value>>,
    pub required: Vec<String>,
    /// Zero: no limit.
    pub min_wrap: Duration,
    /// Zero: no limit.
    pub max_wrap: Duration,
}

impl Rule {
    /// A rule for a pattern as policies write it.
    fn on(path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        let shape = if path == "+" || path.contains("/+") || path.starts_with("+/") {
            Shape::Segments
        } else if path.ends_with('*') {
            Shape::Prefix
        } else {
            Shape::Exact
        };
        let pattern = match shape {
            Shape::Prefix => path.strip_suffix('*').unwrap_or(path),
            _ => path,
        };
        Self {
            pattern: pattern.to_owned(),
            shape,
            ..Self::default()
        }
    }
}

/// A parsed policy and its text.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub text: String,
    pub rules: Vec<Rule>,
    pub version: u64,
    /// RFC 3339.
    pub modified: String,
}

impl Policy {
    /// Parses HCL or JSON. The error is the server's text after `failed to parse policy: `.
    pub(crate) fn parse(text: &str, flavour: Flavour) -> Result<Self, String> {
        let items = hcl::parse(text, flavour)?;
        let rules = decode::rules(&items, flavour)?;
        Ok(Self {
            text: text.to_owned(),
            rules,
            version: 1,
            modified: String::new(),
        })
    }

    /// What a wrapping token may do.
    pub(crate) fn response_wrapping() -> Self {
        let rule = |pattern: &str, caps: &[Cap]| {
            let mut rule = Rule::on(pattern);
            caps.iter().for_each(|c| rule.caps.add(*c));
            rule
        };
        let rules = vec![
            rule("cubbyhole/response", &[Cap::Create, Cap::Read]),
            rule("sys/wrapping/unwrap", &[Cap::Update]),
        ];
        Self {
            text: String::new(),
            rules,
            version: 1,
            modified: String::new(),
        }
    }

    /// The policy that every token has unless it was made without.
    pub(crate) fn default_policy(flavour: Flavour) -> Self {
        let rules = DEFAULT
            .iter()
            .map(|(path, caps)| {
                let mut rule = Rule::on(path);
                for (name, cap) in NAMES {
                    if caps.contains(&name) && (name != "scan" || flavour.is_openbao()) {
                        rule.caps.add(cap);
                    }
                }
                rule
            })
            .collect();
        let text = DEFAULT
            .iter()
            .map(|(path, caps)| format!("path \"{path}\" {{\n    capabilities = {caps:?}\n}}\n"))
            .collect();
        Self {
            text,
            rules,
            version: 1,
            modified: String::new(),
        }
    }
}

const DEFAULT: &[(&str, &[&str])] = &[
    ("auth/token/lookup-self", &["read"]),
    ("auth/token/renew-self", &["update"]),
    ("auth/token/revoke-self", &["update"]),
    ("sys/capabilities-self", &["update"]),
    ("sys/internal/ui/resultant-acl", &["read"]),
    ("sys/renew", &["update"]),
    ("sys/leases/renew", &["update"]),
    ("sys/leases/lookup", &["update"]),
    (
        "cubbyhole/*",
        &["create", "read", "update", "delete", "list", "scan"],
    ),
    ("sys/wrapping/wrap", &["update"]),
    ("sys/wrapping/lookup", &["update"]),
    ("sys/wrapping/unwrap", &["update"]),
    ("sys/tools/hash", &["update"]),
    ("sys/tools/hash/*", &["update"]),
    ("sys/control-group/request", &["update"]),
    ("identity/oidc/provider/+/authorize", &["read", "update"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_error_texts() {
        let parse = |text| Policy::parse(text, Flavour::OpenBao).map(|p| p.rules.len());
        assert_eq!(
            parse("path {"),
            Err("At 1:8: object expected closing RBRACE got: EOF".to_owned())
        );
        assert_eq!(
            parse("path \"x\" { capabilities=[\"fly\"] }"),
            Err("path \"x\": path \"x\": invalid capability \"fly\"".to_owned())
        );
        assert_eq!(
            parse("path \"a\" { capabilities = [\"read\"] }\npath \"b/*\" { policy = \"write\" }"),
            Ok(2)
        );
        assert_eq!(
            parse("{\"path\":{\"a\":{\"capabilities\":[\"read\"]}}}"),
            Ok(1)
        );
    }
}

//! Policies: the rules, and the two notations they are written in (HCL and JSON).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::flavour::Flavour;

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

/// The rule of one `path` block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    /// Without the `*` at the end.
    pub pattern: String,
    /// A `*` stood at the end.
    pub prefix: bool,
    pub caps: Caps,
    pub denied: BTreeMap<String, Vec<Value>>,
    pub allowed: Option<BTreeMap<String, Vec<Value>>>,
    pub required: Vec<String>,
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
        let tree = match serde_json::from_str::<Value>(text) {
            Ok(tree @ Value::Object(_)) => tree,
            _ => hcl::parse(text)?,
        };
        let mut rules = Vec::new();
        if let Some(top) = tree.as_object() {
            for (key, value) in top {
                match key.as_str() {
                    "path" if !value.is_object() && !value.is_array() => {
                        return Err(
                            "path \"path\": cannot check HCL keys of type *ast.LiteralType"
                                .to_owned(),
                        );
                    }
                    "path" => {
                        for block in blocks(value) {
                            for (path, body) in block {
                                rules.push(rule(path, body, flavour)?);
                            }
                        }
                    }
                    "name" => {}
                    other => return Err(format!("invalid key {other:?}")),
                }
            }
        }
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
            let mut rule = Rule {
                pattern: pattern.to_owned(),
                ..Rule::default()
            };
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
                let mut rule = Rule {
                    pattern: path.trim_end_matches('*').to_owned(),
                    prefix: path.ends_with('*'),
                    ..Rule::default()
                };
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

/// HCL allows a block to be repeated, JSON writes a list: both are a list of maps.
fn blocks(value: &Value) -> Vec<&serde_json::Map<String, Value>> {
    match value {
        Value::Object(map) => vec![map],
        Value::Array(items) => items.iter().filter_map(Value::as_object).collect(),
        _ => Vec::new(),
    }
}

fn rule(path: &str, body: &Value, flavour: Flavour) -> Result<Rule, String> {
    let at = |text: String| format!("path {path:?}: {text}");
    let pattern = path.strip_prefix('/').unwrap_or(path);
    let mut rule = Rule {
        pattern: pattern.strip_suffix('*').unwrap_or(pattern).to_owned(),
        prefix: pattern.ends_with('*'),
        ..Rule::default()
    };
    let Some(map) = body
        .as_object()
        .or_else(|| body.as_array()?.first()?.as_object())
    else {
        return Ok(rule);
    };
    let mut denied = false;
    // the old notation is read before the new one, and nothing at all after a `deny`
    let old = map.iter().filter(|(k, _)| *k == "policy");
    let caps = map.iter().filter(|(k, _)| *k == "capabilities");
    let rest = map
        .iter()
        .filter(|(k, _)| *k != "policy" && *k != "capabilities");
    for (key, value) in old.chain(caps).chain(rest) {
        match key.as_str() {
            // the old `deny` leaves nothing to read
            "capabilities" if denied => {}
            "capabilities" => {
                for name in texts(value) {
                    if name == "deny" {
                        // nothing that follows counts, or is read
                        rule.caps = Caps::default();
                        rule.caps.add(Cap::Deny);
                        denied = true;
                        break;
                    }
                    // the newest capabilities are each product's own
                    let foreign = match name.as_str() {
                        "scan" => flavour.is_vault(),
                        "subscribe" => flavour.is_openbao(),
                        _ => false,
                    };
                    match NAMES.iter().find(|(n, _)| *n == name && !foreign) {
                        Some((_, cap)) => rule.caps.add(*cap),
                        None if flavour.is_vault() => {
                            return Err(at(format!("invalid capability {name:?}")));
                        }
                        None => {
                            return Err(at(format!("path {path:?}: invalid capability {name:?}")));
                        }
                    }
                }
            }
            "policy" => {
                let caps: &[Cap] = match value.as_str() {
                    Some("deny") => {
                        rule.caps = Caps::default();
                        rule.caps.add(Cap::Deny);
                        denied = true;
                        &[]
                    }
                    Some("read") => &[Cap::Read, Cap::List],
                    Some("write") => &[Cap::Create, Cap::Read, Cap::Update, Cap::Delete, Cap::List],
                    Some("sudo") => &[
                        Cap::Create,
                        Cap::Read,
                        Cap::Update,
                        Cap::Delete,
                        Cap::List,
                        Cap::Sudo,
                    ],
                    other => {
                        let fault = format!("invalid policy {:?}", other.unwrap_or_default());
                        return Err(at(if flavour.is_openbao() {
                            at(fault)
                        } else {
                            fault
                        }));
                    }
                };
                caps.iter().for_each(|c| rule.caps.add(*c));
            }
            "denied_parameters" => rule.denied = parameters(value),
            "allowed_parameters" => rule.allowed = Some(parameters(value)),
            "required_parameters" => rule.required = texts(value),
            "min_wrapping_ttl" | "max_wrapping_ttl" => {
                if !denied
                    && let Some(text) = value.as_str()
                    && !matches!(crate::duration::parse(text), Some(Ok(_)))
                {
                    let fault = crate::fields::invalid_duration(text);
                    let fault = format!("error parsing {key}: {fault}");
                    return Err(if flavour.is_openbao() {
                        at(fault)
                    } else {
                        fault
                    });
                }
            }
            "comment" | "mfa_methods" | "control_group" => {}
            "expiration"
            | "list_scan_response_keys_filter_path"
            | "pagination_limit"
            | "response_keys_filter_path"
                if flavour.is_openbao() => {}
            "subscribe_event_types" if flavour.is_vault() => {}
            other => return Err(at(format!("invalid key {other:?}"))),
        }
    }
    Ok(rule)
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

fn parameters(value: &Value) -> BTreeMap<String, Vec<Value>> {
    let mut out = BTreeMap::new();
    for block in blocks(value) {
        for (name, values) in block {
            out.insert(
                name.to_lowercase(),
                values.as_array().cloned().unwrap_or_default(),
            );
        }
    }
    out
}

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

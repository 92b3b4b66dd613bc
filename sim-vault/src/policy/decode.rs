//! A policy's tree read into rules, in the real servers' order: whatever is wrong first is what they name.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    Cap, Rule,
    hcl::{Item, Key, Literal, Node, Pos, at},
};
use crate::{duration, flavour::Flavour};

mod control_group;

/// The rules of all `path` blocks. The error is the server's text after `failed to parse policy: `.
pub(super) fn rules(items: &[Item], flavour: Flavour) -> Result<Vec<Rule>, String> {
    let faults = unknown_keys(items, &["name", "path"]);
    if !faults.is_empty() {
        return Err(several(&faults));
    }
    for value in field(items, "name") {
        text(&value, "root.name")?;
    }
    below(items, "path")
        .into_iter()
        .map(|item| path_rule(&item, flavour))
        .collect()
}

/// The items under a key, without it.
fn below(items: &[Item], name: &str) -> Vec<Item> {
    let mut out = Vec::new();
    for item in items {
        if let [first, rest @ ..] = item.keys.as_slice()
            && first.name.eq_ignore_ascii_case(name)
        {
            out.push(Item {
                keys: rest.to_vec(),
                ..item.clone()
            });
        }
    }
    out
}

/// What a field of a structure is read from.
enum Given<'a> {
    /// `name = value` or `name { … }`.
    Value(&'a Node),
    /// `name "key" { … }`, all together.
    Blocks(Vec<Item>),
}

fn field<'a>(items: &'a [Item], name: &str) -> Vec<Given<'a>> {
    let is = |key: &Key| key.name.eq_ignore_ascii_case(name);
    let longer = below(items, name);
    let blocks: Vec<Item> = longer.into_iter().filter(|i| !i.keys.is_empty()).collect();
    let mut out = Vec::new();
    if !blocks.is_empty() {
        out.push(Given::Blocks(blocks));
    }
    for item in items {
        if let [key] = item.keys.as_slice()
            && is(key)
        {
            out.push(Given::Value(&item.value));
        }
    }
    out
}

/// Where a list of items begins.
fn start(items: &[Item]) -> Pos {
    let key = items.first().and_then(|i| i.keys.first());
    key.map(|k| k.pos).unwrap_or_default()
}

impl Given<'_> {
    fn pos(&self) -> Pos {
        match self {
            // an object is looked into at once
            Self::Value(Node::Object(_, items)) => start(items),
            Self::Value(node) => node.pos(),
            Self::Blocks(items) => start(items),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Value(Node::Object(..)) | Self::Blocks(_) => "*ast.ObjectList",
            Self::Value(node) => node.kind(),
        }
    }
}

fn unknown_keys(items: &[Item], known: &[&str]) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| Some((&item.keys.first()?.name, item.assigned)))
        .filter(|(name, _)| !known.contains(&name.as_str()))
        .map(|(name, line)| format!("invalid key {} on line {line}", quoted(name)))
        .collect()
}

/// A text as Go's `%q` prints it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Errors as Go's list of errors prints them.
fn several(faults: &[String]) -> String {
    let count = match faults.len() {
        1 => "1 error occurred".to_owned(),
        n => format!("{n} errors occurred"),
    };
    let lines: String = faults.iter().map(|f| format!("\t* {f}\n")).collect();
    format!("{count}:\n{lines}\n")
}

const KEYS: [&str; 10] = [
    "comment",
    "policy",
    "capabilities",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "mfa_methods",
    "control_group",
];
const OF_OPENBAO: [&str; 3] = [
    "expiration",
    "pagination_limit",
    "list_scan_response_keys_filter_path",
];
const OF_VAULT: [&str; 1] = ["subscribe_event_types"];

fn path_rule(item: &Item, flavour: Flavour) -> Result<Rule, String> {
    let key = item.keys.first().map_or("path", |k| k.name.as_str());
    let openbao = flavour.is_openbao();
    let with_path = |fault: String| format!("path {}: {fault}", quoted(key));
    // OpenBao names the path in front of every fault, also of those that name it themselves
    let twice = |fault: String| {
        if openbao { with_path(fault) } else { fault }
    };
    check_templates(key).map_err(twice)?;
    let Node::Object(_, items) = &item.value else {
        let kind = item.value.kind();
        return Err(with_path(format!("cannot check HCL keys of type {kind}")));
    };
    let mut known = KEYS.to_vec();
    if openbao {
        known.extend(OF_OPENBAO);
    } else {
        known.extend(OF_VAULT);
    }
    let faults = unknown_keys(items, &known);
    if !faults.is_empty() {
        return Err(if openbao {
            with_path(several(&faults))
        } else {
            several(&faults.into_iter().map(with_path).collect::<Vec<_>>())
        });
    }
    if openbao && let Ok(Some(group)) = control_group::of(items) {
        // before everything else in the block
        control_group::check(&group, flavour).map_err(twice)?;
    }
    let block = Block::read(items, flavour).map_err(|fault| twice(with_path(fault)))?;
    block.rule(key, flavour).map_err(twice)
}

/// Braces in pairs stand for parts of the caller's identity.
fn check_templates(path: &str) -> Result<(), String> {
    let mut pieces = path.split("{{");
    let first_closes = pieces.next().is_some_and(|p| p.contains("}}"));
    if first_closes || pieces.any(|p| p.matches("}}").count() != 1) {
        return Err(
            "failed to validate policy templating: unbalanced templating characters".to_owned(),
        );
    }
    Ok(())
}

type Parameters = BTreeMap<String, Vec<Value>>;

/// The fields of a block, typed but not yet understood.
#[derive(Default)]
struct Block {
    policy: String,
    capabilities: Vec<String>,
    min_wrap: Option<Node>,
    max_wrap: Option<Node>,
    allowed: Parameters,
    denied: Parameters,
    required: Vec<String>,
    control_group: Option<Vec<Item>>,
    expiration: Option<Node>,
    page: Option<Node>,
    filter: bool,
}

impl Block {
    fn read(items: &[Item], flavour: Flavour) -> Result<Self, String> {
        let mut block = Self::default();
        for given in field(items, "policy") {
            block.policy = text(&given, "root.Policy")?;
        }
        for given in field(items, "capabilities") {
            texts(&given, "root.Capabilities", &mut block.capabilities)?;
        }
        // said twice, the latter counts
        let any = |name: &str| field(items, name).iter().filter_map(whole).next_back();
        block.min_wrap = any("min_wrapping_ttl");
        block.max_wrap = any("max_wrapping_ttl");
        for given in field(items, "allowed_parameters") {
            parameters(&given, "root.allowed_parameters", &mut block.allowed)?;
        }
        for given in field(items, "denied_parameters") {
            parameters(&given, "root.denied_parameters", &mut block.denied)?;
        }
        for given in field(items, "required_parameters") {
            texts(&given, "root.required_parameters", &mut block.required)?;
        }
        let mut unused = Vec::new();
        for given in field(items, "mfa_methods") {
            texts(&given, "root.mfa_methods", &mut unused)?;
        }
        block.control_group = control_group::of(items)?;
        if flavour.is_vault() {
            for given in field(items, "subscribe_event_types") {
                texts(&given, "root.subscribe_event_types", &mut unused)?;
            }
        } else {
            block.expiration = any("expiration");
            block.page = any("pagination_limit");
            for given in field(items, "list_scan_response_keys_filter_path") {
                let filter = text(&given, "root.list_scan_response_keys_filter_path")?;
                block.filter = !filter.is_empty();
            }
        }
        Ok(block)
    }

    fn rule(self, key: &str, flavour: Flavour) -> Result<Rule, String> {
        let with_path = |fault: String| Err(format!("path {}: {fault}", quoted(key)));
        let mut rule = Rule::on(key);
        if let Some(Node::Literal(_, Literal::Text(count))) = &self.page
            && count.parse::<i64>().is_err()
        {
            return with_path(format!(
                "strconv.ParseInt: parsing {}: invalid syntax",
                quoted(count)
            ));
        }
        if let Some(Node::Literal(_, Literal::Text(time))) = &self.expiration
            && time.parse::<jiff::Timestamp>().is_err()
            && time.parse::<i64>().is_err()
        {
            return with_path(
                "invalid expiration time: could not parse string as date and time".to_owned(),
            );
        }
        let shown = key.strip_prefix('/').unwrap_or(key);
        if shown.contains("+*") {
            return Err(format!(
                "path {}: invalid use of wildcards ('+*' is forbidden)",
                quoted(shown)
            ));
        }
        let mut capabilities = self.capabilities;
        let old: &[&str] = match self.policy.as_str() {
            "" => &[],
            "deny" => {
                capabilities.clear();
                &["deny"]
            }
            "read" => &["read", "list"],
            "write" => &["create", "read", "update", "delete", "list"],
            "sudo" => &["create", "read", "update", "delete", "list", "sudo"],
            other => return with_path(format!("invalid policy {}", quoted(other))),
        };
        capabilities.extend(old.iter().map(|&c| c.to_owned()));
        for name in &capabilities {
            if name == "deny" {
                // nothing that follows is looked at
                rule.caps = super::Caps::default();
                rule.caps.add(Cap::Deny);
                return Ok(rule);
            }
            match Cap::named(name, flavour) {
                Some(cap) => rule.caps.add(cap),
                None => return with_path(format!("invalid capability {}", quoted(name))),
            }
        }
        let limit = |node: Option<Node>, name: &str| match node {
            None => Ok(Duration::ZERO),
            Some(node) => seconds(&node).map_err(|fault| format!("error parsing {name}: {fault}")),
        };
        rule.min_wrap = limit(self.min_wrap, "min_wrapping_ttl")?;
        rule.max_wrap = limit(self.max_wrap, "max_wrapping_ttl")?;
        if let Some(group) = self.control_group.filter(|_| flavour.is_vault()) {
            control_group::check(&group, flavour)?;
        }
        if !rule.max_wrap.is_zero() && rule.max_wrap < rule.min_wrap {
            return Err("max_wrapping_ttl cannot be less than min_wrapping_ttl".to_owned());
        }
        if self.filter && !rule.caps.has(Cap::List) && !rule.caps.has(Cap::Scan) {
            return Err(
                "list_scan_response_keys_filter_path needs to be used on a path with the list capability"
                    .to_owned(),
            );
        }
        rule.allowed = self.allowed;
        rule.denied = self.denied;
        rule.required = self.required;
        Ok(rule)
    }
}

/// A value that may be of any type.
fn whole(given: &Given<'_>) -> Option<Node> {
    Some(match given {
        Given::Value(node) => (*node).clone(),
        Given::Blocks(items) => Node::Object(start(items), items.clone()),
    })
}

fn text(given: &Given<'_>, name: &str) -> Result<String, String> {
    match given {
        Given::Value(Node::Literal(_, Literal::Text(text) | Literal::Number(text))) => {
            Ok(text.clone())
        }
        _ => Err(at(
            given.pos(),
            format!("{name}: unknown type for string {}", given.kind()),
        )),
    }
}

fn texts(given: &Given<'_>, name: &str, out: &mut Vec<String>) -> Result<(), String> {
    match given {
        Given::Value(Node::List(_, nodes)) => {
            for (n, node) in nodes.iter().enumerate() {
                match node {
                    Node::Literal(_, Literal::Text(text) | Literal::Number(text)) => {
                        out.push(text.clone());
                    }
                    other => {
                        let kind = other.kind();
                        let text = format!("{name}[{n}]: unknown type for string {kind}");
                        return Err(at(other.pos(), text));
                    }
                }
            }
            Ok(())
        }
        Given::Value(Node::Object(_, items)) if items.is_empty() => Ok(()),
        Given::Value(Node::Literal(pos, _)) => {
            Err(at(*pos, "unknown slice type: *ast.LiteralType"))
        }
        _ => Err(at(
            given.pos(),
            format!("{name}[0]: unknown type for string *ast.ObjectItem"),
        )),
    }
}

/// Names with the values that they allow or deny.
fn parameters(given: &Given<'_>, name: &str, out: &mut Parameters) -> Result<(), String> {
    let items: &[Item] = match given {
        Given::Value(Node::Object(_, items)) => items,
        Given::Blocks(items) => items,
        Given::Value(other) => {
            let kind = other.kind();
            let text = format!("{name}: not an object type for map ({kind})");
            return Err(at(other.pos(), text));
        }
    };
    for item in items {
        let Some(key) = item.keys.first() else {
            continue;
        };
        if item.keys.len() > 1 {
            let key = &key.name;
            return Err(format!(
                "{name}.{key}[0]: cannot decode into interface: *ast.ObjectItem"
            ));
        }
        let values = match &item.value {
            Node::List(_, nodes) => nodes.iter().map(value).collect(),
            Node::Object(_, inner) if inner.is_empty() => Vec::new(),
            Node::Object(..) => vec![Value::Object(serde_json::Map::new())],
            Node::Literal(pos, _) => {
                return Err(at(*pos, "unknown slice type: *ast.LiteralType"));
            }
        };
        out.entry(key.name.to_lowercase())
            .or_default()
            .extend::<Vec<Value>>(values);
    }
    Ok(())
}

/// Lists and objects are only there to be unequal to everything.
fn value(node: &Node) -> Value {
    match node {
        Node::Literal(_, Literal::Text(text)) => text.as_str().into(),
        Node::Literal(_, Literal::Bool(b)) => (*b).into(),
        Node::Literal(_, Literal::Number(n) | Literal::Float(n)) => {
            n.parse::<i64>().unwrap_or_default().into()
        }
        Node::List(..) => Value::Array(Vec::new()),
        Node::Object(..) => Value::Object(serde_json::Map::new()),
    }
}

/// A negative time limits nothing.
fn seconds(node: &Node) -> Result<Duration, String> {
    let text = match node {
        Node::Literal(_, Literal::Text(text) | Literal::Number(text) | Literal::Float(text)) => {
            text
        }
        _ => return Err("could not parse duration from input".to_owned()),
    };
    match duration::parse(text) {
        Some(time) => Ok(time.unwrap_or_default()),
        None => Err(duration::fault(text)),
    }
}

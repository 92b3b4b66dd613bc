//! YAML and JSON to a tree, with YAML 1.1 scalars as the Go libraries resolve them.
//!
//! Not for what the fields mean.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// A value of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool,
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the file's order; of a key given twice the last one counts.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What Go's JSON library calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool => "bool",
            Node::Number(_) => "number",
            Node::Text(_) => "string",
            Node::List(_) => "array",
            Node::Map(_) => "object",
        }
    }
}

/// A tree, and what only a strict reader minds.
pub(super) struct Tree {
    pub(super) root: Node,
    /// Texts of keys that were given twice.
    pub(super) duplicates: Vec<String>,
}

/// Deeper nesting, or more values after aliases are filled in, is refused: no configuration comes
/// near.
const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 200_000;

/// Reads the first document.
///
/// # Errors
/// With `yaml: line N: what`. The texts are the parser's; those of the commonest mistakes are the
/// same as upstream's.
pub(super) fn read(text: &str) -> Result<Tree, String> {
    let mut builder = Builder::default();
    for step in Parser::new_from_str(text) {
        let (event, span) = step
            .map_err(|error| format!("yaml: line {}: {}", error.marker().line(), error.info()))?;
        if !builder.take(event, span.start.line())? {
            break;
        }
    }
    Ok(Tree {
        root: builder.root.unwrap_or(Node::Null),
        duplicates: builder.duplicates,
    })
}

#[derive(Default)]
struct Builder {
    open: Vec<(Open, usize)>,
    root: Option<Node>,
    anchors: std::collections::BTreeMap<usize, Node>,
    duplicates: Vec<String>,
    nodes: usize,
}

enum Open {
    List(Vec<Node>),
    Map {
        entries: Vec<(String, Node)>,
        key: Option<String>,
    },
}

impl Builder {
    /// Takes an event; false at the end of the first document.
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<bool, String> {
        let (anchor, node) = match event {
            Event::DocumentEnd => return Ok(false),
            Event::SequenceStart(anchor, _) => {
                self.open(Open::List(Vec::new()), anchor, line)?;
                return Ok(true);
            }
            Event::MappingStart(anchor, _) => {
                let open = Open::Map {
                    entries: Vec::new(),
                    key: None,
                };
                self.open(open, anchor, line)?;
                return Ok(true);
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((Open::List(nodes), anchor)) => (anchor, Node::List(nodes)),
                Some((Open::Map { entries, .. }, anchor)) => (anchor, Node::Map(entries)),
                None => return Ok(true),
            },
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                (
                    0,
                    node.ok_or_else(|| format!("yaml: line {line}: unknown anchor"))?,
                )
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (
                    anchor,
                    if plain {
                        resolve(&text)
                    } else {
                        Node::Text(text.into_owned())
                    },
                )
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::Nothing => {
                return Ok(true);
            }
        };
        self.nodes += size(&node);
        if self.nodes > MAX_NODES {
            return Err(format!(
                "yaml: line {line}: document contains excessive aliasing"
            ));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node, line)?;
        Ok(true)
    }

    fn open(&mut self, open: Open, anchor: usize, line: usize) -> Result<(), String> {
        if self.open.len() == MAX_DEPTH {
            return Err(format!(
                "yaml: line {line}: exceeded max depth of {MAX_DEPTH}"
            ));
        }
        self.open.push((open, anchor));
        Ok(())
    }

    fn place(&mut self, node: Node, line: usize) -> Result<(), String> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((Open::List(nodes), _)) => nodes.push(node),
            Some((Open::Map { entries, key }, _)) => match key.take() {
                None => {
                    let text = match node {
                        Node::Text(text) | Node::Number(text) => text,
                        Node::Null => "null".to_owned(),
                        other => {
                            return Err(format!(
                                "yaml: line {line}: invalid map key of kind {}",
                                other.kind()
                            ));
                        }
                    };
                    if entries.iter().any(|(known, _)| *known == text) {
                        self.duplicates.push(format!(
                            "  line {line}: key {} already set in map",
                            crate::gotext::quote(&text)
                        ));
                    }
                    *key = Some(text);
                }
                Some(name) => {
                    entries.retain(|(known, _)| *known != name);
                    entries.push((name, node));
                }
            },
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match node {
        Node::List(nodes) => 1 + nodes.iter().map(size).sum::<usize>(),
        Node::Map(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
        _ => 1,
    }
}

/// A plain scalar by the rules of YAML 1.1.
fn resolve(text: &str) -> Node {
    const BOOLEANS: [&str; 8] = ["y", "yes", "on", "true", "n", "no", "off", "false"];
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Node::Null,
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    // One capital in front, or capitals throughout.
    let cased =
        text == lower || text == text.to_ascii_uppercase() || text.get(1..) == lower.get(1..);
    if cased && BOOLEANS.contains(&lower.as_str()) {
        return Node::Bool;
    }
    if is_number(text) {
        Node::Number(text.to_owned())
    } else {
        Node::Text(text.to_owned())
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|first: char| first == '.' || first.is_ascii_digit()) {
        return false;
    }
    let digits = unsigned.replace('_', "");
    for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return u64::from_str_radix(rest, radix).is_ok();
        }
    }
    match digits.as_str() {
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN" => true,
        digits => digits.parse::<f64>().is_ok(),
    }
}

//! JSON as HCL reads it: a missing `}` at the end goes unseen, values in lists that HCL does not know are left out, and an
//! object that holds nothing but objects is taken for blocks with a key more.

use super::{
    Item, Key, Literal, MAX_DEPTH, Node, Pos,
    native::escaped,
    scan::{Kind, Scanner, Token},
};

pub(super) fn parse(text: &str) -> Result<Vec<Item>, String> {
    let mut parser = Parser {
        scanner: Scanner::new(text, true),
        latest: Kind::Eof,
        depth: 0,
    };
    let first = parser.scan();
    let items = match first.kind {
        Kind::Lbrace => parser.object(),
        _ => Err(Stop::Fault(format!(
            "Expected object, got unknown token: {}",
            shown(&first)
        ))),
    };
    if let Some((pos, fault)) = parser.scanner.fault {
        return Err(format!("{pos}: {fault}"));
    }
    match items {
        Ok(items) => Ok(flat(items)),
        Err(Stop::End) => Err("EOF token found".to_owned()),
        Err(Stop::Fault(text)) => Err(text),
    }
}

enum Stop {
    End,
    Fault(String),
}

struct Parser {
    scanner: Scanner,
    latest: Kind,
    depth: usize,
}

impl Parser {
    fn scan(&mut self) -> Token {
        let token = self.scanner.scan();
        self.latest = token.kind;
        token
    }

    /// The items behind a `{`, the `}` included. What is wrong in front of a `}` goes unseen.
    fn object(&mut self) -> Result<Vec<Item>, Stop> {
        self.deeper()?;
        let mut items = Vec::new();
        loop {
            match self.item() {
                Ok(item) => items.push(item),
                Err(Stop::End) => break,
                Err(_) if self.latest == Kind::Rbrace => break,
                Err(fault) => return Err(fault),
            }
            if self.scan().kind != Kind::Comma {
                break;
            }
        }
        self.depth -= 1;
        Ok(items)
    }

    fn item(&mut self) -> Result<Item, Stop> {
        let mut keys: Vec<Key> = Vec::new();
        let assigned = loop {
            let token = self.scan();
            match token.kind {
                Kind::Eof => return Err(Stop::End),
                Kind::Text => keys.push(Key {
                    name: unquoted(&token.text),
                    pos: Pos::default(),
                }),
                Kind::Colon if !keys.is_empty() => break token.line,
                Kind::Illegal => return Err(Stop::Fault("illegal".to_owned())),
                kind => {
                    let text = format!("expected: STRING got: {}", kind.name());
                    return Err(Stop::Fault(text));
                }
            }
        };
        let value = self.value()?;
        Ok(Item {
            keys,
            assigned,
            value,
        })
    }

    fn value(&mut self) -> Result<Node, Stop> {
        let token = self.scan();
        match token.kind {
            Kind::Number | Kind::Float | Kind::Bool | Kind::Null | Kind::Text => {
                Ok(literal(&token))
            }
            Kind::Lbrace => Ok(Node::Object(Pos::default(), self.object()?)),
            Kind::Lbrack => self.list(),
            Kind::Eof => Err(Stop::End),
            _ => Err(Stop::Fault(format!(
                "Expected object value, got unknown token: {}",
                shown(&token)
            ))),
        }
    }

    fn list(&mut self) -> Result<Node, Stop> {
        let mut nodes = Vec::new();
        loop {
            let token = self.scan();
            match token.kind {
                Kind::Number | Kind::Float | Kind::Text => nodes.push(literal(&token)),
                Kind::Lbrace => nodes.push(Node::Object(Pos::default(), self.object()?)),
                Kind::Comma | Kind::Bool | Kind::Lbrack => {}
                Kind::Rbrack => return Ok(Node::List(Pos::default(), nodes)),
                kind => {
                    let text = format!("unexpected token while parsing list: {}", kind.name());
                    return Err(Stop::Fault(text));
                }
            }
        }
    }

    fn deeper(&mut self) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Stop::Fault("nesting too deep".to_owned()));
        }
        Ok(())
    }
}

fn shown(token: &Token) -> String {
    format!("{} {} {}", token.pos(), token.kind.name(), token.text)
}

fn literal(token: &Token) -> Node {
    let value = match token.kind {
        Kind::Number => Literal::Number(token.text.clone()),
        Kind::Float => Literal::Float(token.text.clone()),
        Kind::Bool => Literal::Bool(token.text == "true"),
        Kind::Null => Literal::Text(String::new()),
        _ => Literal::Text(unquoted(&token.text)),
    };
    Node::Literal(Pos::default(), value)
}

fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').unwrap_or(text);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut out = String::new();
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' {
            out.extend(escaped(&mut chars));
        } else {
            out.push(c);
        }
    }
    out
}

/// Objects of nothing but objects, and lists of them, become items with longer keys.
fn flat(items: Vec<Item>) -> Vec<Item> {
    let mut out = Vec::new();
    let mut pending: Vec<Item> = items.into_iter().rev().collect();
    while let Some(item) = pending.pop() {
        let all_objects = match &item.value {
            Node::Object(_, inner) => {
                !inner.is_empty() && inner.iter().all(|i| matches!(i.value, Node::Object(..)))
            }
            Node::List(_, nodes) => {
                !nodes.is_empty() && nodes.iter().all(|n| matches!(n, Node::Object(..)))
            }
            Node::Literal(..) => false,
        };
        let Item {
            keys,
            assigned,
            value,
        } = item;
        match value {
            Node::Object(_, inner) if all_objects => {
                pending.extend(inner.into_iter().rev().map(|mut inner| {
                    inner.keys.splice(0..0, keys.iter().cloned());
                    inner.assigned = assigned;
                    inner
                }));
            }
            Node::List(_, nodes) if all_objects => {
                pending.extend(nodes.into_iter().rev().map(|value| Item {
                    keys: keys.clone(),
                    assigned,
                    value,
                }));
            }
            value => out.push(Item {
                keys,
                assigned,
                value: flat_node(value),
            }),
        }
    }
    out
}

fn flat_node(node: Node) -> Node {
    match node {
        Node::Object(pos, items) => Node::Object(pos, flat(items)),
        Node::List(pos, nodes) => Node::List(pos, nodes.into_iter().map(flat_node).collect()),
        literal @ Node::Literal(..) => literal,
    }
}

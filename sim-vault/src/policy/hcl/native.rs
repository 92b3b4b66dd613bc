//! HCL's own notation.

use super::{
    Item, Key, Literal, MAX_DEPTH, Node, at,
    scan::{Kind, Scanner, Token},
};
use crate::flavour::Flavour;

pub(super) fn parse(text: &str, flavour: Flavour) -> Result<Vec<Item>, String> {
    let mut parser = Parser {
        scanner: Scanner::new(text, false),
        token: None,
        again: false,
        depth: 0,
        forgiving: flavour.is_vault(),
    };
    let mut items = Vec::new();
    let read = parser.items(false, &mut items);
    if let Some((pos, fault)) = parser.scanner.fault {
        return Err(at(pos, fault));
    }
    match read {
        Ok(()) | Err(Stop::End) => Ok(items),
        Err(Stop::Fault(text)) => Err(text),
    }
}

/// Why reading stops.
enum Stop {
    /// The text ends where nothing has begun, or where a value should stand.
    End,
    Fault(String),
}

struct Parser {
    scanner: Scanner,
    token: Option<Token>,
    /// The latest token is to be read once more.
    again: bool,
    depth: usize,
    /// Vault overlooks what is wrong in front of a `}`, and takes the next token for the one that closes.
    forgiving: bool,
}

impl Parser {
    fn scan(&mut self) -> Token {
        if let (true, Some(token)) = (self.again, &self.token) {
            self.again = false;
            return token.clone();
        }
        let mut token = self.scanner.scan();
        while token.kind == Kind::Comment {
            token = self.scanner.scan();
        }
        self.token = Some(token.clone());
        token
    }

    fn fault<T>(token: &Token, text: impl std::fmt::Display) -> Result<T, Stop> {
        Err(Stop::Fault(at(token.pos(), text)))
    }

    /// The latest token's kind.
    fn latest(&self) -> Kind {
        self.token.as_ref().map_or(Kind::Eof, |t| t.kind)
    }

    fn items(&mut self, inner: bool, items: &mut Vec<Item>) -> Result<(), Stop> {
        loop {
            if inner {
                let token = self.scan();
                self.again = true;
                if token.kind == Kind::Rbrace {
                    return Ok(());
                }
            }
            match self.item() {
                Ok(item) => items.push(item),
                Err(Stop::End) => return Ok(()),
                Err(fault) => return Err(fault),
            }
            if self.scan().kind != Kind::Comma {
                self.again = true;
            }
        }
    }

    fn item(&mut self) -> Result<Item, Stop> {
        let (keys, written) = self.keys()?;
        let Some(token) = self.token.clone() else {
            return Err(Stop::End);
        };
        let (assigned, value) = match token.kind {
            Kind::Assign => (token.line, self.value()?),
            Kind::Lbrace => (0, self.object()?),
            _ => {
                let names = written.join(" ");
                if let Some(latest) = &mut self.token {
                    // not the end of the object around it
                    latest.kind = Kind::Eof;
                }
                return Self::fault(
                    &token,
                    format!("key '{names}' expected start of object ('{{') or assignment ('=')"),
                );
            }
        };
        // a comment on the same line would be looked for here
        self.scan();
        self.again = true;
        Ok(Item {
            keys,
            assigned,
            value,
        })
    }

    /// The keys, and as they are written; what ends them is the latest token.
    fn keys(&mut self) -> Result<(Vec<Key>, Vec<String>), Stop> {
        let (mut keys, mut written) = (Vec::new(), Vec::new());
        loop {
            let token = self.scan();
            match token.kind {
                Kind::Eof if keys.is_empty() => return Err(Stop::End),
                Kind::Eof | Kind::Rbrace if !keys.is_empty() => return Ok((keys, written)),
                Kind::Assign if keys.len() > 1 => {
                    return Self::fault(&token, "nested object expected: LBRACE got: ASSIGN");
                }
                Kind::Assign if keys.is_empty() => {
                    return Self::fault(&token, "no object keys found!");
                }
                Kind::Assign => return Ok((keys, written)),
                Kind::Lbrace if keys.is_empty() => {
                    return Self::fault(&token, "expected: IDENT | STRING got: LBRACE");
                }
                Kind::Lbrace => return Ok((keys, written)),
                Kind::Ident | Kind::Text => {
                    let name = if token.kind == Kind::Text {
                        unquoted(&token.text)
                    } else {
                        token.text.clone()
                    };
                    keys.push(Key {
                        name,
                        pos: token.pos(),
                    });
                    written.push(token.text);
                }
                Kind::Illegal => return Self::fault(&token, "illegal character"),
                kind => {
                    return Self::fault(
                        &token,
                        format!(
                            "expected: IDENT | STRING | ASSIGN | LBRACE got: {}",
                            kind.name()
                        ),
                    );
                }
            }
        }
    }

    fn value(&mut self) -> Result<Node, Stop> {
        let token = self.scan();
        match token.kind {
            Kind::Number | Kind::Float | Kind::Bool | Kind::Text | Kind::Heredoc => {
                Ok(literal(&token))
            }
            Kind::Lbrace => self.object(),
            Kind::Lbrack => self.list(),
            Kind::Eof => Err(Stop::End),
            kind => Self::fault(
                &token,
                format!(
                    "Unknown token: {} {} {}",
                    token.pos(),
                    kind.name(),
                    token.text
                ),
            ),
        }
    }

    /// An object whose `{` is the latest token.
    fn object(&mut self) -> Result<Node, Stop> {
        let Some(open) = self.token.clone() else {
            return Err(Stop::End);
        };
        self.deeper(&open)?;
        let mut items = Vec::new();
        match self.items(true, &mut items) {
            Err(stop) if !(self.forgiving && self.latest() == Kind::Rbrace) => return Err(stop),
            _ => {}
        }
        self.depth -= 1;
        let token = self.scan();
        if token.kind != Kind::Rbrace {
            return Self::fault(
                &token,
                format!("object expected closing RBRACE got: {}", token.kind.name()),
            );
        }
        Ok(Node::Object(open.pos(), items))
    }

    /// A list whose `[` is the latest token.
    fn list(&mut self) -> Result<Node, Stop> {
        let Some(open) = self.token.clone() else {
            return Err(Stop::End);
        };
        self.deeper(&open)?;
        let mut nodes = Vec::new();
        let mut comma = false;
        let within = |inner: &Token, stop, what: &str| match stop {
            Stop::Fault(text) => Self::fault(
                inner,
                format!("error while trying to parse {what} within list: {text}"),
            ),
            Stop::End => Err(Stop::End),
        };
        loop {
            let token = self.scan();
            if comma && !matches!(token.kind, Kind::Comma | Kind::Rbrack) {
                return Self::fault(
                    &token,
                    format!(
                        "error parsing list, expected comma or list end, got: {}",
                        token.kind.name()
                    ),
                );
            }
            match token.kind {
                Kind::Bool | Kind::Number | Kind::Float | Kind::Text | Kind::Heredoc => {
                    nodes.push(literal(&token));
                    comma = true;
                }
                Kind::Comma => {
                    self.scan();
                    self.again = true;
                    comma = false;
                }
                Kind::Lbrace => {
                    match self.object() {
                        Ok(node) => nodes.push(node),
                        Err(stop) => return within(&token, stop, "object"),
                    }
                    comma = true;
                }
                // after an inner list no comma is asked for
                Kind::Lbrack => match self.list() {
                    Ok(node) => nodes.push(node),
                    Err(stop) => return within(&token, stop, "list"),
                },
                Kind::Rbrack => {
                    self.depth -= 1;
                    return Ok(Node::List(open.pos(), nodes));
                }
                kind => {
                    return Self::fault(
                        &token,
                        format!("unexpected token while parsing list: {}", kind.name()),
                    );
                }
            }
        }
    }

    /// The real servers have no limit but their memory.
    fn deeper(&mut self, token: &Token) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Self::fault(token, "nesting too deep");
        }
        Ok(())
    }
}

fn literal(token: &Token) -> Node {
    let value = match token.kind {
        Kind::Number => Literal::Number(token.text.clone()),
        Kind::Float => Literal::Float(token.text.clone()),
        Kind::Bool => Literal::Bool(token.text == "true"),
        Kind::Heredoc => Literal::Text(heredoc(&token.text)),
        _ => Literal::Text(unquoted(&token.text)),
    };
    Node::Literal(token.pos(), value)
}

/// The text between the quotes; within `${}` nothing is escaped.
fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').unwrap_or(text);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut out = String::new();
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '$' && chars.peek() == Some(&'{') {
            out.push(c);
            let mut braces = 0;
            for c in chars.by_ref() {
                out.push(c);
                match c {
                    '{' => braces += 1,
                    '}' => braces -= 1,
                    _ => {}
                }
                if braces == 0 {
                    break;
                }
            }
        } else if c == '\\' {
            out.extend(escaped(&mut chars));
        } else {
            out.push(c);
        }
    }
    out
}

/// The character behind a backslash.
pub(super) fn escaped(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let first = chars.next()?;
    let (base, mut digits, mut code) = match first {
        'a' => return Some('\u{7}'),
        'b' => return Some('\u{8}'),
        'f' => return Some('\u{c}'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'v' => return Some('\u{b}'),
        'x' => (16, 2, 0),
        'u' => (16, 4, 0),
        'U' => (16, 8, 0),
        '0'..='7' => (8, 2, first.to_digit(8)?),
        other => return Some(other),
    };
    while digits > 0
        && let Some(digit) = chars.peek().and_then(|c| c.to_digit(base))
    {
        chars.next();
        code = code.wrapping_mul(base).wrapping_add(digit);
        digits -= 1;
    }
    char::from_u32(code)
}

/// The lines between the anchors, without the last one's indentation if a `-` asks for that.
fn heredoc(text: &str) -> String {
    let Some((anchor, body)) = text.split_once('\n') else {
        return String::new();
    };
    let body = body.strip_suffix('\n').unwrap_or(body);
    let (lines, last) = body
        .rsplit_once('\n')
        .map_or(("", body), |(l, last)| (l, last));
    let mut out: Vec<&str> = if lines.is_empty() && !body.contains('\n') {
        Vec::new()
    } else {
        lines.split('\n').collect()
    };
    let indent: String = last.chars().take_while(|c| c.is_whitespace()).collect();
    if anchor.starts_with("<<-") && out.iter().all(|l| l.starts_with(&indent)) {
        out = out
            .iter()
            .map(|l| l.strip_prefix(indent.as_str()).unwrap_or(l))
            .collect();
    }
    out.iter().map(|l| format!("{l}\n")).collect()
}

//! The part of HCL 1 that policies are written in, read into JSON: repeated blocks become lists.

use serde_json::{Map, Value};

/// Deepest nesting that is read; real policies need three levels.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(String),
    Punct(char),
    End,
}

/// The text as a tree, or the server's complaint with line and column.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser {
        chars: text.chars().collect(),
        at: 0,
        line: 1,
        column: 1,
        depth: 0,
        start: (1, 1),
    };
    let map = parser.body(false)?;
    Ok(Value::Object(map))
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    line: usize,
    column: usize,
    depth: usize,
    /// Where the latest token began.
    start: (usize, usize),
}

impl Parser {
    fn fault<T>(&self, text: &str) -> Result<T, String> {
        Err(format!("At {}:{}: {text}", self.line, self.column))
    }

    /// A complaint about the latest token.
    fn fault_at<T>(&mut self, text: &str) -> Result<T, String> {
        (self.line, self.column) = self.start;
        self.fault(text)
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn step(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn blank(&mut self) {
        while let Some(c) = self.peek() {
            if c.is_whitespace() {
                self.step();
            } else if c == '#' || c == '/' && self.chars.get(self.at + 1) == Some(&'/') {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.step();
                }
            } else if c == '/' && self.chars.get(self.at + 1) == Some(&'*') {
                while self.step().is_some() {
                    if self.peek() == Some('*') && self.chars.get(self.at + 1) == Some(&'/') {
                        self.step();
                        self.step();
                        break;
                    }
                }
            } else {
                break;
            }
        }
    }

    fn token(&mut self) -> Result<Token, String> {
        self.blank();
        self.start = (self.line, self.column);
        let Some(c) = self.peek() else {
            return Ok(Token::End);
        };
        if c == '"' {
            self.step();
            let mut out = String::new();
            loop {
                match self.step() {
                    None | Some('\n') => return self.fault("literal not terminated"),
                    Some('"') => return Ok(Token::Text(out)),
                    Some('\\') => match self.step() {
                        Some('n') => out.push('\n'),
                        Some('t') => out.push('\t'),
                        Some('r') => out.push('\r'),
                        Some(c @ ('"' | '\\')) => out.push(c),
                        _ => return self.fault("illegal char escape"),
                    },
                    Some(c) => out.push(c),
                }
            }
        }
        if c == '<' && self.chars.get(self.at + 1) == Some(&'<') {
            return self.heredoc();
        }
        if c.is_alphabetic() || c == '_' {
            let mut out = String::new();
            while let Some(c) = self
                .peek()
                .filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
            {
                out.push(c);
                self.step();
            }
            return Ok(Token::Word(out));
        }
        if c.is_ascii_digit() || c == '-' {
            let mut out = String::new();
            while let Some(c) = self
                .peek()
                .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '+'))
            {
                out.push(c);
                self.step();
            }
            return Ok(Token::Number(out));
        }
        if matches!(c, '{' | '}' | '[' | ']' | '=' | ',') {
            self.step();
            return Ok(Token::Punct(c));
        }
        self.fault_at("illegal char")
    }

    fn heredoc(&mut self) -> Result<Token, String> {
        self.step();
        self.step();
        if self.peek() == Some('-') {
            self.step();
        }
        let mut mark = String::new();
        while let Some(c) = self.step().filter(|c| *c != '\n') {
            mark.push(c);
        }
        let mut out = String::new();
        let mut line = String::new();
        loop {
            match self.step() {
                Some('\n') => {
                    if line.trim() == mark.trim() {
                        return Ok(Token::Text(out));
                    }
                    out.push_str(&line);
                    out.push('\n');
                    line.clear();
                }
                Some(c) => line.push(c),
                None if line.trim() == mark.trim() => return Ok(Token::Text(out)),
                None => return self.fault("heredoc not terminated"),
            }
        }
    }

    /// The items of a file or of an object up to `}`.
    fn body(&mut self, inner: bool) -> Result<Map<String, Value>, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fault("nesting too deep");
        }
        let mut map: Map<String, Value> = Map::new();
        loop {
            let mut keys = Vec::new();
            // the keys as they stand there
            let mut written = Vec::new();
            let value = loop {
                match self.token()? {
                    Token::Word(key) => {
                        written.push(key.clone());
                        keys.push(key);
                    }
                    Token::Text(key) => {
                        written.push(format!("{key:?}"));
                        keys.push(key);
                    }
                    Token::Punct(',') if keys.is_empty() => {}
                    Token::End if keys.is_empty() && !inner => {
                        self.depth -= 1;
                        return Ok(map);
                    }
                    Token::End if keys.is_empty() => {
                        self.column += 1;
                        return self.fault("object expected closing RBRACE got: EOF");
                    }
                    Token::End => {
                        let names = written.join(" ");
                        // a bare word at the end is read one too far
                        self.column += usize::from(!names.ends_with('"'));
                        return self.fault(&format!(
                            "key '{names}' expected start of object ('{{') or assignment ('=')"
                        ));
                    }
                    Token::Punct('}') if inner && keys.is_empty() => {
                        self.depth -= 1;
                        return Ok(map);
                    }
                    Token::Punct('=') if keys.len() == 1 => break self.value()?,
                    Token::Punct('{') if !keys.is_empty() => break Value::Object(self.body(true)?),
                    other => {
                        return self.fault_at(&format!(
                            "expected: IDENT | STRING | ASSIGN | LBRACE got: {}",
                            name(&other)
                        ));
                    }
                }
            };
            let first = keys.remove(0);
            let nested = keys.into_iter().rev().fold(value, |inner, key| {
                let mut map = Map::new();
                map.insert(key, inner);
                Value::Object(map)
            });
            match map.get_mut(&first) {
                None => {
                    map.insert(first, nested);
                }
                Some(Value::Array(items)) if nested.is_object() => items.push(nested),
                Some(before) if before.is_object() && nested.is_object() => {
                    *before = Value::Array(vec![before.take(), nested]);
                }
                Some(before) => *before = nested,
            }
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        Ok(match self.token()? {
            Token::Text(text) => text.into(),
            Token::Number(text) => text
                .parse::<i64>()
                .map_or_else(|_| text.clone().into(), Value::from),
            Token::Word(word) if word == "true" => true.into(),
            Token::Word(word) if word == "false" => false.into(),
            Token::Punct('{') => Value::Object(self.body(true)?),
            Token::Punct('[') => {
                let mut items = Vec::new();
                loop {
                    match self.token()? {
                        Token::Punct(']') => break Value::Array(items),
                        Token::Punct(',') => {}
                        Token::Text(text) => items.push(text.into()),
                        Token::Number(text) => items.push(
                            text.parse::<i64>()
                                .map_or_else(|_| text.clone().into(), Value::from),
                        ),
                        Token::Word(word) => items.push(match word.as_str() {
                            "true" => true.into(),
                            "false" => false.into(),
                            _ => return self.fault(&format!("Unknown token: {word}")),
                        }),
                        Token::Punct('{') => items.push(Value::Object(self.body(true)?)),
                        Token::End => return self.fault("list not terminated"),
                        other => {
                            return self.fault(&format!(
                                "unexpected token while parsing list: {}",
                                name(&other)
                            ));
                        }
                    }
                }
            }
            other => return self.fault(&format!("Unknown token: {}", name(&other))),
        })
    }
}

fn name(token: &Token) -> &'static str {
    match token {
        Token::Word(_) => "IDENT",
        Token::Text(_) => "STRING",
        Token::Number(_) => "NUMBER",
        Token::Punct('{') => "LBRACE",
        Token::Punct('}') => "RBRACE",
        Token::Punct('[') => "LBRACK",
        Token::Punct(']') => "RBRACK",
        Token::Punct('=') => "ASSIGN",
        Token::Punct(_) => "COMMA",
        Token::End => "EOF",
    }
}

//! Characters into tokens, for both notations. A complaint does not stop the scanner; the latest one counts.

use super::Pos;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Illegal,
    Eof,
    Comment,
    Ident,
    Number,
    Float,
    Bool,
    Null,
    Text,
    Heredoc,
    Lbrack,
    Rbrack,
    Lbrace,
    Rbrace,
    Comma,
    Period,
    Assign,
    Colon,
    Add,
    Sub,
}

impl Kind {
    /// The name that error texts have for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Illegal => "ILLEGAL",
            Self::Eof => "EOF",
            Self::Comment => "COMMENT",
            Self::Ident => "IDENT",
            Self::Number => "NUMBER",
            Self::Float => "FLOAT",
            Self::Bool => "BOOL",
            Self::Null => "NULL",
            Self::Text => "STRING",
            Self::Heredoc => "HEREDOC",
            Self::Lbrack => "LBRACK",
            Self::Rbrack => "RBRACK",
            Self::Lbrace => "LBRACE",
            Self::Rbrace => "RBRACE",
            Self::Comma => "COMMA",
            Self::Period => "PERIOD",
            Self::Assign => "ASSIGN",
            Self::Colon => "COLON",
            Self::Add => "ADD",
            Self::Sub => "SUB",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    pub line: usize,
    pub column: usize,
    /// As it is written.
    pub text: String,
}

impl Token {
    pub(super) fn pos(&self) -> Pos {
        Pos(Some((self.line, self.column)))
    }
}

/// The end of the text, and a null character, which ends it too.
const EOF: char = '\0';

#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    at: usize,
    line: usize,
    column: usize,
}

pub(super) struct Scanner {
    chars: Vec<char>,
    json: bool,
    place: Place,
    /// Before the latest character.
    before: Place,
    last_line: usize,
    /// The latest complaint.
    pub fault: Option<(Pos, String)>,
}

impl Scanner {
    pub(super) fn new(text: &str, json: bool) -> Self {
        let place = Place {
            at: 0,
            line: 1,
            column: 0,
        };
        Self {
            chars: text.chars().collect(),
            json,
            place,
            before: place,
            last_line: 0,
            fault: None,
        }
    }

    fn next(&mut self) -> char {
        let Some(&c) = self.chars.get(self.place.at) else {
            self.place.column += 1;
            return EOF;
        };
        self.before = self.place;
        self.place.at += 1;
        self.place.column += 1;
        if c == '\n' {
            self.place.line += 1;
            self.last_line = self.place.column;
            self.place.column = 0;
        }
        if c == '\0' && !self.json {
            self.complain("unexpected null character (0x00)");
        }
        c
    }

    fn back(&mut self) {
        self.place = self.before;
    }

    fn peek(&self) -> char {
        self.chars.get(self.place.at).copied().unwrap_or(EOF)
    }

    /// Where the latest character stands.
    fn here(&self) -> (usize, usize) {
        match self.place {
            Place { line, column, .. } if column > 0 => (line, column),
            Place { line, .. } if self.last_line > 0 => (line - 1, self.last_line),
            _ => (1, 1),
        }
    }

    fn complain(&mut self, text: &str) {
        self.fault = Some((Pos(Some(self.here())), text.to_owned()));
    }

    pub(super) fn scan(&mut self) -> Token {
        let mut c = self.next();
        while matches!(c, ' ' | '\t' | '\n' | '\r') {
            c = self.next();
        }
        let start = self.place.at.saturating_sub(usize::from(c != EOF));
        let (line, column) = self.here();
        let kind = if is_letter(c) {
            self.identifier(start)
        } else if c.is_ascii_digit() {
            self.number(c)
        } else if self.json {
            self.json_mark(c)
        } else {
            self.mark(c)
        };
        Token {
            kind,
            line,
            column,
            text: self.since(start),
        }
    }

    fn since(&self, start: usize) -> String {
        let range = self.chars.get(start..self.place.at);
        range.unwrap_or_default().iter().collect()
    }

    fn identifier(&mut self, start: usize) -> Kind {
        let mut c = self.next();
        while is_letter(c) || c.is_numeric() || c == '-' || c == '.' && !self.json {
            c = self.next();
        }
        if c != EOF {
            self.back();
        }
        match (self.since(start).as_str(), self.json) {
            ("true" | "false", _) => Kind::Bool,
            ("null", true) => Kind::Null,
            (_, false) => Kind::Ident,
            (_, true) => {
                self.complain("illegal char");
                Kind::Illegal
            }
        }
    }

    fn mark(&mut self, c: char) -> Kind {
        match c {
            EOF => Kind::Eof,
            '"' => {
                self.text();
                Kind::Text
            }
            '#' | '/' => {
                self.comment(c);
                Kind::Comment
            }
            '.' => self.period(),
            '<' => {
                self.heredoc();
                Kind::Heredoc
            }
            '[' => Kind::Lbrack,
            ']' => Kind::Rbrack,
            '{' => Kind::Lbrace,
            '}' => Kind::Rbrace,
            ',' => Kind::Comma,
            '=' => Kind::Assign,
            '+' => Kind::Add,
            '-' if self.peek().is_ascii_digit() => {
                let digit = self.next();
                self.number(digit)
            }
            '-' => Kind::Sub,
            _ => {
                self.complain("illegal char");
                Kind::Illegal
            }
        }
    }

    fn json_mark(&mut self, c: char) -> Kind {
        match c {
            EOF => Kind::Eof,
            '"' => {
                self.text();
                Kind::Text
            }
            '.' => self.period(),
            '[' => Kind::Lbrack,
            ']' => Kind::Rbrack,
            '{' => Kind::Lbrace,
            '}' => Kind::Rbrace,
            ',' => Kind::Comma,
            ':' => Kind::Colon,
            '-' if self.peek().is_ascii_digit() => {
                let digit = self.next();
                self.number(digit)
            }
            '-' => {
                self.complain("illegal char");
                Kind::Illegal
            }
            c => {
                self.complain(&format!("illegal char: {c}"));
                Kind::Illegal
            }
        }
    }

    fn period(&mut self) -> Kind {
        if !self.peek().is_ascii_digit() {
            return Kind::Period;
        }
        let c = self.peek();
        let c = self.mantissa(c);
        self.exponent(c);
        Kind::Float
    }

    fn comment(&mut self, first: char) {
        if first == '#' || self.peek() != '*' {
            if first == '/' && self.peek() != '/' {
                return self.complain("expected '/' for comment");
            }
            let mut c = self.next();
            while c != '\n' && c != EOF {
                c = self.next();
            }
            if c != EOF {
                self.back();
            }
            return;
        }
        self.next();
        let mut c = self.next();
        loop {
            if c == EOF {
                return self.complain("comment not terminated");
            }
            let before = c;
            c = self.next();
            if before == '*' && c == '/' {
                return;
            }
        }
    }

    fn number(&mut self, first: char) -> Kind {
        if first == '0' && !self.json {
            return self.leading_zero();
        }
        let begun = self.place;
        self.mantissa(first);
        let c = self.next();
        if let Some(float) = self.float(c) {
            return float;
        }
        if c != EOF {
            self.back();
        }
        // at the text's end the column goes on, so a zero there is complained of as well
        if self.json && first == '0' && begun != self.place {
            self.complain("numbers cannot start with 0");
        }
        Kind::Number
    }

    /// Hexadecimal, octal, or a fraction.
    fn leading_zero(&mut self) -> Kind {
        let mut c = self.next();
        if matches!(c, 'x' | 'X') {
            c = self.next();
            let begun = self.place.at;
            while c.is_ascii_hexdigit() {
                c = self.next();
            }
            if begun == self.place.at {
                self.complain("illegal hexadecimal number");
            }
            if c != EOF {
                self.back();
            }
            return Kind::Number;
        }
        let mut decimal = false;
        while c.is_ascii_digit() {
            c = self.next();
            decimal |= matches!(c, '8' | '9');
        }
        if let Some(float) = self.float(c) {
            return float;
        }
        if decimal {
            self.complain("illegal octal number");
        }
        if c != EOF {
            self.back();
        }
        Kind::Number
    }

    /// What follows the digits makes it a float.
    fn float(&mut self, c: char) -> Option<Kind> {
        match c {
            'e' | 'E' => {
                self.exponent(c);
            }
            '.' => {
                let c = self.peek();
                let c = self.mantissa(c);
                if matches!(c, 'e' | 'E') {
                    let c = self.next();
                    self.exponent(c);
                }
            }
            _ => return None,
        }
        Some(Kind::Float)
    }

    fn mantissa(&mut self, first: char) -> char {
        let mut c = first;
        let mut scanned = false;
        while c.is_ascii_digit() {
            c = self.next();
            scanned = true;
        }
        if scanned && c != EOF {
            self.back();
        }
        c
    }

    fn exponent(&mut self, c: char) {
        if matches!(c, 'e' | 'E') {
            let mut c = self.next();
            if matches!(c, '-' | '+') {
                c = self.next();
            }
            self.mantissa(c);
        }
    }

    fn text(&mut self) {
        let mut braces = 0usize;
        loop {
            let c = self.next();
            let breaks = c == '\n' && (self.json || braces == 0);
            if breaks || c == EOF {
                return self.complain("literal not terminated");
            }
            if c == '"' && (self.json || braces == 0) {
                return;
            }
            if braces == 0 && c == '$' && self.peek() == '{' {
                braces += 1;
                self.next();
            } else if braces > 0 && c == '{' {
                braces += 1;
            }
            if braces > 0 && c == '}' {
                braces -= 1;
            }
            if c == '\\' {
                self.escape();
            }
        }
    }

    fn escape(&mut self) {
        match self.next() {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '"' => {}
            c @ '0'..='7' => self.digits(c, 8, 3),
            'x' => {
                let c = self.next();
                self.digits(c, 16, 2);
            }
            'u' => {
                let c = self.next();
                self.digits(c, 16, 4);
            }
            'U' => {
                let c = self.next();
                self.digits(c, 16, 8);
            }
            _ => self.complain("illegal char escape"),
        }
    }

    fn digits(&mut self, first: char, base: u32, count: usize) {
        let mut c = first;
        let mut left = count;
        while left > 0 && c.is_digit(base) {
            c = self.next();
            if c == EOF {
                break;
            }
            left -= 1;
        }
        if left > 0 {
            self.complain("illegal char escape");
        }
        if left != count && c != EOF {
            self.back();
        }
    }

    fn heredoc(&mut self) {
        if self.next() != '<' {
            return self.complain("heredoc expected second '<', didn't see it");
        }
        let start = self.place.at;
        let mut c = self.next();
        if c == '-' {
            c = self.next();
        }
        while is_letter(c) || c.is_numeric() {
            c = self.next();
        }
        if c == EOF {
            return self.complain("heredoc not terminated");
        }
        if c == '\r' && self.peek() == '\n' {
            c = self.next();
        }
        if c != '\n' {
            return self.complain("invalid characters in heredoc anchor");
        }
        let anchor = self.since(start);
        let anchor = anchor.trim_start_matches('-').trim_end().to_owned();
        if anchor.is_empty() {
            return self.complain("zero-length heredoc anchor");
        }
        let mut line = self.place.at;
        loop {
            match self.next() {
                '\n' => {
                    let text = self.since(line);
                    if text.trim_end_matches(['\n', '\r']).trim_start() == anchor {
                        return;
                    }
                    line = self.place.at;
                }
                EOF => return self.complain("heredoc not terminated"),
                _ => {}
            }
        }
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii() && c.is_alphabetic()
}

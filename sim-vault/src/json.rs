//! Request bodies as the servers' decoders read them, and answers as Go's encoder writes them.
//!
//! Not `serde_json::from_slice`, because what the servers accept and how they refuse it differs: two objects in a row,
//! duplicate keys, lone surrogates, the error texts, and OpenBao's limits on the number of strings and on depth.

use serde_json::{Map, Number, Value};

use crate::core::Options;

/// Deepest nesting that is accepted.
const MAX_DEPTH: usize = 10_000;
/// Deepest nesting that is kept; what lies deeper is checked and replaced by null. No endpoint looks so deep, and
/// handling it would need as much stack.
const KEPT_DEPTH: usize = 64;

/// The parameters of a request body, or the error text.
pub(crate) fn decode(body: &[u8], options: &Options) -> Result<Map<String, Value>, String> {
    let openbao = options.flavour.is_openbao();
    let (strings, memory) = if openbao {
        (options.max_json_strings, options.max_json_memory)
    } else {
        (usize::MAX, usize::MAX)
    };
    let mut reader = Reader {
        src: body,
        at: 0,
        strings,
        memory,
        openbao,
    };
    reader.document().map_err(|text| match text {
        Refusal::Limit(text) => format!("refused JSON input due to high complexity: {text}"),
        Refusal::Syntax(text) if openbao => {
            format!("failed to decode JSON input: {text}")
        }
        Refusal::Syntax(_) => "error parsing JSON".to_owned(),
    })
}

/// JSON text with `<`, `>` and `&` escaped, as Go writes it.
pub(crate) fn escape_html(text: String) -> String {
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

enum Refusal {
    Syntax(String),
    Limit(&'static str),
}

fn syntax<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Syntax(text.into()))
}

struct Reader<'a> {
    src: &'a [u8],
    at: usize,
    /// Strings and bytes that may still come.
    strings: usize,
    memory: usize,
    openbao: bool,
}

impl Reader<'_> {
    /// Empty text and `null` stand for no parameters. OpenBao reads on after the first object and refuses garbage.
    fn document(&mut self) -> Result<Map<String, Value>, Refusal> {
        self.blank();
        if self.at == self.src.len() {
            return Ok(Map::new());
        }
        let first = self.value(0)?;
        self.blank();
        while self.openbao && self.at < self.src.len() {
            self.value(0)?;
            self.blank();
        }
        let kind = match first {
            Value::Object(map) => return Ok(map),
            Value::Null => return Ok(Map::new()),
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
        };
        syntax(format!(
            "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        ))
    }

    fn blank(&mut self) {
        while self
            .src
            .get(self.at)
            .is_some_and(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
        {
            self.at += 1;
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Refusal> {
        match self.memory.checked_sub(bytes) {
            Some(left) => {
                self.memory = left;
                Ok(())
            }
            None => Err(Refusal::Limit("exceeded maximum estimated memory limits")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Refusal> {
        if depth > KEPT_DEPTH {
            return self.skip(depth).map(|()| Value::Null);
        }
        self.blank();
        match self.src.get(self.at) {
            None => syntax("unexpected EOF"),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
        }
    }

    /// Reads a value without keeping it, and without recursion.
    fn skip(&mut self, depth: usize) -> Result<(), Refusal> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            if depth + open.len() > MAX_DEPTH {
                return syntax("exceeded max depth");
            }
            self.blank();
            match self.src.get(self.at) {
                None => return syntax("unexpected EOF"),
                Some(b'{') => {
                    self.at += 1;
                    self.blank();
                    if !self.eat(b'}') {
                        self.key()?;
                        open.push(b'}');
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    self.blank();
                    if !self.eat(b']') {
                        open.push(b']');
                        continue;
                    }
                }
                Some(b'"') => drop(self.string()?),
                Some(b'-' | b'0'..=b'9') => drop(self.number()?),
                Some(_) => drop(self.word()?),
            }
            loop {
                let Some(&close) = open.last() else {
                    return Ok(());
                };
                self.blank();
                self.spend(16)?;
                if self.eat(close) {
                    open.pop();
                } else if self.eat(b',') {
                    if close == b'}' {
                        self.key()?;
                    }
                    break;
                } else {
                    return self.unexpected("looking for beginning of value");
                }
            }
        }
    }

    /// A key and the colon after it.
    fn key(&mut self) -> Result<String, Refusal> {
        self.blank();
        if self.src.get(self.at) != Some(&b'"') {
            return self.unexpected("looking for beginning of value");
        }
        let key = self.string()?;
        self.blank();
        if self.eat(b':') {
            Ok(key)
        } else {
            self.unexpected("looking for beginning of value")
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Refusal> {
        self.at += 1;
        let mut map = Map::new();
        self.blank();
        if self.eat(b'}') {
            return Ok(Value::Object(map));
        }
        loop {
            self.blank();
            match self.src.get(self.at) {
                Some(b'"') => {}
                None => return syntax("unexpected EOF"),
                Some(b'}') if map.is_empty() => {
                    return self.unexpected("looking for beginning of value");
                }
                Some(b'[' | b'{' | b'0'..=b'9' | b'-' | b't' | b'f' | b'n') => {
                    return syntax("object member name must be a string");
                }
                Some(c) if *c != b'}' => {
                    return self.unexpected("looking for beginning of value");
                }
                // `,}`: the complaint is about the comma
                Some(_) => return syntax("invalid character ',' looking for beginning of value"),
            }
            let key = self.key()?;
            self.spend(64)?;
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.blank();
            if self.eat(b'}') {
                return Ok(Value::Object(map));
            }
            if !self.eat(b',') {
                return self.unexpected("after object key:value pair");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Refusal> {
        self.at += 1;
        let mut items = Vec::new();
        self.blank();
        if self.eat(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            self.spend(16)?;
            items.push(self.value(depth + 1)?);
            self.blank();
            if self.eat(b']') {
                return Ok(Value::Array(items));
            }
            if !self.eat(b',') {
                return self.unexpected("after array element");
            }
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.src.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn unexpected<T>(&self, place: &str) -> Result<T, Refusal> {
        let Some(&byte) = self.src.get(self.at) else {
            return syntax("unexpected EOF");
        };
        let tail = self
            .src
            .get(self.at..self.at.saturating_add(4).min(self.src.len()))
            .unwrap_or_default();
        let first = match std::str::from_utf8(tail) {
            Ok(text) => text.chars().next(),
            Err(e) => tail
                .get(..e.valid_up_to())
                .and_then(|t| std::str::from_utf8(t).ok())
                .and_then(|t| t.chars().next()),
        };
        let shown = match first {
            Some('\'') => "\\'".to_owned(),
            Some('"') => "\"".to_owned(),
            Some(c) if c.is_ascii_graphic() || c == ' ' => c.to_string(),
            Some(c) if c.is_ascii() => format!("\\x{:02x}", u32::from(c)),
            Some(c) if c.is_alphanumeric() => c.to_string(),
            Some(c) => format!("\\u{:04x}", u32::from(c)),
            None => format!("\\x{byte:02x}"),
        };
        syntax(format!("invalid character '{shown}' {place}"))
    }

    fn word(&mut self) -> Result<Value, Refusal> {
        let rest = self.src.get(self.at..).unwrap_or_default();
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ] {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
            if word.as_bytes().starts_with(rest) {
                return syntax("unexpected EOF");
            }
            let same = word.bytes().zip(rest).take_while(|(a, b)| a == *b).count();
            if same > 0 {
                self.at += same;
                let wanted = word.chars().nth(same).unwrap_or_default();
                return self.unexpected(&format!("in literal {word} (expecting '{wanted}')"));
            }
        }
        self.unexpected("looking for beginning of value")
    }

    fn number(&mut self) -> Result<Value, Refusal> {
        let start = self.at;
        while self
            .src
            .get(self.at)
            .is_some_and(|b| matches!(b, b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9'))
        {
            self.at += 1;
        }
        let text = std::str::from_utf8(self.src.get(start..self.at).unwrap_or_default())
            .unwrap_or_default();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() {
            // a number that begins with zero ends there: what follows is one too many
            self.at -= digits.len() - 1;
            return Ok(0.into());
        }
        if !digits.starts_with(|c: char| c.is_ascii_digit())
            || text.ends_with(['.', 'e', 'E', '+', '-'])
        {
            return self.unexpected("in numeric literal");
        }
        if let Ok(n) = text.parse::<i64>() {
            return Ok(Value::Number(n.into()));
        }
        match text.parse::<f64>().ok().and_then(Number::from_f64) {
            Some(n) => Ok(Value::Number(n)),
            // Vault keeps the text until a field wants a number
            None if !self.openbao => Ok(Value::String(text.to_owned())),
            None => syntax(format!(
                "json: cannot unmarshal number {text} into Go value of type float64"
            )),
        }
    }

    fn string(&mut self) -> Result<String, Refusal> {
        let Some(left) = self.strings.checked_sub(1) else {
            return Err(Refusal::Limit("exceeded maximum number of strings"));
        };
        self.strings = left;
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let rest = self.src.get(self.at..).unwrap_or_default();
            let Some(plain) = rest
                .iter()
                .position(|b| matches!(b, b'"' | b'\\') || *b < 0x20)
            else {
                return syntax("unexpected EOF");
            };
            out.extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.spend(plain + 16)?;
            self.at += plain;
            match rest.get(plain) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match String::from_utf8(out) {
                        Ok(text) => text,
                        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
                    });
                }
                Some(b'\\') => self.escape(&mut out)?,
                Some(&byte) => {
                    return syntax(format!("invalid character '\\x{byte:02x}' in string"));
                }
                None => return syntax("unexpected EOF"),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Some(&kind) = self.src.get(self.at + 1) else {
            return syntax("unexpected EOF");
        };
        self.at += 2;
        let plain = match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = self.hex4()?;
                if (0xd800..0xdc00).contains(&code)
                    && self.src.get(self.at..self.at + 2) == Some(b"\\u")
                {
                    let before = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    } else {
                        self.at = before;
                    }
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            other => {
                return syntax(format!(
                    "invalid escape sequence `\\{}` in string",
                    char::from(other)
                ));
            }
        };
        out.push(plain);
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, Refusal> {
        let digits = self
            .src
            .get(self.at..self.at + 4)
            .and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        match code {
            Some(code) => Ok(code),
            None => syntax("invalid escape sequence in string"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flavour;

    fn read(text: &str, flavour: Flavour) -> Result<Map<String, Value>, String> {
        decode(
            text.as_bytes(),
            &Options {
                flavour,
                ..Options::default()
            },
        )
    }

    #[test]
    fn the_servers_error_texts() {
        for (text, wanted) in [
            ("{", "unexpected EOF"),
            (
                "{\"a\":1,}",
                "invalid character ',' looking for beginning of value",
            ),
            (
                "{'a':1}",
                "invalid character '\\'' looking for beginning of value",
            ),
            ("{\"a\":\"\\x\"}", "invalid escape sequence `\\x` in string"),
            (
                "[]",
                "json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
        ] {
            assert_eq!(
                read(text, Flavour::OpenBao),
                Err(format!("failed to decode JSON input: {wanted}")),
                "{text}"
            );
            assert_eq!(
                read(text, Flavour::Vault),
                Err("error parsing JSON".to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn depth_is_bounded_without_using_up_the_stack() {
        let nested = |n: usize| format!("{{\"x\":{}1{}}}", "[".repeat(n), "]".repeat(n));
        for (depth, fine) in [
            (10, true),
            (9_999, true),
            (20_000, false),
            (1_000_000, false),
        ] {
            assert_eq!(
                read(&nested(depth), Flavour::OpenBao).is_ok(),
                fine,
                "{depth}"
            );
        }
        let mixed = format!("{{\"x\":{}1{}}}", "[{\"a\":".repeat(200), "}]".repeat(200));
        assert!(read(&mixed, Flavour::OpenBao).is_ok());
        assert!(read(&mixed.replace("1}", "1]"), Flavour::OpenBao).is_err());
    }

    #[test]
    fn the_last_of_two_equal_keys_wins() {
        assert_eq!(read("{\"a\":1,\"a\":2}", Flavour::OpenBao).unwrap()["a"], 2);
    }

    #[test]
    fn a_thousand_strings_and_no_more() {
        let list = |n: usize| format!("{{\"x\":[{}]}}", vec!["\"s\""; n].join(","));
        assert!(read(&list(999), Flavour::OpenBao).is_ok());
        let refused = read(&list(1000), Flavour::OpenBao);
        assert_eq!(
            refused.unwrap_err(),
            "refused JSON input due to high complexity: exceeded maximum number of strings"
        );
        assert!(read(&list(1000), Flavour::Vault).is_ok());
    }
}

//! What Go's JSON decoder says about a text that is no JSON: operators print it into their conditions.

/// The decoder's complaint, or nothing if the text is one JSON value.
pub(crate) fn complaint(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.value().and_then(|()| scanner.end()).err()
}

/// What Go calls the kind of a value.
pub(crate) fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    }
}

/// A value that is no object where Go's decoder wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherShape;

/// A field as Go finds it in an object: without regard to case, and null is like absent.
pub(crate) fn field<'a>(
    value: &'a serde_json::Value,
    name: &str,
) -> Result<Option<&'a serde_json::Value>, OtherShape> {
    let object = match value {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::Object(object) => object,
        _ => return Err(OtherShape),
    };
    let named = object
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name));
    Ok(named
        .map(|(_, value)| value)
        .filter(|value| !value.is_null()))
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// A byte as Go quotes it.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b' '..=b'~' => format!("'{}'", byte as char),
        _ => format!(r"'\x{byte:02x}'"),
    }
}

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, String> {
        self.text
            .get(self.at)
            .copied()
            .ok_or_else(|| "unexpected end of JSON input".to_owned())
    }

    fn wrong<T>(&self, byte: u8, context: &str) -> Result<T, String> {
        Err(format!("invalid character {} {context}", quoted(byte)))
    }

    fn space(&mut self) {
        while self
            .text
            .get(self.at)
            .is_some_and(|b| b" \t\r\n".contains(b))
        {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.space();
        match self.text.get(self.at) {
            None => Ok(()),
            Some(byte) => self.wrong(*byte, "after top-level value"),
        }
    }

    fn value(&mut self) -> Result<(), String> {
        self.space();
        match self.peek()? {
            b'{' => self.list(
                b'}',
                "looking for beginning of object key string",
                "after object key:value pair",
                true,
            ),
            b'[' => self.list(
                b']',
                "looking for beginning of value",
                "after array element",
                false,
            ),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            byte => self.wrong(byte, "looking for beginning of value"),
        }
    }

    fn list(&mut self, close: u8, first: &str, after: &str, keyed: bool) -> Result<(), String> {
        self.at += 1;
        self.space();
        if self.peek()? == close {
            self.at += 1;
            return Ok(());
        }
        loop {
            if keyed {
                self.space();
                match self.peek()? {
                    b'"' => self.string()?,
                    byte => return self.wrong(byte, first),
                }
                self.space();
                match self.peek()? {
                    b':' => self.at += 1,
                    byte => return self.wrong(byte, "after object key"),
                }
            }
            self.value()?;
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                byte if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                byte => return self.wrong(byte, after),
            }
        }
    }

    fn string(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.at += 1,
                        b'u' => {
                            for _ in 0..4 {
                                self.at += 1;
                                let byte = self.peek()?;
                                if !byte.is_ascii_hexdigit() {
                                    return self.wrong(byte, r"in \u hexadecimal character escape");
                                }
                            }
                            self.at += 1;
                        }
                        byte => return self.wrong(byte, "in string escape code"),
                    }
                }
                byte if byte < 0x20 => return self.wrong(byte, "in string literal"),
                _ => self.at += 1,
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        for expected in word.bytes() {
            let byte = self.peek()?;
            if byte != expected {
                return self.wrong(
                    byte,
                    &format!("in literal {word} (expecting {})", quoted(expected)),
                );
            }
            self.at += 1;
        }
        Ok(())
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        match self.peek()? {
            b'0'..=b'9' => {}
            byte => return self.wrong(byte, context),
        }
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if self.text.get(self.at).is_some_and(|b| b"eE".contains(b)) {
            self.at += 1;
            if self.text.get(self.at).is_some_and(|b| b"+-".contains(b)) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn says_what_go_says() {
        let said = |text: &str| complaint(text.as_bytes()).unwrap_or_default();
        assert_eq!(said(r#"{"a": [1, -2.5e3, "x\u00e9", null]} "#), "");
        assert_eq!(said("{"), "unexpected end of JSON input");
        assert_eq!(
            said("not json"),
            "invalid character 'o' in literal null (expecting 'u')"
        );
        assert_eq!(
            said("{a}"),
            "invalid character 'a' looking for beginning of object key string"
        );
        assert_eq!(said(r#"{"a" 1}"#), "invalid character '1' after object key");
        assert_eq!(
            said(r#"{"a":1 "b"}"#),
            "invalid character '\"' after object key:value pair"
        );
        assert_eq!(said("[1 2]"), "invalid character '2' after array element");
        assert_eq!(said("{} x"), "invalid character 'x' after top-level value");
        assert_eq!(
            said("bogus"),
            "invalid character 'b' looking for beginning of value"
        );
        assert_eq!(
            said("\"a\nb\""),
            r"invalid character '\x0a' in string literal"
        );
    }
}

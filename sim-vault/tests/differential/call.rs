//! One call, as it is written down before the servers have answered.

use std::fmt;

use serde_json::Value;

/// A request in which texts such as `$t1` stand for what earlier answers gave.
#[derive(Clone, PartialEq)]
pub struct Call {
    pub method: String,
    /// Below `/v1/`.
    pub path: String,
    /// `Null` is no body; a text is sent as it is.
    pub body: Value,
    /// Empty: no token.
    pub token: String,
    pub headers: Vec<(String, String)>,
}

impl Call {
    pub fn new(method: &str, path: &str, body: Value) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            body,
            token: "root".to_owned(),
            headers: Vec::new(),
        }
    }

    /// `METHOD PATH BODY [TOKEN] Header: value`, as [`Call::to_string`] writes it; body, token and headers may be absent.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ' ');
        let (method, path) = (parts.next()?, parts.next()?);
        let mut call = Self::new(method, path, Value::Null);
        let mut rest = parts.next().unwrap_or_default().trim();
        if !rest.is_empty() && !rest.starts_with('[') {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            call.body = values.next()?.ok()?;
            rest = rest.get(values.byte_offset()..)?.trim();
        }
        if let Some((token, headers)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            token.clone_into(&mut call.token);
            call.headers = headers
                .split(';')
                .filter_map(|h| h.trim().split_once(": "))
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect();
        }
        Some(call)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.path, self.body)?;
        write!(f, " [{}]", self.token)?;
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!(" {name}: {value}"))
            .collect();
        f.write_str(&headers.join(";"))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

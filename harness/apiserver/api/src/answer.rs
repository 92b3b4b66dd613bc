//! What a server answered.

use std::fmt;

use serde_json::Value;

/// The body of an answer.
#[derive(Clone, PartialEq)]
pub enum Body {
    /// An object, a list, or a `Status`.
    Json(Value),
    /// Health and metrics texts.
    Text(String),
}

/// One answer.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// The HTTP code.
    pub code: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// Whether the code is 2xx.
    #[must_use]
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The JSON body, or null.
    #[must_use]
    pub fn json(&self) -> &Value {
        match &self.body {
            Body::Json(value) => value,
            Body::Text(_) => &Value::Null,
        }
    }

    /// The text body, or nothing.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.body {
            Body::Json(_) => "",
            Body::Text(text) => text,
        }
    }

    /// A `Status` object's message, or nothing.
    #[must_use]
    pub fn message(&self) -> &str {
        self.field("/message")
    }

    /// A `Status` object's reason, or nothing.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.field("/reason")
    }

    /// The object's or list's resource version, or nothing.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        self.field("/metadata/resourceVersion")
    }

    /// The items of a list; none if it is not one.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        self.json()
            .get("items")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The text at a JSON pointer, or nothing.
    #[must_use]
    pub fn field(&self, pointer: &str) -> &str {
        self.json()
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

impl fmt::Debug for Answer {
    // Objects hold what is secret; a refusal and a health text do not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(seconds) = self.retry_after {
            write!(f, ", retry after {seconds} s")?;
        }
        match &self.body {
            Body::Text(text) => write!(f, ": {text}"),
            Body::Json(_) if self.field("/kind") == "Status" => {
                write!(f, " {}: {}", self.reason(), self.message())
            }
            Body::Json(_) => write!(f, ": a {}", self.field("/kind")),
        }
    }
}

/// One event of a watch.
#[derive(Clone, PartialEq)]
pub struct WatchEvent {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: String,
    /// The object, or a `Status`.
    pub object: Value,
}

impl WatchEvent {
    /// The object's name, or nothing.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

impl fmt::Debug for WatchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name())
    }
}

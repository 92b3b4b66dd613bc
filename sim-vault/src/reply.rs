//! What handlers return: a reply or a refusal, before it becomes HTTP.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A refusal. How its text is dressed depends on where it came from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refused {
    /// `{"errors":[text]}` with the text as it is.
    Plain(u16, String),
    /// `{"errors":[]}`.
    Empty(u16),
    /// An error that passed through the request core: `1 error occurred:\n\t* TEXT\n\n`, unless the path is a login.
    Wrapped(u16, String),
    /// A login that the core ends, or that the method calls wrong in a way the core counts; dressed as [`Refused::Plain`].
    Login(u16, String),
    /// A status without any body.
    Bodiless(u16),
    /// 307 to this place, without a body.
    Redirect(String),
    /// The handler of the real server panics here: the connection closes without an answer.
    Panic,
}

impl Refused {
    /// 400 with a bare text: what a handler finds wrong with the request.
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::Plain(400, text.into())
    }

    /// 403, bare.
    pub(crate) fn denied() -> Self {
        Self::Plain(403, "permission denied".to_owned())
    }

    /// 500, wrapped: an error of the engine.
    pub(crate) fn internal(text: impl Into<String>) -> Self {
        Self::Wrapped(500, text.into())
    }

    /// 404 without a text: nothing there.
    pub(crate) fn nothing() -> Self {
        Self::Empty(404)
    }

    pub(crate) fn unsupported_path() -> Self {
        Self::Wrapped(404, "unsupported path".to_owned())
    }

    pub(crate) fn unsupported_operation() -> Self {
        Self::Wrapped(405, "unsupported operation".to_owned())
    }
}

/// The `auth` block of a login, a token creation or a renewal.
#[derive(Clone, Debug)]
pub(crate) struct AuthBlock {
    pub client_token: String,
    pub accessor: String,
    pub policies: Vec<String>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub lease_duration: u64,
    pub renewable: bool,
    pub entity_id: String,
    pub token_type: &'static str,
    pub orphan: bool,
    pub num_uses: i64,
}

/// A successful answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub data: Option<Map<String, Value>>,
    pub auth: Option<AuthBlock>,
    pub wrap_info: Option<Map<String, Value>>,
    pub warnings: Vec<String>,
    /// Instead of 200.
    pub status: Option<u16>,
    /// The fields of `data` once more at the top, as the old `sys` endpoints do.
    pub top_level: bool,
    /// The handler writes the answer out itself. Nothing is put to it any more: no mount's type, no word on parameters that
    /// were ignored, no line feed.
    pub finished: bool,
    /// The first key-value engine leases what it reads, in seconds.
    pub lease: i64,
    /// The body ends without a line feed.
    pub no_line_end: bool,
    /// The answer is no envelope but this object alone.
    pub raw: Option<Value>,
}

impl Reply {
    /// Data and nothing else.
    pub(crate) fn data(value: Value) -> Self {
        Self {
            data: Some(object(value)),
            ..Self::default()
        }
    }

    /// The `keys` list of a LIST.
    pub(crate) fn keys(keys: Vec<String>) -> Outcome {
        if keys.is_empty() {
            return Err(Refused::nothing());
        }
        Ok(Some(Self::data(serde_json::json!({ "keys": keys }))))
    }

    pub(crate) fn warn(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }

    pub(crate) fn top_level(mut self) -> Self {
        self.top_level = true;
        self
    }
}

/// The map inside a JSON object; anything else is no data.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `None` is 204.
pub(crate) type Outcome = Result<Option<Reply>, Refused>;

/// A reply with data.
pub(crate) fn ok(value: Value) -> Outcome {
    Ok(Some(Reply::data(value)))
}

/// 204.
pub(crate) fn done() -> Outcome {
    Ok(None)
}

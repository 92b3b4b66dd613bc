//! What goes into the model and what comes out: HTTP messages without a transport.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;

/// The certificate a TLS client presented: the leaf and what followed it, DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// The leaf first.
    pub chain: Vec<Vec<u8>>,
}

/// One HTTP request as the server received it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, in the case the client used.
    pub method: String,
    /// Path and query exactly as sent.
    pub path: String,
    /// Header names in any case; values as sent.
    pub headers: Vec<(String, String)>,
    /// The whole body, transfer encodings taken off.
    pub body: Bytes,
    /// The client's address: CIDR bindings and quotas look at it.
    pub peer: IpAddr,
    /// Present if the connection is TLS and the client showed one.
    pub client_cert: Option<ClientCert>,
}

impl Request {
    /// A request without headers and body from 127.0.0.1.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            client_cert: None,
        }
    }

    /// The same request with a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same request with the token in `X-Vault-Token`.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("X-Vault-Token", token)
    }

    /// The same request with a JSON body.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = Bytes::from(body.to_string());
        self
    }

    /// The first value of a header, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }
}

/// One HTTP answer. `Date`, `Content-Length` and chunking are the transport's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code. 0 means: the real server closes the connection here without an answer.
    pub status: u16,
    /// In the order in which the server writes them.
    pub headers: Vec<(String, String)>,
    /// Empty if there is none.
    pub body: Bytes,
}

impl Response {
    /// The connection closes without an answer, as when a handler of the real server panics.
    pub fn closed() -> Self {
        Self {
            status: 0,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// The first value of a header, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// It goes out with a length even when it is long.
    pub(crate) fn whole(&self) -> bool {
        self.get("Accept-Ranges").is_some()
    }

    /// The body as JSON; `Null` if there is none or it is something else.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or(serde_json::Value::Null)
    }
}

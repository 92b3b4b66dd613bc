//! The request target: query, percent-decoding, and the redirects to the cleaned path.

use bytes::Bytes;

use crate::Response;

/// Path and query of a request, decoded.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Where a path that is not clean is sent to.
    pub clean: Option<String>,
}

impl Target {
    /// The target, or the answer to one that cannot be decoded.
    pub(crate) fn parse(raw: &str) -> Result<Self, Response> {
        let (path, query) = raw.split_once('?').unwrap_or((raw, ""));
        let clean = Some(clean(path)).filter(|c| c != path);
        let Some(path) = decode(path, false) else {
            return Err(Response {
                status: 400,
                headers: vec![
                    (
                        "Content-Type".to_owned(),
                        "text/plain; charset=utf-8".to_owned(),
                    ),
                    ("Connection".to_owned(), "close".to_owned()),
                ],
                body: Bytes::from_static(b"400 Bad Request"),
            });
        };
        Ok(Self {
            path,
            query: pairs(query),
            clean,
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// 307; Go's `http.Redirect` writes a little page for GET.
pub(crate) fn redirect(to: &str, page: bool) -> Response {
    let mut headers = Vec::new();
    let mut body = String::new();
    if page {
        headers.push((
            "Content-Type".to_owned(),
            "text/html; charset=utf-8".to_owned(),
        ));
        body = format!("<a href=\"{to}\">Temporary Redirect</a>.\n\n");
    }
    headers.push(("Location".to_owned(), to.to_owned()));
    Response {
        status: 307,
        headers,
        body: Bytes::from(body),
    }
}

/// Without `//`, `/./` and `/x/..`; a slash at the end stays.
fn clean(path: &str) -> String {
    if !path.contains("//") && !path.contains("/.") {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = format!("/{}", parts.join("/"));
    if path.ends_with('/') && !out.ends_with('/') {
        out.push('/');
    }
    out
}

/// Percent-decoding; `None` for a broken escape.
pub(crate) fn decode(text: &str, plus: bool) -> Option<String> {
    let encoded = text.contains('%') || plus && text.contains('+');
    if !encoded {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?.to_owned();
                out.push(u8::from_str_radix(&digits, 16).ok()?);
            }
            b'+' if plus => out.push(b' '),
            b => out.push(b),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// A query string or a form body.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|p| !p.is_empty())
        .filter_map(|p| {
            let (name, value) = p.split_once('=').unwrap_or((p, ""));
            Some((decode(name, true)?, decode(value, true)?))
        })
        .collect()
}

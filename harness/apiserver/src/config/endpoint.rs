//! Endpoints, parsed as Go's `net/url` does (KMS2-CONN-01, KMS2-CONN-02).

use crate::gotext::quote;

/// What of an endpoint counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// In lower case; empty if there is none.
    pub scheme: String,
    /// The path alone, percent-decoded; empty for an opaque URL such as `unix:kms.sock`.
    pub path: String,
}

impl Endpoint {
    /// Splits an endpoint.
    ///
    /// # Errors
    /// With Go's text, `parse "URL": why`.
    pub fn parse(url: &str) -> Result<Self, String> {
        split(url).map_err(|why| format!("parse {}: {why}", quote(url)))
    }

    /// The socket's path, or `@name` for an abstract socket.
    pub fn address(&self) -> &str {
        if self.path.starts_with("/@") {
            &self.path[1..]
        } else {
            &self.path
        }
    }
}

fn split(url: &str) -> Result<Endpoint, String> {
    if url.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    unescape(fragment)?;
    let (scheme, rest) = scheme(url)?;
    let (rest, _query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut path = rest;
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(Endpoint {
                scheme,
                path: String::new(),
            });
        }
        let segment = rest.split('/').next().unwrap_or_default();
        if segment.contains(':') {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    if let Some(after) = rest.strip_prefix("//")
        && (!scheme.is_empty() || !rest.starts_with("///"))
    {
        let end = after.find('/').unwrap_or(after.len());
        authority(&after[..end])?;
        path = &after[end..];
    }
    Ok(Endpoint {
        scheme,
        path: unescape(path)?,
    })
}

fn scheme(url: &str) -> Result<(String, &str), String> {
    for (at, letter) in url.char_indices() {
        match letter {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((url[..at].to_ascii_lowercase(), &url[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), url))
}

fn authority(authority: &str) -> Result<(), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority),
    };
    host_is_valid(host)?;
    let allowed =
        |letter: char| letter.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(letter);
    if !user.chars().all(allowed) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    unescape(user).map(drop)
}

fn host_is_valid(host: &str) -> Result<(), String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |colon| &host[colon..])
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    for letter in host.chars() {
        let allowed = !letter.is_ascii()
            || letter.is_ascii_alphanumeric()
            || "-_.~!$&'()*+,;=:[]<>\"%".contains(letter);
        if !allowed {
            return Err(format!(
                "invalid character {} in host name",
                quote(&letter.to_string())
            ));
        }
    }
    unescape(host).map(drop)
}

/// Undoes percent-encoding; what is not UTF-8 after that is replaced.
fn unescape(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            plain.push(bytes[at]);
            at += 1;
            continue;
        }
        let digits = bytes.get(at + 1..at + 3);
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => plain.push(byte),
            None => {
                let end = bytes.len().min(at + 3);
                let shown = String::from_utf8_lossy(&bytes[at..end]);
                return Err(format!("invalid URL escape {}", quote(&shown)));
            }
        }
        at += 3;
    }
    Ok(String::from_utf8_lossy(&plain).into_owned())
}

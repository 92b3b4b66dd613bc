//! HTTP/1.1 as Go's server speaks it. Not a library's server, because what matters here is what those hide or forbid:
//! an answer cut in the middle, no answer at all, bytes that are no HTTP, and Go's own words for requests it cannot read.

use std::{fmt::Write as _, io, net::IpAddr, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use super::{
    SimVault,
    serve::{Exchange, Io, Shape},
};
use crate::{ClientCert, Request, Response};

/// Unfinished headers are cut after this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Unfinished bodies.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Longer heads reset the connection.
const MAX_HEAD: usize = (1 << 20) + 4096;
/// Bodies beyond this are not even read: the limit of the API is 32 MiB.
const MAX_BODY: usize = 64 << 20;
/// What Go reads of a refused body before it closes the connection.
const DRAINED: usize = 256 << 10;
/// Room for what is read at a time: more than most requests.
const READ: usize = 2048;
/// Bodies above this size go out in chunks.
const CHUNKED_ABOVE: usize = 2048;
const MAX_HEADERS: usize = 128;

/// How a connection goes on.
enum Next {
    Head(Head),
    /// Nothing more to come, or not worth an answer.
    Close,
    /// Go's answer to what it cannot read, then the connection closes.
    Refuse(&'static str),
}

/// How a connection ended.
pub(super) enum End {
    Closed,
    /// A fault wants it to be reset.
    Reset,
}

/// What an answer depends on.
#[derive(Clone, Copy)]
struct Asked {
    old: bool,
    /// Only the head is wanted.
    bodiless: bool,
}

struct Head {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    old: bool,
    prior_h2: bool,
}

impl Head {
    fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    fn has(&self, name: &str, token: &str) -> bool {
        self.get(name)
            .is_some_and(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    }

    fn asked(&self) -> Asked {
        Asked {
            old: self.old,
            bodiless: self.method == "HEAD",
        }
    }

    /// After this request the server closes.
    fn closes(&self) -> bool {
        self.has("Connection", "close") || self.old && !self.has("Connection", "keep-alive")
    }
}

/// One connection.
pub(super) struct Connection {
    io: Box<dyn Io>,
    read: BytesMut,
    vault: SimVault,
    peer: IpAddr,
    cert: Option<ClientCert>,
    number: u64,
}

impl Connection {
    pub(super) fn new(
        io: Box<dyn Io>,
        vault: SimVault,
        peer: IpAddr,
        cert: Option<ClientCert>,
        number: u64,
    ) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            vault,
            peer,
            cert,
            number,
        }
    }

    /// Until the client, a fault or a limit ends it. An error is the client's doing and has nobody to go to.
    pub(super) async fn run(&mut self) -> io::Result<End> {
        let mut first = true;
        loop {
            let head = match self.head(first).await? {
                Next::Head(head) => head,
                Next::Close => return Ok(End::Closed),
                Next::Refuse(text) => {
                    let answer = format!(
                        "HTTP/1.1 {text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}"
                    );
                    self.io.write_all(answer.as_bytes()).await?;
                    self.io.flush().await?;
                    return Ok(End::Closed);
                }
            };
            first = false;
            let body = match self.body(&head).await? {
                Ok(body) => body,
                Err(Some(response)) => {
                    let date = self.vault.date();
                    self.answer(head.asked(), response, &date, Shape::Whole, true)
                        .await?;
                    return Ok(End::Closed);
                }
                Err(None) => return Ok(End::Closed),
            };
            let (closes, asked) = (head.closes(), head.asked());
            let request = Request {
                method: head.method,
                path: head.path,
                headers: head.headers,
                body,
                peer: self.peer,
                client_cert: self.cert.clone(),
            };
            self.vault.thawed(self.number).await;
            let vault = self.vault.clone();
            let exchange = vault.carry_out(&request, self.number).await;
            // an answer made before a freeze must not leave during it
            self.vault.thawed(self.number).await;
            match exchange {
                Exchange::Close => return Ok(End::Closed),
                Exchange::Reset => return Ok(End::Reset),
                Exchange::Never => {
                    self.until_gone().await?;
                    return Ok(End::Closed);
                }
                Exchange::Raw(bytes) => {
                    self.io.write_all(&bytes).await?;
                    self.io.flush().await?;
                    return Ok(End::Closed);
                }
                Exchange::Answer(response, date, shape) => {
                    let last = closes || response.get("Connection").is_some_and(|v| v == "close");
                    let gone = response.status == 0;
                    self.answer(asked, response, &date, shape, last).await?;
                    if last || gone || !matches!(shape, Shape::Whole) {
                        return Ok(End::Closed);
                    }
                }
            }
        }
    }

    async fn until_gone(&mut self) -> io::Result<()> {
        loop {
            self.read.clear();
            if self.io.read_buf(&mut self.read).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn head(&mut self, first: bool) -> io::Result<Next> {
        let idle = self.vault.idle_limit().unwrap_or(IDLE_TIMEOUT);
        let wait = if first {
            HEADER_TIMEOUT.min(idle)
        } else {
            idle
        };
        let mut deadline = Instant::now() + wait;
        let mut begun = !self.read.is_empty();
        loop {
            if begun {
                match parse(&mut self.read) {
                    Some(next) => return Ok(next),
                    None if self.read.len() > MAX_HEAD => return Ok(Next::Close),
                    None => {}
                }
            }
            self.read.reserve(READ);
            match timeout_at(deadline, self.io.read_buf(&mut self.read)).await {
                Err(_) if self.read.is_empty() => return Ok(Next::Close),
                Err(_) => return Ok(Next::Refuse("400 Bad Request")),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(0)) => return Ok(Next::Close),
                Ok(Ok(_)) if !begun => {
                    begun = true;
                    deadline = Instant::now() + HEADER_TIMEOUT;
                }
                Ok(Ok(_)) => {}
            }
        }
    }

    /// The body; or what is answered instead of reading it, `None` for closing at once.
    async fn body(&mut self, head: &Head) -> io::Result<Result<Bytes, Option<Response>>> {
        let chunked = head.has("Transfer-Encoding", "chunked");
        let length = head
            .get("Content-Length")
            .and_then(|v| v.trim().parse::<usize>().ok())
            .unwrap_or(0);
        if head.has("Expect", "100-continue") && (chunked || length > 0) {
            self.io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.io.flush().await?;
        }
        if length > MAX_BODY {
            return Ok(Err(None));
        }
        let deadline = Instant::now() + BODY_TIMEOUT;
        let mut out = BytesMut::new();
        let mut decoder = Chunks::default();
        loop {
            if chunked {
                match decoder.take(&mut self.read, &mut out) {
                    Some(true) => return Ok(Ok(out.freeze())),
                    Some(false) => {}
                    None => {
                        return Ok(Err(Some(
                            self.vault.unreadable_body("invalid byte in chunk length"),
                        )));
                    }
                }
            } else if self.read.len() >= length {
                return Ok(Ok(self.read.split_to(length).freeze()));
            }
            let so_far = if chunked { &out } else { &self.read };
            if out.len() > MAX_BODY || length > DRAINED && self.vault.refuses_early(so_far) {
                return Ok(Err(None));
            }
            self.read.reserve(READ);
            match timeout_at(deadline, self.io.read_buf(&mut self.read)).await {
                Err(_) => {
                    let text = format!("read tcp {}: i/o timeout", self.peer);
                    return Ok(Err(Some(self.vault.unreadable_body(&text))));
                }
                Ok(Err(error)) => return Err(error),
                Ok(Ok(0)) => return Ok(Err(Some(self.vault.unreadable_body("unexpected EOF")))),
                Ok(Ok(_)) => {}
            }
        }
    }

    async fn answer(
        &mut self,
        asked: Asked,
        response: Response,
        date: &str,
        shape: Shape,
        last: bool,
    ) -> io::Result<()> {
        if response.status == 0 {
            return Ok(());
        }
        let version = if asked.old { "1.0" } else { "1.1" };
        let reason = http::StatusCode::from_u16(response.status)
            .ok()
            .and_then(|s| s.canonical_reason());
        let mut out = String::with_capacity(512);
        // writing into a String cannot fail
        let _ = match reason {
            Some(reason) => write!(out, "HTTP/{version} {} {reason}\r\n", response.status),
            None => write!(
                out,
                "HTTP/{version} {0} status code {0}\r\n",
                response.status
            ),
        };
        for (name, value) in response.headers.iter().filter(|(n, _)| n != "Connection") {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        let _ = write!(out, "Date: {date}\r\n");
        let length = response.body.len();
        let announced = match shape {
            Shape::TooLong => length + 16,
            _ => length,
        };
        let bodiless = response.status == 204
            || response.status == 304
            || (100..200).contains(&response.status);
        let chunked = matches!(shape, Shape::Whole)
            && length > CHUNKED_ABOVE
            && !asked.old
            && !response.whole();
        if chunked {
            out.push_str("Transfer-Encoding: chunked\r\n");
        } else if !bodiless && (length > 0 || !asked.bodiless) {
            let _ = write!(out, "Content-Length: {announced}\r\n");
        }
        if last && !asked.old {
            out.push_str("Connection: close\r\n");
        } else if asked.old && !last {
            out.push_str("Connection: keep-alive\r\n");
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        if !asked.bodiless && !bodiless {
            match shape {
                Shape::Cut(n) => {
                    out.extend_from_slice(response.body.get(..n.min(length)).unwrap_or_default())
                }
                _ if chunked => {
                    for piece in response.body.chunks(16 << 10) {
                        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                        out.extend_from_slice(piece);
                        out.extend_from_slice(b"\r\n");
                    }
                    out.extend_from_slice(b"0\r\n\r\n");
                }
                _ => out.extend_from_slice(&response.body),
            }
        }
        self.io.write_all(&out).await?;
        self.io.flush().await
    }
}

/// The next head, taken from the buffer; `None` if more bytes are needed.
fn parse(read: &mut BytesMut) -> Option<Next> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    if read.starts_with(b"PRI * HTTP/2.0\r\n\r\n") {
        read.clear();
        let head = Head {
            method: "PRI".to_owned(),
            path: "*".to_owned(),
            headers: Vec::new(),
            old: false,
            prior_h2: true,
        };
        return Some(Next::Head(head));
    }
    let length = match parsed.parse(read) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(length)) => length,
        Err(_) => return Some(Next::Refuse("400 Bad Request")),
    };
    let head = Head {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|h| {
                (
                    h.name.to_owned(),
                    match std::str::from_utf8(h.value) {
                        Ok(value) if value.is_ascii() => value.to_owned(),
                        _ => h.value.iter().map(|b| char::from(*b)).collect(),
                    },
                )
            })
            .collect(),
        old: parsed.version == Some(0),
        prior_h2: false,
    };
    read.advance(length);
    let count = |name: &str| {
        head.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .count()
    };
    let host = count("Host");
    let bad_length = head
        .get("Content-Length")
        .is_some_and(|v| v.trim().parse::<u64>().is_err());
    if host == 0 && !head.old && !head.prior_h2 {
        return Some(Next::Refuse(
            "400 Bad Request: missing required Host header",
        ));
    }
    if host > 1 || count("Content-Length") > 1 || bad_length {
        return Some(Next::Refuse("400 Bad Request"));
    }
    Some(Next::Head(head))
}

/// Decodes a chunked body.
#[derive(Default)]
struct Chunks {
    /// Bytes left in the current chunk, its line end included.
    left: usize,
    ending: bool,
}

impl Chunks {
    /// Moves what is there; `Some(true)` at the end, `None` if it is not chunked at all.
    fn take(&mut self, from: &mut BytesMut, to: &mut BytesMut) -> Option<bool> {
        loop {
            if self.left > 2 {
                let n = from.len().min(self.left - 2);
                to.extend_from_slice(&from.split_to(n));
                self.left -= n;
                if self.left > 2 {
                    return Some(false);
                }
            }
            if self.left > 0 {
                if from.len() < self.left {
                    return Some(false);
                }
                from.advance(self.left);
                self.left = 0;
                if self.ending {
                    return Some(true);
                }
            }
            let Some(end) = from.windows(2).position(|w| w == b"\r\n") else {
                return if from.len() > 64 { None } else { Some(false) };
            };
            let line = from.split_to(end + 2);
            let text = std::str::from_utf8(line.get(..end)?).ok()?;
            let size = usize::from_str_radix(text.split(';').next()?.trim(), 16).ok()?;
            self.ending = size == 0;
            self.left = size.checked_add(2)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_wherever_they_are_cut() {
        let whole = b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            let (mut from, mut to, mut chunks) =
                (BytesMut::new(), BytesMut::new(), Chunks::default());
            from.extend_from_slice(&whole[..cut]);
            let early = chunks.take(&mut from, &mut to);
            assert_eq!(early, Some(false), "cut at {cut}");
            from.extend_from_slice(&whole[cut..]);
            assert_eq!(chunks.take(&mut from, &mut to), Some(true), "cut at {cut}");
            assert_eq!(&to[..], b"hello!", "cut at {cut}");
        }
    }

    #[test]
    fn a_head_that_go_refuses_is_refused_in_its_words() {
        let refused = |text: &str| match parse(&mut BytesMut::from(text)) {
            Some(Next::Refuse(words)) => words,
            _ => "accepted",
        };
        assert_eq!(
            refused("GET / HTTP/1.1\r\n\r\n"),
            "400 Bad Request: missing required Host header"
        );
        assert_eq!(refused("garbage\r\n\r\n"), "400 Bad Request");
        assert_eq!(
            refused("GET / HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n"),
            "400 Bad Request"
        );
        assert_eq!(
            refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            "400 Bad Request"
        );
        assert_eq!(refused("GET /a<b> HTTP/1.1\r\nHost: a\r\n\r\n"), "accepted");
    }
}

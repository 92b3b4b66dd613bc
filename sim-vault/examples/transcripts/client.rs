//! A plain HTTP/1.1 client on a byte stream, sending what the recorder sent: it must be able to send what a good client would not.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// One request on a fresh stream; an error is what Python's client would raise.
pub async fn exchange<IO: AsyncRead + AsyncWrite + Unpin>(
    mut stream: IO,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> Result<Answer, &'static str> {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:8200\r\nAccept-Encoding: identity\r\n"
    )
    .into_bytes();
    let length = match body {
        Some(body) => Some(body.len()),
        None if matches!(method, "POST" | "PUT" | "PATCH") => Some(0),
        None => None,
    };
    if let Some(length) = length {
        head.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    for (name, value) in headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        // header values travel as Latin-1
        head.extend(
            value
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')),
        );
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(body.unwrap_or_default());
    // the server may answer and close before it has read all
    let _ = stream.write_all(&head).await;
    let mut raw = Vec::new();
    read_answer(&mut stream, &mut raw, method == "HEAD")
        .await
        .map_err(|_| "RemoteDisconnected")
}

async fn read_answer<IO: AsyncRead + Unpin>(
    stream: &mut IO,
    raw: &mut Vec<u8>,
    head_only: bool,
) -> io::Result<Answer> {
    let closed = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let end = loop {
        if let Some(at) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(raw).await? == 0 {
            return Err(closed());
        }
    };
    let head = String::from_utf8_lossy(raw.get(..end).unwrap_or_default()).into_owned();
    let mut body = raw.split_off(end + 4);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok())
        .ok_or_else(closed)?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
        .collect();
    let get = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    };
    if head_only || status == 204 || status == 304 {
        body.clear();
    } else if get("Transfer-Encoding").is_some_and(|v| v.contains("chunked")) {
        body = chunks(stream, body).await?;
    } else if let Some(length) = get("Content-Length").and_then(|v| v.parse::<usize>().ok()) {
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                return Err(closed());
            }
        }
        body.truncate(length);
    } else {
        stream.read_to_end(&mut body).await?;
    }
    Ok(Answer {
        status,
        headers,
        body,
    })
}

async fn chunks<IO: AsyncRead + Unpin>(stream: &mut IO, mut raw: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let rest = raw.get(at..).unwrap_or_default();
        let line = rest.windows(2).position(|w| w == b"\r\n");
        let size = line
            .and_then(|l| std::str::from_utf8(rest.get(..l)?).ok())
            .and_then(|t| usize::from_str_radix(t.trim(), 16).ok());
        if let (Some(line), Some(size)) = (line, size) {
            let (from, to) = (line + 2, line + 2 + size);
            if rest.len() >= to + 2 {
                out.extend_from_slice(rest.get(from..to).unwrap_or_default());
                at += to + 2;
                if size == 0 {
                    return Ok(out);
                }
                continue;
            }
        }
        if stream.read_buf(&mut raw).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

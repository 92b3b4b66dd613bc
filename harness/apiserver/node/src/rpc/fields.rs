//! Sends header fields as grpc-go does: in its order, and with any `:authority`.
//!
//! HTTP libraries take no path for an authority; the real client of 1.27 to 1.31 sends one (KMS2-CONN-04). So the library is
//! given `localhost`, and every header block that it writes is read and written anew on its way to the socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use loona_hpack::Decoder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, type, flags and stream of a frame.
const FRAME_HEADER: usize = 9;
/// The type of a HEADERS frame.
const HEADERS: u8 = 1;
/// Flags: the block is whole; padding and priority stand before it, which the library never sends.
const WHOLE: u8 = 0x4;
const NOT_BARE: u8 = 0x8 | 0x20;
/// The order of pseudo-headers.
const ORDER: [&[u8]; 4] = [b":method", b":scheme", b":path", b":authority"];

/// A stream whose written header blocks are changed.
pub struct Fields<T> {
    inner: T,
    rewriter: Rewriter,
    /// What is still to be written, and how much of it is.
    out: Vec<u8>,
    written: usize,
}

impl<T> Fields<T> {
    /// Requests written to `inner` will have this `:authority`.
    pub fn new(inner: T, authority: String) -> Self {
        Fields {
            inner,
            rewriter: Rewriter {
                authority,
                table: Decoder::new(),
                pending: Vec::new(),
                greeted: false,
            },
            out: Vec::new(),
            written: 0,
        }
    }
}

struct Rewriter {
    authority: String,
    /// The library's own compression refers to earlier blocks.
    table: Decoder<'static>,
    pending: Vec<u8>,
    greeted: bool,
}

impl Rewriter {
    /// Takes bytes, and hands on everything that is whole.
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        if !self.greeted && self.pending.len() >= PREFACE.len() {
            self.greeted = true;
            at = PREFACE.len();
            out.extend_from_slice(PREFACE);
        }
        while self.greeted
            && let Some(head) = self.pending.get(at..at + FRAME_HEADER)
        {
            let length = head[..3]
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let (kind, flags) = (head[3], head[4]);
            let end = at + FRAME_HEADER + length;
            let Some(block) = self.pending.get(at + FRAME_HEADER..end) else {
                break;
            };
            if kind == HEADERS {
                if flags & WHOLE == 0 || flags & NOT_BARE != 0 {
                    return Err(io::Error::other("a header block in parts"));
                }
                let fields = self.table.decode(block);
                let fields = fields.map_err(|_| io::Error::other("an unreadable header block"))?;
                let block = encode(fields, self.authority.as_bytes());
                let length = u32::try_from(block.len()).map_err(io::Error::other)?;
                out.extend_from_slice(&length.to_be_bytes()[1..]);
                out.extend_from_slice(&head[3..]);
                out.extend_from_slice(&block);
            } else {
                out.extend_from_slice(&self.pending[at..end]);
            }
            at = end;
        }
        self.pending.drain(..at);
        Ok(())
    }
}

/// A header block of literals that no table remembers.
fn encode(fields: Vec<(Vec<u8>, Vec<u8>)>, authority: &[u8]) -> Vec<u8> {
    let (pseudo, plain): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .partition(|(name, _)| name.starts_with(b":"));
    let mut block = Vec::new();
    let mut put = |name: &[u8], value: &[u8]| {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    };
    for name in ORDER {
        if let Some((_, value)) = pseudo.iter().find(|(known, _)| known == name) {
            let value = if name == b":authority" {
                authority
            } else {
                value
            };
            put(name, value);
        }
    }
    for (name, value) in &plain {
        put(name, value);
    }
    block
}

/// An integer of HPACK with a prefix of 7 bits.
fn put_length(block: &mut Vec<u8>, length: usize) {
    const PREFIX: usize = 0x7f;
    // each is masked to its bits
    if length < PREFIX {
        block.push(length as u8);
        return;
    }
    block.push(PREFIX as u8);
    let mut rest = length - PREFIX;
    while rest >= 0x80 {
        block.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

impl<T: AsyncWrite + Unpin> Fields<T> {
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let wrote =
                ready!(Pin::new(&mut self.inner).poll_write(cx, &self.out[self.written..]))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += wrote;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Fields<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Fields<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.drain(cx))?;
        let this = &mut *self;
        this.rewriter.take(buf, &mut this.out)?;
        // what does not go out now goes out before anything else
        match self.drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(buf.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        frame.extend_from_slice(payload);
        frame
    }

    /// `:method POST`, `:scheme http`, `:authority localhost` (remembered), `:path /x` (remembered), `te: trailers`; then
    /// the same by reference.
    fn blocks() -> [Vec<u8>; 2] {
        let mut first = vec![0x83, 0x86, 0x41, 9];
        first.extend_from_slice(b"localhost");
        first.extend_from_slice(&[0x44, 2]);
        first.extend_from_slice(b"/x");
        first.extend_from_slice(&[0x00, 2]);
        first.extend_from_slice(b"te");
        first.push(8);
        first.extend_from_slice(b"trailers");
        [first, vec![0x83, 0x86, 0xbf, 0xbe]]
    }

    fn written(chunk: usize) -> Vec<u8> {
        let [first, second] = blocks();
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, &[]));
        bytes.extend(frame(HEADERS, WHOLE, &first));
        bytes.extend(frame(0, 1, b"data"));
        bytes.extend(frame(HEADERS, WHOLE, &second));
        let mut fields = Fields::new((), "%2Frun%2Fkms.sock".to_owned());
        let mut out = Vec::new();
        for chunk in bytes.chunks(chunk) {
            fields.rewriter.take(chunk, &mut out).unwrap();
        }
        out
    }

    /// However the bytes are cut, blocks come out in grpc-go's order with the authority, and all else as it was.
    #[test]
    fn the_authority_is_a_path_and_the_order_is_grpc_gos() {
        let whole = written(usize::MAX);
        for chunk in [1, 7, 24, 30] {
            assert_eq!(written(chunk), whole);
        }
        let mut rest = &whole[PREFACE.len()..];
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(rest[1]) << 8 | usize::from(rest[2]);
            let (frame, after) = rest.split_at(FRAME_HEADER + length);
            // a table of one's own for each block: none refers to another
            let text = match frame[3] {
                HEADERS => {
                    let block = Decoder::new().decode(&frame[FRAME_HEADER..]).unwrap();
                    let pairs = block.into_iter().map(|(name, value)| {
                        let text = |bytes| String::from_utf8(bytes).unwrap();
                        format!("{}={}", text(name), text(value))
                    });
                    pairs.collect::<Vec<_>>().join(" ")
                }
                kind => format!("frame {kind} of {length}"),
            };
            seen.push(text);
            rest = after;
        }
        let pseudo = ":method=POST :scheme=http :path=/x :authority=%2Frun%2Fkms.sock";
        let first = format!("{pseudo} te=trailers");
        assert_eq!(seen, ["frame 4 of 0", &first, "frame 0 of 4", pseudo]);
    }

    #[test]
    fn long_texts_have_lengths_of_several_bytes() {
        let value = vec![b'x'; 5000];
        let block = encode(vec![(b"a".to_vec(), value.clone())], b"");
        assert_eq!(
            Decoder::new().decode(&block).unwrap(),
            [(b"a".to_vec(), value)]
        );
    }
}

//! Sends header fields as grpc-go does: in its order, uncompressed, and with any `:authority`.
//!
//! HTTP libraries take no path for an authority; the real client of 1.27 to 1.31 sends one (KMS2-CONN-04). So the library is
//! given a bare request, and the header block that it writes is replaced on the way to the socket by the one that was made
//! for that stream.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

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

/// The header blocks of one connection's requests. Clones share them.
#[derive(Clone)]
pub struct Blocks {
    /// The stream that is opened next: a client's have odd numbers, in the order in which they are opened. Locked until
    /// it is open, and never by who writes.
    next: Arc<Mutex<u32>>,
    /// Not written yet, by stream.
    waiting: Arc<Mutex<BTreeMap<u32, Vec<u8>>>>,
}

impl Blocks {
    /// Of a connection on which nothing was sent.
    pub fn new() -> Self {
        Blocks {
            next: Arc::new(Mutex::new(1)),
            waiting: Arc::default(),
        }
    }

    /// Opens a stream that will begin with `block`.
    pub fn open<T, E>(&self, block: Vec<u8>, open: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut next = lock(&self.next);
        // before it is open: it may be written at once
        lock(&self.waiting).insert(*next, block);
        let opened = open();
        match &opened {
            Ok(_) => *next += 2,
            Err(_) => {
                lock(&self.waiting).remove(&*next);
            }
        }
        opened
    }

    /// The block of a stream that is written now. Streams before it that were not written never will be.
    fn take(&self, stream: u32) -> Option<Vec<u8>> {
        let mut waiting = lock(&self.waiting);
        let later = waiting.split_off(&stream.saturating_add(1));
        std::mem::replace(&mut *waiting, later).remove(&stream)
    }
}

/// A half-done change of these is impossible.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A header block of literals that no table remembers.
pub fn block<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = Vec::with_capacity(256);
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
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

/// A stream whose written header blocks are replaced.
pub struct Fields<T> {
    inner: T,
    rewriter: Rewriter,
    /// What is still to be written, and how much of it is.
    out: Vec<u8>,
    written: usize,
}

impl<T> Fields<T> {
    /// Requests written to `inner` will have these header blocks.
    pub fn new(inner: T, blocks: Blocks) -> Self {
        Fields {
            inner,
            rewriter: Rewriter {
                blocks,
                pending: Vec::new(),
                greeted: false,
            },
            out: Vec::new(),
            written: 0,
        }
    }
}

struct Rewriter {
    blocks: Blocks,
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
            && let Some(head) = self.pending[at..].first_chunk::<FRAME_HEADER>()
        {
            let [a, b, c, kind, flags, stream @ ..] = *head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let end = at + FRAME_HEADER + length;
            let Some(frame) = self.pending.get(at..end) else {
                break;
            };
            if kind == HEADERS {
                if flags & WHOLE == 0 || flags & NOT_BARE != 0 {
                    return Err(io::Error::other("a header block in parts"));
                }
                let block = self.blocks.take(u32::from_be_bytes(stream));
                let block = block.ok_or_else(|| io::Error::other("a header block of nobody"))?;
                let length = u32::try_from(block.len()).map_err(io::Error::other)?;
                out.extend_from_slice(&length.to_be_bytes()[1..]);
                out.extend_from_slice(&head[3..]);
                out.extend_from_slice(&block);
            } else {
                out.extend_from_slice(frame);
            }
            at = end;
        }
        self.pending.drain(..at);
        Ok(())
    }
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
    use loona_hpack::Decoder;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend_from_slice(&[kind, flags, 0, 0, 0, stream]);
        frame.extend_from_slice(payload);
        frame
    }

    fn opened(blocks: &Blocks, path: &str) {
        let block = block([(":path", path), (":authority", "%2Frun%2Fkms.sock")]);
        blocks.open(block, || Ok::<_, ()>(())).unwrap();
    }

    fn written(chunk: usize) -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        bytes.extend(frame(HEADERS, WHOLE, 1, &[0x83, 0x86]));
        bytes.extend(frame(0, 1, 1, b"data"));
        bytes.extend(frame(HEADERS, WHOLE, 3, &[0xbf, 0xbe]));
        let blocks = Blocks::new();
        opened(&blocks, "/x");
        opened(&blocks, "/y");
        let mut fields = Fields::new((), blocks);
        let mut out = Vec::new();
        for chunk in bytes.chunks(chunk) {
            fields.rewriter.take(chunk, &mut out).unwrap();
        }
        out
    }

    /// However the bytes are cut, each stream begins with its own block, and all else is as it was.
    #[test]
    fn each_stream_has_the_block_that_was_made_for_it() {
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
        let authority = ":authority=%2Frun%2Fkms.sock";
        let (first, second) = (
            format!(":path=/x {authority}"),
            format!(":path=/y {authority}"),
        );
        assert_eq!(seen, ["frame 4 of 0", &first, "frame 0 of 4", &second]);
    }

    /// A stream that was given up before it was written, or could not be opened, leaves nothing behind and costs no other
    /// its block.
    #[test]
    fn what_is_never_written_is_forgotten() {
        let blocks = Blocks::new();
        opened(&blocks, "/given-up");
        blocks.open(vec![], || Err::<(), _>(())).unwrap_err();
        opened(&blocks, "/third");
        opened(&blocks, "/fifth");
        let third = block([(":path", "/third"), (":authority", "%2Frun%2Fkms.sock")]);
        assert_eq!(blocks.take(3), Some(third));
        assert_eq!(lock(&blocks.waiting).keys().collect::<Vec<_>>(), [&5]);
        assert_eq!(blocks.take(1), None);
        assert!(blocks.take(5).is_some());
    }

    /// Nothing goes out that nobody made.
    #[test]
    fn a_stream_without_a_block_ends_the_connection() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(HEADERS, WHOLE, 1, &[0x83]));
        let mut fields = Fields::new((), Blocks::new());
        let error = fields.rewriter.take(&bytes, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "a header block of nobody");
    }

    #[test]
    fn long_texts_have_lengths_of_several_bytes() {
        let value = "x".repeat(5000);
        let block = block([("a", value.as_str())]);
        assert_eq!(
            Decoder::new().decode(&block).unwrap(),
            [(b"a".to_vec(), value.into_bytes())]
        );
    }
}

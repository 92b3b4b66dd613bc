//! A thin layer before the HTTP/2 server, for API servers 1.27 to 1.31: they send the socket's path
//! as `:authority` (`%2Frun%2Fkms.sock`, or `/run/kms.sock` as it is), which is no authority to this
//! library, so it would refuse every call (KMS2-CONN-04).
//!
//! The first header block of a connection decides: with an authority that is one, everything passes
//! as it is, and the layer is out of the way. Otherwise that field is written anew in each block.
//! Nothing else is changed, and nothing is read out of it: calls do not depend on the authority.
//!
//! In reading order: this file (the byte stream), `frames` (which bytes are header blocks), `block`
//! (one header block).

mod block;
mod frames;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use frames::Frames;

/// Bytes taken from the peer at once while they have to be looked at.
const READ: usize = 16 * 1024;

/// A client's byte stream whose authorities the server can take.
pub struct Readable<IO> {
    io: IO,
    /// `None` once everything passes as it is.
    frames: Option<Frames>,
    /// Looked at, not handed on yet.
    ready: BytesMut,
}

impl<IO> Readable<IO> {
    /// Over a connection of which nothing has been read.
    pub fn new(io: IO) -> Self {
        Self {
            io,
            frames: Some(Frames::default()),
            ready: BytesMut::new(),
        }
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.ready.len().min(buf.remaining());
        buf.put_slice(&self.ready[..n]);
        self.ready.advance(n);
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Readable<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                this.hand_on(buf);
                return Poll::Ready(Ok(()));
            }
            let Some(frames) = &mut this.frames else {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            };
            let mut bytes = [0; READ];
            let mut taken = ReadBuf::new(&mut bytes);
            std::task::ready!(Pin::new(&mut this.io).poll_read(cx, &mut taken))?;
            let ended = taken.filled().is_empty();
            let passes = frames
                .take(taken.filled(), &mut this.ready)
                .map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?;
            if ended {
                frames.end(&mut this.ready);
            }
            if passes || ended {
                this.frames = None;
            }
            if ended && this.ready.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Readable<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

//! Notices the server's first SETTINGS frame: only then does grpc-go count a connection as made.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// The type of a SETTINGS frame.
const SETTINGS: u8 = 4;

/// A stream that reports when its first frame, a SETTINGS frame, has been read.
pub struct Greeted<T> {
    inner: T,
    /// The frame header that is coming in, and who waits for it.
    waiting: Option<(Vec<u8>, oneshot::Sender<()>)>,
}

impl<T> Greeted<T> {
    pub fn new(inner: T) -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (
            Greeted {
                inner,
                waiting: Some((Vec::new(), sender)),
            },
            receiver,
        )
    }

    fn saw(&mut self, bytes: &[u8]) {
        let Some((mut header, sender)) = self.waiting.take() else {
            return;
        };
        header.extend_from_slice(bytes);
        let length = header.get(..3).map(|length| {
            length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        });
        match (length, header.get(3)) {
            (Some(length), Some(&SETTINGS)) if header.len() >= 9 + length => {
                // who waited may be gone
                let _ = sender.send(());
            }
            (_, None | Some(&SETTINGS)) => self.waiting = Some((header, sender)),
            // another frame: h2 ends the connection
            (_, Some(_)) => {}
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Greeted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let new = buf.filled().get(before..).unwrap_or_default();
        if self.waiting.is_some() {
            self.saw(new);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Greeted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

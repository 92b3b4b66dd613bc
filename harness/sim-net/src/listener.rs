//! Where connections arrive.

use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::state::fenced;
use crate::{Net, Stream};

/// A listening port of a host. Dropped, connects are refused again.
pub struct Listener {
    net: Net,
    host: usize,
    port: u16,
    generation: u64,
}

impl Listener {
    pub(crate) fn new(net: Net, host: usize, port: u16, generation: u64) -> Self {
        Self {
            net,
            host,
            port,
            generation,
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// The process of this listener was killed.
    pub async fn accept(&mut self) -> Result<Stream> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream>> {
        let mut state = self.net.state();
        let host = &mut state.hosts[self.host];
        let port = host.ports.get_mut(&self.port);
        let Some(port) = port.filter(|port| port.generation == self.generation) else {
            return Poll::Ready(Err(fenced()));
        };
        port.waker = Some(cx.waker().clone());
        let full = port.limit.is_some_and(|limit| port.open >= limit);
        if host.frozen || full {
            return Poll::Pending;
        }
        let Some(id) = port.backlog.pop_front() else {
            return Poll::Pending;
        };
        port.open += 1;
        state.with(id, 1, |connection, _| connection.accepted = true);
        drop(state);
        Poll::Ready(Ok(Stream::new(self.net.clone(), id, 1)))
    }
}

/// Connections as a stream that ends when the process is killed.
impl futures_util::Stream for Listener {
    type Item = Result<Stream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(cx).map(|accepted| accepted.ok().map(Ok))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.net.close_port(self.host, self.port, self.generation);
    }
}

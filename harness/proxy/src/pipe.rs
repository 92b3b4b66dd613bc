//! One direction of a connection: pieces are read at once, wait as the rules say, and are written in their order.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::link::{Counters, Direction, End, Ends, Rules, count};
use crate::tcp::Tap;

/// Most bytes of one piece.
const PIECE: usize = 16 * 1024;
/// Most pieces that wait: a sender feels the fault, as with a full window.
const WINDOW: usize = 4;

/// One direction of a connection.
pub struct Pipe<'a> {
    pub connection: u64,
    pub towards: End,
    pub rules: &'a watch::Receiver<Rules>,
    pub ends: &'a watch::Receiver<Ends>,
    pub counters: &'a Counters,
    pub tap: &'a Tap,
}

impl Pipe<'_> {
    /// Carries bytes until the sender ends or either side breaks. An end of the sender is passed on.
    pub async fn carry(
        &self,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
        chance: ChaCha12Rng,
    ) {
        let (queue, waiting) = mpsc::channel(WINDOW);
        tokio::join!(self.read(from, queue, chance), self.write(to, waiting));
    }

    fn rule(&self, rules: &Rules) -> Direction {
        match self.towards {
            End::Client => rules.to_client,
            End::Server => rules.to_server,
        }
    }

    async fn read(
        &self,
        mut from: impl AsyncRead + Unpin,
        queue: mpsc::Sender<(Instant, Bytes)>,
        mut chance: ChaCha12Rng,
    ) {
        let mut last = Instant::now();
        loop {
            let Ok(place) = queue.reserve().await else {
                return; // nobody takes them any more
            };
            let mut piece = BytesMut::with_capacity(PIECE);
            match from.read_buf(&mut piece).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            (self.tap)(self.connection, self.towards, &piece);
            let latency = self.rule(&self.rules.borrow()).latency;
            let delay = latency.map_or(Duration::ZERO, |(least, most)| {
                chance.random_range(least..=most.max(least))
            });
            last = last.max(Instant::now() + delay);
            place.send((last, piece.freeze()));
        }
    }

    async fn write(
        &self,
        mut to: impl AsyncWrite + Unpin,
        mut waiting: mpsc::Receiver<(Instant, Bytes)>,
    ) {
        let mut ends = self.ends.clone();
        let before = ends.borrow().of(self.towards);
        let ended = ends.wait_for(|ends| ends.of(self.towards) > before);
        let whole = tokio::select! {
            biased;
            ended = ended => {
                count(&self.counters.broken);
                ended.is_ok()
            }
            whole = self.pieces(&mut to, &mut waiting) => whole.is_ok(),
        };
        if whole {
            let _ = to.shutdown().await; // it may be gone already
        }
    }

    /// Writes until the sender has ended. An error when the receiver or the proxy is gone.
    async fn pieces(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        waiting: &mut mpsc::Receiver<(Instant, Bytes)>,
    ) -> io::Result<()> {
        let mut rules = self.rules.clone();
        while let Some((due, piece)) = waiting.recv().await {
            if due > Instant::now() || self.rule(&rules.borrow()).alters() {
                count(&self.counters.pieces);
            }
            sleep_until(due).await;
            let open = rules.wait_for(|rules| !self.rule(rules).held);
            let bandwidth = open
                .await
                .map(|rules| self.rule(&rules).bandwidth)
                .map_err(io::Error::other)?;
            match bandwidth {
                None => to.write_all(&piece).await?,
                Some(a_second) => slowly(to, &piece, a_second.get()).await?,
            }
        }
        Ok(())
    }
}

/// Ten portions a second.
async fn slowly(to: &mut (impl AsyncWrite + Unpin), piece: &[u8], a_second: u64) -> io::Result<()> {
    let portion = usize::try_from(a_second.div_ceil(10)).unwrap_or(usize::MAX);
    for bytes in piece.chunks(portion) {
        to.write_all(bytes).await?;
        sleep(Duration::from_nanos(
            1_000_000_000 * bytes.len() as u64 / a_second,
        ))
        .await;
    }
    Ok(())
}

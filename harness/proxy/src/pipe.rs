//! One direction of a connection: pieces are read at once, wait as the rules say, and are written in their order.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::link::{Counters, Direction, End, Rules, count};

/// Most bytes of one piece.
const PIECE: usize = 16 * 1024;
/// Most pieces that wait: a sender feels the fault, as with a full window.
const WINDOW: usize = 4;

/// The direction that ends at `towards`.
fn direction(rules: &Rules, towards: End) -> Direction {
    match towards {
        End::Client => rules.to_client,
        End::Server => rules.to_server,
    }
}

/// Carries bytes until the sender ends or either side breaks. An end of the sender is passed on.
pub async fn carry(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    towards: End,
    rules: &watch::Receiver<Rules>,
    counters: &Counters,
    chance: ChaCha12Rng,
) {
    let (queue, waiting) = mpsc::channel(WINDOW);
    let read = read(from, towards, rules, queue, chance);
    let write = write(to, towards, rules.clone(), waiting, counters);
    tokio::join!(read, write);
}

async fn read(
    mut from: impl AsyncRead + Unpin,
    towards: End,
    rules: &watch::Receiver<Rules>,
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
        let latency = direction(&rules.borrow(), towards).latency;
        let delay = latency.map_or(Duration::ZERO, |(least, most)| {
            chance.random_range(least..=most.max(least))
        });
        last = last.max(Instant::now() + delay);
        place.send((last, piece.freeze()));
    }
}

async fn write(
    mut to: impl AsyncWrite + Unpin,
    towards: End,
    mut rules: watch::Receiver<Rules>,
    mut waiting: mpsc::Receiver<(Instant, Bytes)>,
    counters: &Counters,
) {
    let mut ending = rules.clone();
    let ended = ending.wait_for(|rules| direction(rules, towards).ended);
    let pieces = pieces(&mut to, towards, &mut rules, &mut waiting, counters);
    let whole = tokio::select! {
        biased;
        ended = ended => {
            count(&counters.broken);
            ended.is_ok()
        }
        whole = pieces => whole.is_ok(),
    };
    if whole {
        let _ = to.shutdown().await; // it may be gone already
    }
}

/// Writes until the sender has ended. An error when the receiver or the proxy is gone.
async fn pieces(
    to: &mut (impl AsyncWrite + Unpin),
    towards: End,
    rules: &mut watch::Receiver<Rules>,
    waiting: &mut mpsc::Receiver<(Instant, Bytes)>,
    counters: &Counters,
) -> io::Result<()> {
    while let Some((due, piece)) = waiting.recv().await {
        if due > Instant::now() || direction(&rules.borrow(), towards).alters() {
            count(&counters.pieces);
        }
        sleep_until(due).await;
        let open = rules.wait_for(|rules| !direction(rules, towards).held);
        let bandwidth = open
            .await
            .map(|rules| direction(&rules, towards).bandwidth)
            .map_err(io::Error::other)?;
        match bandwidth {
            None => to.write_all(&piece).await?,
            Some(a_second) => slowly(to, &piece, a_second.get()).await?,
        }
    }
    Ok(())
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

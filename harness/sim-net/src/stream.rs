//! A byte stream between two hosts.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Net;
use crate::pipe::Front;
use crate::state::{Mode, fenced};
use crate::tcp::{SEGMENT, USER_TIMEOUT};

/// A slow program reads a tenth of a second's worth at a time.
const READ_EVERY: Duration = Duration::from_millis(100);

/// One end of a connection. Dropped, it is closed: with FIN, or with a reset if bytes were left unread.
pub struct Stream {
    net: Net,
    id: u64,
    side: usize,
    reading: Timer,
    writing: Timer,
}

/// Wakes a task at a time that may change.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// True when the time has come.
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

/// What came of an attempt.
enum Outcome<T> {
    Done(Result<T>),
    /// Nothing before this time, unless something changes.
    Wait(Option<Instant>),
}

impl Stream {
    pub(crate) fn new(net: Net, id: u64, side: usize) -> Self {
        Self {
            net,
            id,
            side,
            reading: Timer::default(),
            writing: Timer::default(),
        }
    }

    fn read(&self, into: &mut ReadBuf<'_>, now: Instant, cx: &mut Context<'_>) -> Outcome<()> {
        let (id, side, other) = (self.id, self.side, 1 - self.side);
        let mut state = self.net.state();
        let outcome = state.with(id, side, |connection, state| {
            connection.expire(side, now);
            let (here, there) = (connection.ends[side].host, connection.ends[other].host);
            let end = &mut connection.ends[side];
            end.reader = Some(cx.waker().clone());
            if end.fenced {
                return Outcome::Done(Err(fenced()));
            }
            if state.hosts[here].frozen {
                return Outcome::Wait(None);
            }
            if end.reads_at > now {
                return Outcome::Wait(Some(end.reads_at));
            }
            let read_rate = state.link(there, here).read_rate;
            match connection.pipes[other].front(now) {
                Front::Bytes(bytes) => {
                    let mut bytes = bytes.min(into.remaining());
                    if let Some(rate) = read_rate {
                        let share = rate.max(1) * READ_EVERY.as_millis() as u64 / 1000;
                        bytes = bytes.min(usize::try_from(share.max(1)).unwrap_or(usize::MAX));
                        let pause = Duration::from_micros(bytes as u64 * 1_000_000 / rate.max(1));
                        end.reads_at = now + pause;
                    }
                    let acknowledged = state.link(here, there).mode == Mode::Open;
                    connection.pipes[other].read(bytes, into, now, acknowledged);
                    if acknowledged && let Some(writer) = connection.ends[other].writer.take() {
                        writer.wake();
                    }
                    state.note(now, there, here, format_args!("#{id} read {bytes}"));
                    Outcome::Done(Ok(()))
                }
                Front::End => Outcome::Done(Ok(())),
                Front::Nothing(arrival) => match end.broken {
                    Some((at, kind)) if at <= now => Outcome::Done(Err(kind.into())),
                    broken => {
                        let gives_up = connection.pipes[side]
                            .stuck_since()
                            .map(|t| t + USER_TIMEOUT);
                        let times = [arrival, broken.map(|(at, _)| at), gives_up];
                        Outcome::Wait(times.into_iter().flatten().min())
                    }
                },
            }
        });
        outcome.unwrap_or_else(|| Outcome::Done(Err(ErrorKind::NotConnected.into())))
    }

    fn write(&self, bytes: &[u8], now: Instant, cx: &mut Context<'_>) -> Outcome<usize> {
        let (id, side, other) = (self.id, self.side, 1 - self.side);
        let mut state = self.net.state();
        let outcome = state.with(id, side, |connection, state| {
            connection.expire(side, now);
            let (here, there) = (connection.ends[side].host, connection.ends[other].host);
            let end = &mut connection.ends[side];
            end.writer = Some(cx.waker().clone());
            if end.fenced {
                return Outcome::Done(Err(fenced()));
            }
            if state.hosts[here].frozen {
                return Outcome::Wait(None);
            }
            if let Some((at, kind)) = end.broken
                && at <= now
            {
                return Outcome::Done(Err(kind.into()));
            }
            let pipe = &mut connection.pipes[side];
            if pipe.ended() {
                return Outcome::Done(Err(ErrorKind::BrokenPipe.into()));
            }
            let room = pipe.room().min(bytes.len());
            if room == 0 && !bytes.is_empty() {
                let gives_up = pipe.stuck_since().map(|since| since + USER_TIMEOUT);
                let broken = end.broken.map(|(at, _)| at);
                return Outcome::Wait([gives_up, broken].into_iter().flatten().min());
            }
            let link = state.link(here, there);
            let packet = if link.rate.is_some() { SEGMENT } else { room };
            for piece in bytes[..room].chunks(packet.max(1)) {
                let path = link.path(piece.len(), now);
                pipe.send(piece, now, path);
            }
            state.note(now, here, there, format_args!("#{id} sent {room}"));
            state.answer_strays(connection, now);
            for end in &mut connection.ends {
                // the reader may wait for a later time than the arrival, or for the writer's own time limit
                if let Some(reader) = end.reader.take() {
                    reader.wake();
                }
            }
            Outcome::Done(Ok(room))
        });
        outcome.unwrap_or_else(|| Outcome::Done(Err(ErrorKind::NotConnected.into())))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match self.read(buf, Instant::now(), cx) {
                Outcome::Done(done) => return Poll::Ready(done),
                Outcome::Wait(None) => return Poll::Pending,
                Outcome::Wait(Some(at)) => {
                    if !self.reading.poll(at, cx) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        loop {
            match self.write(bytes, Instant::now(), cx) {
                Outcome::Done(done) => return Poll::Ready(done),
                Outcome::Wait(None) => return Poll::Pending,
                Outcome::Wait(Some(at)) => {
                    if !self.writing.poll(at, cx) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        let now = Instant::now();
        let (id, side, other) = (self.id, self.side, 1 - self.side);
        let mut state = self.net.state();
        let done = state.with(id, side, |connection, state| {
            let (here, there) = (connection.ends[side].host, connection.ends[other].host);
            let end = &connection.ends[side];
            if end.fenced {
                return Err(fenced());
            }
            if end.broken.is_some_and(|(at, _)| at <= now) {
                return Err(Error::from(ErrorKind::NotConnected));
            }
            if !connection.pipes[side].ended() {
                let path = state.link(here, there).path(0, now);
                connection.pipes[side].end(now, path);
                state.note(now, here, there, format_args!("#{id} end"));
                if let Some(reader) = connection.ends[other].reader.take() {
                    reader.wake();
                }
            }
            Ok(())
        });
        Poll::Ready(done.unwrap_or_else(|| Err(ErrorKind::NotConnected.into())))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.net.state().close(self.id, self.side, Instant::now());
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream(#{} end {})", self.id, self.side)
    }
}

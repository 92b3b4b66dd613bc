//! A byte stream between two hosts.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::Net;
use crate::pipe::Front;
use crate::state::{Connection, Mode, State, Timer, fenced};
use crate::tcp::{SEGMENT, USER_TIMEOUT};

/// A slow program reads a tenth of a second's worth at a time.
const READ_EVERY: Duration = Duration::from_millis(100);

/// One end of a connection. Dropped, it is closed: with FIN, or with a reset if bytes were left unread.
pub struct Stream {
    net: Net,
    id: u64,
    side: usize,
    writing: Timer,
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
            writing: Timer::default(),
        }
    }

    /// What a read finds now.
    fn read(
        &self,
        connection: &mut Connection,
        state: &mut State,
        into: &mut ReadBuf<'_>,
        now: Instant,
    ) -> Outcome<()> {
        let (id, side, other) = (self.id, self.side, 1 - self.side);
        connection.expire(side, now);
        let (here, there) = (connection.ends[side].host, connection.ends[other].host);
        let end = &mut connection.ends[side];
        if end.fenced {
            return Outcome::Done(Err(fenced()));
        }
        if state.hosts[here].frozen {
            return Outcome::Wait(None);
        }
        if end.reads_at > now {
            return Outcome::Wait(Some(end.reads_at));
        }
        match connection.pipes[other].front(now) {
            Front::Bytes(bytes) => {
                let mut bytes = bytes.min(into.remaining());
                if let Some(rate) = state.link(there, here).read_rate {
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
                        .map(|since| since + USER_TIMEOUT);
                    let times = [arrival, broken.map(|(at, _)| at), gives_up];
                    Outcome::Wait(times.into_iter().flatten().min())
                }
            },
        }
    }

    /// What a write can do now.
    fn write(
        &self,
        connection: &mut Connection,
        state: &mut State,
        bytes: &[u8],
        now: Instant,
    ) -> Outcome<usize> {
        let (id, side, other) = (self.id, self.side, 1 - self.side);
        connection.expire(side, now);
        let (here, there) = (connection.ends[side].host, connection.ends[other].host);
        let end = &mut connection.ends[side];
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
        let mut first = None;
        for piece in bytes[..room].chunks(packet.max(1)) {
            let path = link.path(piece.len(), now);
            let arrival = pipe.send(piece, now, path);
            first = first.or(arrival);
        }
        state.note(now, here, there, format_args!("#{id} sent {room}"));
        state.answer_strays(connection, now);
        connection.sent(side, first, now);
        Outcome::Done(Ok(room))
    }

    /// Does something on this connection, which is still there as long as an end of it is.
    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection, &mut State) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        let done = self.net.state().with(self.id, self.side, work);
        done.unwrap_or_else(|| Poll::Ready(Err(ErrorKind::NotConnected.into())))
    }
}

/// Notes who waits, for a wake-up that will come.
fn wait(waiting: &mut Option<Waker>, cx: &Context<'_>) {
    match waiting {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waiting = Some(cx.waker().clone()),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.with(|connection, state| {
            let outcome = self.read(connection, state, buf, Instant::now());
            let end = &mut connection.ends[self.side];
            match outcome {
                Outcome::Done(done) => {
                    end.reader = None;
                    end.alarm.unset();
                    Poll::Ready(done)
                }
                Outcome::Wait(until) => {
                    wait(&mut end.reader, cx);
                    end.alarm.unset();
                    if until.is_some_and(|at| end.alarm.poll(at, cx)) {
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
            }
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let mut until = None;
        let written = self.with(|connection, state| {
            match self.write(connection, state, bytes, Instant::now()) {
                Outcome::Done(done) => Poll::Ready(done),
                Outcome::Wait(at) => {
                    wait(&mut connection.ends[self.side].writer, cx);
                    until = at;
                    Poll::Pending
                }
            }
        });
        if until.is_some_and(|at| self.writing.poll(at, cx)) {
            cx.waker().wake_by_ref();
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        let now = Instant::now();
        let (id, side, other) = (self.id, self.side, 1 - self.side);
        self.with(|connection, state| {
            let (here, there) = (connection.ends[side].host, connection.ends[other].host);
            let end = &connection.ends[side];
            if end.fenced {
                return Poll::Ready(Err(fenced()));
            }
            if end.broken.is_some_and(|(at, _)| at <= now) {
                return Poll::Ready(Err(Error::from(ErrorKind::NotConnected)));
            }
            if !connection.pipes[side].ended() {
                let path = state.link(here, there).path(0, now);
                let arrival = connection.pipes[side].end(now, path);
                connection.sent(side, arrival, now);
                state.note(now, here, there, format_args!("#{id} end"));
            }
            Poll::Ready(Ok(()))
        })
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

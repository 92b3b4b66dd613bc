//! Everything the network knows: hosts, the links between them, connections. One lock guards it; who holds it never
//! waits.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Latency;
use crate::pipe::{Path, Pipe};
use crate::tcp::USER_TIMEOUT;

/// What has gone over a link in one direction since the beginning, and what happened to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Handshakes that were begun, each retransmission counted.
    pub handshakes: u64,
    /// Packets that were sent, the ends of streams included.
    pub packets: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Packets and handshakes that were lost.
    pub lost: u64,
    /// Packets and handshakes that were held.
    pub held: u64,
}

/// Whether a link carries anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Open,
    Cut,
    Held,
}

/// One direction between two hosts.
pub struct Link {
    pub mode: Mode,
    pub latency: Latency,
    /// Bytes a second.
    pub rate: Option<u64>,
    /// Bytes a second that the receiving program reads.
    pub read_rate: Option<u64>,
    /// With a rate: when the line is free again.
    free_at: Instant,
    rng: ChaCha8Rng,
    pub traffic: Traffic,
}

impl Link {
    /// A travel time.
    pub fn latency(&mut self) -> Duration {
        self.latency.draw(&mut self.rng)
    }

    /// What happens to a packet of this size that is sent now.
    pub fn path(&mut self, bytes: usize, now: Instant) -> Path {
        self.traffic.packets += 1;
        self.traffic.bytes += bytes as u64;
        match self.mode {
            Mode::Cut => {
                self.traffic.lost += 1;
                Path::Cut
            }
            Mode::Held => {
                self.traffic.held += 1;
                Path::Held
            }
            Mode::Open => {
                let mut line = Duration::ZERO;
                if let Some(rate) = self.rate {
                    let micros = (bytes as u64).saturating_mul(1_000_000) / rate.max(1);
                    self.free_at = self.free_at.max(now) + Duration::from_micros(micros);
                    line = self.free_at - now;
                }
                Path::Open(line + self.latency())
            }
        }
    }
}

/// A listening port.
#[derive(Default)]
pub struct Port {
    pub generation: u64,
    pub backlog: VecDeque<u64>,
    pub waker: Option<Waker>,
    /// Accepted and still open.
    pub open: usize,
    pub limit: Option<usize>,
}

/// A host: a machine with one process that can be killed and started again.
pub struct HostState {
    pub name: String,
    pub generation: u64,
    pub alive: bool,
    pub frozen: bool,
    pub ports: BTreeMap<u16, Port>,
}

/// Wakes a task at a time that may change.
#[derive(Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    set: bool,
}

impl Timer {
    /// True when the time has come.
    pub fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        self.set = sleep.as_mut().poll(cx).is_pending();
        !self.set
    }

    /// The time at which it wakes whoever polled it last; none when nobody waits for a time.
    fn set_for(&self) -> Option<Instant> {
        let sleep = self.sleep.as_ref().filter(|_| self.set)?;
        Some(sleep.deadline())
    }

    /// Nobody waits for a time any more; it may still ring once.
    pub fn unset(&mut self) {
        self.set = false;
    }
}

/// One end of a connection.
pub struct End {
    pub host: usize,
    /// The kernel still knows it: false answers whatever arrives with a reset.
    pub known: bool,
    /// The program holds it no longer.
    pub dropped: bool,
    /// Its process was killed.
    pub fenced: bool,
    /// From then on, every use fails so; what arrived before can be read.
    pub broken: Option<(Instant, ErrorKind)>,
    /// Who waits for something to read, woken by the alarm at the latest.
    pub reader: Option<Waker>,
    pub alarm: Timer,
    /// Who waits for room to write.
    pub writer: Option<Waker>,
    /// With a read rate: when the program reads again.
    pub reads_at: Instant,
}

impl End {
    fn new(host: usize, now: Instant) -> Self {
        Self {
            host,
            known: true,
            dropped: false,
            fenced: false,
            broken: None,
            reader: None,
            alarm: Timer::default(),
            writer: None,
            reads_at: now,
        }
    }

    pub fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    /// Whoever waits for something to read looks again at this time, if not earlier: cheaper than to wake a whole task
    /// only for it to learn until when it has to wait.
    fn look_again(&mut self, at: Instant, now: Instant) {
        let Some(reader) = &self.reader else {
            return;
        };
        let early = self.alarm.set_for().is_some_and(|before| before <= at);
        let due = at <= now || !early && self.alarm.poll(at, &mut Context::from_waker(reader));
        if due && let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn break_at(&mut self, at: Instant, kind: ErrorKind) {
        if self.broken.is_none_or(|(before, _)| at < before) {
            self.broken = Some((at, kind));
        }
    }
}

/// A connection: end 0 connected, end 1 was accepted; pipe `n` is written by end `n`.
pub struct Connection {
    pub ends: [End; 2],
    pub pipes: [Pipe; 2],
    pub port: u16,
    pub accepted: bool,
}

impl Connection {
    /// This side has sent something that arrives at that time, if that is certain.
    pub fn sent(&mut self, side: usize, arrival: Option<Instant>, now: Instant) {
        if let Some(arrival) = arrival {
            self.ends[1 - side].look_again(arrival, now);
        }
        // who reads at the sender's end is the one to notice that it was never acknowledged
        if let Some(since) = self.pipes[side].stuck_since() {
            self.ends[side].look_again(since + USER_TIMEOUT, now);
        }
    }

    /// Whether this end's kernel has given up by now.
    pub fn expire(&mut self, side: usize, now: Instant) {
        if let Some(since) = self.pipes[side].stuck_since() {
            let at = since + USER_TIMEOUT;
            if now >= at && self.ends[side].known {
                self.ends[side].known = false;
                self.ends[side].break_at(at, ErrorKind::TimedOut);
                self.pipes[side].discard();
            }
        }
    }
}

/// All of it.
pub struct State {
    seed: u64,
    pub latency: Latency,
    pub hosts: Vec<HostState>,
    names: BTreeMap<String, usize>,
    links: BTreeMap<(usize, usize), Link>,
    /// One that is worked on has left its place empty.
    pub connections: BTreeMap<u64, Option<Box<Connection>>>,
    next: u64,
    pub record: Option<Vec<String>>,
    born: Instant,
}

impl State {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            latency: Latency::default(),
            hosts: Vec::new(),
            names: BTreeMap::new(),
            links: BTreeMap::new(),
            connections: BTreeMap::new(),
            next: 1,
            record: None,
            born: Instant::now(),
        }
    }

    /// The number of a host, made when it is new.
    pub fn host(&mut self, name: &str) -> usize {
        if let Some(host) = self.names.get(name) {
            return *host;
        }
        self.hosts.push(HostState {
            name: name.to_owned(),
            generation: 0,
            alive: true,
            frozen: false,
            ports: BTreeMap::new(),
        });
        self.names.insert(name.to_owned(), self.hosts.len() - 1);
        self.hosts.len() - 1
    }

    /// The number of a host that exists.
    pub fn known_host(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// One direction between two hosts.
    pub fn link(&mut self, from: usize, to: usize) -> &mut Link {
        let (seed, latency) = (self.seed, self.latency);
        let names = (&self.hosts[from].name, &self.hosts[to].name);
        self.links.entry((from, to)).or_insert_with(|| Link {
            mode: Mode::Open,
            latency,
            rate: None,
            read_rate: None,
            free_at: Instant::now(),
            rng: ChaCha8Rng::seed_from_u64(label(seed, names.0, names.1)),
            traffic: Traffic::default(),
        })
    }

    /// All links that exist already.
    pub fn links(&mut self) -> impl Iterator<Item = &mut Link> {
        self.links.values_mut()
    }

    pub fn note(&mut self, now: Instant, from: usize, to: usize, what: std::fmt::Arguments<'_>) {
        if let Some(record) = &mut self.record {
            let (from, to) = (&self.hosts[from].name, &self.hosts[to].name);
            let at = (now - self.born).as_micros();
            record.push(format!("{at} {from}>{to} {what}"));
        }
    }

    /// A handshake that has come through: the connection exists. The accepting end waits in the backlog.
    pub fn establish(&mut self, from: usize, to: usize, port: u16, now: Instant) -> u64 {
        let id = self.next;
        self.next += 1;
        let connection = Connection {
            ends: [End::new(from, now), End::new(to, now)],
            pipes: [Pipe::new(now), Pipe::new(now)],
            port,
            accepted: false,
        };
        self.connections.insert(id, Some(Box::new(connection)));
        self.note(now, from, to, format_args!("#{id} open {port}"));
        id
    }

    /// Runs something on a connection and its links: the path out of `side`, and the path into it.
    pub fn with<R>(
        &mut self,
        id: u64,
        side: usize,
        work: impl FnOnce(&mut Connection, &mut Self) -> R,
    ) -> Option<R> {
        debug_assert!(side < 2);
        let mut connection = self.connections.get_mut(&id)?.take()?;
        let result = work(&mut connection, self);
        if connection.ends.iter().all(|end| end.dropped) {
            self.connections.remove(&id);
        } else if let Some(place) = self.connections.get_mut(&id) {
            *place = Some(connection);
        }
        Some(result)
    }

    /// What was sent to an end that is not known any more is answered by a reset, once it arrives.
    pub fn answer_strays(&mut self, connection: &mut Connection, now: Instant) {
        for side in 0..2 {
            let other = 1 - side;
            if connection.ends[other].known || !connection.ends[side].known {
                continue;
            }
            let Some(arrival) = connection.pipes[side].first_arrival() else {
                continue;
            };
            let back = self.link(connection.ends[other].host, connection.ends[side].host);
            if back.mode != Mode::Open {
                continue;
            }
            if connection.ends[side].broken.is_none() {
                let at = arrival.max(now) + back.latency();
                connection.ends[side].break_at(at, ErrorKind::ConnectionReset);
                connection.ends[side].wake();
            }
        }
    }

    /// The program closes its end: FIN, or a reset if it left something unread.
    pub fn close(&mut self, id: u64, side: usize, now: Instant) {
        self.with(id, side, |connection, state| {
            let other = 1 - side;
            if connection.ends[side].dropped {
                return;
            }
            let (here, there) = (connection.ends[side].host, connection.ends[other].host);
            if connection.accepted
                && side == 1
                && let Some(port) = state.hosts[here].ports.get_mut(&connection.port)
            {
                port.open = port.open.saturating_sub(1);
                if let Some(waker) = port.waker.take() {
                    waker.wake();
                }
            }
            let end = &mut connection.ends[side];
            end.dropped = true;
            end.reader = None;
            end.writer = None;
            end.alarm = Timer::default();
            let was_known = std::mem::replace(&mut end.known, false);
            let broken = end.broken.is_some_and(|(at, _)| at <= now);
            if was_known && !broken {
                let unread = matches!(
                    connection.pipes[other].front(now),
                    crate::pipe::Front::Bytes(_)
                );
                if unread {
                    state.note(now, here, there, format_args!("#{id} reset"));
                    let link = state.link(here, there);
                    link.traffic.packets += 1;
                    if link.mode == Mode::Open {
                        let at = now + link.latency();
                        connection.ends[other].break_at(at, ErrorKind::ConnectionReset);
                    } else {
                        link.traffic.lost += 1;
                    }
                } else if !connection.pipes[side].ended() {
                    let path = state.link(here, there).path(0, now);
                    connection.pipes[side].end(now, path);
                    state.note(now, here, there, format_args!("#{id} end"));
                }
            }
            state.answer_strays(connection, now);
            connection.ends[other].wake();
        });
    }
}

/// A seed of its own for each direction, by name.
fn label(seed: u64, from: &str, to: &str) -> u64 {
    // FNV-1a over the seed and both names, which cannot run into each other
    let parts = [from.as_bytes(), b"\0", to.as_bytes()];
    let bytes = seed
        .to_le_bytes()
        .into_iter()
        .chain(parts.into_iter().flatten().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What a stream or a handle of a killed process says.
pub fn fenced() -> Error {
    Error::new(ErrorKind::NotConnected, "this process was killed")
}

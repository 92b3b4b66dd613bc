//! The network as its operator sees it: hosts, and everything that can be done to them and to the links between them.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::state::{Connection, Mode, State, Traffic};
use crate::{Host, Latency};

/// An in-memory network; clones share it. Links are named by the hosts at their ends and have two directions, each with
/// its own faults. Naming a host that does not exist yet makes it.
#[derive(Clone)]
pub struct Net {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Net {
    /// A network without hosts. Needs a tokio runtime with time.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(seed))),
            changed: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // a panic while locked is reported by the task that panicked
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// The process that lives on a host now, made with its first life when it is new.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        let mut state = self.state();
        let host = state.host(name);
        let generation = state.hosts[host].generation;
        Host::new(self.clone(), host, generation)
    }

    /// Kills the process: its streams close as the kernel closes them, its ports refuse, and its handles fail for ever.
    /// How many connections it had.
    pub fn kill(&self, name: &str) -> usize {
        let now = Instant::now();
        let mut state = self.state();
        let host = state.host(name);
        state.hosts[host].alive = false;
        state.hosts[host].frozen = false;
        let ports = std::mem::take(&mut state.hosts[host].ports);
        for mut port in ports.into_values() {
            if let Some(waker) = port.waker.take() {
                waker.wake();
            }
        }
        let mut closed = 0;
        let ids: Vec<u64> = state.connections.keys().copied().collect();
        for id in ids {
            for side in 0..2 {
                let ours = state.with(id, side, |connection, _| {
                    let end = &mut connection.ends[side];
                    let ours = end.host == host && !end.fenced && !end.dropped;
                    if ours {
                        end.fenced = true;
                        end.wake();
                    }
                    ours
                });
                if ours == Some(true) {
                    closed += 1;
                    state.close(id, side, now);
                }
            }
        }
        drop(state);
        self.changed.notify_waiters();
        closed
    }

    /// Starts the next life of a process; one that still lives is killed first.
    pub fn restart(&self, name: &str) -> Host {
        self.kill(name);
        let mut state = self.state();
        let host = state.host(name);
        state.hosts[host].alive = true;
        state.hosts[host].generation += 1;
        let generation = state.hosts[host].generation;
        drop(state);
        Host::new(self.clone(), host, generation)
    }

    /// Stops a process as SIGSTOP does, for everybody who can only see its sockets: the kernel still shakes hands and
    /// takes what fits into the window, the program reads, writes and accepts nothing. Its timers run on.
    pub fn freeze(&self, name: &str) {
        let mut state = self.state();
        let host = state.host(name);
        state.hosts[host].frozen = true;
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self, name: &str) {
        let mut state = self.state();
        let host = state.host(name);
        state.hosts[host].frozen = false;
        for port in state.hosts[host].ports.values_mut() {
            if let Some(waker) = port.waker.take() {
                waker.wake();
            }
        }
        for connection in state.connections.values_mut().flatten() {
            for end in &mut connection.ends {
                if end.host == host {
                    end.wake();
                }
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Packets and handshakes that went over all links since the beginning.
    #[must_use]
    pub fn hops(&self) -> u64 {
        let mut state = self.state();
        let traffic = state.links().map(|link| link.traffic);
        traffic
            .map(|traffic| traffic.packets + traffic.handshakes)
            .sum()
    }

    /// The latency of links that were not given their own.
    pub fn set_default_latency(&self, latency: Latency) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.latency, latency);
        for link in state.links().filter(|link| link.latency == before) {
            link.latency = latency;
        }
    }

    /// The latency of one direction, for what is sent from now on. The one before.
    pub fn set_latency(&self, from: &str, to: &str, latency: Latency) -> Latency {
        let mut state = self.state();
        let (from, to) = (state.host(from), state.host(to));
        std::mem::replace(&mut state.link(from, to).latency, latency)
    }

    /// Bytes a second that one direction carries, all connections together.
    pub fn set_bandwidth(&self, from: &str, to: &str, bytes_per_second: Option<u64>) {
        let mut state = self.state();
        let (from, to) = (state.host(from), state.host(to));
        state.link(from, to).rate = bytes_per_second;
    }

    /// Bytes a second that the program at `to` reads of each connection from `from`; what it does not read fills the
    /// window.
    pub fn set_read_rate(&self, from: &str, to: &str, bytes_per_second: Option<u64>) {
        let mut state = self.state();
        let (from, to) = (state.host(from), state.host(to));
        state.link(from, to).read_rate = bytes_per_second;
    }

    /// The most connections that the listener on a port has accepted at once; more wait, connected but unanswered.
    pub fn set_connection_limit(&self, name: &str, port: u16, limit: Option<usize>) {
        let mut state = self.state();
        let host = state.host(name);
        if let Some(port) = state.hosts[host].ports.get_mut(&port) {
            port.limit = limit;
            if let Some(waker) = port.waker.take() {
                waker.wake();
            }
        }
    }

    /// Loses everything in one direction until [`Net::open`]; what is on its way is lost, too. A partition is both
    /// directions.
    pub fn cut(&self, from: &str, to: &str) {
        self.set_mode(from, to, Mode::Cut);
    }

    /// Holds everything in one direction, in order, until [`Net::open`].
    pub fn hold(&self, from: &str, to: &str) {
        self.set_mode(from, to, Mode::Held);
    }

    /// Ends [`Net::cut`] and [`Net::hold`]: what was held goes on now, what was lost is sent again when TCP's back-off
    /// says so.
    pub fn open(&self, from: &str, to: &str) {
        self.set_mode(from, to, Mode::Open);
    }

    fn set_mode(&self, from: &str, to: &str, mode: Mode) {
        let now = Instant::now();
        let mut state = self.state();
        let (from, to) = (state.host(from), state.host(to));
        if std::mem::replace(&mut state.link(from, to).mode, mode) == mode {
            return;
        }
        state.note(now, from, to, format_args!("{mode:?}"));
        let ids: Vec<u64> = state.connections.keys().copied().collect();
        for id in ids {
            state.with(id, 0, |connection, state| {
                for side in 0..2 {
                    let other = 1 - side;
                    let hosts = (connection.ends[side].host, connection.ends[other].host);
                    if hosts != (from, to) {
                        continue;
                    }
                    let link = state.link(from, to);
                    match mode {
                        Mode::Cut => link.traffic.lost += connection.pipes[side].cut(now),
                        Mode::Held => link.traffic.held += connection.pipes[side].hold(now),
                        Mode::Open => {
                            connection.expire(side, now);
                            connection.pipes[side].open(now, || link.latency());
                            connection.pipes[other].acknowledge();
                        }
                    }
                }
                state.answer_strays(connection, now);
                connection.ends.iter_mut().for_each(crate::state::End::wake);
            });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Resets all connections between two hosts: both ends fail at once, what was on its way is gone. How many.
    pub fn reset(&self, a: &str, b: &str) -> usize {
        let now = Instant::now();
        self.each_between(a, b, |connection, _| {
            connection
                .pipes
                .iter_mut()
                .for_each(crate::pipe::Pipe::discard);
            for end in &mut connection.ends {
                end.known = false;
                end.broken = Some((now, ErrorKind::ConnectionReset));
                end.wake();
            }
            true
        })
    }

    /// Ends one direction of all connections between two hosts after what was sent, as if `from` had shut it down: `to`
    /// reads the end, `from` can write no more; the other direction goes on. How many.
    pub fn half_close(&self, from: &str, to: &str) -> usize {
        let now = Instant::now();
        let source = self.state().host(from);
        self.each_between(from, to, |connection, state| {
            let side = usize::from(connection.ends[0].host != source);
            if connection.pipes[side].ended() {
                return false;
            }
            let (here, there) = (connection.ends[side].host, connection.ends[1 - side].host);
            let path = state.link(here, there).path(0, now);
            connection.pipes[side].end(now, path);
            connection.ends.iter_mut().for_each(crate::state::End::wake);
            true
        })
    }

    fn each_between(
        &self,
        a: &str,
        b: &str,
        mut work: impl FnMut(&mut Connection, &mut State) -> bool,
    ) -> usize {
        let mut state = self.state();
        let (a, b) = (state.host(a), state.host(b));
        let ids: Vec<u64> = state.connections.keys().copied().collect();
        let mut hit = 0;
        for id in ids {
            let done = state.with(id, 0, |connection, state| {
                let ends = (connection.ends[0].host, connection.ends[1].host);
                let between = ends == (a, b) || ends == (b, a);
                let alive = connection
                    .ends
                    .iter()
                    .all(|end| end.known && end.broken.is_none());
                between && alive && work(connection, state)
            });
            hit += usize::from(done == Some(true));
        }
        hit
    }

    /// What has gone over one direction so far.
    #[must_use]
    pub fn traffic(&self, from: &str, to: &str) -> Traffic {
        let mut state = self.state();
        let (from, to) = (state.host(from), state.host(to));
        state.link(from, to).traffic
    }

    /// Connections that an end still holds.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state().connections.len()
    }

    /// Keeps a line for everything that happens from now on.
    pub fn record(&self) {
        self.state().record.get_or_insert_default();
    }

    /// The lines since [`Net::record`]: microseconds since the network's birth, the direction, the connection, what.
    #[must_use]
    pub fn recorded(&self) -> Vec<String> {
        self.state().record.clone().unwrap_or_default()
    }

    /// A listener goes: whoever waits in its backlog is reset.
    pub(crate) fn close_port(&self, host: usize, port: u16, generation: u64) {
        let now = Instant::now();
        let mut state = self.state();
        let ports = &mut state.hosts[host].ports;
        if ports
            .get(&port)
            .is_none_or(|port| port.generation != generation)
        {
            return;
        }
        let gone = ports.remove(&port).expect("it is there, as was seen above");
        for id in gone.backlog {
            state.close(id, 1, now);
        }
    }
}

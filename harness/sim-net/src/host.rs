//! A process on a host: who connects and listens.

use std::io::{Error, ErrorKind, Result};

use tokio::time::{Instant, sleep_until};

use crate::state::{Mode, Port, fenced};
use crate::tcp::{BACKLOG, SYN_TIMEOUT, SYNS};
use crate::{Listener, Net, Stream};

/// One life of a process. After [`Net::kill`] everything that goes through this handle fails, and what it opened is
/// closed; [`Net::restart`] gives a handle for the next life.
#[derive(Clone)]
pub struct Host {
    net: Net,
    host: usize,
    generation: u64,
}

/// What became of a handshake's packet.
enum Fate {
    Lost,
    Held,
    Arrives(Instant),
}

impl Host {
    pub(crate) fn new(net: Net, host: usize, generation: u64) -> Self {
        Self {
            net,
            host,
            generation,
        }
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.net.state().hosts[self.host].name.clone()
    }

    /// Whether this life goes on.
    #[must_use]
    pub fn alive(&self) -> bool {
        let state = self.net.state();
        let host = &state.hosts[self.host];
        host.alive && host.generation == self.generation
    }

    /// Listens on a port.
    ///
    /// # Errors
    /// `AddrInUse`, or the process was killed.
    pub fn listen(&self, port: u16) -> Result<Listener> {
        if !self.alive() {
            return Err(fenced());
        }
        let mut state = self.net.state();
        let ports = &mut state.hosts[self.host].ports;
        if ports.contains_key(&port) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let generation = self.generation;
        ports.insert(
            port,
            Port {
                generation,
                ..Port::default()
            },
        );
        Ok(Listener::new(self.net.clone(), self.host, port, generation))
    }

    /// Connects.
    ///
    /// # Errors
    /// `NotFound` for a name that no host has, `ConnectionRefused` where nobody listens, `TimedOut` after
    /// [`SYN_TIMEOUT`] without an answer, `NotConnected` when this process was killed.
    pub async fn connect(&self, to: &str, port: u16) -> Result<Stream> {
        let there = self.net.state().known_host(to);
        let Some(there) = there else {
            let text = format!("no such host: {to}");
            return Err(Error::new(ErrorKind::NotFound, text));
        };
        let began = Instant::now();
        for after in SYNS {
            self.sleep_until(began + after).await?;
            if let Some(stream) = self.attempt(there, port).await? {
                self.thawed().await?;
                return Ok(stream);
            }
        }
        self.sleep_until(began + SYN_TIMEOUT).await?;
        Err(ErrorKind::TimedOut.into())
    }

    /// One handshake: a stream, a refusal, or nothing.
    async fn attempt(&self, there: usize, port: u16) -> Result<Option<Stream>> {
        let Some(arrival) = self.travel(self.host, there).await? else {
            return Ok(None);
        };
        self.sleep_until(arrival).await?;
        let stream = {
            let mut state = self.net.state();
            let listening = state.hosts[there].ports.get(&port);
            match listening.map(|port| port.backlog.len()) {
                // whoever listens may be slow: the packet is dropped, and sent again
                Some(waiting) if waiting >= BACKLOG => return Ok(None),
                Some(_) if state.link(there, self.host).mode == Mode::Cut => {
                    state.link(there, self.host).traffic.lost += 1;
                    return Ok(None);
                }
                Some(_) => {
                    let id = state.establish(self.host, there, port, Instant::now());
                    let port = state.hosts[there].ports.get_mut(&port);
                    let port = port.expect("it listens, as was seen above");
                    port.backlog.push_back(id);
                    if let Some(waker) = port.waker.take() {
                        waker.wake();
                    }
                    drop(state);
                    Some(Stream::new(self.net.clone(), id, 0))
                }
                None => None,
            }
        };
        let Some(back) = self.travel(there, self.host).await? else {
            return Ok(None);
        };
        self.sleep_until(back).await?;
        match stream {
            Some(stream) => Ok(Some(stream)),
            None => Err(ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Sends a packet of the handshake; when it arrives, or nothing if it is lost.
    async fn travel(&self, from: usize, to: usize) -> Result<Option<Instant>> {
        loop {
            let changed = self.net.changed();
            let mut changed = std::pin::pin!(changed.notified());
            changed.as_mut().enable();
            let fate = {
                let mut state = self.net.state();
                let link = state.link(from, to);
                link.traffic.handshakes += 1;
                match link.mode {
                    Mode::Open => Fate::Arrives(Instant::now() + link.latency()),
                    Mode::Cut => {
                        link.traffic.lost += 1;
                        Fate::Lost
                    }
                    Mode::Held => {
                        link.traffic.held += 1;
                        Fate::Held
                    }
                }
            };
            match fate {
                Fate::Arrives(at) => return Ok(Some(at)),
                Fate::Lost => return Ok(None),
                Fate::Held => changed.await,
            }
            if !self.alive() {
                return Err(fenced());
            }
        }
    }

    async fn sleep_until(&self, at: Instant) -> Result<()> {
        if at > Instant::now() {
            sleep_until(at).await;
        }
        if self.alive() { Ok(()) } else { Err(fenced()) }
    }

    /// Waits while the process is frozen.
    async fn thawed(&self) -> Result<()> {
        loop {
            let changed = self.net.changed();
            let mut changed = std::pin::pin!(changed.notified());
            changed.as_mut().enable();
            if !self.alive() {
                return Err(fenced());
            }
            if !self.net.state().hosts[self.host].frozen {
                return Ok(());
            }
            changed.await;
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host({}, life {})", self.name(), self.generation)
    }
}

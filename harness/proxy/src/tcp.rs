//! The proxy on TCP, between a plugin and its Vault.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::socket::{setsockopt, sockopt};
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::link::{Accept, Counters, End, Ends, Rules, Touched, count};
use crate::pipe::Pipe;

/// Sees the bytes as they come, before anything happens to them: the connection's number from 1, the end they go to.
pub type Tap = Arc<dyn Fn(u64, End, &[u8]) + Send + Sync>;

/// Carries TCP connections to one server. Dropped, it stops and resets what is open.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    resets: watch::Sender<()>,
    ends: watch::Sender<Ends>,
    counters: Arc<Counters>,
    task: AbortHandle,
}

impl TcpProxy {
    /// Listens on a free port of 127.0.0.1. Delays are drawn from the seed.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(server: SocketAddr, seed: u64) -> io::Result<Self> {
        Self::with_tap(server, seed, Arc::new(|_, _, _| {})).await
    }

    /// The same, and somebody looks on.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn with_tap(server: SocketAddr, seed: u64, tap: Tap) -> io::Result<Self> {
        Self::listening(([127, 0, 0, 1], 0).into(), server, seed, tap).await
    }

    /// The same at an address of the caller's choice.
    ///
    /// # Errors
    /// It cannot be listened at.
    pub async fn listening(
        listen: SocketAddr,
        server: SocketAddr,
        seed: u64,
        tap: Tap,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let rules = watch::Sender::new(Rules::default());
        let resets = watch::Sender::new(());
        let ends = watch::Sender::new(Ends::default());
        let counters = Arc::new(Counters::default());
        let serving = Serving {
            server,
            rules: rules.subscribe(),
            resets: resets.clone(),
            ends: ends.clone(),
            counters: Arc::clone(&counters),
            seed,
            tap,
        };
        let task = tokio::spawn(serving.run(listener)).abort_handle();
        Ok(Self {
            address,
            rules,
            resets,
            ends,
            counters,
            task,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts rules in force, for what is open and what will be.
    pub fn set(&self, rules: Rules) {
        self.rules.send_replace(rules);
    }

    /// Resets every open connection, towards both sides.
    pub fn reset(&self) {
        self.resets.send_replace(());
    }

    /// Ends the direction towards one side of every open connection, as if the other side had finished sending. The
    /// opposite direction stays open.
    pub fn half_close(&self, towards: End) {
        self.ends.send_modify(|ends| ends.end(towards));
    }

    /// What the faults touched so far.
    #[must_use]
    pub fn touched(&self) -> Touched {
        self.counters.touched()
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Serving {
    server: SocketAddr,
    rules: watch::Receiver<Rules>,
    resets: watch::Sender<()>,
    ends: watch::Sender<Ends>,
    counters: Arc<Counters>,
    seed: u64,
    tap: Tap,
}

impl Serving {
    async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let Ok((client, _)) = listener.accept().await else {
                tokio::task::yield_now().await; // out of descriptors, say
                continue;
            };
            while connections.try_join_next().is_some() {}
            count(&self.counters.connections);
            if self.rules.borrow().accept == Accept::Refuse {
                count(&self.counters.refused);
                abort(&client);
                continue;
            }
            let number = self.counters.touched().connections;
            let connection = Connection {
                number,
                rules: self.rules.clone(),
                ends: self.ends.subscribe(),
                counters: Arc::clone(&self.counters),
                tap: Arc::clone(&self.tap),
            };
            let chance = ChaCha12Rng::seed_from_u64(self.seed.wrapping_add(number));
            let resets = self.resets.subscribe();
            connections.spawn(connection.carry(client, self.server, resets, chance));
        }
    }
}

/// Makes the close of a connection a reset.
fn abort(stream: &TcpStream) {
    let now = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let _ = setsockopt(stream, sockopt::Linger, &now); // it is gone already
}

/// What both directions of a connection share.
struct Connection {
    number: u64,
    rules: watch::Receiver<Rules>,
    ends: watch::Receiver<Ends>,
    counters: Arc<Counters>,
    tap: Tap,
}

impl Connection {
    async fn carry(
        self,
        mut client: TcpStream,
        server: SocketAddr,
        mut resets: watch::Receiver<()>,
        chance: ChaCha12Rng,
    ) {
        let Ok(mut server) = connect(server).await else {
            abort(&client); // nobody listens
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true)); // slower at worst
        let mut other = chance.clone();
        other.set_stream(1);
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (up, down) = (self.pipe(End::Server), self.pipe(End::Client));
        let carried = async {
            tokio::join!(
                up.carry(from_client, to_server, chance),
                down.carry(from_server, to_client, other)
            )
        };
        tokio::select! {
            biased;
            _ = resets.changed() => {} // or the proxy is gone
            _ = carried => return,
        }
        count(&self.counters.broken);
        abort(&client);
        abort(&server);
    }

    fn pipe(&self, towards: End) -> Pipe<'_> {
        Pipe {
            connection: self.number,
            towards,
            rules: &self.rules,
            ends: &self.ends,
            counters: &self.counters,
            tap: &self.tap,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge to the real network"
)]
async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(server).await
}

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

use crate::link::{Accept, Counters, End, Rules, Touched, count};
use crate::pipe::carry;

/// Carries TCP connections to one server. Dropped, it stops and resets what is open.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    resets: watch::Sender<()>,
    counters: Arc<Counters>,
    task: AbortHandle,
}

impl TcpProxy {
    /// Listens on a free port of 127.0.0.1. Delays are drawn from the seed.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(server: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let rules = watch::Sender::new(Rules::default());
        let resets = watch::Sender::new(());
        let counters = Arc::new(Counters::default());
        let serving = Serving {
            server,
            rules: rules.subscribe(),
            resets: resets.clone(),
            counters: Arc::clone(&counters),
            seed,
        };
        let task = tokio::spawn(serving.run(listener)).abort_handle();
        Ok(Self {
            address,
            rules,
            resets,
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
    counters: Arc<Counters>,
    seed: u64,
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
            connections.spawn(connection(
                client,
                self.server,
                self.rules.clone(),
                self.resets.subscribe(),
                Arc::clone(&self.counters),
                ChaCha12Rng::seed_from_u64(self.seed.wrapping_add(number)),
            ));
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

async fn connection(
    mut client: TcpStream,
    server: SocketAddr,
    rules: watch::Receiver<Rules>,
    mut resets: watch::Receiver<()>,
    counters: Arc<Counters>,
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
    let up = carry(
        from_client,
        to_server,
        End::Server,
        &rules,
        &counters,
        chance,
    );
    let down = carry(
        from_server,
        to_client,
        End::Client,
        &rules,
        &counters,
        other,
    );
    tokio::select! {
        biased;
        _ = resets.changed() => {} // or the proxy is gone
        _ = async { tokio::join!(up, down) } => return,
    }
    count(&counters.broken);
    abort(&client);
    abort(&server);
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge to the real network"
)]
async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(server).await
}

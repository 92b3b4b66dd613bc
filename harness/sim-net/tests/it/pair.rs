//! Virtual time, and a connection to begin with.

use std::future::Future;
use std::time::Duration;

use kms_sim_net::{Host, Latency, Listener, Net, Stream};
use tokio::time::{Instant, sleep};

/// Runs a test on a clock that jumps to the next timer, without any I/O.
pub fn virtual_time<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(b"sim-net"))
        .build()
        .expect("a runtime without I/O")
        .block_on(test)
}

pub fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub async fn pause(ms: u64) {
    sleep(millis(ms)).await;
}

/// Two hosts, 10 ms apart, and a connection between them.
pub struct Pair {
    pub net: Net,
    pub client: Host,
    pub listener: Listener,
    pub left: Stream,
    pub right: Stream,
    pub began: Instant,
}

impl Pair {
    pub async fn new() -> Self {
        let net = Net::new(1);
        net.set_default_latency(Latency::fixed(millis(10)));
        let client = net.host("client");
        let mut listener = net.host("server").listen(80).expect("a free port");
        let left = client.connect("server", 80).await.expect("a connection");
        let right = listener.accept().await.expect("the same connection");
        Self {
            net,
            client,
            listener,
            left,
            right,
            began: Instant::now(),
        }
    }

    pub fn cut_both(&self) {
        self.net.cut("client", "server");
        self.net.cut("server", "client");
    }

    pub fn open_both(&self) {
        self.net.open("client", "server");
        self.net.open("server", "client");
    }

    /// Milliseconds since the connection stood.
    pub fn elapsed(&self) -> u128 {
        self.began.elapsed().as_millis()
    }
}

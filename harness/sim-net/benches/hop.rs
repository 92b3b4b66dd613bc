//! What one simulated hop costs: a write on one host until its bytes are read on another.

#![expect(missing_docs, reason = "criterion's macro writes a public function")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kms_sim_net::{Latency, Net};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Hops in one round.
const HOPS: u64 = 1_000;

/// Two programs throw a message to and fro.
async fn ping_pong(latency: Latency, size: usize) {
    let net = Net::new(1);
    net.set_default_latency(latency);
    let mut listener = net.host("server").listen(80).expect("a free port");
    let client = net.host("client");
    let mut left = client.connect("server", 80).await.expect("a connection");
    let mut right = listener.accept().await.expect("the same connection");
    let echo = tokio::spawn(async move {
        let mut message = vec![0; size];
        while right.read_exact(&mut message).await.is_ok() {
            right.write_all(&message).await.expect("room");
        }
    });
    let mut message = vec![7; size];
    for _ in 0..HOPS / 2 {
        left.write_all(&message).await.expect("room");
        left.read_exact(&mut message).await.expect("the echo");
    }
    drop(left);
    echo.await.expect("no panic");
    black_box(message);
}

fn hop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hop");
    group.throughput(Throughput::Elements(HOPS));
    let between = Latency::between(Duration::from_millis(1), Duration::from_millis(3));
    for (name, latency, size) in [
        ("no latency, 100 bytes", Latency::fixed(Duration::ZERO), 100),
        ("1 to 3 ms, 100 bytes", between, 100),
        ("1 to 3 ms, 16 KiB", between, 16 * 1024),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .start_paused(true)
                    .build()
                    .expect("a runtime without I/O")
                    .block_on(ping_pong(latency, size));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hop);
criterion_main!(benches);

//! How many encryptions a second the simulation makes: in memory, over a byte stream, over TCP with 16 in flight.

#![expect(missing_docs, reason = "criterion's macro writes a public function")]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use sim_vault::{Options, Request, SimVault};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const BODY: &str = "{\"plaintext\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}";
/// Requests of one measurement over a connection.
const BURST: u64 = 64;

fn vault() -> SimVault {
    let vault = SimVault::new(Options::default());
    vault.create_key("transit", "k", "");
    vault
}

async fn burst<IO: AsyncRead + AsyncWrite + Unpin>(io: &mut IO, requests: u64) {
    let request = format!(
        "POST /v1/transit/encrypt/k HTTP/1.1\r\nHost: v\r\nX-Vault-Token: root\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut buffer = vec![0; 4096];
    for _ in 0..requests {
        io.write_all(request.as_bytes())
            .await
            .expect("the server reads");
        let got = io.read(&mut buffer).await.expect("the server answers");
        assert!(
            buffer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&buffer[..got])
        );
    }
}

fn encrypt(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("encrypt");
    group.measurement_time(Duration::from_secs(5));

    let vault = runtime.block_on(async { vault() });
    let request = Request::new("POST", "/v1/transit/encrypt/k")
        .token("root")
        .json(&json!({ "plaintext": "aGVsbG8=" }));
    group.throughput(Throughput::Elements(1));
    group.bench_function("in memory", |b| {
        b.iter(|| vault.core(|core| assert_eq!(core.handle(Duration::ZERO, &request).status, 200)));
    });

    group.throughput(Throughput::Elements(BURST));
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let served = vault.clone();
    let task = runtime.spawn(async move {
        served
            .serve_io(server, IpAddr::V4(Ipv4Addr::LOCALHOST))
            .await
    });
    group.bench_function("over a byte stream", |b| {
        b.iter(|| runtime.block_on(burst(&mut client, BURST)));
    });
    task.abort();

    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    let served = vault.clone();
    let task = runtime.spawn(async move { served.listen(listener, None).await });
    let mut clients: Vec<TcpStream> = (0..16)
        .map(|_| {
            #[expect(clippy::disallowed_methods, reason = "a benchmark of real sockets")]
            let stream = runtime
                .block_on(TcpStream::connect(address))
                .expect("it listens");
            stream.set_nodelay(true).expect("a socket");
            stream
        })
        .collect();
    group.throughput(Throughput::Elements(BURST * 16));
    group.bench_function("over TCP, 16 in flight", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut all = tokio::task::JoinSet::new();
                for mut client in clients.drain(..) {
                    all.spawn(async move {
                        burst(&mut client, BURST).await;
                        client
                    });
                }
                clients = all.join_all().await;
            });
        });
    });
    task.abort();
    group.finish();
}

criterion_group!(benches, encrypt);
criterion_main!(benches);

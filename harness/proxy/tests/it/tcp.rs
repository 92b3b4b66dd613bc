//! Bytes through the TCP proxy.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_proxy::{Accept, Direction, End, Rules, Tap, TcpProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Longer than anything here takes; an end of waiting, never a measure.
const LONG: Duration = Duration::from_secs(20);
/// Long enough for bytes to arrive that were let through.
const SHORT: Duration = Duration::from_millis(200);

/// Sends back what it gets, until the end.
async fn echo() -> (std::net::SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    (address, task)
}

async fn connect(proxy: &TcpProxy) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.connect(proxy.address()).await.unwrap()
}

async fn answers(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    timeout(LONG, stream.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(back, text);
}

#[tokio::test]
async fn carries_everything_and_its_end() {
    let (server, _task) = echo().await;
    let proxy = TcpProxy::start(server, 1).await.unwrap();
    let mut stream = connect(&proxy).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let (mut from, mut to) = stream.split();
    let write = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let read = async { from.read_to_end(&mut got).await.unwrap() };
    timeout(LONG, async { tokio::join!(write, read) })
        .await
        .unwrap();
    assert!(
        got == sent,
        "{} of {} bytes came back",
        got.len(),
        sent.len()
    );
    let touched = proxy.touched();
    assert_eq!((touched.connections, touched.hits()), (1, 0));
}

/// What is held was seen nevertheless.
#[tokio::test]
async fn somebody_looks_on() {
    let (server, _task) = echo().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let tap: Tap = Arc::new(move |connection, towards, bytes| {
        notes
            .lock()
            .unwrap()
            .push((connection, towards, bytes.to_vec()));
    });
    let proxy = TcpProxy::with_tap(server, 1, tap).await.unwrap();
    answers(&mut connect(&proxy).await, b"one").await;
    answers(&mut connect(&proxy).await, b"two").await;
    let wanted = [(1, "one"), (2, "two")].map(|(number, text)| {
        [End::Server, End::Client].map(|end| (number, end, text.as_bytes().to_vec()))
    });
    assert_eq!(*seen.lock().unwrap(), wanted.concat());
}

#[tokio::test]
async fn a_partition_holds_and_loses_nothing() {
    let (server, _task) = echo().await;
    let proxy = TcpProxy::start(server, 1).await.unwrap();
    let mut open = connect(&proxy).await;
    answers(&mut open, b"before").await;
    proxy.set(Rules::PARTITION);
    open.write_all(b"during").await.unwrap();
    let mut late = connect(&proxy).await;
    late.write_all(b"late").await.unwrap();
    let mut back = [0; 6];
    assert!(timeout(SHORT, open.read_exact(&mut back)).await.is_err());
    assert!(timeout(SHORT, late.read_u8()).await.is_err());
    proxy.set(Rules::default());
    timeout(LONG, open.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&back, b"during");
    let mut back = [0; 4];
    timeout(LONG, late.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&back, b"late");
    assert!(proxy.touched().pieces >= 2, "{:?}", proxy.touched());
}

/// Requests arrive, answers do not: the server does what the client never hears of.
#[tokio::test]
async fn a_partition_of_one_direction() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = TcpProxy::start(listener.local_addr().unwrap(), 1)
        .await
        .unwrap();
    proxy.set(Rules {
        to_client: Direction::HELD,
        ..Rules::default()
    });
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"?").await.unwrap();
    assert_eq!(
        timeout(LONG, server.read_u8()).await.unwrap().unwrap(),
        b'?'
    );
    server.write_all(b"!").await.unwrap();
    assert!(timeout(SHORT, client.read_u8()).await.is_err());
    proxy.set(Rules::default());
    assert_eq!(
        timeout(LONG, client.read_u8()).await.unwrap().unwrap(),
        b'!'
    );
}

#[tokio::test]
async fn a_reset_reaches_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = TcpProxy::start(listener.local_addr().unwrap(), 1)
        .await
        .unwrap();
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"?").await.unwrap();
    server.read_u8().await.unwrap();
    proxy.reset();
    for side in [&mut client, &mut server] {
        let error = timeout(LONG, side.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(proxy.touched().broken, 1);
}

#[tokio::test]
async fn refused_and_taken_again() {
    let (server, _task) = echo().await;
    let proxy = TcpProxy::start(server, 1).await.unwrap();
    proxy.set(Rules {
        accept: Accept::Refuse,
        ..Rules::default()
    });
    let mut refused = connect(&proxy).await;
    let ended = timeout(LONG, refused.read_u8()).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(proxy.touched().refused, 1);
    proxy.set(Rules::default());
    answers(&mut connect(&proxy).await, b"again").await;
}

/// The answers end, the requests do not.
#[tokio::test]
async fn a_half_closed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = TcpProxy::start(listener.local_addr().unwrap(), 1)
        .await
        .unwrap();
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"?").await.unwrap();
    server.read_u8().await.unwrap();
    proxy.half_close(End::Client);
    let ended = timeout(LONG, client.read_u8()).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    client.write_all(b"still here").await.unwrap();
    let mut got = [0; 10];
    timeout(LONG, server.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&got, b"still here");
    assert_eq!(proxy.touched().broken, 1);
    let mut later = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"!").await.unwrap();
    assert_eq!(timeout(LONG, later.read_u8()).await.unwrap().unwrap(), b'!');
}

#[tokio::test]
async fn latency_and_bandwidth_take_their_time_and_keep_the_order() {
    let (server, _task) = echo().await;
    let proxy = TcpProxy::start(server, 1).await.unwrap();
    let mut stream = connect(&proxy).await;
    let (least, most) = (Duration::from_millis(30), Duration::from_millis(60));
    proxy.set(Rules {
        to_server: Direction {
            latency: Some((least, most)),
            ..Direction::default()
        },
        ..Rules::default()
    });
    let begun = Instant::now();
    for number in 0..20_u8 {
        stream.write_all(&[number; 3]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut back = [0; 60];
    timeout(LONG, stream.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert!(back.is_sorted());
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    proxy.set(Rules {
        to_client: Direction {
            bandwidth: NonZeroU64::new(10_000),
            ..Direction::default()
        },
        ..Rules::default()
    });
    let begun = Instant::now();
    answers(&mut stream, &[7; 3_000]).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
}

/// A window that is full is felt by the sender: what is held does not pile up here, and nothing of it gets through.
#[tokio::test]
async fn a_held_direction_pushes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = TcpProxy::start(listener.local_addr().unwrap(), 1)
        .await
        .unwrap();
    proxy.set(Rules::PARTITION);
    let mut stream = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    let huge = vec![0; 256 << 20];
    let reads = async {
        let written = timeout(SHORT, stream.write_all(&huge));
        tokio::join!(written, timeout(SHORT, server.read_u8()))
    };
    let (written, read) = reads.await;
    assert!(written.is_err() && read.is_err());
}

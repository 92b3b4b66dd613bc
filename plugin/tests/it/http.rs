//! Health and metrics: what they answer, and that nobody can exhaust them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_process::ports::free_ports;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use vault_kubernetes_kms::event::Event;
use vault_kubernetes_kms::http::{Listeners, Pages};
use vault_kubernetes_kms::metrics::Metrics;
use vault_kubernetes_kms::seam::Observer;

use crate::metrics::config;

#[derive(Default)]
struct Heard(Mutex<Vec<(bool, String)>>);

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        if let Event::Notice { warn, text } = event {
            self.0.lock().unwrap().push((*warn, (*text).to_owned()));
        }
    }
}

struct World {
    ready: Arc<AtomicBool>,
    heard: Arc<Heard>,
    listeners: Listeners,
}

impl World {
    fn start(health: Option<SocketAddr>, metrics: Option<SocketAddr>) -> Self {
        let ready = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(Heard::default());
        let answer = ready.clone();
        let pages = Pages {
            readiness: Arc::new(move || match answer.load(Ordering::Relaxed) {
                true => Ok(()),
                false => Err("vault is sealed since 12:00".to_owned()),
            }),
            metrics: Arc::new(Metrics::new(&config())),
        };
        let observer: Arc<dyn Observer> = heard.clone();
        let listeners = Listeners::start(health, metrics, &pages, &observer);
        Self {
            ready,
            heard,
            listeners,
        }
    }
}

/// One that the system gives to no other test meanwhile.
fn free_port() -> SocketAddr {
    let [port] = free_ports().unwrap();
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn connect(to: SocketAddr) -> TcpStream {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpSocket::new_v4().unwrap().connect(to).await {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < end, "{to}: {error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a request as it is and reads until the other side closes.
async fn exchange(to: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = connect(to).await;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

async fn get(to: SocketAddr, path: &str) -> String {
    exchange(to, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await
        .unwrap()
}

/// The same where somebody else has just listened: a child that another test starts holds every socket of this process until
/// it runs its program, and who reaches such a listener has a reset.
async fn get_again(to: SocketAddr, path: &str) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match exchange(to, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < end, "{to}: {error}"),
        }
    }
}

#[track_caller]
fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .expect("a status line")
        .parse()
        .unwrap()
}

#[tokio::test]
async fn liveness_is_always_good_and_readiness_is_status() {
    let at = free_port();
    let world = World::start(Some(at), Some(at));
    assert_eq!(world.listeners.count(), 1);
    for path in ["/livez", "/live", "/healthz", "/health", "/healthz?verbose"] {
        assert_eq!(status(&get(at, path).await), 200, "{path}");
    }
    let answer = get(at, "/readyz").await;
    assert_eq!(status(&answer), 503);
    assert!(
        answer.ends_with("vault is sealed since 12:00\n"),
        "{answer}"
    );
    world.ready.store(true, Ordering::Relaxed);
    assert_eq!(status(&get(at, "/readyz").await), 200);

    let answer = get(at, "/metrics").await;
    assert_eq!(status(&answer), 200);
    assert!(
        answer.contains("content-type: application/openmetrics-text"),
        "{answer}"
    );
    assert!(answer.ends_with("# EOF\n"));
    assert_eq!(status(&get(at, "/").await), 404);
    assert_eq!(status(&get(at, "/debug/pprof").await), 404);
    let answer = exchange(
        at,
        "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(status(&answer.unwrap()), 405);
}

#[tokio::test]
async fn each_address_serves_its_own_pages_only() {
    let (health, metrics) = (free_port(), free_port());
    let world = World::start(Some(health), Some(metrics));
    assert_eq!(world.listeners.count(), 2);
    assert_eq!(status(&get(health, "/livez").await), 200);
    assert_eq!(status(&get(health, "/metrics").await), 404);
    assert_eq!(status(&get(metrics, "/metrics").await), 200);
    assert_eq!(status(&get(metrics, "/readyz").await), 404);
    assert_eq!(World::start(None, None).listeners.count(), 0);
}

#[tokio::test]
async fn bug_073_a_taken_port_is_one_warning_and_is_used_when_free() {
    let at = free_port();
    let holder = TcpListener::bind(at).unwrap();
    let world = World::start(Some(at), Some(at));
    sleep(Duration::from_millis(200)).await;
    {
        let heard = world.heard.0.lock().unwrap();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(
            heard[0].0 && heard[0].1.contains(&at.to_string()),
            "{heard:?}"
        );
    }
    drop(holder);
    assert_eq!(status(&get_again(at, "/livez").await), 200);
    let heard = world.heard.0.lock().unwrap();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(!heard[1].0, "{heard:?}");
}

#[tokio::test]
async fn the_port_is_free_as_soon_as_the_listeners_are_dropped() {
    // see `get_again`: such a child may stand in the way once, and not five times
    for _ in 0..5 {
        let at = free_port();
        let world = World::start(Some(at), None);
        let _idle = connect(at).await;
        drop(world);
        let again = World::start(Some(at), None);
        assert_eq!(status(&get_again(at, "/livez").await), 200);
        if again.heard.0.lock().unwrap().is_empty() {
            return;
        }
    }
    panic!("had to wait for the port");
}

#[tokio::test]
async fn idle_connections_keep_nobody_out_and_end_soon() {
    let at = free_port();
    let _world = World::start(Some(at), None);
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(connect(at).await);
    }
    let start = Instant::now();
    assert_eq!(status(&get(at, "/livez").await), 200);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    for mut stream in idle {
        // Closed by us, with or without an answer; never left open.
        let mut rest = Vec::new();
        let _ = timeout(Duration::from_secs(6), stream.read_to_end(&mut rest))
            .await
            .expect("an idle connection outlives its time");
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_off() {
    let at = free_port();
    let _world = World::start(Some(at), None);
    let mut stream = connect(at).await;
    let start = Instant::now();
    stream.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    loop {
        if stream.write_all(b"a: b\r\n").await.is_err() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(6), "still open");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let at = free_port();
    let _world = World::start(Some(at), None);
    let long = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    let path = format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(20_000));
    for request in [long, many, path] {
        // Refused with a status or, when we hang up on the rest, with a reset.
        if let Ok(answer) = exchange(at, &request).await {
            assert!(matches!(status(&answer), 414 | 431), "{answer}");
        }
    }
    assert_eq!(status(&get(at, "/livez").await), 200);
}

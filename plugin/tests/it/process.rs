//! The plugin as a process: starts, stops, neighbours on its path, and want of resources.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use kms_process::ports::free_ports;
use kms_v2_api::{DecryptRequest, EncryptRequest};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::real::{BINARY, SERVING, World, answers, answers_within, decrypt_request, dial};
use crate::real_vault::real_vault;

const SOON: Duration = Duration::from_secs(5);

/// The drain, the revocation and some slack.
const STOP: Duration = Duration::from_secs(7);

#[tokio::test]
async fn bug_073_a_taken_port_does_not_hold_up_the_socket() {
    let world = World::new().await;
    let [port] = free_ports().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let at = taken.local_addr().unwrap();
    let mut args = world.args();
    args[5] = format!("-health-address={at}");
    args[6] = format!("-metrics-address={at}");
    let mut plugin = world.start_with("plugin", Command::new(BINARY), &args);
    answers_within(&world.socket(), SOON).await;
    plugin
        .log_has(&format!("cannot serve health and metrics on {at}"))
        .await;
    assert!(plugin.is_running());
    drop(taken);
    plugin.log_has(&format!("served on {at} now")).await;
    let mut stream = tokio::net::TcpSocket::new_v4()
        .unwrap()
        .connect(at)
        .await
        .unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn sighup_reads_again_and_does_not_stop() {
    let world = World::new().await;
    let mut plugin = world.serve("plugin").await;
    plugin.signal(Signal::SIGHUP);
    sleep(Duration::from_millis(200)).await;
    assert!(answers(&world.socket()).await && plugin.is_running());
    plugin.signal(Signal::SIGINT);
    assert_eq!(plugin.exit(STOP).await, 0);
    assert!(!world.socket().exists());
}

/// A stop while it waits for the lock is a stop, not a failure.
#[tokio::test]
async fn a_waiting_successor_can_be_stopped() {
    let world = World::new().await;
    let _first = world.serve("first").await;
    let mut second = world.start("second");
    second
        .log_has("another instance holds the socket's lock")
        .await;
    second.signal(Signal::SIGTERM);
    assert_eq!(second.exit(Duration::from_secs(2)).await, 0);
    assert!(answers(&world.socket()).await);
}

#[tokio::test]
async fn systemd_hears_ready_alive_and_stopping() {
    for kind in ["path", "abstract"] {
        let world = World::new().await;
        let name = format!("kms-notify-{}", std::process::id());
        let (socket, value) = if kind == "path" {
            let path = world.folder.path().join("notify");
            (
                UnixDatagram::bind(&path).unwrap(),
                path.display().to_string(),
            )
        } else {
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            (
                UnixDatagram::bind_addr(&address).unwrap(),
                format!("@{name}"),
            )
        };
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::UnixDatagram::from_std(socket).unwrap();
        let hear = async || {
            let mut buffer = [0; 256];
            let length = timeout(SOON, socket.recv(&mut buffer))
                .await
                .unwrap()
                .unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let mut command = Command::new(BINARY);
        command
            .env("NOTIFY_SOCKET", value)
            .env("WATCHDOG_USEC", "200000");
        let mut plugin = world.start_with(kind, command, &world.args());
        assert!(hear().await.starts_with("READY=1"));
        assert!(world.socket().exists(), "ready before the socket was there");
        assert_eq!(hear().await, "WATCHDOG=1");
        assert_eq!(hear().await, "WATCHDOG=1");
        plugin.signal(Signal::SIGTERM);
        while !hear().await.starts_with("STOPPING=1") {}
        assert_eq!(plugin.exit(STOP).await, 0);
    }
}

/// KMS2-SEC-01: nobody of the same user reads the memory that holds the token.
#[tokio::test]
async fn the_process_leaves_no_core_and_cannot_be_traced() {
    let world = World::new().await;
    let mut command = Command::new(BINARY);
    if nix::unistd::geteuid().is_root() {
        nix::unistd::chown(world.folder.path(), Some(65534.into()), None).unwrap();
        nix::unistd::chown(&world.folder.path().join("token"), Some(65534.into()), None).unwrap();
        command.uid(65534).gid(65534);
    }
    let plugin = world.start_with("plugin", command, &world.args());
    plugin.log_has(SERVING).await;
    let proc = format!("/proc/{}", plugin.pid());
    let limits = fs::read_to_string(format!("{proc}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert!(
        core.split_whitespace()
            .rev()
            .skip(1)
            .take(2)
            .all(|limit| limit == "0"),
        "{core}"
    );
    // The kernel gives the files of a process that is not dumpable to root.
    assert_eq!(fs::metadata(format!("{proc}/mem")).unwrap().uid(), 0);
}

/// Descriptors run out while connections are made: no spinning, no end, and all is well when they
/// are back.
#[tokio::test]
async fn without_descriptors_it_neither_spins_nor_ends() {
    let world = World::new().await;
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", BINARY]);
    let mut plugin = world.start_with("plugin", command, &world.args());
    plugin.log_has(SERVING).await;
    let mut idle = Vec::new();
    for _ in 0..120 {
        idle.push(UnixStream::connect(world.socket()).await.unwrap());
    }
    plugin.log_has("cannot accept connections").await;
    let before = cpu_ticks(plugin.pid());
    sleep(Duration::from_secs(2)).await;
    let ticks = cpu_ticks(plugin.pid()) - before;
    // 100 ticks are a second.
    assert!(ticks < 20, "{ticks} ticks in two seconds");
    assert_eq!(plugin.log().matches("cannot accept connections").count(), 1);
    assert!(plugin.is_running());
    drop(idle);
    answers_within(&world.socket(), SOON).await;
}

fn cpu_ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold blanks: user and system time are the 12th and 13th.
    let rest = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<_> = rest.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// grpc-go sends a ping after nearly every answer (KMS2-CONN-09).
#[tokio::test]
async fn bug_051_a_thousand_pings_are_no_flood() {
    let world = World::new().await;
    let _plugin = world.serve("plugin").await;
    let mut stream = UnixStream::connect(world.socket()).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 2, 4, 0x10, 0x10, 9, 0xe, 7, 7];
    let mut acknowledged = 0;
    for _ in 0..1000 {
        stream.write_all(&ping).await.unwrap();
        // Until this ping's acknowledgement.
        loop {
            let mut head = [0; 9];
            timeout(SOON, stream.read_exact(&mut head))
                .await
                .unwrap()
                .unwrap();
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await.unwrap();
            assert_ne!(head[3], 7, "GOAWAY after {acknowledged} pings");
            if head[3] == 6 && head[4] == 1 {
                acknowledged += 1;
                break;
            }
        }
    }
    assert_eq!(acknowledged, 1000);
    assert!(answers(&world.socket()).await);
}

#[tokio::test]
async fn bug_114_no_log_line_shows_the_token() {
    let world = World::new().await;
    let mut args = world.args();
    args.push("-log-level=trace".to_owned());
    let mut plugin = world.start_with("plugin", Command::new(BINARY), &args);
    plugin.log_has(SERVING).await;
    let mut client = dial(&world.socket()).await.unwrap();
    let mut request = tonic::Request::new(decrypt_request());
    request.set_timeout(Duration::from_secs(1));
    let answer = client.decrypt(request).await.unwrap_err();
    assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
    plugin.log_has("uid-of-the-slow-call").await;
    plugin.signal(Signal::SIGTERM);
    assert_eq!(plugin.exit(STOP).await, 0);
    assert!(!plugin.log().contains("canary"), "{}", plugin.log());
}

/// The whole of it: TLS, login, key, calls, readiness, metrics, and no secret anywhere.
#[tokio::test]
async fn bug_114_a_served_cluster_leaves_no_secret_behind() {
    let real = real_vault().await;
    let world = World::new().await;
    let [http] = free_ports().unwrap();
    let http = std::net::SocketAddr::from(([127, 0, 0, 1], http));
    let path = |name: &str| real.folder.path().join(name).display().to_string();
    let args = [
        format!("-listen-address=unix://{}", world.socket().display()),
        format!("-vault-address=https://localhost:{}", real.port),
        format!("-tls-ca-file={}", path("ca.pem")),
        format!("-approle-role-id-path={}", path("role-id")),
        format!("-approle-secret-id-path={}", path("secret-id")),
        "-transit-key=kms-key".to_owned(),
        format!("-health-address={http}"),
        format!("-metrics-address={http}"),
        "-log-level=trace".to_owned(),
    ];
    let mut plugin = world.start_with("plugin", Command::new(BINARY), &args);
    plugin.log_has("key version in use").await;
    let mut client = dial(&world.socket()).await.unwrap();
    let plaintext = b"canary-plaintext-0123456789abcde";
    let request = EncryptRequest {
        plaintext: plaintext.to_vec().into(),
        uid: "uid-of-an-encrypt".to_owned(),
    };
    let sealed = client.encrypt(request).await.unwrap().into_inner();
    let request = DecryptRequest {
        ciphertext: sealed.ciphertext.clone(),
        uid: "uid-of-a-decrypt".to_owned(),
        key_id: sealed.key_id.clone(),
        annotations: sealed.annotations.clone(),
    };
    let opened = client.decrypt(request.clone()).await.unwrap().into_inner();
    assert_eq!(&opened.plaintext[..], plaintext);
    let foreign = DecryptRequest {
        key_id: format!("v1.{}", "A".repeat(43)),
        uid: "uid-of-a-foreign-value".to_owned(),
        ..request
    };
    client.decrypt(foreign).await.unwrap_err();
    // KMS2-LOG-04: exactly one line about it, with its uid.
    plugin.log_has("uid-of-a-foreign-value").await;
    let log = plugin.log();
    let about = log
        .lines()
        .filter(|line| line.contains("uid-of-a-foreign-value"));
    assert_eq!(about.count(), 1, "{log}");

    let page = async |path: &str| {
        let mut stream = tokio::net::TcpSocket::new_v4()
            .unwrap()
            .connect(http)
            .await
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(page("/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = page("/metrics").await;
    for line in [
        "healthy 1",
        &format!("key_info{{key_id=\"{}\"}} 1", sealed.key_id),
        "requests_total{method=\"Decrypt\",code=\"OK\"} 1",
        "requests_total{method=\"Decrypt\",code=\"INVALID_ARGUMENT\"} 1",
        "logins_total{result=\"ok\"} 1",
        "token_ttl_seconds 3600",
    ] {
        assert!(
            metrics.contains(&format!("vault_kubernetes_kms_{line}\n")),
            "{line} in\n{metrics}"
        );
    }
    let arguments = fs::read(format!("/proc/{}/cmdline", plugin.pid())).unwrap();
    plugin.signal(Signal::SIGTERM);
    assert_eq!(plugin.exit(STOP).await, 0);
    let everything = [
        plugin.log(),
        metrics,
        String::from_utf8_lossy(&arguments).into_owned(),
    ]
    .concat();
    let ids = ["role-id", "secret-id"].map(|name| fs::read_to_string(path(name)).unwrap());
    for secret in ids
        .iter()
        .map(String::as_str)
        .chain(["canary", "hvs.", "\"s."])
    {
        assert!(!everything.contains(secret), "{secret} in\n{everything}");
    }
}

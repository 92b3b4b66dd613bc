//! The socket layer by itself, behind a service that greets with its name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;
use vault_kubernetes_kms::socket::{SocketError, open};

use crate::socket_world::{Server, World, dead_socket, greeting};

#[tokio::test]
async fn bug_067_a_dead_socket_is_replaced_within_a_second() {
    let world = World::new();
    dead_socket(&world.path());
    let start = Instant::now();
    let _server = world.serve("P1").await;
    assert_eq!(greeting(&world.path()).await.unwrap(), "P1");
    assert!(start.elapsed() < Duration::from_secs(1));
    let mode = world.path().metadata().unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lock = world.folder.path().join("kms.sock.lock");
    assert_eq!(lock.metadata().unwrap().mode() & 0o777, 0o644);
}

/// One that knows nothing of our lock, such as another plugin.
#[tokio::test]
async fn bug_067_a_live_owner_is_left_alone() {
    let world = World::new();
    let owner = StdListener::bind(world.path()).unwrap();
    let inode = world.path().metadata().unwrap().ino();
    let error = world.open().await.unwrap_err();
    assert!(matches!(error, SocketError::LiveOwner { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("another instance is serving"), "{text}");
    assert!(
        text.contains(&format!("pid {}", std::process::id())),
        "{text}"
    );
    assert_eq!(world.path().metadata().unwrap().ino(), inode);
    drop(owner);
}

/// A frozen owner accepts nothing, its backlog is full, and it is alive all the same.
#[tokio::test]
async fn bug_067_an_owner_with_a_full_backlog_is_alive() {
    let world = World::new();
    let owner = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Unix,
        nix::sys::socket::SockType::Stream,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    let address = nix::sys::socket::UnixAddr::new(&world.path()).unwrap();
    nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&owner), &address).unwrap();
    nix::sys::socket::listen(&owner, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _fills = UnixStream::connect(world.path()).await.unwrap();
    assert!(
        UnixStream::connect(world.path()).await.is_err(),
        "backlog is not full"
    );
    let error = world.open().await.unwrap_err();
    assert!(matches!(error, SocketError::LiveOwner { .. }), "{error}");
    assert!(world.path().exists());
}

#[tokio::test]
async fn bug_067_what_is_no_socket_is_never_removed() {
    let world = World::new();
    let path = world.path();
    let refused = async |kind: &str| {
        let error = world.open().await.unwrap_err().to_string();
        assert!(error.contains(kind), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(path.symlink_metadata().is_ok(), "removed: {kind}");
    };
    fs::write(&path, "data").unwrap();
    refused("a regular file").await;
    assert_eq!(fs::read(&path).unwrap(), b"data");
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    refused("a folder").await;
    fs::remove_dir(&path).unwrap();

    symlink("nowhere", &path).unwrap();
    refused("a symbolic link that leads nowhere").await;
    fs::remove_file(&path).unwrap();

    // A link to a dead socket is not followed either.
    dead_socket(&world.folder.path().join("other.sock"));
    symlink("other.sock", &path).unwrap();
    refused("a symbolic link,").await;
    assert!(world.folder.path().join("other.sock").exists());
}

#[tokio::test]
async fn bug_067_a_missing_folder_is_named_with_its_remedy() {
    let world = World::new();
    let mut options = world.options();
    options.path = world.folder.path().join("missing/kms.sock");
    let error = open(options, world.heard.clone())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("missing does not exist: create it"),
        "{error}"
    );
    assert!(!world.folder.path().join("missing").exists());
}

#[tokio::test]
async fn bug_119_a_path_that_is_too_long_is_refused_before_anything_is_touched() {
    let world = World::new();
    let mut options = world.options();
    let folder = world.folder.path().as_os_str().len();
    for (length, fits) in [(107, true), (108, false), (120, false)] {
        options.path = world.folder.path().join("s".repeat(length - folder - 1));
        let opened = open(options.clone(), world.heard.clone()).await;
        assert_eq!(opened.is_ok(), fits, "{length} bytes");
        if let Err(error) = opened {
            assert!(error.is_configuration());
            assert!(
                error.to_string().contains(&format!("{length} bytes")),
                "{error}"
            );
            let mut lock = options.path.clone().into_os_string();
            lock.push(".lock");
            assert!(!Path::new(&lock).exists());
        }
    }
}

#[tokio::test]
async fn bug_119_a_folder_that_all_can_write_is_a_warning() {
    for (mode, warns) in [(0o777, 1), (0o1777, 0), (0o755, 0), (0o700, 0)] {
        let world = World::new();
        fs::set_permissions(world.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let opened = world.open().await;
        assert!(opened.is_ok());
        let heard = world
            .heard
            .count("every user of this machine can replace the socket");
        assert_eq!(heard, warns, "{mode:o}");
    }
}

#[tokio::test]
async fn kms2_conn_15_a_socket_for_everybody_is_a_warning() {
    let world = World::new();
    let mut options = world.options();
    options.mode = 0o666;
    let _opened = open(options, world.heard.clone()).await.unwrap();
    assert_eq!(
        world
            .heard
            .count("every user of this machine can use the key"),
        1
    );
    assert_eq!(world.path().metadata().unwrap().mode() & 0o777, 0o666);
}

#[tokio::test]
async fn an_unknown_group_is_a_configuration_error() {
    let world = World::new();
    let mut options = world.options();
    options.group = Some("no-such-group".to_owned());
    let error = open(options, world.heard.clone()).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("no-such-group"));
    assert!(!world.path().exists());
}

/// What a thread that looks at the path as fast as it can has seen there.
#[derive(Default)]
struct Watched {
    end: AtomicBool,
    looks: AtomicUsize,
    seen: Mutex<BTreeSet<(u32, u32)>>,
}

/// Modes and groups that were visible at the path while sockets came and went there.
async fn modes_of_many_starts(mode: u32, group: Option<String>) -> BTreeSet<(u32, u32)> {
    let world = World::new();
    let mut options = world.options();
    options.mode = mode;
    options.group = group;
    let watched = Arc::new(Watched::default());
    let (path, shared) = (world.path(), watched.clone());
    let watcher = std::thread::Builder::new()
        .spawn(move || {
            while !shared.end.load(Ordering::Relaxed) {
                if let Ok(meta) = path.symlink_metadata() {
                    shared.looks.fetch_add(1, Ordering::Relaxed);
                    let state = (meta.mode() & 0o777, meta.gid());
                    shared.seen.lock().unwrap().insert(state);
                }
            }
        })
        .unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let mut starts = 0;
    while starts < 300 || watched.looks.load(Ordering::Relaxed) < 1000 {
        let (_incoming, mut handle) = open(options.clone(), world.heard.clone()).await.unwrap();
        let settled = world.path().metadata().unwrap().mode() & 0o777;
        assert_eq!(settled, mode, "{mode:o}");
        handle.release().await;
        starts += 1;
        assert!(Instant::now() < end, "the watcher never ran");
    }
    watched.end.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    watched.seen.lock().unwrap().clone()
}

#[tokio::test]
async fn kms2_conn_15_the_mode_is_never_wider_than_asked() {
    // The umask of a shell that does not care; sockets of other tests set their own.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let own = nix::unistd::getegid().as_raw();
    for mode in [0o600, 0o660, 0o640] {
        let seen = modes_of_many_starts(mode, None).await;
        assert_eq!(seen, [(mode, own)].into(), "{mode:o}");
    }
    // As root any group will do; otherwise the own one shows the steps as well.
    let group = if nix::unistd::geteuid().is_root() {
        1
    } else {
        own
    };
    for (mode, gid) in modes_of_many_starts(0o660, Some(group.to_string())).await {
        let allowed = if gid == group { 0o660 } else { 0o600 };
        assert_eq!(mode & !allowed, 0, "mode {mode:o} with group {gid}");
    }
}

#[tokio::test]
async fn of_twenty_starters_exactly_one_serves() {
    let world = World::new();
    dead_socket(&world.path());
    let starters: Vec<_> = (0..20)
        .map(|_| {
            let (options, heard) = (world.options(), world.heard.clone());
            tokio::spawn(async move { open(options, heard).await })
        })
        .collect();
    let mut winners = Vec::new();
    for starter in starters {
        match starter.await.unwrap() {
            Ok(winner) => winners.push(winner),
            Err(error) => assert!(matches!(error, SocketError::LiveOwner { .. }), "{error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let (incoming, handle) = winners.remove(0);
    let _server = Server::start(incoming, handle, "P1");
    assert_eq!(greeting(&world.path()).await.unwrap(), "P1");
}

//! The socket over its life: successors, and what happens to its file and folder.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener as StdListener;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use vault_kubernetes_kms::socket::open;

use crate::socket_world::{Server, World, dead_socket, greeting, served_by};

#[tokio::test]
async fn bug_053_a_successor_serves_while_the_predecessor_drains() {
    let world = World::new();
    let mut first = world.serve("P1").await;
    let mut early = UnixStream::connect(world.path()).await.unwrap();
    let second = tokio::spawn(open(world.options(), world.heard.clone()));
    served_by(&world.path(), "P1").await;
    assert!(!second.is_finished(), "two instances serve");

    first.handle.release().await;
    let (incoming, handle) = second.await.unwrap().unwrap();
    let _second = Server::start(incoming, handle, "P2");
    assert_eq!(greeting(&world.path()).await.unwrap(), "P2");

    // The end of the first changes nothing, and its old connection was served.
    let served = first.task.await.unwrap();
    assert_eq!(served, 2);
    let mut name = [0; 2];
    early.read_exact(&mut name).await.unwrap();
    assert_eq!(&name, b"P1");
    drop(first.handle);
    assert_eq!(greeting(&world.path()).await.unwrap(), "P2");
}

#[tokio::test]
async fn bug_053_only_the_own_file_is_removed() {
    let world = World::new();
    let mut first = world.serve("P1").await;
    // Another plugin took the path a moment ago; the watchdog has not looked yet.
    fs::remove_file(world.path()).unwrap();
    let other = StdListener::bind(world.path()).unwrap();
    first.handle.release().await;
    assert!(
        UnixStream::connect(world.path()).await.is_ok(),
        "removed a foreign socket"
    );
    drop(other);
}

#[tokio::test]
async fn bug_052_connections_in_the_backlog_are_served_and_newcomers_refused() {
    let world = World::new();
    let (incoming, mut handle) = world.open().await.unwrap();
    // More than the queue between the layers holds, none of them accepted yet.
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(UnixStream::connect(world.path()).await.unwrap());
    }
    let server = tokio::spawn(async move {
        let mut incoming = incoming;
        let mut count = 0;
        while let Some(stream) = incoming.next().await {
            stream.unwrap().write_all(b"P1").await.unwrap();
            count += 1;
        }
        count
    });
    handle.release().await;
    let error = UnixStream::connect(world.path()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(server.await.unwrap(), 40);
    for mut stream in waiting {
        let mut name = [0; 2];
        stream.read_exact(&mut name).await.unwrap();
    }
}

#[tokio::test]
async fn a_removed_socket_is_bound_again_within_two_seconds() {
    let world = World::new();
    let server = world.serve("P1").await;
    let mut kept = UnixStream::connect(world.path()).await.unwrap();
    fs::remove_file(world.path()).unwrap();
    served_by(&world.path(), "P1").await;
    assert_eq!(world.heard.count("rebound"), 1);
    assert_eq!(world.path().metadata().unwrap().mode() & 0o777, 0o600);
    let mut name = [0; 2];
    kept.read_exact(&mut name).await.unwrap();
    assert!(!server.task.is_finished());
}

#[tokio::test]
async fn an_emptied_folder_is_used_again_and_locked_again() {
    let world = World::new();
    let server = world.serve("P1").await;
    for entry in fs::read_dir(world.folder.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    served_by(&world.path(), "P1").await;
    // The new lock guards as the old one did.
    let second = timeout(Duration::from_secs(2), world.open()).await;
    assert!(second.is_err(), "a second instance got through: {second:?}");
    assert!(!server.task.is_finished());
}

#[tokio::test]
async fn a_removed_folder_is_complained_about_once_and_used_when_it_is_back() {
    let world = World::new();
    let folder = world.folder.path().to_owned();
    let _server = world.serve("P1").await;
    fs::remove_dir_all(&folder).unwrap();
    sleep(Duration::from_millis(3500)).await;
    let complaints = world.heard.count("cannot");
    assert!(
        (1..=2).contains(&complaints),
        "{:?}",
        world.heard.0.lock().unwrap()
    );
    fs::create_dir(&folder).unwrap();
    served_by(&world.path(), "P1").await;
}

#[tokio::test]
async fn a_dead_foreign_socket_on_the_path_is_replaced() {
    let world = World::new();
    let _server = world.serve("P1").await;
    fs::remove_file(world.path()).unwrap();
    dead_socket(&world.path());
    served_by(&world.path(), "P1").await;
    assert_eq!(world.heard.count("rebound"), 1);
}

#[tokio::test]
async fn another_live_owner_ends_the_server() {
    let world = World::new();
    let server = world.serve("P1").await;
    let lost = server.handle.lost();
    fs::remove_file(world.path()).unwrap();
    let other = StdListener::bind(world.path()).unwrap();
    let reason = timeout(Duration::from_secs(3), lost).await.unwrap();
    assert!(reason.contains("another instance"), "{reason}");
    server.task.await.unwrap();
    assert!(
        UnixStream::connect(world.path()).await.is_ok(),
        "the other was disturbed"
    );
    drop(other);
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_told_once_and_kept() {
    let world = World::new();
    let server = world.serve("P1").await;
    fs::remove_file(world.path()).unwrap();
    fs::write(world.path(), "mine").unwrap();
    sleep(Duration::from_millis(3500)).await;
    assert_eq!(world.heard.count("was replaced by a regular file"), 1);
    assert_eq!(fs::read(world.path()).unwrap(), b"mine");
    assert!(!server.task.is_finished());
    fs::remove_file(world.path()).unwrap();
    served_by(&world.path(), "P1").await;
}

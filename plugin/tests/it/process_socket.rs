//! The process and its socket: what lies in the place, who takes over, who gives up.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener as StdListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::real::{
    BINARY, SERVING, World, answers, answers_within, decrypt_request, dial, listener_pid,
};

const SOON: Duration = Duration::from_secs(5);

/// The drain, the revocation and some slack.
const STOP: Duration = Duration::from_secs(7);

/// The wait for a predecessor's lock and some slack.
const LOCK_WAIT: Duration = Duration::from_secs(14);

#[tokio::test]
async fn bug_067_a_killed_plugin_starts_again_without_any_flag() {
    let world = World::new().await;
    let mut plugin = world.serve("first").await;
    for round in 0..10 {
        plugin.killed().await;
        assert!(
            world.socket().exists(),
            "nothing is left behind to trip over"
        );
        let start = Instant::now();
        plugin = world.start(&format!("round-{round}"));
        answers_within(&world.socket(), SOON).await;
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "round {round}: {took:?}");
    }
}

#[tokio::test]
async fn bug_067_a_second_instance_gives_up_and_disturbs_nothing() {
    let world = World::new().await;
    let mut first = world.serve("first").await;
    let mut second = world.start("second");
    assert_eq!(second.exit(LOCK_WAIT).await, 1);
    let said = second.log();
    assert!(said.contains("another instance is serving at"), "{said}");
    assert!(said.contains(&format!("(pid {})", first.pid())), "{said}");
    assert!(answers(&world.socket()).await && first.is_running());
}

#[tokio::test]
async fn bug_067_what_is_no_socket_ends_the_start_and_stays() {
    let world = World::new().await;
    let path = world.socket();
    let refused = async |name: &str, said: &str| {
        let mut plugin = world.start(name);
        assert_eq!(plugin.exit(SOON).await, 1, "{}", plugin.log());
        assert!(plugin.log().contains(said), "{}", plugin.log());
        assert!(path.symlink_metadata().is_ok(), "{name}: removed");
    };
    fs::write(&path, "mine").unwrap();
    refused("file", "is a regular file, not a socket").await;
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("folder", "is a folder, not a socket").await;
    fs::remove_dir(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    refused("link", "is a symbolic link that leads nowhere").await;
}

#[tokio::test]
async fn bug_119_each_bad_folder_has_one_clear_line_and_its_exit_code() {
    let world = World::new().await;
    let at = |path: String| {
        let mut args = world.args();
        args[0] = format!("-listen-address=unix://{path}");
        args
    };
    let folder = world.folder.path().display().to_string();

    let args = at(format!("{folder}/missing/kms.sock"));
    let mut plugin = world.start_with("missing", Command::new(BINARY), &args);
    assert_eq!(plugin.exit(SOON).await, 1);
    assert!(
        plugin.log().contains("missing does not exist: create it"),
        "{}",
        plugin.log()
    );

    let args = at(format!("{folder}/{}", "s".repeat(120 - folder.len())));
    let mut plugin = world.start_with("long", Command::new(BINARY), &args);
    assert_eq!(plugin.exit(SOON).await, 2, "{}", plugin.log());
    assert!(plugin.log().contains("107"), "{}", plugin.log());

    // Somebody else's folder. Root may write anywhere, so root steps down.
    let theirs = world.folder.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let mut command = Command::new(BINARY);
    if nix::unistd::geteuid().is_root() {
        fs::set_permissions(world.folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(
            world.folder.path().join("token"),
            Permissions::from_mode(0o644),
        )
        .unwrap();
        command.uid(65534).gid(65534);
    } else {
        fs::set_permissions(&theirs, Permissions::from_mode(0o555)).unwrap();
    }
    let args = at(format!("{folder}/theirs/kms.sock"));
    let mut plugin = world.start_with("theirs", command, &args);
    assert_eq!(plugin.exit(SOON).await, 1);
    let said = plugin.log();
    let refusals: Vec<_> = said
        .lines()
        .filter(|line| line.contains("Permission denied"))
        .collect();
    assert_eq!(refusals.len(), 1, "{said}");
    assert!(refusals[0].contains("we run as uid "), "{said}");
    assert!(refusals[0].contains("theirs belongs to uid "), "{said}");
}

#[tokio::test]
async fn the_sockets_mode_does_not_depend_on_the_umask() {
    let world = World::new().await;
    for umask in ["000", "022", "077"] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), BINARY]);
        let mut plugin = world.start_with(umask, command, &world.args());
        plugin.log_has(SERVING).await;
        let mode = |name: &str| {
            let meta = world.folder.path().join(name).metadata().unwrap();
            meta.mode() & 0o777
        };
        assert_eq!(mode("kms.sock"), 0o600, "umask {umask}");
        // Open to the next start as another user.
        assert_eq!(mode("kms.sock.lock"), 0o644, "umask {umask}");
        plugin.signal(Signal::SIGTERM);
        assert_eq!(plugin.exit(STOP).await, 0);
        fs::remove_file(world.folder.path().join("kms.sock.lock")).unwrap();
    }
}

#[tokio::test]
async fn bug_053_a_successor_that_waits_takes_over_at_sigterm() {
    let world = World::new().await;
    let mut first = world.serve("first").await;
    let mut second = world.start("second");
    second
        .log_has("another instance holds the socket's lock")
        .await;
    let mut client = dial(&world.socket()).await.unwrap();
    // Keeps the first draining for a while.
    let slow = tokio::spawn(async move {
        let mut request = tonic::Request::new(decrypt_request());
        request.set_timeout(Duration::from_secs(2));
        client.decrypt(request).await
    });
    sleep(Duration::from_millis(200)).await;

    first.signal(Signal::SIGTERM);
    second.log_has(SERVING).await;
    assert!(
        first.is_running(),
        "the first was to drain beside the second"
    );
    assert_eq!(listener_pid(&world.socket()).await, Some(second.pid()));
    assert_eq!(first.exit(STOP).await, 0);
    let answer = slow.await.unwrap().unwrap_err();
    assert!(
        answer.message().contains("vault"),
        "cut instead of answered: {answer:?}"
    );

    assert_eq!(listener_pid(&world.socket()).await, Some(second.pid()));
    assert!(answers(&world.socket()).await && second.is_running());
}

#[tokio::test]
async fn bug_053_a_successor_after_sigterm_keeps_its_socket() {
    let world = World::new().await;
    let mut first = world.serve("first").await;
    let mut client = dial(&world.socket()).await.unwrap();
    let slow = tokio::spawn(async move {
        let mut request = tonic::Request::new(decrypt_request());
        request.set_timeout(Duration::from_secs(3));
        client.decrypt(request).await
    });
    sleep(Duration::from_millis(300)).await;
    first.signal(Signal::SIGTERM);
    let second = world.serve("second").await;
    assert_eq!(first.exit(STOP).await, 0);
    slow.await.unwrap().unwrap_err();
    assert_eq!(listener_pid(&world.socket()).await, Some(second.pid()));
}

#[tokio::test]
async fn bug_053_a_successor_takes_over_from_a_killed_one() {
    let world = World::new().await;
    let mut first = world.serve("first").await;
    let second = world.start("second");
    second
        .log_has("another instance holds the socket's lock")
        .await;
    first.killed().await;
    second.log_has(SERVING).await;
    assert_eq!(listener_pid(&world.socket()).await, Some(second.pid()));
    assert!(answers(&world.socket()).await);
}

#[tokio::test]
async fn bug_052_newcomers_are_refused_or_served_but_never_hang() {
    let world = World::new().await;
    let mut first = world.serve("first").await;
    let mut client = dial(&world.socket()).await.unwrap();
    let _idle = dial(&world.socket()).await.unwrap();
    let slow = tokio::spawn(async move {
        let mut request = tonic::Request::new(decrypt_request());
        request.set_timeout(Duration::from_secs(2));
        client.decrypt(request).await
    });
    sleep(Duration::from_millis(300)).await;
    let stop = Instant::now();
    first.signal(Signal::SIGTERM);
    let mut second = None;
    let mut served = 0;
    for round in 0..20 {
        if round == 5 {
            second = Some(world.start("second"));
        }
        let start = Instant::now();
        served += usize::from(answers(&world.socket()).await);
        assert!(
            start.elapsed() < Duration::from_millis(900),
            "newcomer {round} hung"
        );
        sleep(Duration::from_millis(100)).await;
    }
    assert!(served > 5, "the replacement does not serve");
    // The idle client never closes, and does not hold up the end.
    assert_eq!(first.exit(STOP.saturating_sub(stop.elapsed())).await, 0);
    let answer = slow.await.unwrap().unwrap_err();
    assert!(
        answer.message().contains("vault"),
        "cut instead of answered: {answer:?}"
    );
    assert!(second.unwrap().is_running());
}

#[tokio::test]
async fn of_twenty_starting_processes_exactly_one_serves() {
    let world = World::new().await;
    drop(StdListener::bind(world.socket()).unwrap());
    let mut starters: Vec<_> = (0..20).map(|n| world.start(&format!("n{n}"))).collect();
    answers_within(&world.socket(), SOON).await;
    let winner = listener_pid(&world.socket()).await.unwrap();
    for starter in starters
        .iter_mut()
        .filter(|starter| starter.pid() != winner)
    {
        assert_eq!(starter.exit(LOCK_WAIT * 2).await, 1, "{}", starter.log());
        assert!(!starter.log().contains(SERVING), "{}", starter.log());
    }
    assert_eq!(listener_pid(&world.socket()).await, Some(winner));
    assert!(answers(&world.socket()).await);
}

#[tokio::test]
async fn a_removed_socket_is_back_within_two_seconds_and_said_so() {
    let world = World::new().await;
    let mut plugin = world.serve("plugin").await;
    for entry in fs::read_dir(world.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("kms.sock") {
            fs::remove_file(path).unwrap();
        }
    }
    answers_within(&world.socket(), Duration::from_secs(3)).await;
    assert!(plugin.log().contains("bound again"), "{}", plugin.log());
    assert!(plugin.is_running());
}

#[tokio::test]
async fn bug_053_a_plugin_whose_path_was_taken_exits_with_an_error() {
    let world = World::new().await;
    let mut plugin = world.serve("plugin").await;
    fs::remove_file(world.socket()).unwrap();
    let other = StdListener::bind(world.socket()).unwrap();
    assert_eq!(plugin.exit(STOP).await, 1);
    assert!(
        plugin.log().contains("another instance"),
        "{}",
        plugin.log()
    );
    assert!(
        UnixStream::connect(world.socket()).await.is_ok(),
        "the other was disturbed"
    );
    drop(other);
}

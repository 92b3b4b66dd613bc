//! One task that owns the listening socket: it accepts, watches the path, and hands over.

use std::future::Future;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_stream::Stream;

use crate::event::Event;
use crate::seam::Observer;

use super::bind::{Bound, Place, remove_own};
use super::lock::{LockFile, lock_path};
use super::path::{Found, look};

/// How often the path is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Accepted connections that the server has not taken yet.
const QUEUE: usize = 16;
/// How long a hand-over waits for the server to take what is in the backlog.
const BACKLOG_LIMIT: Duration = Duration::from_millis(100);
/// Pause after a failed accept. Without one, a process out of descriptors spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections, from whatever socket file was the current one. Ends after a hand-over or when the
/// path was lost; never yields an error, since none of accept's concerns the server.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<UnixStream>);

impl Stream for Incoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|stream| stream.map(Ok))
    }
}

/// Control over an open socket. Dropping it closes the socket without removing its file.
#[derive(Debug)]
pub struct Handle {
    release: Option<oneshot::Sender<()>>,
    lost: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Hands the path over: the file is removed if it is ours, connections that were made before
    /// go to the server, the socket closes, the lock is free. Afterwards the stream ends.
    pub async fn release(&mut self) {
        if let Some(release) = self.release.take() {
            // A task that has ended has released everything.
            let _ = release.send(());
        }
        // Fails only when the task panicked, and then its descriptors are closed as well.
        let _ = (&mut self.task).await;
    }

    /// Waits until the path belongs to somebody else, and says to whom. Then the socket is closed
    /// already: what is left is to drain and to exit with an error (BUG-053). Means nothing after
    /// [`Handle::release`].
    pub fn lost(&self) -> impl Future<Output = String> + use<> {
        let mut lost = self.lost.clone();
        async move {
            match lost.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().expect("waited for a reason"),
                Err(_) => "the task that watches the socket has ended".to_owned(),
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn start(
    place: Place,
    lock: LockFile,
    bound: Bound,
    observer: Arc<dyn Observer>,
) -> (Incoming, Handle) {
    let (connections, incoming) = mpsc::channel(QUEUE);
    let (release, released) = oneshot::channel();
    let (tell_lost, lost) = watch::channel(None);
    let keeper = Keeper {
        place,
        lock: Some(lock),
        bound,
        observer,
        connections,
        complaint: String::new(),
        accept_again: Instant::now(),
        accept_failing: false,
    };
    let handle = Handle {
        release: Some(release),
        lost,
        task: tokio::spawn(keeper.run(released, tell_lost)),
    };
    (Incoming(incoming), handle)
}

struct Keeper {
    place: Place,
    /// `None` after somebody removed the lock file and another process took the new one.
    lock: Option<LockFile>,
    bound: Bound,
    observer: Arc<dyn Observer>,
    connections: mpsc::Sender<UnixStream>,
    /// What was last said about the path, so that it is said once.
    complaint: String,
    accept_again: Instant,
    accept_failing: bool,
}

impl Keeper {
    async fn run(
        mut self,
        mut released: oneshot::Receiver<()>,
        lost: watch::Sender<Option<String>>,
    ) {
        let mut look_again = interval(LOOK_EVERY);
        look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let server_gone = self.connections.clone();
        loop {
            tokio::select! {
                biased;
                _ = &mut released => return self.hand_over().await,
                () = server_gone.closed() => return self.hand_over().await,
                _ = look_again.tick() => {
                    if let Some(reason) = self.inspect().await {
                        // Receivers are gone when the process is ending anyway.
                        let _ = lost.send(Some(reason));
                        return;
                    }
                }
                () = self.accept() => {}
            }
        }
    }

    /// Takes one connection. Cancelling loses none: the place in the queue comes first.
    async fn accept(&mut self) {
        sleep_until(self.accept_again).await;
        let Ok(permit) = self.connections.reserve().await else {
            return std::future::pending().await;
        };
        match self.bound.listener.accept().await {
            Ok((stream, _)) => {
                permit.send(stream);
                self.accept_failing = false;
            }
            // The client gave up in between.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                drop(permit);
                self.accept_again = Instant::now() + ACCEPT_PAUSE;
                if !self.accept_failing {
                    self.accept_failing = true;
                    self.warn(&format!(
                        "cannot accept connections on {}: {error}; trying again until it works",
                        self.place.path.display()
                    ));
                }
            }
        }
    }

    /// Compares the path with our socket. An answer means that the path is lost for good.
    async fn inspect(&mut self) -> Option<String> {
        let path = self.place.path.clone();
        self.renew_lock();
        match look(&path, Some(self.bound.id)).await {
            Found::Ours => self.complaint.clear(),
            Found::Nothing | Found::Dead(_) => self.bind_again().await,
            Found::Live { owner } => {
                return Some(format!(
                    "another instance{owner} serves at {}",
                    path.display()
                ));
            }
            // A socket that we may not even dial was put there by somebody else.
            Found::Unclear(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Some(format!(
                    "{} was replaced and may not be used: {error}",
                    path.display()
                ));
            }
            Found::NotASocket(kind) => self.complain(format!(
                "{} was replaced by {kind}: no API server can connect until it is moved away",
                path.display()
            )),
            Found::Unclear(error) => {
                self.complain(format!("cannot look at {}: {error}", path.display()));
            }
        }
        None
    }

    /// Somebody may have emptied the folder: then the lock in hand guards nothing any more.
    fn renew_lock(&mut self) {
        if self.lock.as_ref().is_some_and(LockFile::is_current) {
            return;
        }
        match LockFile::try_take(&lock_path(&self.place.path)) {
            Ok(lock) => self.lock = lock,
            Err(error) => self.complain(format!("cannot renew the lock: {error}")),
        }
    }

    async fn bind_again(&mut self) {
        // Without the lock another starter is at work: the next look tells how it went.
        if !self.lock.as_ref().is_some_and(LockFile::is_current) {
            return;
        }
        match self.place.bind().await {
            Ok(bound) => {
                let old = std::mem::replace(&mut self.bound, bound);
                self.complaint.clear();
                self.observer.event(&Event::SocketRebound);
                self.pass_on_backlog(old).await;
            }
            Err(error) => self.complain(format!("cannot bind the lost socket again: {error}")),
        }
    }

    /// SIGTERM's order: the name goes first, so that no newcomer finds us; whoever connected
    /// before is served; then a successor may start (BUG-052).
    async fn hand_over(self) {
        let Self {
            place,
            lock,
            bound,
            connections,
            ..
        } = self;
        // What cannot be removed is a dead socket for the next start, which removes it.
        let _ = remove_own(&place.path, bound.id);
        pass_on_backlog(&connections, bound).await;
        drop(lock);
        // All places free means that the server has taken everything.
        let _ = timeout(BACKLOG_LIMIT, connections.reserve_many(QUEUE)).await;
    }

    async fn pass_on_backlog(&self, bound: Bound) {
        pass_on_backlog(&self.connections, bound).await;
    }

    fn complain(&mut self, text: String) {
        if self.complaint != text {
            self.warn(&text);
            self.complaint = text;
        }
    }

    fn warn(&self, text: &str) {
        self.observer.event(&Event::Notice { warn: true, text });
    }
}

/// Gives the server what waits in the backlog of a socket that is about to close: the kernel would
/// reset it, and the API server would pause its next dial by a second or more (KMS2-CONN-10).
async fn pass_on_backlog(connections: &mpsc::Sender<UnixStream>, bound: Bound) {
    // Straight from the kernel: tokio's view of readiness may lag behind.
    let Ok(listener): io::Result<StdListener> = bound.listener.into_std() else {
        return;
    };
    let pass = async {
        while let Ok((stream, _)) = listener.accept() {
            let usable = stream.set_nonblocking(true);
            if let Ok(stream) = usable.and_then(|()| UnixStream::from_std(stream))
                && connections.send(stream).await.is_err()
            {
                return;
            }
        }
    };
    // Late ones are reset, which is no worse than before.
    let _ = timeout(BACKLOG_LIMIT, pass).await;
}

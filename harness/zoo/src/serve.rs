//! The plugin as a process: its keys in a folder, lines on standard error, an end by SIGTERM.

use std::fs::{Permissions, set_permissions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::bug::Bug;
use crate::kms::Kms;
use crate::plugin::{Log, Plugin};
use crate::served::remove;
use crate::service::{Service, accept};

/// How it is served.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its socket. One that nobody serves any more is taken over.
    pub socket: PathBuf,
    /// Folder with its keys, which another life of it goes on with.
    pub state: PathBuf,
    /// Port on the loopback address where it shows its metrics, if anywhere.
    pub metrics_port: Option<u16>,
}

/// Serves the plugin with a bug, or without one, until it is told to end (SIGTERM or SIGINT) or a bug ends it.
///
/// # Errors
/// The state is none of ours, somebody else serves on the socket, or one of the places cannot be used.
pub async fn serve(bug: Option<Bug>, place: &Place) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Number 18 on Linux, where this runs; elsewhere it is some other signal that nobody sends.
    let mut thawed = signal(SignalKind::from_raw(18))?;
    let (kms, was_there) = Kms::in_folder(bug, &place.state)?;
    let plugin = Arc::new(Plugin::new(bug, kms, Log::Stderr, false));
    if was_there {
        plugin.restarted()?;
    }
    let listener = bind(&place.socket, bug).await?;
    if let Some(port) = place.metrics_port {
        let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        tokio::spawn(show_metrics(metrics, plugin.clone()));
    }
    let (stop, stopping) = watch::channel(false);
    let service = Service {
        plugin,
        crash: Arc::default(),
        drop_all: Arc::default(),
        elsewhere: false,
        stop: stopping,
    };
    let drop_all = service.drop_all.clone();
    let mut accepting = std::pin::pin!(accept(listener, service));
    loop {
        tokio::select! {
            biased;
            ended = accepting.as_mut() => return ended,
            _ = thawed.recv() => {
                if bug == Some(Bug::FreezeDropsConnections) {
                    drop_all.notify_one();
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    match bug {
        Some(Bug::StopCutsCalls) => return Ok(()),
        // It listens on, and nobody gets an answer.
        Some(Bug::StopLeavesCallsHanging) => {}
        _ => remove(&place.socket)?,
    }
    stop.send_replace(true);
    accepting.await
}

/// Listens, where a socket of before may be in the way.
async fn bind(socket: &Path, bug: Option<Bug>) -> io::Result<UnixListener> {
    if bug != Some(Bug::OldSocketStopsStart) {
        match UnixStream::connect(socket).await {
            Ok(_) => {
                let text = format!("somebody else serves at {}", socket.display());
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => remove(socket)?,
            Err(_) => {}
        }
    }
    let listener = UnixListener::bind(socket)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", socket.display())))?;
    let mut mode = 0o600;
    if bug == Some(Bug::SocketForEverybody) {
        mode = 0o777;
        if let Some(folder) = socket.parent() {
            set_permissions(folder, Permissions::from_mode(0o755))?;
        }
    }
    set_permissions(socket, Permissions::from_mode(mode))?;
    Ok(listener)
}

async fn show_metrics(listener: TcpListener, plugin: Arc<Plugin>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        // Whoever asks gets the same; one that breaks off gets nothing.
        let _ = stream.read(&mut [0; 1024]).await;
        let text = format!("HTTP/1.0 200 OK\r\n\r\n{}", plugin.exposition());
        let _ = stream.write_all(text.as_bytes()).await;
    }
}

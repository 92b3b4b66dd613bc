//! The subject as a process of this machine: found by its socket, measured in `/proc`, signalled.
//!
//! Nothing is started here. A signal goes to the process that listens on the socket, and to no
//! other: not to this one or those above it, and not to a service manager that holds the socket
//! for a plugin it has yet to start.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::net::UnixStream;

use crate::target::BoxFuture;

/// How a process is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: it may finish what it does.
    Terminate,
    /// SIGKILL: it may not.
    Kill,
}

/// The subject's process.
pub trait Process: Send + Sync {
    /// Signals the process that serves now. The text of an error goes into the transcript.
    fn signal(&self, signal: Signal) -> BoxFuture<'_, Result<(), String>>;

    /// Freezes the process that serves now by SIGSTOP, and lets it go on by SIGCONT after `time`, or
    /// when the future is dropped.
    fn freeze(&self, time: Duration) -> BoxFuture<'_, Result<(), String>>;

    /// Memory resident now, in bytes.
    fn memory(&self) -> BoxFuture<'_, Result<u64, String>>;

    /// Its command line and those of its children, as every user of the machine sees them.
    fn arguments(&self) -> BoxFuture<'_, Result<Vec<u8>, String>>;
}

/// The process that listens on a unix socket.
pub struct Peer {
    socket: PathBuf,
}

impl Peer {
    /// Whoever listens on `socket` when asked.
    pub fn new(socket: PathBuf) -> Self {
        Peer { socket }
    }

    async fn pid(&self) -> Result<i32, String> {
        let connected = UnixStream::connect(&self.socket).await;
        let credentials = connected.and_then(|stream| stream.peer_cred());
        credentials
            .map_err(|error| format!("whose socket it is cannot be seen: {error}"))?
            .pid()
            .filter(|pid| *pid > 0)
            .ok_or_else(|| "the system does not say whose socket it is".to_owned())
    }
}

impl Process for Peer {
    fn signal(&self, signal: Signal) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let pid = self.pid().await?;
            may_be_signalled(pid)?;
            let signal = match signal {
                Signal::Terminate => nix::sys::signal::Signal::SIGTERM,
                Signal::Kill => nix::sys::signal::Signal::SIGKILL,
            };
            kill(Pid::from_raw(pid), signal)
                .map_err(|error| format!("{signal} to the socket's owner: {error}"))
        })
    }

    fn freeze(&self, time: Duration) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let pid = self.pid().await?;
            may_be_signalled(pid)?;
            let frozen = Frozen::new(Pid::from_raw(pid))?;
            tokio::time::sleep(time).await;
            drop(frozen);
            Ok(())
        })
    }

    fn memory(&self) -> BoxFuture<'_, Result<u64, String>> {
        Box::pin(async {
            let pid = self.pid().await?;
            if pid.cast_unsigned() == std::process::id() {
                return Err("the socket belongs to this process".to_owned());
            }
            kilobytes(&field(pid, "VmRSS")?)
                .ok_or_else(|| "its resident memory is not shown in kB".to_owned())
        })
    }

    fn arguments(&self) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async {
            let pid = self.pid().await?;
            let mut text = shown(&format!("/proc/{pid}/cmdline"))?;
            // A child that has ended since is none.
            let children = shown(&format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            for child in String::from_utf8_lossy(&children).split_whitespace() {
                text.extend(shown(&format!("/proc/{child}/cmdline")).unwrap_or_default());
            }
            Ok(text)
        })
    }
}

/// A process that does nothing until this is dropped.
struct Frozen(Pid);

impl Frozen {
    fn new(pid: Pid) -> Result<Self, String> {
        kill(pid, nix::sys::signal::Signal::SIGSTOP)
            .map(|()| Frozen(pid))
            .map_err(|error| format!("SIGSTOP to the socket's owner: {error}"))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It fails for a process that has ended, and nothing else.
        let _ = kill(self.0, nix::sys::signal::Signal::SIGCONT);
    }
}

fn shown(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{path}: {error}"))
}

fn kilobytes(text: &str) -> Option<u64> {
    Some(text.strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// One line of a process's status.
fn field(pid: i32, name: &str) -> Result<String, String> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| format!("{path} has no {name}"))
}

fn may_be_signalled(pid: i32) -> Result<(), String> {
    let owner = field(pid, "Name")?;
    if pid == 1 || owner.starts_with("systemd") {
        return Err(format!(
            "the socket belongs to {owner}, which starts the plugin on demand"
        ));
    }
    let mut above = std::process::id().cast_signed();
    while above > 1 {
        if above == pid {
            return Err("the socket belongs to this process or one above it".to_owned());
        }
        above = field(above, "PPid")?.parse().unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_those_above_it_and_the_first_are_spared() {
        let own = std::process::id().cast_signed();
        let above: i32 = field(own, "PPid").unwrap().parse().unwrap();
        for pid in [own, above, 1] {
            assert!(may_be_signalled(pid).is_err(), "{pid}");
        }
    }

    #[test]
    fn resident_memory_is_read() {
        let own = std::process::id().cast_signed();
        let bytes = kilobytes(&field(own, "VmRSS").unwrap()).unwrap();
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
        assert_eq!(kilobytes("12 MB"), None);
    }
}

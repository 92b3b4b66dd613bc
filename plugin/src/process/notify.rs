//! systemd's readiness protocol (sd_notify(3)): one datagram per change, no library needed.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

/// The way to the service manager, or nothing when there is none.
#[derive(Debug)]
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// # Errors
    /// An address that cannot be used; the service then runs without a notifier.
    pub fn from_environment() -> io::Result<Self> {
        let watchdog = watchdog_period(
            env::var("WATCHDOG_USEC").ok().as_deref(),
            env::var("WATCHDOG_PID").ok().as_deref(),
        );
        let Some(name) = env::var_os("NOTIFY_SOCKET") else {
            return Ok(Self::silent());
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not stop us.
        socket.set_nonblocking(true)?;
        Ok(Self {
            to: Some((socket, address(&name)?)),
            watchdog,
        })
    }

    /// Says nothing to nobody.
    pub fn silent() -> Self {
        Self {
            to: None,
            watchdog: None,
        }
    }

    /// How often [`Notifier::alive`] is due: half of what the manager allows.
    pub fn alive_every(&self) -> Option<Duration> {
        self.to.as_ref().and(self.watchdog)
    }

    /// The socket serves.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=serving");
    }

    /// A stop was asked for, or the socket was lost.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=finishing calls in flight");
    }

    /// The runtime still turns.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.to {
            // Nobody could be told of a failure but the one that does not answer.
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "NOTIFY_SOCKET is neither an absolute path nor an abstract name",
        )),
    }
}

fn watchdog_period(micros: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    // The variables may be inherited from a parent that is the watched one.
    if pid.is_some_and(|pid| pid.parse() != Ok(process::id())) {
        return None;
    }
    let micros: u64 = micros?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchdog_is_for_the_named_process_only() {
        let own = process::id().to_string();
        let half = Some(Duration::from_secs(15));
        assert_eq!(watchdog_period(Some("30000000"), None), half);
        assert_eq!(watchdog_period(Some("30000000"), Some(&own)), half);
        assert_eq!(watchdog_period(Some("30000000"), Some("1")), None);
        assert_eq!(watchdog_period(Some("0"), None), None);
        assert_eq!(watchdog_period(Some("soon"), None), None);
        assert_eq!(watchdog_period(None, None), None);
    }

    #[test]
    fn abstract_and_path_addresses_are_told_apart() {
        let abstract_name = address(OsStr::new("@org/freedesktop")).unwrap();
        assert_eq!(
            abstract_name.as_abstract_name(),
            Some(&b"org/freedesktop"[..])
        );
        assert!(
            address(OsStr::new("/run/notify"))
                .unwrap()
                .as_pathname()
                .is_some()
        );
        assert!(address(OsStr::new("vsock:2:1")).is_err());
        assert!(address(OsStr::new("@")).is_err());
    }
}

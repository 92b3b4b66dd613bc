//! How much to send, and for which API server.

use std::fmt;
use std::time::Duration;

use kms_history::Header;

use crate::lab::ProgressCallback;
use crate::recorder::nanos;

/// Options of a run. The default is the core profile's amounts.
#[derive(Clone)]
pub struct Options {
    /// Name of the profile, for the transcript's header. Every stimulus runs under every profile.
    pub profile: String,
    /// Minor version of the API server to judge for (`31` for 1.31), if one is meant.
    pub server_version: Option<u32>,
    /// Root of the run's randomness.
    pub seed: u64,
    /// Random 32-byte round trips (KMS2-RT-01).
    pub round_trips: u32,
    /// The API server's limit for one call (KMS2-CONN-07).
    pub timeout: Duration,
    /// Calls in flight during round trips.
    pub width: usize,
    /// Status calls in a row (KMS2-STATUS-08, STATUS-15).
    pub polls: u32,
    /// Encrypt calls in a row whose latency counts (KMS2-ENC-13).
    pub encrypts: u32,
    /// Decrypt calls in a row whose latency counts (KMS2-DEC-06).
    pub decrypts: u32,
    /// Equal and distinct Decrypts at the same moment (KMS2-DEC-08).
    pub concurrent: u32,
    /// Distinct Decrypts at once, as at a cold start (KMS2-PERF-02).
    pub burst: u32,
    /// Distinct calls that must fail, after which metric series are counted (KMS2-OBS-02).
    pub errors: u32,
    /// Calls on one connection, each followed by grpc-go's PING and WINDOW_UPDATE (KMS2-CONN-09).
    pub pings: u32,
    /// Bytes of a ciphertext that get a flipped bit; all of them if it has no more.
    pub flips: u32,
    /// How long the subject may take until Status succeeds for the first time.
    pub contact_limit: Duration,
    /// How long a restart may take to serve, and a rotation to show.
    pub hook_limit: Duration,
    /// How long to watch what the subject makes of bytes that are no request.
    pub patience: Duration,
    /// Pause before calls that the log is searched for: a plugin may limit its lines per second.
    pub log_pause: Duration,
    /// How long an unfit key may go unnoticed by Status before the suite stops looking (KMS2-AVAIL-10).
    pub truth_limit: Duration,
    /// How long to watch that nothing happens.
    pub watch: Duration,
    /// Rotations of a key between two looks at the subject's memory (KMS2-PERF-01).
    pub rotations: u32,
    /// How long the subject's process is frozen (KMS2-AVAIL-09).
    pub frozen: Duration,
    /// Keep the bytes of inputs that the harness made in the transcript.
    pub keep_payloads: bool,
    /// Told after each step of long work.
    pub progress: Option<ProgressCallback>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            profile: "core".into(),
            server_version: None,
            seed: 1,
            round_trips: 10_000,
            timeout: Duration::from_secs(3),
            width: 32,
            polls: 200,
            encrypts: 200,
            decrypts: 1000,
            concurrent: 100,
            burst: 1000,
            errors: 1000,
            pings: 200,
            flips: 256,
            contact_limit: Duration::from_secs(10),
            hook_limit: Duration::from_secs(90),
            patience: Duration::from_millis(150),
            log_pause: Duration::from_millis(1100),
            truth_limit: Duration::from_secs(25),
            watch: Duration::from_secs(4),
            rotations: 400,
            frozen: Duration::from_secs(1),
            keep_payloads: false,
            progress: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options {
            profile,
            server_version,
            seed,
            round_trips,
            timeout,
            ..
        } = self;
        f.debug_struct("Options")
            .field("profile", profile)
            .field("server_version", server_version)
            .field("seed", seed)
            .field("round_trips", round_trips)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

/// An option that no run can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// KMS v2 as `v2.KeyManagementService` exists since 1.27 (KMS2-STATUS-01).
    #[error("server version 1.{0} does not speak v2.KeyManagementService, give 1.27 or later")]
    ServerVersion(u32),
    /// A count that must be positive.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// The deadline is too short to tell anything.
    #[error("the call timeout must be at least 100 ms")]
    Timeout,
}

impl Options {
    /// Oldest API server that can be judged for, as a minor version.
    pub const OLDEST_SERVER: u32 = 27;

    /// Says what is wrong with them.
    pub fn validate(&self) -> Result<(), OptionsError> {
        if let Some(version) = self.server_version.filter(|v| *v < Self::OLDEST_SERVER) {
            return Err(OptionsError::ServerVersion(version));
        }
        let counts = [
            ("round_trips", self.round_trips),
            ("polls", self.polls),
            ("encrypts", self.encrypts),
            ("decrypts", self.decrypts),
            ("concurrent", self.concurrent),
            ("burst", self.burst),
            ("errors", self.errors),
            ("pings", self.pings),
            ("flips", self.flips),
            ("rotations", self.rotations),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(OptionsError::Zero(name));
        }
        if self.timeout < Duration::from_millis(100) {
            return Err(OptionsError::Timeout);
        }
        Ok(())
    }

    /// The first line of this run's transcript.
    pub fn header(&self) -> Header {
        Header {
            server_version: self.server_version,
            ..Header::new(
                self.seed,
                &self.profile,
                u64::from(self.round_trips),
                nanos(self.timeout),
            )
        }
    }
}

/// How far a stimulus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its name.
    pub stimulus: &'static str,
    /// Steps done.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
}

//! Names of stimuli, and of the cases that a judge tells apart. The suite that sends and the judge
//! that reads share them; they are part of stored transcripts, so they never change their meaning.

/// The first calls of a run.
pub const CONTACT: &str = "contact";
/// Requests encoded by hand, foreign paths, unknown fields.
pub const WIRE: &str = "wire-format";
/// Frames exactly as the API server's client sends them.
pub const GRPC_GO: &str = "grpc-go-frames";
/// A connection with grpc-go's PING and WINDOW_UPDATE after every answer.
pub const PINGS: &str = "grpc-go-pings";
/// `:authority` as servers before 1.32 send it.
pub const AUTHORITIES: &str = "old-authorities";
/// Status calls in a row, then many at once.
pub const STATUS: &str = "status-polls";
/// Status, Encrypt, Status, again and again.
pub const AGREEMENT: &str = "key-id-agreement";
/// Encrypt calls in a row.
pub const ENCRYPT: &str = "encrypt-series";
/// Equal plaintexts.
pub const EQUAL: &str = "equal-plaintexts";
/// Usual and unusual uids.
pub const UIDS: &str = "uid-forms";
/// Random 32-byte round trips.
pub const ROUND_TRIPS: &str = "round-trips";
/// Plaintexts that the API server never sends.
pub const LENGTHS: &str = "other-lengths";
/// Decrypt calls in a row.
pub const DECRYPT: &str = "decrypt-series";
/// Ciphertexts that were changed.
pub const DAMAGE: &str = "damaged-ciphertexts";
/// key_ids and annotations that do not belong to the ciphertext.
pub const BINDING: &str = "foreign-fields";
/// Undecryptable objects beside ordinary calls.
pub const BYSTANDERS: &str = "bystanders";
/// Many Decrypts at the same moment.
pub const CONCURRENT: &str = "concurrent-decrypts";
/// A cold start's distinct Decrypts.
pub const BURST: &str = "decrypt-burst";
/// Calls with little time.
pub const DEADLINES: &str = "short-deadlines";
/// Calls given up half-way.
pub const CANCELLED: &str = "cancelled-calls";
/// Fields and messages that are too large.
pub const OVERSIZED: &str = "oversized-requests";
/// Bytes that are no proper request.
pub const MALFORMED: &str = "malformed-requests";
/// The socket in the file system.
pub const SOCKET: &str = "socket-file";
/// A rotation of the remote key, when told how.
pub const ROTATION: &str = "rotation";
/// A restart with old data, when told how.
pub const RESTART: &str = "restart";
/// Bursts of Decrypts beside the subject's memory.
pub const MEMORY: &str = "memory-under-bursts";
/// Many different errors beside the subject's metrics, when told where.
pub const SERIES: &str = "metric-series";
/// A second node on the same remote key, when there is one.
pub const NODES: &str = "two-nodes";
/// SIGTERM with a call under way, when told how to start it again.
pub const STOP: &str = "graceful-stop";
/// SIGKILL, when told how to start it again.
pub const CRASH: &str = "crash";
/// The subject's log, when told where.
pub const LOGS: &str = "log-search";
/// A connection over a time in which the process is frozen, when told how to start it again.
pub const FROZEN: &str = "frozen";
/// Credentials and plaintexts in what the subject shows, when told the credentials.
pub const SECRETS: &str = "planted-secrets";
/// A start without the backend, which comes later. On a process of its own.
pub const LATE_BACKEND: &str = "late-backend";
/// Backends in the right one's place. On processes of their own.
pub const FALSE_BACKENDS: &str = "false-backends";
/// A key that is deleted and made again. On a process of its own.
pub const KEY_MADE_AGAIN: &str = "key-made-again";
/// A rotation that is refused. On a process of its own.
pub const ROTATION_IN_VAIN: &str = "rotation-in-vain";
/// Many rotations beside the memory. On a process of its own.
pub const MANY_ROTATIONS: &str = "many-rotations";

/// Stimuli on other processes than the subject's main one: they have other keys, or none.
pub const BESIDE: [&str; 5] = [
    LATE_BACKEND,
    FALSE_BACKENDS,
    KEY_MADE_AGAIN,
    ROTATION_IN_VAIN,
    MANY_ROTATIONS,
];

/// Secrets written and read through an API server in front of the subject, when one is asked for.
pub const PASSAGE: &str = "through-an-apiserver";

/// Case of a Status call that is made until one succeeds: it may fail.
pub const WAITING: &str = "waiting";

/// Case of an ordinary call that must work after (or beside) what a stimulus did.
pub const AFTERWARDS: &str = "afterwards";

/// Case of a call that is half sent when the subject is told to stop.
pub const IN_FLIGHT: &str = "in-flight";

/// Case of a call that begins after the subject was told to stop.
pub const LATE: &str = "late";

/// Case of a call to the second node.
pub const OTHER_NODE: &str = "other-node";

/// Case of a call while nobody listens at the backend's address.
pub const AWAY: &str = "away";

/// Case of a call while the backend takes connections and answers nobody.
pub const SILENT: &str = "silent";

/// Case of a call before what the stimulus is about.
pub const BEFORE: &str = "before";

/// Case of a call while the key is deleted.
pub const KEYLESS: &str = "keyless";

/// Case of a call after the key was made again.
pub const MADE_AGAIN: &str = "made-again";

/// Case of a call after a rotation that was refused.
pub const IN_VAIN: &str = "in-vain";

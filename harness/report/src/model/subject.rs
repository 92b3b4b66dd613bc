//! What was judged, where, and with which options.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The plugin judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Who makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Its name.
    pub project: String,
    /// Its home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whom to ask.
    pub contact: Vec<String>,
    /// Mode of operation, where a plugin has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Digest of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// What was run, by name.
    pub artifacts: Vec<Artifact>,
    /// How it came to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Launch>,
    /// What it said about itself.
    pub observed: Observed,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// One thing that was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Artifact {
    /// What kind of thing.
    pub kind: ArtifactKind,
    /// File or image name, without folders.
    pub name: String,
    /// Its digest.
    pub digest: ArtifactDigest,
}

/// Kind of an artifact. A statement about source is never one about a binary.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// An executable.
    Binary,
    /// A container image.
    Image,
    /// Source compiled into the harness.
    Source,
}

/// Digest of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactDigest {
    /// 64 hex digits.
    pub sha256: String,
}

/// How the subject came to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Launch {
    /// Who started it.
    pub how: LaunchKind,
    /// Where it listens, redacted.
    pub endpoint: String,
}

/// Who started the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LaunchKind {
    /// Somebody else; only its socket was given.
    ExternalSocket,
    /// The harness, as a process.
    Spawned,
    /// The harness, inside itself.
    InProcess,
    /// A cluster.
    Daemonset,
}

/// What the subject said about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observed {
    /// `version` of its Status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_version: Option<String>,
    /// `sha256:<hex>` of its key_id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id_hash: Option<String>,
    /// Its gRPC server, if it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_server: Option<String>,
    /// Process behind the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_pid: Option<u32>,
    /// When it was started, RFC 3339 UTC.
    pub start_times: Vec<String>,
}

/// What the subject can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// What its makers say, sorted.
    pub declared: Vec<String>,
    /// What was seen, sorted.
    pub observed: Vec<String>,
    /// How it was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// What stands around the subject.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// Everything in memory, in virtual time.
    Sim,
    /// Real processes on one machine.
    Process,
    /// A cluster.
    Cluster,
}

impl Arm {
    /// The word used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Arm::Sim => "sim",
            Arm::Process => "process",
            Arm::Cluster => "cluster",
        }
    }
}

/// Where the run took place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Environment {
    /// What stood around the subject.
    pub arm: Arm,
    /// Operating system.
    pub os: String,
    /// Kernel version, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Architecture.
    pub arch: String,
    /// Model and count of processors, if they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory in bytes, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Container runtime, if one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_runtime: Option<String>,
    /// Where durations come from, such as `CLOCK_MONOTONIC` or `virtual`.
    pub clock_source: String,
    /// How many seconds of production one second stands for; 1 if times are not scaled.
    pub time_scale: u32,
    /// Load average before the run, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_before: Option<String>,
    /// Load average after the run, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_after: Option<String>,
    /// The API server side, if it was a real one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
    /// What the plugin encrypted with, if the harness knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
}

/// A real API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubernetes {
    /// Its version.
    pub version: String,
    /// Whose build it is.
    pub distribution: String,
}

/// What the plugin encrypted with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// Product, or `sim-vault`.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Digest of the recordings that a simulated one is held to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_digest: Option<String>,
}

/// The resolved options of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// The command line, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Options, by name.
    pub entries: Vec<PlanEntry>,
    /// Time the run was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_ns: Option<u64>,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanEntry {
    /// Its name.
    pub name: String,
    /// Its value, redacted.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Where an option's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Env,
    /// A file.
    File,
    /// Nobody set it.
    Default,
}

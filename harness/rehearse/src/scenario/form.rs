//! The file's form: what serde reads and schemars describes. What it means is checked in `meaning`.

use kms_scenario::language::file::ArmName;
use kms_scenario::language::time::Time;
use kms_scenario::world::Flavour;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Kind;
use crate::options::{Category, Mode, Procedure};
use crate::report::Rule;

/// A file about something that goes wrong on an operators' cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RehearsalFile {
    /// Kebab-case name, the same as the file's.
    pub id: String,
    /// What goes wrong, in one sentence.
    pub title: String,
    /// What it is about. The first is the name that `rehearse --fault` takes: a row (`OCP-…`) or a bug (`BUG-…`).
    pub proves: Vec<String>,
    /// Where it can run: `sim`.
    pub arms: Vec<ArmName>,
    /// How the procedure's own means find it.
    pub detect: String,
    /// What helps; it is carried out, and what comes of it is judged.
    pub remedy: String,
    /// What the procedure does not say and would have helped.
    pub note: String,
    /// What is played, and what goes wrong in it.
    pub rehearsal: RehearsalTable,
    /// What is seen of it on the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<SeenTable>,
    /// What the procedure's commands show of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detected: Vec<DetectedTable>,
}

/// `[rehearsal]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RehearsalTable {
    /// The procedure.
    pub procedure: Procedure,
    /// The step before which it goes wrong.
    pub step: String,
    /// What goes wrong.
    pub fault: Kind,
    /// The category of troubleshooting that leads to it.
    pub category: Category,
    /// Which operators.
    #[serde(default = "seed")]
    pub mode: Mode,
    /// Whose Vault.
    #[serde(default = "hashicorp")]
    pub vault: Flavour,
    /// Control plane nodes, 1 to 9; 3 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
    /// Objects that are stored at the beginning.
    #[serde(default = "few")]
    pub objects: u64,
    /// So long after the procedure it is looked for.
    #[serde(default = "five_minutes")]
    pub look_after: Time,
    /// So long after the fault somebody comes to troubleshoot.
    #[serde(default = "one_minute")]
    pub diagnose_after: Time,
    /// Rules that it breaks. All others must hold, and these must be seen broken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<Rule>,
}

fn seed() -> Mode {
    Mode::Seed
}

fn hashicorp() -> Flavour {
    Flavour::Vault
}

fn few() -> u64 {
    60
}

fn five_minutes() -> Time {
    Time(std::time::Duration::from_secs(300))
}

fn one_minute() -> Time {
    Time(std::time::Duration::from_secs(60))
}

/// `[[seen]]`: a sign on the cluster itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SeenTable {
    /// Which.
    pub sign: SignName,
    /// With `pods-not-ready`: how many of kube-apiserver's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// With `vault-health` and `vault-answered`: HTTP statuses, one of which it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// With `read-refused` and `revision-listed`: what stands in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// How many: a number, or `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number, or \"all\"")]
pub enum Count {
    /// So many.
    Number(usize),
    /// All there are.
    All(All),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum All {
    /// All there are.
    All,
}

/// A sign.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SignName {
    /// So many pods of kube-apiserver are not ready.
    PodsNotReady,
    /// No operator is Degraded.
    NotDegraded,
    /// No component has a key.
    NoKey,
    /// The first node stays on its way to a revision, the others run what they ran.
    FirstNodeStuck,
    /// A Secret is refused, past the load balancer too.
    WriteRefused,
    /// A Secret is written, past the load balancer.
    WriteAccepted,
    /// The first node's API server cannot read a Secret, past the load balancer.
    ReadRefused,
    /// `sys/health` of Vault, as anybody may ask for it.
    VaultHealth,
    /// Vault has answered a plugin so.
    VaultAnswered,
    /// The migration at hand meets an error.
    MigrationStuck,
    /// The migration goes on, or has ended.
    MigrationMoves,
    /// Nodes run configurations with different write keys.
    MixedWriters,
    /// What shows at the moment of `rotation-unseen` (all nodes write, under different key_ids) and of `power-lost` (no
    /// API server is ready before its plugin).
    AtOnce,
    /// A revision was rolled out whose providers are these.
    RevisionListed,
    /// `Encrypted` has changed neither status nor time since before.
    ConditionUntouched,
    /// No component has more keys than before.
    NoFurtherKey,
    /// Everything is rewritten under the newest key, without any remedy.
    Migrated,
}

/// `[[detected]]`: a command of the procedure, and what it shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DetectedTable {
    /// The command. `{node}` is each node in turn, or that of `node`.
    pub command: String,
    /// The node, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// All of these stand in the output, for one of the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// None of these does, for any node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}

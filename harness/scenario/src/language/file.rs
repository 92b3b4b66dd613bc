//! The file's form: what serde reads and schemars describes. What it means is checked in `meaning`.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::time::{Rate, Time, TimeRange};
use crate::fault::{Damage, Direction, Edge, Kind, Provider, Requests, Right, Rpc};
use crate::world::{Auth, Flavour};

/// A scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ScenarioFile {
    /// Kebab-case name, the same as the file's.
    pub id: String,
    /// One sentence: what happens and what must hold.
    pub title: String,
    /// Requirements (`KMS2-…`) and bugs (`BUG-…`) that it is about.
    pub proves: Vec<String>,
    /// Which of the mission's faults it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mission: Option<Mission>,
    /// Where it can run.
    pub arms: Vec<ArmName>,
    /// Invariants judged by default that cannot hold here; an expectation should say what is seen instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waives: Vec<String>,
    /// Who is there.
    #[serde(default)]
    pub world: WorldTable,
    /// What clients do, per node.
    #[serde(default)]
    pub load: LoadTable,
    /// How long the phases are.
    #[serde(default)]
    pub phases: PhasesTable,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fault: Vec<FaultTable>,
    /// What must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<ExpectTable>,
    /// How much faster time runs in what the harness owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleTable>,
}

/// The mission's four faults.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mission {
    /// Tokens expire.
    ExpiredTokens,
    /// Keys are deleted.
    DeletedKeys,
    /// A key is rotated in the middle of a migration.
    RotationInMigration,
    /// The network is parted.
    Partitions,
}

/// An arm.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ArmName {
    /// Everything simulated, in virtual time.
    Sim,
    /// Real processes, in real time.
    Process,
    /// A staging cluster, in real time.
    Cluster,
}

impl ArmName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sim, Self::Process, Self::Cluster];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Process => "process",
            Self::Cluster => "cluster",
        }
    }
}

/// `[world]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WorldTable {
    /// API servers, each with a plugin; one store.
    pub nodes: u32,
    /// The API server's version, 1.29 to 1.37.
    pub server_version: String,
    /// The providers of the encryption configuration at the start, in order.
    pub providers: Vec<Provider>,
    /// Vault.
    pub vault: VaultTable,
    /// Latencies, one way; simulation only.
    pub latency: LatencyTable,
    /// Flags for the plugin by name, without dashes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub plugin: BTreeMap<String, String>,
}

impl Default for WorldTable {
    fn default() -> Self {
        Self {
            nodes: 1,
            server_version: "1.37".to_owned(),
            providers: vec![Provider::Kms, Provider::Identity],
            vault: VaultTable::default(),
            latency: LatencyTable::default(),
            plugin: BTreeMap::new(),
        }
    }
}

/// `[world.vault]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct VaultTable {
    /// Which server.
    pub flavour: Flavour,
    /// Members of the cluster, 1 to 5.
    pub nodes: u32,
    /// How plugins log in.
    pub auth: Auth,
    /// Life of a token.
    pub token_ttl: Time,
    /// Longest life of a token by renewals.
    pub token_max_ttl: Time,
    /// Tokens that cannot be renewed.
    pub batch: bool,
    /// How often a secret-id can be used; 0 without limit.
    pub secret_id_uses: u32,
    /// Life of a secret-id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_id_ttl: Option<Time>,
    /// Rights that the plugins' policy leaves out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Right>,
    /// Type of the Transit key.
    pub key_type: String,
}

impl Default for VaultTable {
    fn default() -> Self {
        let hours = |hours: u64| Time(std::time::Duration::from_secs(hours * 3600));
        Self {
            flavour: Flavour::Openbao,
            nodes: 1,
            auth: Auth::Approle,
            token_ttl: hours(1),
            token_max_ttl: hours(24),
            batch: false,
            secret_id_uses: 0,
            secret_id_ttl: None,
            without: Vec::new(),
            key_type: "aes256-gcm96".to_owned(),
        }
    }
}

/// `[world.latency]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LatencyTable {
    /// Between plugin and Vault.
    pub vault: TimeRange,
    /// On the plugin's socket.
    pub socket: TimeRange,
}

impl Default for LatencyTable {
    fn default() -> Self {
        let millis = std::time::Duration::from_millis;
        let micros = std::time::Duration::from_micros;
        Self {
            vault: TimeRange {
                min: millis(1),
                max: millis(3),
            },
            socket: TimeRange {
                min: micros(100),
                max: micros(100),
            },
        }
    }
}

/// `[load]`, per node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LoadTable {
    /// Writes, each to one of the node's objects.
    pub writes: Rate,
    /// Reads, each of any object.
    pub reads: Rate,
    /// Lists of all objects.
    pub lists: Rate,
    /// Objects that a node writes.
    pub objects: u32,
    /// Bytes of a value.
    pub size: u32,
}

impl Default for LoadTable {
    fn default() -> Self {
        let per_minute = |count: u64| Rate {
            milli: count * 1000,
            per: std::time::Duration::from_secs(60),
        };
        Self {
            writes: per_minute(6),
            reads: per_minute(12),
            lists: per_minute(1),
            objects: 10,
            size: 256,
        }
    }
}

/// `[phases]`. The audit has no length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PhasesTable {
    /// Everything starts.
    pub settle: Time,
    /// Load without faults.
    pub baseline: Time,
    /// Load and faults.
    pub fault: Time,
    /// What is still broken is mended.
    pub heal: Time,
    /// Load; everything must come back.
    pub liveness: Time,
}

impl Default for PhasesTable {
    fn default() -> Self {
        let seconds = |seconds: u64| Time(std::time::Duration::from_secs(seconds));
        Self {
            settle: seconds(30),
            baseline: seconds(60),
            fault: seconds(300),
            heal: seconds(10),
            liveness: seconds(180),
        }
    }
}

/// `[[fault]]`. Which of the parameters there are depends on the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FaultTable {
    /// Kebab-case name, unique in the file.
    pub id: String,
    /// What goes wrong.
    pub kind: Kind,
    /// When, after the fault phase begins.
    pub at: TimeRange,
    /// How long, for what lasts; until heal without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<TimeRange>,
    /// On which node, for what happens on nodes: a number, `all` or `any`; all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeChoice>,
    /// What it must touch at least, for the scenario to prove something.
    #[serde(default)]
    pub hits: HitsTable,
    /// Which requests to Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
    /// A delay or latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<TimeRange>,
    /// An HTTP code, 400 to 599.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `Retry-After`, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Time>,
    /// Only so many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Rights that the policy loses; all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights: Option<Vec<Right>>,
    /// How often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// A version of the key; the latest without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Requests a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// By how much a clock moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Time>,
    /// Whether a clock is behind rather than ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<bool>,
    /// Which edge of the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
    /// Which direction of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// A bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Which RPC; all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Rpc>,
    /// A gRPC code, 1 to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The message of a status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The providers of an encryption configuration, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<Provider>>,
    /// What is damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
    /// The number of an object of node 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<u32>,
}

/// `hits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HitsTable {
    /// Fewer make the scenario inconclusive.
    pub at_least: u64,
}

impl Default for HitsTable {
    fn default() -> Self {
        Self { at_least: 1 }
    }
}

/// On which nodes a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChoice {
    /// All of them.
    All,
    /// One, drawn from the seed.
    Any,
    /// This one.
    One(u32),
}

const NODE: &str = "a node's number, \"all\" or \"any\"";

impl<'de> Deserialize<'de> for NodeChoice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl de::Visitor<'_> for Reader {
            type Value = NodeChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(NODE)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<NodeChoice, E> {
                match text {
                    "all" => Ok(NodeChoice::All),
                    "any" => Ok(NodeChoice::Any),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<NodeChoice, E> {
                u32::try_from(number)
                    .map(NodeChoice::One)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
        }
        from.deserialize_any(Reader)
    }
}

impl Serialize for NodeChoice {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => to.serialize_str("all"),
            Self::Any => to.serialize_str("any"),
            Self::One(node) => to.serialize_u32(*node),
        }
    }
}

impl JsonSchema for NodeChoice {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NodeChoice".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": NODE,
            "anyOf": [{ "enum": ["all", "any"] }, { "type": "integer", "minimum": 0 }]
        })
    }
}

/// `[[expect]]`: one of `always`, `eventually`, `sometimes`, and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ExpectTable {
    /// Holds in every phase, or in the one that `during` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always: Option<String>,
    /// Holds from a moment within `within` after heal, to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eventually: Option<String>,
    /// Is seen at least once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sometimes: Option<String>,
    /// How soon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Time>,
    /// After what; `heal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// Only in this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub during: Option<PhaseName>,
    /// So many at most …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// … in this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<Time>,
    /// Only on this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// What a known fault of a server looks like. Where it is not so, the server no longer shows that fault: the run is
    /// reported as `not_shown`, and nothing has failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub upstream: bool,
}

/// What liveness is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// The beginning of the heal phase.
    Heal,
}

/// A phase to which an expectation is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseName {
    /// Load without faults.
    Baseline,
    /// Load and faults.
    Fault,
    /// Load; everything must come back.
    Liveness,
}

/// `[scale]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ScaleTable {
    /// Factor for times in the process arm, above 0 and at most 1.
    pub process: f64,
    /// The same in the cluster arm; that of the process arm without. There an API server says what it found within the
    /// last 20 s, so a fault that must show in its health has to last longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<f64>,
}

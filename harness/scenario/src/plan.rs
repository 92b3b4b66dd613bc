//! What a seed makes of a scenario: everything that was a range or a choice is drawn, each by its own label.

use std::time::Duration;

use kms_history::chaos::{Entry, Event};
use kms_judge::invariant::{Claim, Expectation, Mode};

use crate::fault::{Edge, Fault, Kind};
use crate::language::file::{ArmName, NodeChoice};
use crate::language::time::Rate;
use crate::language::{DEFAULT_SAFETY, Scenario};
use crate::seed::Seed;
use crate::world::{VaultSpec, WorldSpec};

/// Shortest time between two of the harness's own calls, in real time.
const LOOKED: Duration = Duration::from_millis(500);

/// One run, ready to be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The scenario's id.
    pub scenario: String,
    /// The root seed.
    pub seed: u64,
    /// The surroundings.
    pub world: WorldSpec,
    /// What clients do.
    pub load: Load,
    /// How long the phases are.
    pub phases: Phases,
    /// How often the harness itself asks each plugin.
    pub looks: Looks,
    /// What goes wrong, in the order of its time.
    pub faults: Vec<PlannedFault>,
    /// What is judged: what is always judged, then what the scenario expects.
    pub expectations: Vec<Expectation>,
    /// What a known fault of a server looks like.
    pub upstream: Vec<Expectation>,
}

/// The load on each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Writes.
    pub writes: Rate,
    /// Reads.
    pub reads: Rate,
    /// Lists.
    pub lists: Rate,
    /// Objects a node writes.
    pub objects: u32,
    /// Bytes of a value.
    pub size: u32,
}

/// The harness's own calls to each plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Between two Status calls.
    pub status: Duration,
    /// Between two Encrypt calls.
    pub encrypt: Duration,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            status: Duration::from_secs(10),
            encrypt: Duration::from_secs(30),
        }
    }
}

/// Lengths of the phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Until load begins.
    pub settle: Duration,
    /// Until faults begin.
    pub baseline: Duration,
    /// Until heal.
    pub fault: Duration,
    /// Until liveness.
    pub heal: Duration,
    /// Until the audit.
    pub liveness: Duration,
}

impl Phases {
    /// From the start to the audit.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.settle + self.baseline + self.fault + self.heal + self.liveness
    }
}

/// A fault with its time and place.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedFault {
    /// Unique in the run.
    pub id: String,
    /// What.
    pub fault: Fault,
    /// Where; all nodes for what they share.
    pub nodes: Vec<u32>,
    /// After the fault phase begins.
    pub at: Duration,
    /// How long; until heal if nothing, and for what happens once.
    pub length: Option<Duration>,
    /// What it must touch at least.
    pub hits: u64,
}

impl PlannedFault {
    /// How often the key, as a plugin sees it, may change by it.
    #[must_use]
    pub fn key_changes(&self) -> u32 {
        match self.fault {
            Fault::VaultRotate(times) => times,
            Fault::VaultRecreateKey | Fault::VaultMinEncryptionVersion(_) => 1,
            _ => 0,
        }
    }

    /// Whether RPCs of the plugin may be late or lost by it alone.
    #[must_use]
    pub fn hinders_rpcs(&self) -> bool {
        match self.fault {
            Fault::NetPartition(edge)
            | Fault::NetPartitionOneWay(edge, _)
            | Fault::NetHold(edge)
            | Fault::NetReset(edge)
            | Fault::NetHalfClose(edge, _)
            | Fault::NetLatency { edge, .. }
            | Fault::NetBandwidth(edge, _)
            | Fault::NetSlowReader(edge, _) => edge == Edge::Socket,
            _ => matches!(
                self.fault.kind(),
                Kind::RpcDelay
                    | Kind::RpcHold
                    | Kind::RpcStatus
                    | Kind::RpcCut
                    | Kind::PluginKill
                    | Kind::PluginRestart
                    | Kind::PluginStop
                    | Kind::PluginFreeze
                    | Kind::PluginStaleSocket
            ),
        }
    }

    /// Kind and parameters in words.
    #[must_use]
    pub fn words(&self) -> String {
        let debug = format!("{:?}", self.fault);
        let parameters = debug.find(['(', '{']).map_or("", |at| &debug[at..]);
        format!("{} {}", self.fault.kind(), parameters.trim())
            .trim_end()
            .to_owned()
    }
}

impl Plan {
    /// Draws a plan.
    #[must_use]
    pub fn of(scenario: &Scenario, seed: u64) -> Self {
        let form = &scenario.form;
        let root = Seed::root(seed);
        let mut faults: Vec<_> = scenario
            .faults
            .iter()
            .map(|timed| {
                let own = root.label("fault").label(&timed.id);
                let nodes = match timed.node {
                    NodeChoice::All => (0..form.world.nodes).collect(),
                    NodeChoice::One(node) => vec![node],
                    NodeChoice::Any => {
                        let last = u64::from(form.world.nodes.saturating_sub(1));
                        let node = own.label("node").number(&(0..=last));
                        vec![u32::try_from(node).unwrap_or(0)]
                    }
                };
                PlannedFault {
                    id: timed.id.clone(),
                    fault: timed.fault.clone(),
                    nodes,
                    at: own.label("at").duration(timed.at.min, timed.at.max),
                    length: timed
                        .length
                        .map(|range| own.label("for").duration(range.min, range.max)),
                    hits: timed.hits,
                }
            })
            .collect();
        faults.sort_by_key(|fault| fault.at);
        let judged_anyway = DEFAULT_SAFETY
            .into_iter()
            .filter(|claim| !form.waives.iter().any(|waived| waived == claim.name()))
            .map(|claim| Expectation {
                mode: Mode::Always { during: None },
                claim,
                node: None,
            })
            .filter(|default| {
                !scenario
                    .expectations
                    .iter()
                    .any(|own| replaces(own, default))
            });
        Self {
            scenario: form.id.clone(),
            seed,
            world: world(scenario, seed),
            load: Load {
                writes: form.load.writes,
                reads: form.load.reads,
                lists: form.load.lists,
                objects: form.load.objects,
                size: form.load.size,
            },
            phases: Phases {
                settle: form.phases.settle.0,
                baseline: form.phases.baseline.0,
                fault: form.phases.fault.0,
                heal: form.phases.heal.0,
                liveness: form.phases.liveness.0,
            },
            looks: Looks::default(),
            faults,
            expectations: judged_anyway
                .chain(scenario.expectations.iter().copied())
                .collect(),
            upstream: scenario.upstream.clone(),
        }
    }

    /// The same plan for the arm of real time: what we own (phases, faults, lives of tokens) lasts `factor` of what it
    /// says, at least a second where it is a life, and the load keeps its numbers. Timers of API server and plugin stay,
    /// and so do the bounds on them, so liveness is long enough to see the longest.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let by = |time: Duration| time.mul_f64(factor);
        let life = |time: Duration| by(time).max(Duration::from_secs(1)).min(time);
        let phases = &mut self.phases;
        self.looks = Looks {
            status: by(self.looks.status).max(LOOKED),
            encrypt: by(self.looks.encrypt).max(LOOKED),
        };
        for phase in [
            &mut phases.settle,
            &mut phases.baseline,
            &mut phases.fault,
            &mut phases.heal,
            &mut phases.liveness,
        ] {
            *phase = by(*phase);
        }
        for fault in &mut self.faults {
            fault.at = by(fault.at);
            fault.length = fault.length.map(by);
        }
        for rate in [
            &mut self.load.writes,
            &mut self.load.reads,
            &mut self.load.lists,
        ] {
            rate.per = by(rate.per);
        }
        // two calls of each kind after the bound, and the time that they may take
        let seen = 2 * self.looks.status.max(self.looks.encrypt) + Duration::from_secs(5);
        let all = self.expectations.iter().chain(&self.upstream);
        let bounds = all.filter_map(|it| match it.mode {
            Mode::Eventually { within } => Some(within + seen),
            _ => None,
        });
        let longest = bounds.max().unwrap_or_default();
        self.phases.liveness = self.phases.liveness.max(longest);
        let vault = &mut self.world.vault;
        vault.token_ttl = life(vault.token_ttl);
        vault.token_max_ttl = life(vault.token_max_ttl);
        vault.secret_id_ttl = vault.secret_id_ttl.map(life);
        self
    }

    /// The same plan for a cluster that is seen through one address: one node, whatever is behind it, and nothing judged
    /// that only the store, a fresh API server or the plugin's own socket would show ([`seen_through_an_address`]).
    #[must_use]
    pub fn through_one_address(mut self) -> Self {
        self.world.nodes = 1;
        for fault in &mut self.faults {
            fault.nodes = vec![0];
        }
        self.expectations
            .retain(|expectation| seen_through_an_address(&expectation.claim));
        self
    }

    /// The same plan with what could be judged after all, because somebody looked past the API server: into the store, or
    /// into logs that held a value. What the scenario waives stays waived.
    #[must_use]
    pub fn with_what_was_seen(mut self, scenario: &Scenario, history: &[Entry]) -> Self {
        let seen = |wanted: fn(&Event) -> bool| history.iter().any(|entry| wanted(&entry.event));
        let store = seen(|event| matches!(event, Event::Provider(_)));
        let leak = seen(|event| matches!(event, Event::Leak(_)));
        for (claim, seen) in [
            (Claim::NoPlaintextAnywhere, store || leak),
            (Claim::StoredByProvider, store),
        ] {
            let waived = scenario.form.waives.iter();
            if seen && !waived.clone().any(|waived| waived == claim.name()) {
                self.expectations.push(Expectation {
                    mode: Mode::Always { during: None },
                    claim,
                    node: None,
                });
            }
        }
        self
    }

    /// Whether a scenario can run in an arm at all.
    ///
    /// # Errors
    /// Why not.
    pub fn runs_in(scenario: &Scenario, arm: ArmName) -> Result<(), String> {
        if !scenario.form.arms.contains(&arm) {
            return Err(format!(
                "the scenario does not name the arm {}",
                arm.as_str()
            ));
        }
        Ok(())
    }
}

/// Whether somebody with nothing but a cluster's address can see what a claim is about.
#[must_use]
pub fn seen_through_an_address(claim: &Claim) -> bool {
    !matches!(
        claim,
        Claim::ReadableByFreshApiserver
            | Claim::ObjectsUnreadable
            | Claim::NoPlaintextAnywhere
            | Claim::StoredUnderCurrentKey
            | Claim::StoredByProvider
            | Claim::StatusTruthful { .. }
            | Claim::DeadlinesKept { .. }
            | Claim::NoSecondOwner
    )
}

/// Whether a scenario states an invariant with bounds of its own that is judged anyway.
fn replaces(own: &Expectation, default: &Expectation) -> bool {
    own.node.is_none()
        && matches!(own.mode, Mode::Always { during: None })
        && own.claim.name() == default.claim.name()
}

fn world(scenario: &Scenario, seed: u64) -> WorldSpec {
    let world = &scenario.form.world;
    let vault = &world.vault;
    WorldSpec {
        seed,
        nodes: world.nodes,
        server_version: world.server_version.clone(),
        vault: VaultSpec {
            flavour: vault.flavour,
            nodes: vault.nodes,
            auth: vault.auth,
            token_ttl: vault.token_ttl.0,
            token_max_ttl: vault.token_max_ttl.0,
            batch: vault.batch,
            secret_id_uses: vault.secret_id_uses,
            secret_id_ttl: vault.secret_id_ttl.map(|time| time.0),
            without: vault.without.clone(),
            key_type: vault.key_type.clone(),
        },
        vault_latency: (world.latency.vault.min, world.latency.vault.max),
        socket_latency: (world.latency.socket.min, world.latency.socket.max),
        plugin: world.plugin.clone(),
        providers: world.providers.clone(),
    }
}

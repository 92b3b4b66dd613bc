//! Swarm: the whole scenario is drawn from a seed. What is drawn are faults that a good plugin survives, so whatever
//! breaks is a finding.

use std::time::Duration;

use crate::fault::{Direction, Edge, Kind, Provider, Requests, Right, Rpc};
use crate::language::file::{
    After, ArmName, ExpectTable, FaultTable, LatencyTable, LoadTable, NodeChoice, PhasesTable,
    ScenarioFile, VaultTable, WorldTable,
};
use crate::language::time::{Rate, Time, TimeRange};
use crate::seed::Seed;
use crate::world::{Auth, Flavour};

/// Kinds that are drawn: nothing is lost for good by them.
const KINDS: [Kind; 31] = [
    Kind::VaultSeal,
    Kind::VaultStop,
    Kind::VaultRestart,
    Kind::VaultHold,
    Kind::VaultSlow,
    Kind::VaultError,
    Kind::VaultGarbage,
    Kind::VaultCutBody,
    Kind::VaultReset,
    Kind::VaultRevokeTokens,
    Kind::VaultExpireTokens,
    Kind::LoginRefused,
    Kind::VaultPolicyRemoved,
    Kind::VaultRotate,
    Kind::VaultQuota,
    Kind::NetPartition,
    Kind::NetPartitionOneWay,
    Kind::NetHold,
    Kind::NetReset,
    Kind::NetHalfClose,
    Kind::NetLatency,
    Kind::RpcDelay,
    Kind::RpcHold,
    Kind::RpcStatus,
    Kind::RpcCut,
    Kind::PluginRestart,
    Kind::PluginKill,
    Kind::PluginStop,
    Kind::PluginFreeze,
    Kind::ApiserverRestart,
    Kind::RewriteAll,
];

const FAULT_PHASE: Duration = Duration::from_secs(1800);

/// So many seconds after heal everything is well, whatever was broken.
const USUAL: u64 = 420;
/// But a rejected credential is tried again after a quarter of an hour only: five refusals in a row lock it for all.
const REJECTED: u64 = 960;

/// The most faults of a drawn scenario.
pub const MOST_FAULTS: u64 = 12;

/// Draws a scenario.
#[must_use]
pub fn draw(seed: u64) -> ScenarioFile {
    let root = Seed::root(seed).label("swarm");
    let number = |label: &str, from: u64, to: u64| {
        let drawn = root.label(label).number(&(from..=to));
        u32::try_from(drawn).unwrap_or(u32::MAX)
    };
    let seconds = |seconds: u64| Time(Duration::from_secs(seconds));
    let nodes = number("nodes", 1, 3);
    let ttl = u64::from(number("token-ttl", 60, 900));
    let max_ttl = ttl + u64::from(number("token-max-ttl", 0, 3600));
    let per_minute = |count: u32| Rate {
        milli: u64::from(count) * 1000,
        per: Duration::from_secs(60),
    };
    let faults = root.label("faults").number(&(1..=MOST_FAULTS));
    let fault: Vec<FaultTable> = (0..faults)
        .map(|index| fault(root.label(&format!("fault {index}")), index, nodes))
        .collect();
    let rejected = fault.iter().any(|fault| fault.kind == Kind::LoginRefused);
    let within = if rejected { REJECTED } else { USUAL };
    ScenarioFile {
        id: format!("swarm-{seed}"),
        title: "Drawn from the seed: every fault passes, and everything must come back".to_owned(),
        proves: vec!["KMS2-RT-01".to_owned()],
        mission: None,
        arms: vec![ArmName::Sim],
        waives: Vec::new(),
        world: WorldTable {
            nodes,
            server_version: format!("1.{}", number("server-version", 30, 37)),
            providers: vec![Provider::Kms, Provider::Identity],
            vault: VaultTable {
                flavour: *root
                    .label("flavour")
                    .pick(&[Flavour::Openbao, Flavour::Vault])
                    .unwrap_or(&Flavour::Openbao),
                nodes: 1,
                auth: *root
                    .label("auth")
                    .pick(&[Auth::Approle, Auth::Userpass])
                    .unwrap_or(&Auth::Approle),
                token_ttl: seconds(ttl),
                token_max_ttl: seconds(max_ttl),
                batch: root.label("batch").chance(20),
                ..VaultTable::default()
            },
            latency: LatencyTable {
                vault: TimeRange {
                    min: Duration::from_millis(1),
                    max: Duration::from_millis(u64::from(number("latency", 2, 60))),
                },
                ..LatencyTable::default()
            },
            ..WorldTable::default()
        },
        load: LoadTable {
            writes: per_minute(number("writes", 2, 30)),
            reads: per_minute(number("reads", 2, 60)),
            lists: per_minute(number("lists", 1, 4)),
            objects: number("objects", 2, 20),
            size: number("size", 64, 4096),
        },
        phases: PhasesTable {
            fault: Time(FAULT_PHASE),
            liveness: seconds(within + 180),
            ..PhasesTable::default()
        },
        fault,
        expect: ["status-ok", "writes-ok", "reads-ok"]
            .into_iter()
            .map(|name| ExpectTable {
                eventually: Some(name.to_owned()),
                within: Some(seconds(within)),
                after: Some(After::Heal),
                ..ExpectTable::default()
            })
            .collect(),
        scale: None,
    }
}

fn fault(seed: Seed, index: u64, nodes: u32) -> FaultTable {
    let kind = *seed.label("kind").pick(&KINDS).unwrap_or(&Kind::VaultSeal);
    let range = |label: &str, min: u64, max: u64| {
        let time = seed
            .label(label)
            .duration(Duration::from_secs(min), Duration::from_secs(max));
        let time = Duration::from_secs(time.as_secs().max(1));
        TimeRange {
            min: time,
            max: time,
        }
    };
    let node = u64::from(nodes);
    let node = match seed.label("node").number(&(0..=node)) {
        drawn if drawn == node => NodeChoice::All,
        drawn => NodeChoice::One(u32::try_from(drawn).unwrap_or(0)),
    };
    let latency = TimeRange {
        min: Duration::from_millis(10),
        max: Duration::from_millis(seed.label("latency").number(&(20..=4000))),
    };
    let edge = *seed
        .label("edge")
        .pick(&[Edge::Vault, Edge::Socket])
        .unwrap_or(&Edge::Vault);
    let requests = *seed
        .label("requests")
        .pick(&[
            Requests::All,
            Requests::Login,
            Requests::Renew,
            Requests::Transit,
            Requests::Encrypt,
            Requests::Decrypt,
            Requests::KeyRead,
        ])
        .unwrap_or(&Requests::All);
    let method = *seed
        .label("method")
        .pick(&[
            None,
            Some(Rpc::Status),
            Some(Rpc::Encrypt),
            Some(Rpc::Decrypt),
        ])
        .unwrap_or(&None);
    let is = |kinds: &[Kind]| kinds.contains(&kind);
    FaultTable {
        id: format!("f{index}-{}", kind.name()),
        kind,
        at: range("at", 1, 1400),
        r#for: kind.lasts().then(|| range("for", 1, 390)),
        node: kind.on_nodes().then_some(node),
        hits: crate::language::file::HitsTable::default(),
        requests: is(&[
            Kind::VaultHold,
            Kind::VaultSlow,
            Kind::VaultError,
            Kind::VaultGarbage,
            Kind::VaultCutBody,
            Kind::VaultReset,
        ])
        .then_some(requests),
        latency: is(&[Kind::VaultSlow, Kind::NetLatency, Kind::RpcDelay]).then_some(latency),
        status: is(&[Kind::VaultError]).then(|| {
            *seed
                .label("status")
                .pick(&[403, 429, 500, 502, 503])
                .unwrap_or(&503)
        }),
        retry_after: None,
        count: None,
        rights: (kind == Kind::VaultPolicyRemoved).then(|| {
            let rights = [Right::Encrypt, Right::Decrypt, Right::KeyRead, Right::Renew];
            vec![*seed.label("right").pick(&rights).unwrap_or(&Right::Encrypt)]
        }),
        times: None,
        version: None,
        rate: (kind == Kind::VaultQuota).then(|| {
            let rate = seed.label("rate").number(&(1..=5));
            u32::try_from(rate).unwrap_or(1)
        }),
        by: None,
        behind: None,
        edge: is(&[
            Kind::NetPartition,
            Kind::NetPartitionOneWay,
            Kind::NetHold,
            Kind::NetReset,
            Kind::NetHalfClose,
            Kind::NetLatency,
        ])
        .then_some(edge),
        direction: is(&[Kind::NetPartitionOneWay, Kind::NetHalfClose]).then(|| {
            *seed
                .label("direction")
                .pick(&[Direction::Requests, Direction::Answers])
                .unwrap_or(&Direction::Requests)
        }),
        bytes_per_second: None,
        method: is(&[Kind::RpcDelay, Kind::RpcHold, Kind::RpcStatus, Kind::RpcCut])
            .then_some(method)
            .flatten(),
        code: (kind == Kind::RpcStatus).then_some(14),
        message: None,
        providers: None,
        damage: None,
        object: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{read, write};

    #[test]
    fn what_is_drawn_is_a_right_scenario() {
        for seed in 0..300 {
            let text = write(&draw(seed)).unwrap();
            if let Err(problems) = read(&text, None) {
                panic!("seed {seed}: {}\n{text}", problems[0]);
            }
        }
    }
}

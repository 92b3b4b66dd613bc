//! What a cluster on integrated storage tells of itself: `sys/ha-status`, `sys/storage/raft/*`.
//!
//! Who leads and who is heard of comes from [`Core::set_members`]; nothing is replicated here.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    Core, Storage,
    call::Call,
    duration,
    fields::{Field, Kind},
    reply::{Outcome, Refused, Reply, done, ok},
};

/// How autopilot is set. The model stores it and shows it, and does nothing by it.
#[derive(Clone)]
pub(crate) struct Autopilot {
    cleanup_dead_servers: bool,
    dead_server_last_contact_threshold: Duration,
    last_contact_threshold: Duration,
    max_trailing_logs: i64,
    min_quorum: i64,
    server_stabilization_time: Duration,
}

impl Default for Autopilot {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: false,
            dead_server_last_contact_threshold: Duration::from_secs(24 * 3600),
            last_contact_threshold: Duration::from_secs(10),
            max_trailing_logs: 1000,
            min_quorum: 0,
            server_stabilization_time: Duration::from_secs(10),
        }
    }
}

pub(crate) const AUTOPILOT: &[Field] = &[
    ("cleanup_dead_servers", Kind::Bool),
    ("dead_server_last_contact_threshold", Kind::Seconds),
    ("last_contact_threshold", Kind::Seconds),
    ("max_trailing_logs", Kind::Int),
    ("min_quorum", Kind::Int),
    ("server_stabilization_time", Kind::Seconds),
];

/// Storage in memory has none of this.
fn on_raft(core: &Core) -> Result<(), Refused> {
    match core.options.storage {
        Storage::Raft => Ok(()),
        Storage::Inmem => Err(Refused::unsupported_path()),
    }
}

pub(crate) fn ha_status(core: &mut Core, _: &Call) -> Outcome {
    let echo = core.rfc3339(core.now);
    let (version, vault) = (core.flavour.version(), core.flavour.is_vault());
    let members = core.members();
    let heard = members.iter().filter(|member| member.heard);
    let nodes: Vec<Value> = heard
        .map(|member| {
            let mut node = json!({
                "hostname": "localhost",
                "api_address": member.api_addr,
                "cluster_address": format!("https://{}", member.cluster_addr),
                "active_node": member.leads,
                "last_echo": (!member.leads).then_some(&echo),
                "version": version,
                "upgrade_version": version,
            });
            if vault {
                node["echo_duration_ms"] = 0.into();
                node["clock_skew_ms"] = 0.into();
                node["replication_primary_canary_age_ms"] = 0.into();
            }
            node
        })
        .collect();
    Ok(Some(Reply::data(json!({ "nodes": nodes })).top_level()))
}

pub(crate) fn configuration(core: &mut Core, _: &Call) -> Outcome {
    on_raft(core)?;
    let leads = core.leader().is_some();
    let servers: Vec<Value> = core
        .members()
        .iter()
        .map(|member| {
            json!({
                "node_id": member.name,
                "address": member.cluster_addr,
                "leader": leads && member.leads,
                "protocol_version": "3",
                "voter": true,
            })
        })
        .collect();
    ok(json!({ "config": { "servers": servers, "index": 0 } }))
}

/// Vault takes a POST for the same.
pub(crate) fn configuration_by_post(core: &mut Core, call: &Call) -> Outcome {
    if core.flavour.is_openbao() {
        return Err(Refused::unsupported_operation());
    }
    configuration(core, call)
}

pub(crate) fn autopilot_state(core: &mut Core, _: &Call) -> Outcome {
    on_raft(core)?;
    let (since, version) = (core.rfc3339(Duration::ZERO), core.flavour.version());
    let members = core.members();
    let heard = members.iter().filter(|member| member.heard).count();
    let servers: Map<String, Value> = members
        .iter()
        .map(|member| {
            let server = json!({
                "id": member.name,
                "name": member.name,
                "address": member.cluster_addr,
                "node_status": "alive",
                "last_contact": "0s",
                "last_term": if member.heard { 1 } else { 0 },
                "last_index": if member.heard { core.index } else { 0 },
                "healthy": member.heard,
                "stable_since": since,
                "status": if member.leads { "leader" } else { "voter" },
                "version": version,
                "node_type": "voter",
            });
            (member.name.clone(), server)
        })
        .collect();
    let voters: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let leader = members.iter().find(|member| member.leads);
    ok(json!({
        "failure_tolerance": heard.saturating_sub(members.len() / 2 + 1),
        "healthy": heard == members.len(),
        "leader": leader.map(|member| &member.name),
        "servers": servers,
        "voters": voters,
    }))
}

pub(crate) fn read_autopilot(core: &mut Core, _: &Call) -> Outcome {
    on_raft(core)?;
    let set = &core.autopilot;
    let mut shown = json!({
        "cleanup_dead_servers": set.cleanup_dead_servers,
        "dead_server_last_contact_threshold": duration::long(set.dead_server_last_contact_threshold),
        "last_contact_threshold": duration::long(set.last_contact_threshold),
        "max_trailing_logs": set.max_trailing_logs,
        "min_quorum": set.min_quorum,
        "server_stabilization_time": duration::long(set.server_stabilization_time),
    });
    if core.flavour.is_vault() {
        shown["disable_upgrade_migration"] = false.into();
    }
    ok(shown)
}

pub(crate) fn write_autopilot(core: &mut Core, call: &Call) -> Outcome {
    on_raft(core)?;
    let (set, args) = (&mut core.autopilot, &call.args);
    let time = |name, field: &mut Duration| {
        if let Some(given) = args.opt_seconds(name) {
            *field = given;
        }
    };
    time(
        "dead_server_last_contact_threshold",
        &mut set.dead_server_last_contact_threshold,
    );
    time("last_contact_threshold", &mut set.last_contact_threshold);
    time(
        "server_stabilization_time",
        &mut set.server_stabilization_time,
    );
    for (name, field) in [
        ("max_trailing_logs", &mut set.max_trailing_logs),
        ("min_quorum", &mut set.min_quorum),
    ] {
        *field = args.opt_int(name).unwrap_or(*field);
    }
    if let Some(cleans) = args.opt_bool("cleanup_dead_servers") {
        set.cleanup_dead_servers = cleans;
    }
    done()
}

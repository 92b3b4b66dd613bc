//! `sys/health`, `sys/seal-status`, `sys/leader`: what load balancers and plugins ask without a token.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Core, Request, Response, Storage,
    pipeline::{Target, sealed},
    reply::Refused,
};

#[derive(Serialize)]
struct Health<'a> {
    initialized: bool,
    sealed: bool,
    standby: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    performance_standby: Option<bool>,
    replication_performance_mode: &'a str,
    replication_dr_mode: &'a str,
    server_time_utc: u64,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    enterprise: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<&'a str>,
    #[serde(flatten)]
    tail: serde_json::Map<String, Value>,
}

pub(crate) fn answer(core: &Core, request: &Request, target: &Target) -> Response {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return core.refuse(Refused::Empty(405));
    }
    let mut codes = [
        ("activecode", 200u16),
        ("standbycode", 429),
        ("sealedcode", 503),
        ("uninitcode", 501),
        ("haunhealthycode", 474),
        // DOCS-ONLY
        ("performancestandbycode", 473),
    ];
    for (name, code) in &mut codes {
        if let Some(text) = target.get(name) {
            let Ok(wanted) = text.parse::<i64>() else {
                return core.refuse(Refused::Empty(400));
            };
            *code = u16::try_from(wanted).unwrap_or(0);
        }
    }
    for name in ["standbyok", "perfstandbyok"] {
        // OpenBao has no performance standbys
        let read = name == "standbyok" || core.flavour.is_vault();
        if read
            && target.get(name).is_some_and(|v| {
                !matches!(
                    v,
                    "" | "1"
                        | "0"
                        | "t"
                        | "f"
                        | "true"
                        | "false"
                        | "True"
                        | "False"
                        | "TRUE"
                        | "FALSE"
                        | "T"
                        | "F"
                )
            })
        {
            return core.refuse(Refused::Empty(400));
        }
    }
    let initialised = core.seal.initialised && !core.node.uninitialised;
    let standby = core.node.standby;
    let on = |name: &str| {
        target
            .get(name)
            .is_some_and(|v| matches!(v, "" | "1" | "t" | "true" | "True" | "TRUE" | "T"))
    };
    let standby_ok = on("standbyok");
    let status = match (initialised, core.sealed()) {
        (false, _) => codes[3].1,
        (true, true) => codes[2].1,
        (true, false) if !standby => codes[0].1,
        (true, false) if core.leader_unhealthy() => codes[4].1,
        // DOCS-ONLY: `standbyok` is not for performance standbys
        (true, false) if core.is_performance_standby() => {
            if on("perfstandbyok") {
                codes[0].1
            } else {
                codes[5].1
            }
        }
        (true, false) if standby_ok => codes[0].1,
        (true, false) => codes[1].1,
    };
    if !(100..1000).contains(&status) {
        return Response::closed();
    }
    let vault = core.flavour.is_vault();
    let raft = core.options.storage == Storage::Raft;
    let active = !core.sealed();
    let known = active && (!standby || core.node.settled);
    let (performance, dr) = match (known, raft) {
        (false, _) => ("unknown", "unknown"),
        (true, true) if !vault => ("primary", "disabled"),
        (true, _) => ("disabled", "disabled"),
    };
    let mut tail = json!({});
    if vault {
        tail = json!({ "echo_duration_ms": 0, "clock_skew_ms": 0, "replication_primary_canary_age_ms": 0 });
        if raft {
            tail["removed_from_cluster"] = false.into();
        }
        if standby && core.node.settled && active {
            tail["ha_connection_healthy"] = (!core.leader_unhealthy()).into();
            tail["last_request_forwarding_heartbeat_ms"] = 0.into();
        }
    }
    let mut tail = crate::reply::object(tail);
    core.health_of_licence(&mut tail);
    let version = core.version();
    let health = Health {
        initialized: initialised,
        sealed: !active,
        standby: standby || !active,
        performance_standby: vault.then_some(core.is_performance_standby()),
        replication_performance_mode: performance,
        replication_dr_mode: dr,
        server_time_utc: core.unix(),
        version: &version,
        enterprise: vault.then_some(core.is_enterprise()),
        cluster_name: active.then_some(core.cluster_name.as_str()),
        cluster_id: active.then_some(core.cluster_id.as_str()),
        tail,
    };
    let body = if request.method == "HEAD" {
        String::new()
    } else {
        serde_json::to_string(&health).unwrap_or_default() + "\n"
    };
    core.finish(status, Bytes::from(body), true)
}

/// The answer of `sys/seal-status` and of every unseal step.
pub(crate) fn status_body(core: &Core) -> Value {
    let seal = &core.seal;
    let mut body = json!({
        "type": "shamir",
        "initialized": seal.initialised,
        "sealed": core.sealed(),
        "t": seal.threshold,
        "n": seal.shares.len(),
        "progress": seal.given.len(),
        "nonce": seal.nonce,
        "recovery_seal": false,
        "version": core.version(),
        "migration": false,
        "storage_type": if core.options.storage == Storage::Raft { "raft" } else { "inmem" },
    });
    if core.flavour.is_vault() {
        body["build_date"] = "2025-03-05T00:00:00Z".into();
        if core.options.storage == Storage::Raft {
            body["removed_from_cluster"] = false.into();
        }
    } else {
        body["commit_date"] = "2026-10-01T00:00:00Z".into();
    }
    if !core.sealed() {
        body["cluster_name"] = core.cluster_name.as_str().into();
        body["cluster_id"] = core.cluster_id.as_str().into();
    }
    body
}

pub(crate) fn seal_status(core: &Core, request: &Request) -> Response {
    if request.method != "GET" {
        return core.refuse(Refused::Empty(405));
    }
    plain(core, 200, &status_body(core))
}

pub(crate) fn leader(core: &Core, request: &Request) -> Response {
    if request.method != "GET" {
        return core.refuse(Refused::Empty(405));
    }
    if core.sealed() {
        return core.refuse(sealed());
    }
    let (raft, active) = (core.options.storage == Storage::Raft, !core.node.standby);
    let vault = core.flavour.is_vault();
    let mut body = json!({ "ha_enabled": raft });
    if raft || vault {
        body["is_self"] = (raft && active).into();
    }
    if vault {
        body["leader_address"] = "".into();
        body["leader_cluster_address"] = "".into();
        body["performance_standby"] = core.is_performance_standby().into();
        body["performance_standby_last_remote_wal"] = 0.into();
        body["active_time"] = "0001-01-01T00:00:00Z".into();
    }
    if raft {
        if let Some(leader) = core.leader() {
            body["leader_address"] = leader.api_addr.into();
            body["leader_cluster_address"] = format!("https://{}", leader.cluster_addr).into();
        }
        if active {
            body["active_time"] = core.rfc3339(std::time::Duration::ZERO).into();
        }
        body["raft_committed_index"] = core.index.into();
        body["raft_applied_index"] = core.index.into();
    }
    plain(core, 200, &body)
}

/// An answer that is no envelope.
pub(crate) fn plain(core: &Core, status: u16, body: &Value) -> Response {
    core.finish(status, Bytes::from(body.to_string() + "\n"), true)
}

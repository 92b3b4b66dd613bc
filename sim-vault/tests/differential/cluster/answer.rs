//! Answers of nodes made comparable: beside what [`crate::shape`] replaces, what comes with heartbeats and elections.

use serde_json::Value;
use sim_vault::Response;

use super::{nodes::NODES, reference::member};
use crate::{
    client::Answer,
    shape::{self, Said},
};

/// The live node's answer.
pub fn of_wire(path: &str, answer: Result<Answer, &'static str>, votes: [bool; NODES]) -> Said {
    match answer {
        Ok(answer) => {
            let body = tidied(path, &answer.body, votes);
            shape::of(path, answer.status, &answer.headers, &body)
        }
        Err(_) => shape::of_wire(path, Err("closed")),
    }
}

/// The model's answer.
pub fn of_model(method: &str, path: &str, response: &Response) -> Said {
    let mut response = response.clone();
    response.body = tidied(path, &response.body, [true; NODES]).into();
    shape::of_model(method, path, &response)
}

/// Replaces what is chance. A node that is gone stays among those that were heard of for a while: `votes` names the others.
fn tidied(path: &str, body: &[u8], votes: [bool; NODES]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return body.to_vec();
    };
    if path.ends_with("/sys/ha-status") {
        let gone = |node: &Value| {
            (0..NODES).any(|role| !votes[role] && node["api_address"] == member(role).api_addr)
        };
        for pointer in ["/nodes", "/data/nodes"] {
            if let Some(Value::Array(nodes)) = value.pointer_mut(pointer) {
                nodes.retain(|node| !gone(node));
            }
        }
    }
    if path.ends_with("/autopilot/state")
        && let Some(data) = value.get_mut("data")
    {
        // it is looked at every few seconds only
        forms(data);
    }
    if path.contains("/sys/health") && value["standby"] == true && value["sealed"] == false {
        heartbeat(&mut value);
    }
    tidy(&mut value);
    let mut out = value.to_string().into_bytes();
    if body.ends_with(b"\n") {
        out.push(b'\n');
    }
    out
}

/// Whether one has come since this node is a standby.
fn heartbeat(health: &mut Value) {
    for (field, values) in [
        (
            "replication_performance_mode",
            ["unknown", "primary", "disabled"],
        ),
        ("replication_dr_mode", ["unknown", "disabled", "disabled"]),
    ] {
        if values.iter().any(|v| health[field] == *v) {
            health[field] = "<after a heartbeat>".into();
        }
    }
    if let Some(health) = health.as_object_mut() {
        health.remove("ha_connection_healthy");
        health.remove("last_request_forwarding_heartbeat_ms");
    }
}

/// Numbers that count or measure, in the order of names.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                let counter = matches!(
                    name.as_str(),
                    "raft_committed_index"
                        | "raft_applied_index"
                        | "echo_duration_ms"
                        | "clock_skew_ms"
                );
                if counter && value.is_i64() || name == "hostname" && value.is_string() {
                    *value = "<any>".into();
                }
                tidy(value);
            }
        }
        Value::Array(list) => {
            list.iter_mut().for_each(tidy);
            if list.iter().all(Value::is_object) {
                list.sort_by_key(Value::to_string);
            }
        }
        _ => {}
    }
}

/// Only the kinds of values.
fn forms(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(forms),
        other => {
            *other = match other {
                Value::Bool(_) => "<true or false>",
                Value::Number(_) => "<number>",
                Value::String(_) => "<text>",
                Value::Array(_) => "<list>",
                _ => "<null>",
            }
            .into();
        }
    }
}

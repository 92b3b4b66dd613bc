//! What was seen on a node: API servers and plugin.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::{self, RESOURCES};
use super::{components, items, log, node_of, seen, sha256, text};
use crate::evidence::{
    Check, Metrics, Node, Outcome, Plugin, Pod, Readyz, Seen, Server, Socket, Status, Why,
};
use crate::raw::Raw;
use crate::sign::{self, Sign};
use crate::veil::Veil;

const PHASES: &[&str] = &["Pending", "Running", "Succeeded", "Failed", "Unknown"];
const WAITING: &[&str] = &[
    "ContainerCreating",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "Error",
    "ImagePullBackOff",
    "InvalidImageName",
    "OOMKilled",
    "PodInitializing",
    "RunContainerError",
];

pub(super) fn node(raw: &Raw, veil: &Veil, name: &str) -> Node {
    let servers = components().map(|component| {
        (
            component.to_owned(),
            server(raw, veil, &format!("nodes/{name}/{component}")),
        )
    });
    let at = format!("nodes/{name}/plugin");
    let empty = Server::default();
    Node {
        servers: servers.filter(|(_, it)| *it != empty).collect(),
        plugin: Plugin {
            pods: Seen::default(),
            socket: seen(raw.json(&format!("{at}.socket.json")).map(|it| socket(&it))),
            status: seen(
                raw.json(&format!("{at}.status.json"))
                    .map(|it| status(&it, veil)),
            ),
            log: seen(
                raw.text(&format!("{at}.log"))
                    .map(|it| log::log(&it, raw.taken, veil)),
            ),
        },
    }
}

fn server(raw: &Raw, veil: &Veil, at: &str) -> Server {
    let config = raw.bytes(&format!("{at}.config.json"));
    Server {
        pod: Seen::default(),
        config: seen(config.and_then(|text| config::config(text, veil))),
        readyz: seen(
            raw.text(&format!("{at}.readyz.txt"))
                .map(|it| readyz(&it, veil)),
        ),
        check: seen(
            raw.text(&format!("{at}.check.txt"))
                .map(|it| check(&it, veil)),
        ),
        lists: seen(
            raw.json(&format!("{at}.lists.json"))
                .map(|it| lists(&it, veil)),
        ),
        metrics: seen(
            raw.text(&format!("{at}.metrics.txt"))
                .map(|it| metrics(&it, veil)),
        ),
        log: seen(
            raw.text(&format!("{at}.log"))
                .map(|it| log::server_log(&it, raw.taken, veil)),
        ),
    }
}

fn socket(it: &Value) -> Socket {
    let yes = |name: &str| it[name].as_bool().unwrap_or_default();
    Socket {
        there: yes("there"),
        socket: yes("socket"),
        mode: it["mode"]
            .as_u64()
            .and_then(|mode| u32::try_from(mode).ok()),
    }
}

/// The hash of a key_id, as the API server's metrics have it.
pub(crate) fn key_id_hash(key_id: &str) -> String {
    sha256(key_id.as_bytes())
}

fn status(it: &Value, veil: &Veil) -> Status {
    let (healthz, message) = (text(it, "/healthz"), text(it, "/message"));
    let outcome = if let Some(connect) = it["connect"].as_str() {
        match connect {
            "no_socket" => Outcome::NoSocket,
            "denied" => Outcome::Denied,
            "silent" => Outcome::Silent,
            _ => Outcome::Nobody,
        }
    } else if let Some(code) = it["code"].as_u64() {
        let code = u32::try_from(code).unwrap_or(u32::MAX);
        Outcome::Error { code }
    } else if healthz == "ok" {
        Outcome::Good {
            key_id: key_id_hash(text(it, "/key_id")),
            version: veil.one_of(&["v2", "v2beta1", "v2alpha1"], text(it, "/version")),
        }
    } else {
        Outcome::Sick
    };
    let words = if message.is_empty() && healthz != "ok" {
        healthz
    } else {
        message
    };
    Status {
        outcome,
        signs: sign::signs(words),
        text: veil.text(words),
        took_ms: it["took_ms"].as_u64().unwrap_or_default(),
    }
}

/// Lines `[+]name ok` and `[-]name failed: …`; a plain `ok` passes.
fn readyz(body: &str, veil: &Veil) -> Readyz {
    let failed: Vec<String> = body
        .lines()
        .filter_map(|line| line.strip_prefix("[-]"))
        .map(|rest| veil.text(rest.split(' ').next().unwrap_or_default()))
        .collect();
    let good = |line: &str| line.trim() == "ok" || line.ends_with("check passed");
    Readyz {
        passes: failed.is_empty() && body.lines().any(good),
        failed,
    }
}

/// How plugins say that it is Vault that is slow or not reached, and not they themselves.
const OF_VAULT: &[&str] = &["reach vault", "from vault", "dial tcp"];

fn check(text: &str, veil: &Veil) -> Check {
    let mut signs = sign::signs(text);
    let lower = text.to_lowercase();
    if !OF_VAULT.iter().any(|words| lower.contains(words)) {
        signs.retain(|sign| !matches!(sign, Sign::Slow | Sign::Unreachable));
    }
    Check {
        signs,
        text: veil.text(text),
    }
}

fn lists(it: &Value, veil: &Veil) -> BTreeMap<String, Vec<Sign>> {
    let all = it.as_object().into_iter().flatten();
    all.map(|(resource, answer)| {
        let (code, message) = (answer["code"].as_u64(), text(answer, "/message"));
        // a server that has just started tells what it cannot list as a 429; any other 429 is about the caller
        let starts = code == Some(429) && message.contains("initializing");
        let signs = if starts || code.is_some_and(|code| code >= 500) {
            sign::signs(message)
        } else {
            Vec::new()
        };
        (veil.one_of(RESOURCES, resource), signs)
    })
    .collect()
}

const STATUS_TIMES: &str =
    "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds";
const CALLS: &str = "apiserver_envelope_encryption_kms_operations_latency_seconds_count";

fn metrics(body: &str, veil: &Veil) -> Metrics {
    let mut found = Metrics::default();
    for line in body.lines() {
        let Some((name, rest)) = line.split_once('{') else {
            continue;
        };
        let Some((labels, value)) = rest.rsplit_once("} ") else {
            continue;
        };
        let label = |name: &str| {
            let at = labels.split(&format!("{name}=\"")).nth(1)?;
            Some(at.split('"').next().unwrap_or_default())
        };
        let number: f64 = value
            .split(' ')
            .next()
            .and_then(|it| it.parse().ok())
            .unwrap_or_default();
        match name {
            STATUS_TIMES => {
                let (Some(provider), Some(hash)) = (label("provider_name"), label("key_id_hash"))
                else {
                    continue;
                };
                let provider = config::number(provider.split('_').next().unwrap_or_default(), veil);
                let hash = if is_hash(hash) {
                    hash.to_owned()
                } else {
                    veil.hash(hash)
                };
                let newer = (hash, number as i64);
                let known = found
                    .status
                    .entry(provider)
                    .or_insert_with(|| newer.clone());
                if known.1 < newer.1 {
                    *known = newer;
                }
            }
            CALLS => {
                let method = label("method_name").and_then(|it| it.rsplit('/').next());
                let code = label("grpc_status_code").unwrap_or_default();
                let key = format!("{} {code}", method.unwrap_or_default());
                *found.calls.entry(veil.text(&key)).or_default() += number as u64;
            }
            _ => {}
        }
    }
    found
}

fn is_hash(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A pod without its text fields.
pub(super) fn pod(veil: &Veil, it: &Value) -> Pod {
    let status = &it["status"];
    let containers = ["containerStatuses", "initContainerStatuses"];
    let containers = containers
        .iter()
        .flat_map(|name| status[*name].as_array().into_iter().flatten());
    let mut waiting = Vec::new();
    let mut restarts = 0;
    for container in containers {
        restarts += container["restartCount"].as_u64().unwrap_or_default();
        let reason = text(container, "/state/waiting/reason");
        let reason = if reason.is_empty() {
            text(container, "/state/terminated/reason")
        } else {
            reason
        };
        if !reason.is_empty() && reason != "Completed" {
            waiting.push(veil.one_of(WAITING, reason));
        }
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|it| text(it, "/type") == "Ready");
    Pod {
        revision: text(it, "/metadata/labels/revision").parse().ok(),
        phase: veil.one_of(PHASES, text(status, "/phase")),
        ready: ready.any(|it| text(it, "/status") == "True"),
        restarts,
        waiting,
    }
}

/// Whether a pod of kube-system is a plugin's: nothing but its name tells.
pub(super) fn is_plugin(pod: &Value) -> bool {
    text(pod, "/metadata/name").contains("kms")
}

/// Enters the plugins' pods at their nodes: static pods, and sidecars of API servers.
pub(super) fn plugin_pods(raw: &Raw, veil: &Veil, nodes: &mut BTreeMap<String, Node>) {
    let why = match raw.bytes("cluster/pods.json") {
        Err(Why::NotAsked) => return,
        Err(why) => Some(why),
        Ok(_) => None,
    };
    let found = items(raw, "cluster/pods.json");
    for (shown, node) in nodes.iter_mut() {
        let here = |it: &&Value| node_of(it).is_some_and(|name| veil.node(&name) == *shown);
        let pods = found.iter().filter(|it| is_plugin(it)).filter(here);
        node.plugin.pods = match why {
            Some(why) => Seen::NotSeen(why),
            None => Seen::Seen(pods.map(|it| pod(veil, it)).collect()),
        };
    }
    sidecars(raw, veil, nodes);
}

/// A sidecar is an init container that goes on running.
fn sidecars(raw: &Raw, veil: &Veil, nodes: &mut BTreeMap<String, Node>) {
    for component in components() {
        for it in items(raw, &format!("cluster/pods/{component}.json")) {
            let statuses = it
                .pointer("/status/initContainerStatuses")
                .and_then(Value::as_array);
            let ours: Vec<&Value> = statuses
                .into_iter()
                .flatten()
                .filter(|it| text(it, "/name").starts_with("vault-kms-plugin"))
                .collect();
            let node = node_of(&it).and_then(|name| nodes.get_mut(&veil.node(&name)));
            let (Some(node), false) = (node, ours.is_empty()) else {
                continue;
            };
            let all = ours.into_iter().map(|it| {
                let reason = text(it, "/state/waiting/reason");
                let waits = (!reason.is_empty()).then(|| veil.one_of(WAITING, reason));
                Pod {
                    revision: None,
                    phase: "Running".to_owned(),
                    ready: it.pointer("/state/running").is_some(),
                    restarts: it["restartCount"].as_u64().unwrap_or_default(),
                    waiting: waits.into_iter().collect(),
                }
            });
            match &mut node.plugin.pods {
                Seen::Seen(pods) => pods.extend(all),
                missing => *missing = Seen::Seen(all.collect()),
            }
        }
    }
}

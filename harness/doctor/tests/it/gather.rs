//! Gathers what a simulated cluster shows, as the documents that a real one gives.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use kms_apiserver_api::ListOptions;
use kms_controlplane::cluster::{Management, target_config_name};
use kms_controlplane::encryption_config::CONFIG_KEY;
use kms_controlplane::object::{
    COMPONENT_LABEL, MANAGED_NAMESPACE, MigrationState, PREFIX, PodPhase, Secret, Status,
};
use kms_controlplane::plane::{COMPONENTS, What};
use kms_doctor::evidence::{Evidence, Why};
use kms_doctor::raw::Raw;
use kms_doctor::{Diagnosis, intake};
use kms_rehearse::oc;
use kms_rehearse::world::plugin::{SOCKET, plugin_host};
use kms_rehearse::world::servers::{STORAGE, everything};
use kms_rehearse::world::vault::{KEY, MOUNT};
use kms_rehearse::world::{World, node_name};
use kms_v2_api::StatusRequest;
use kms_v2_api::client::KeyManagementServiceClient;
use serde_json::{Value, json};
use sim_vault::Request;
use tonic::transport::Endpoint;
use tower::service_fn;

/// As long as the harness's own look at Status takes at most.
const STATUS: Duration = Duration::from_secs(10);

/// Everything that can be seen.
pub async fn gather(world: &World) -> Raw {
    let mut raw = Raw::new(world.clock.now().as_second());
    objects(world, &mut raw);
    for (component, (name, ..)) in COMPONENTS.iter().enumerate() {
        operator(world, component, name, &mut raw);
        put(
            &mut raw,
            &format!("etcd/{name}.json"),
            &etcd(world, component).await,
        );
    }
    for node in 0..world.plan.nodes {
        servers(world, node, &mut raw).await;
        plugin(world, node, &mut raw).await;
    }
    vault(world, &mut raw);
    raw
}

/// Evidence with a fixed salt.
pub async fn evidence(world: &World) -> Evidence {
    intake::evidence(&gather(world).await, [1; 32]).0
}

/// What the doctor says of the cluster now.
pub async fn ids(world: &World) -> Vec<String> {
    let seen = evidence(world).await;
    let found = Diagnosis::of(&seen).findings;
    found.into_iter().map(|it| it.id).collect()
}

pub fn put(raw: &mut Raw, name: &str, value: &Value) {
    raw.add(name, Ok(serde_json::to_vec(value).unwrap()));
}

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn secret(it: &Secret) -> Value {
    let data: BTreeMap<&str, String> = it
        .data
        .iter()
        .map(|(name, value)| (name.as_str(), STANDARD.encode(value)))
        .collect();
    let mut object = json!({
        "metadata": {
            "name": it.name, "namespace": it.namespace, "labels": it.labels,
            "annotations": it.annotations, "finalizers": it.finalizers,
        },
        "data": data,
    });
    if it.deleting {
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    object
}

fn objects(world: &World, raw: &mut Raw) {
    let cluster = &world.plane.cluster;
    let mut encryption = json!({"type": cluster.spec.mode});
    if let Some(kms) = &cluster.spec.kms {
        encryption["kms"] = json!(kms);
    }
    let spec = json!({"spec": {"encryption": encryption}});
    put(raw, "cluster/apiserver.json", &spec);
    let mut managed = Vec::new();
    for (name, ..) in COMPONENTS {
        let keys = cluster
            .api
            .cached_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, name);
        managed.extend(keys.map(secret));
        let target = cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &target_config_name(name));
        managed.extend(target.map(secret));
    }
    put(raw, "cluster/secrets.json", &json!({"items": managed}));
    let operators = ["kube-apiserver", "openshift-apiserver", "authentication"];
    let operators = operators.iter().zip(&cluster.components).map(|(name, it)| {
        let holds = it.conditions.iter();
        let holds = holds.filter(|(_, it)| it.status == Status::True);
        let holds =
            holds.map(|(kind, it)| (kind.as_str(), it.reason.as_str(), it.message.as_str()));
        cluster_operator(name, &holds.collect::<Vec<_>>())
    });
    let operators: Vec<Value> = operators.collect();
    let list = json!({"items": operators});
    put(raw, "cluster/clusteroperators.json", &list);
    let pods: Vec<Value> = world
        .plugins
        .iter()
        .enumerate()
        .filter(|(_, plugin)| plugin.deployed)
        .map(|(node, plugin)| {
            let state = match (plugin.runs(), plugin.crashes) {
                (true, _) => json!({"running": {}}),
                (false, Some(_)) => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                (false, None) => json!({"terminated": {"reason": "Error"}}),
            };
            json!({
                "metadata": {"name": format!("vault-kms-plugin-{}", node_name(node))},
                "spec": {"nodeName": node_name(node)},
                "status": {"phase": "Running", "containerStatuses": [
                    {"restartCount": plugin.crashes.unwrap_or(0), "state": state}
                ]},
            })
        })
        .collect();
    put(raw, "cluster/pods.json", &json!({"items": pods}));
    let begun = world.transition(0, "EncryptionMigrationControllerProgressing");
    let migrations: Vec<Value> = cluster
        .api
        .migrations()
        .values()
        .map(|it| {
            let (kind, at) = match &it.state {
                MigrationState::New | MigrationState::Running => ("Running", begun),
                MigrationState::Succeeded(at) => ("Succeeded", Some(*at)),
                MigrationState::Failed(at, _) => ("Failed", Some(*at)),
            };
            let key = format!("{PREFIX}write-key");
            json!({
                "metadata": {"name": it.name, "annotations": {key: it.write_key}, "creationTimestamp": at.map(stamp)},
                "spec": {"resource": {"group": it.resource.group(), "resource": it.resource.resource()}},
                "status": {"conditions": [{"type": kind, "status": "True"}]},
            })
        })
        .collect();
    put(
        raw,
        "cluster/migrations.json",
        &json!({"items": migrations}),
    );
}

/// A ClusterOperator of the conditions that hold (type, reason, message), joined as operators join them.
pub fn cluster_operator(name: &str, holds: &[(&str, &str, &str)]) -> Value {
    let whole = |suffix: &str| {
        let mut parts = holds.to_vec();
        parts.retain(|(kind, ..)| kind.ends_with(suffix));
        let reasons = parts.iter().map(|(kind, reason, _)| {
            let base = kind.strip_suffix(suffix).unwrap_or_default();
            format!("{base}_{reason}")
        });
        let lines = parts.iter().flat_map(|(kind, _, message)| {
            let lines = message.lines();
            lines.map(move |line| format!("{kind}: {line}"))
        });
        let (status, reason) = match parts.is_empty() {
            true => ("False", "AsExpected".to_owned()),
            false => ("True", reasons.collect::<Vec<_>>().join("::")),
        };
        let message = lines.collect::<Vec<_>>().join("\n");
        json!({"type": suffix, "status": status, "reason": reason, "message": message})
    };
    let available = json!({"type": "Available", "status": "True", "reason": "AsExpected"});
    json!({
        "metadata": {"name": name},
        "status": {"conditions": [available, whole("Progressing"), whole("Degraded")]},
    })
}

fn operator(world: &World, component: usize, name: &str, raw: &mut Raw) {
    let cluster = &world.plane.cluster;
    let it = &cluster.components[component];
    let conditions: Vec<Value> = it
        .conditions
        .iter()
        .map(|(kind, condition)| {
            json!({
                "type": kind, "status": condition.status.as_str(), "reason": condition.reason,
                "message": condition.message, "lastTransitionTime": world.transition(component, kind).map(stamp),
            })
        })
        .collect();
    let operand = &world.plane.operands[component];
    let nodes: Vec<Value> = operand
        .nodes
        .iter()
        .map(|it| json!({"nodeName": it.name, "currentRevision": it.current, "targetRevision": it.target}))
        .collect();
    let management = match it.management {
        Management::Unmanaged => "Unmanaged",
        Management::Removed => "Removed",
        _ => "Managed",
    };
    let object = json!({
        "spec": {"managementState": management},
        "status": {"conditions": conditions, "latestAvailableRevision": operand.latest, "nodeStatuses": nodes},
    });
    put(raw, &format!("cluster/operators/{name}.json"), &object);
    let configs = (1..=operand.latest).filter_map(|revision| {
        cluster
            .api
            .cached_secret(name, &format!("{CONFIG_KEY}-{revision}"))
    });
    let configs: Vec<Value> = configs.map(secret).collect();
    put(
        raw,
        &format!("cluster/secrets/{name}.json"),
        &json!({"items": configs}),
    );
    let pods: Vec<Value> = cluster
        .api
        .pods(name)
        .map(|pod| {
            let server = world.servers.iter().position(|it| {
                it.component == component && node_name(it.node) == pod.node
            });
            let ready = server.is_some_and(|place| world.pod_ready(place));
            let phase = match pod.phase {
                PodPhase::Pending => "Pending",
                PodPhase::Running => "Running",
                PodPhase::Succeeded => "Succeeded",
                PodPhase::Failed => "Failed",
                PodPhase::Unknown => "Unknown",
            };
            json!({
                "metadata": {"name": pod.name, "labels": {"apiserver": "true", "revision": pod.revision}},
                "spec": {"nodeName": pod.node},
                "status": {"phase": phase, "conditions": [
                    {"type": "Ready", "status": if ready { "True" } else { "False" }}
                ]},
            })
        })
        .collect();
    put(
        raw,
        &format!("cluster/pods/{name}.json"),
        &json!({"items": pods}),
    );
    let said = world
        .plane
        .log
        .iter()
        .filter(|entry| entry.component == *name);
    let events: Vec<Value> = said
        .filter_map(|entry| match &entry.what {
            What::Event(event) => {
                Some(json!({"reason": event.reason, "lastTimestamp": stamp(entry.at)}))
            }
            _ => None,
        })
        .collect();
    put(
        raw,
        &format!("cluster/events/{name}.json"),
        &json!({"items": events}),
    );
    let log = oc::logs::operator(world, component);
    raw.add(format!("cluster/logs/{name}.log"), Ok(log.into_bytes()));
}

async fn servers(world: &World, node: usize, raw: &mut Raw) {
    for (component, (name, ..)) in COMPONENTS.iter().enumerate() {
        let server = &world.servers[world.place(component, node)];
        let at = format!("nodes/{}/{name}", node_name(node));
        raw.add(format!("{at}.log"), Ok(server.log.text().into_bytes()));
        let config = server.config.as_ref().map(|config| config.to_text());
        raw.add(format!("{at}.config.json"), config.ok_or(Why::NotThere));
        raw.add(
            format!("{at}.readyz.txt"),
            Ok(server.readyz().await.into_bytes()),
        );
        let metrics = server.api().metrics().await;
        raw.add(
            format!("{at}.metrics.txt"),
            metrics.map(String::into_bytes).map_err(|_| Why::Refused),
        );
        let mut lists = json!({});
        for (resource, stored, _) in STORAGE[component].resources {
            let options = ListOptions {
                limit: Some(500),
                ..ListOptions::default()
            };
            lists[*resource] = match server.api().list(*stored, options).await {
                Ok(answer) => json!({"code": answer.code, "message": answer.message()}),
                Err(_) => json!({"code": 0}),
            };
        }
        put(raw, &format!("{at}.lists.json"), &lists);
    }
}

async fn plugin(world: &World, node: usize, raw: &mut Raw) {
    let plugin = &world.plugins[node];
    let at = format!("nodes/{}/plugin", node_name(node));
    let there = plugin.socket.load(std::sync::atomic::Ordering::Relaxed);
    let socket = json!({"there": there, "socket": there, "mode": 0o755});
    put(raw, &format!("{at}.socket.json"), &socket);
    raw.add(format!("{at}.log"), Ok(plugin.log.text().into_bytes()));
    let status = if there {
        status(world, node).await
    } else {
        json!({"connect": "no_socket"})
    };
    put(raw, &format!("{at}.status.json"), &status);
}

async fn status(world: &World, node: usize) -> Value {
    let net = world.ground.net.clone();
    let began = tokio::time::Instant::now();
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(service_fn(move |_| {
            let net = net.clone();
            async move {
                let stream = net.host("doctor").connect(&plugin_host(node), SOCKET).await;
                stream.map(TokioIo::new)
            }
        }))
        .await;
    let Ok(channel) = channel else {
        return json!({"connect": "nobody"});
    };
    let mut client = KeyManagementServiceClient::new(channel);
    let answer = tokio::time::timeout(STATUS, client.status(StatusRequest {})).await;
    let took = began.elapsed().as_millis() as u64;
    match answer {
        Err(_) => json!({"connect": "silent"}),
        Ok(Ok(answer)) => {
            let it = answer.into_inner();
            json!({"version": it.version, "healthz": it.healthz, "key_id": it.key_id, "took_ms": took})
        }
        Ok(Err(status)) => {
            json!({"code": status.code() as i32, "message": status.message(), "took_ms": took})
        }
    }
}

/// What lies in a component's store, under the keys of the real resources.
async fn etcd(world: &World, component: usize) -> Value {
    let storage = STORAGE[component];
    let all = everything(&world.ground.stores[component]).await.unwrap();
    let pairs = all.into_iter().filter_map(|(key, value)| {
        let (_, _, plural) = storage.resources.iter().find(|(_, stored, _)| {
            key.starts_with(&format!("{}/{}/", storage.prefix, stored.plural()))
        })?;
        let name = key.rsplit('/').next().unwrap_or_default();
        let key = format!("{}/{plural}/{name}", storage.prefix);
        Some(json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)}))
    });
    json!({"kvs": pairs.collect::<Vec<_>>()})
}

fn vault(world: &World, raw: &mut Raw) {
    for (name, path) in [("health", "/v1/sys/health"), ("leader", "/v1/sys/leader")] {
        let answer = world.vault.sim.call(&Request::new("GET", path));
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        put(
            raw,
            &format!("vault/{name}.json"),
            &json!({"status": answer.status, "body": body}),
        );
    }
    let (status, body) = world
        .vault
        .admin("GET", &format!("{MOUNT}/keys/{KEY}"), &Value::Null);
    put(
        raw,
        "vault/key.json",
        &json!({"status": status, "body": body}),
    );
}

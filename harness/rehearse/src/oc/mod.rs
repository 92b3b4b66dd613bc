//! What the procedure's commands print on this cluster at this moment.
//!
//! The command texts are in the procedures; here is only what answers them, by one function for each.

pub mod ask;
pub mod logs;
pub mod shell;

use kms_apiserver_api::{ListOptions, Resource, Target, Trouble};
use kms_controlplane::encryption_config::Provider;
use kms_controlplane::object::{MigrationState, Status};
use kms_controlplane::plane::COMPONENTS;
use serde_json::{Value, json};

use crate::world::vault::{KEY, MOUNT};
use crate::world::{World, node_ip, node_name};

/// The longest table or log that is shown whole, in lines.
const LONG: usize = 12;

/// An age as `oc` prints it.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if !seconds.is_multiple_of(60) => format!("{}m{}s", seconds / 60, seconds % 60),
        120..10_800 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

/// Lines, the middle of a long output left out.
pub fn shortened(lines: &[String]) -> String {
    if lines.len() <= LONG {
        return lines.join("\n");
    }
    let half = LONG / 2;
    let mut shown = lines[..half].to_vec();
    shown.push(format!("[{} more lines]", lines.len() - LONG));
    shown.extend_from_slice(&lines[lines.len() - half..]);
    shown.join("\n")
}

/// `oc get pods -n kube-system -o wide | grep vault-kms`
pub fn plugin_pods(world: &World) -> String {
    let rows = world
        .plugins
        .iter()
        .enumerate()
        .filter(|(_, plugin)| plugin.deployed);
    let rows: Vec<Vec<String>> = rows
        .map(|(node, plugin)| {
            let state = match (plugin.runs(), plugin.crashes) {
                (true, _) => ["1/1", "Running"],
                (false, Some(_)) => ["0/1", "CrashLoopBackOff"],
                (false, None) => ["0/1", "Error"],
            };
            vec![
                format!("vault-kms-plugin-{}", node_name(node)),
                state[0].to_owned(),
                state[1].to_owned(),
                plugin.crashes.unwrap_or(0).to_string(),
                age(plugin.since.elapsed().as_secs()),
                node_ip(node),
            ]
        })
        .collect();
    table(&rows)
}

/// Rows in columns as `oc` prints them.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}   "))
            .collect();
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `oc debug node/… -- chroot /host ls -la /var/run/kmsplugin/kms.sock`
pub fn socket(world: &World, node: usize) -> String {
    use std::sync::atomic::Ordering;
    let plugin = &world.plugins[node];
    if !plugin.socket.load(Ordering::Relaxed) {
        return "ls: cannot access '/var/run/kmsplugin/kms.sock': No such file or directory"
            .to_owned();
    }
    let made = world.clock.now()
        - jiff::SignedDuration::try_from(plugin.since.elapsed()).unwrap_or_default();
    let stamp = made.strftime("%b %e %H:%M");
    format!("srwxr-xr-x. 1 root root 0 {stamp} /var/run/kmsplugin/kms.sock")
}

/// `oc get apiserver cluster -o jsonpath='{.spec.encryption.type}'`
pub fn encryption_type(world: &World) -> String {
    world.plane.cluster.spec.mode.clone()
}

/// `oc get apiserver cluster -o jsonpath='{.spec.encryption}' | jq`
pub fn encryption(world: &World) -> String {
    pretty(&spec(world))
}

fn spec(world: &World) -> Value {
    let spec = &world.plane.cluster.spec;
    let mut shown = json!({});
    if !spec.mode.is_empty() {
        shown["type"] = spec.mode.clone().into();
    }
    if let Some(kms) = &spec.kms {
        shown["kms"] = json!(kms);
    }
    shown
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// `oc get apiserver cluster -o yaml`
pub fn apiserver_yaml(world: &World) -> String {
    let spec = &world.plane.cluster.spec;
    let mut text =
        "apiVersion: config.openshift.io/v1\nkind: APIServer\nmetadata:\n  name: cluster\nspec:\n  audit:\n    profile: Default\n"
            .to_owned();
    if !spec.mode.is_empty() {
        text.push_str(&format!("  encryption:\n    type: {}\n", spec.mode));
    }
    text
}

/// The jq line over `.status.nodeStatuses`.
pub fn revisions(world: &World) -> String {
    let nodes = world.plane.operands[0].nodes.iter().map(|node| {
        let short = node.name.split('.').next().unwrap_or_default();
        format!("{short}: current={} target={}", node.current, node.target)
    });
    nodes.collect::<Vec<_>>().join("\n")
}

/// `oc get kubeapiserver cluster -o jsonpath='{.status.conditions[?(@.type=="Encrypted")]}' | jq .`
pub fn encrypted(world: &World) -> String {
    condition(world, 0, "Encrypted")
}

/// The same of any condition of any operator; of one that there is not jq prints nothing.
pub fn condition(world: &World, component: usize, kind: &str) -> String {
    let conditions = &world.plane.cluster.components[component].conditions;
    let Some(condition) = conditions.get(kind) else {
        return String::new();
    };
    let mut shown = json!({});
    if let Some(at) = world.transition(component, kind) {
        let at = at.strftime("%Y-%m-%dT%H:%M:%SZ");
        shown["lastTransitionTime"] = at.to_string().into();
    }
    for (name, text) in [
        ("message", condition.message.as_str()),
        ("reason", condition.reason.as_str()),
    ] {
        if !text.is_empty() {
            shown[name] = text.into();
        }
    }
    shown["status"] = condition.status.as_str().into();
    shown["type"] = kind.into();
    pretty(&shown)
}

/// The reason of `Encrypted` of one operator.
pub fn reason(world: &World, component: usize) -> String {
    world.condition(component, "Encrypted").reason
}

/// `oc get clusteroperator kube-apiserver`
pub fn cluster_operator(world: &World) -> String {
    let conditions = &world.plane.cluster.components[0].conditions;
    let with = |suffix: &str| {
        let all = conditions.iter();
        all.filter(move |(kind, condition)| {
            kind.ends_with(suffix) && condition.status == Status::True
        })
        .map(|(kind, condition)| format!("{kind}: {}", condition.message))
        .collect::<Vec<_>>()
    };
    let (progressing, degraded) = (with("Progressing"), with("Degraded"));
    let word = |yes: bool| if yes { "True" } else { "False" }.to_owned();
    let message = progressing
        .iter()
        .chain(&degraded)
        .next()
        .cloned()
        .unwrap_or_default();
    let since = world.clock.since_epoch() - crate::world::plugin::BEGIN;
    let head = [
        "NAME",
        "VERSION",
        "AVAILABLE",
        "PROGRESSING",
        "DEGRADED",
        "SINCE",
        "MESSAGE",
    ];
    table(&[
        head.map(str::to_owned).to_vec(),
        vec![
            "kube-apiserver".to_owned(),
            "4.22.0".to_owned(),
            word(world.ready(0) > 0),
            word(!progressing.is_empty()),
            word(!degraded.is_empty()),
            age(since.as_secs()),
            message,
        ],
    ])
}

/// Names of the providers of kube-apiserver's last resource: those of KMS by their own, others by their kind.
pub fn provider_names(world: &World) -> String {
    let config = world.target(0);
    let entry = config.as_ref().and_then(|config| config.resources.last());
    let names = entry.into_iter().flat_map(|entry| &entry.providers);
    let names: Vec<String> = names
        .map(|provider| match provider {
            Provider::Kms(kms) => format!("\"{}\"", kms.name),
            other => {
                let label = other.label();
                let kind = label.split(':').next().unwrap_or_default();
                format!("\"{}\"", kind.trim_end_matches("-null"))
            }
        })
        .collect();
    format!("[{}]", names.join(","))
}

/// `oc get storageversionmigrations`
pub fn migrations(world: &World) -> String {
    let all = world.plane.cluster.api.migrations().values();
    let rows = all.map(|migration| {
        let state = match &migration.state {
            MigrationState::New => "",
            MigrationState::Running => "Running",
            MigrationState::Succeeded(_) => "Succeeded",
            MigrationState::Failed(..) => "Failed",
        };
        format!("{}   {state}", migration.name)
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// A Secret that the procedure writes and takes away again.
pub fn test_secret() -> Target {
    Target::secret("default", "test-secret")
}

/// `oc create secret generic test-secret …`: what it prints, and whether it worked.
pub async fn create_test_secret(world: &mut World) -> (String, bool) {
    match world.write(0, &test_secret()).await {
        Ok(()) => ("secret/test-secret created".to_owned(), true),
        Err(refused) => {
            let text = refused.to_string();
            let why = text.split_once(": ").map_or(text.as_str(), |(_, why)| why);
            (format!("error: failed to create secret {why}"), false)
        }
    }
}

/// `oc delete secret test-secret -n default`: what it prints, and whether it worked.
pub async fn delete_test_secret(world: &mut World) -> (String, bool) {
    let target = test_secret();
    let Some(server) = world.ready_server(0) else {
        return (NOBODY.to_owned(), false);
    };
    let Ok(answer) = world.servers[server].api().delete(&target).await else {
        return (NOBODY.to_owned(), false);
    };
    world.acknowledged.retain(|(_, known)| *known != target);
    if answer.ok() {
        ("secret \"test-secret\" deleted".to_owned(), true)
    } else {
        (format!("Error from server: {}", answer.message()), false)
    }
}

/// What a client says that reaches no API server.
const NOBODY: &str = "The connection to the server api.cluster.example.com:6443 was refused - did you specify the right host or port?";

/// `oc get secret -A`: what it prints, and how many there were; nothing if it was refused.
pub async fn secrets(world: &mut World) -> (String, Option<usize>) {
    let Some(server) = world.ready_server(0) else {
        return (NOBODY.to_owned(), None);
    };
    let api = world.servers[server].api();
    let Ok(answer) = api.list(Resource::Secrets, ListOptions::default()).await else {
        return (NOBODY.to_owned(), None);
    };
    if !answer.ok() {
        let text = format!(
            "Error from server ({}): {}",
            answer.reason(),
            answer.message()
        );
        return (text, None);
    }
    let text = |item: &Value, pointer: &str| {
        let text = item.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let mut rows = vec![
        ["NAMESPACE", "NAME", "TYPE", "DATA"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(answer.items().iter().map(|item| {
        let data = item
            .pointer("/data")
            .and_then(Value::as_object)
            .map_or(0, serde_json::Map::len);
        vec![
            text(item, "/metadata/namespace"),
            text(item, "/metadata/name"),
            text(item, "/type"),
            data.to_string(),
        ]
    }));
    let lines: Vec<String> = table(&rows).lines().map(str::to_owned).collect();
    (shortened(&lines), Some(answer.items().len()))
}

/// `oc get pods -n openshift-etcd -l app=etcd -o name | head -1`
pub fn etcd_pod() -> String {
    format!("pod/{}", etcd_pod_name())
}

/// The name of the first etcd pod.
pub fn etcd_pod_name() -> String {
    format!("etcd-{}", node_name(0))
}

/// `… etcdctl get KEY --print-value-only | hexdump -C | head -1`
///
/// # Errors
/// The store does not answer.
pub async fn etcd_value(
    world: &World,
    component: usize,
    target: &Target,
) -> Result<String, Trouble> {
    let value = world.stored(component, target).await?;
    Ok(value.map_or_else(String::new, |value| shell::hexdump_line(&value.bytes)))
}

/// `vault read transit/keys/kms-key`: what it prints, and the newest version.
pub fn vault_key(world: &World) -> (String, Option<u64>) {
    let (status, body) = world
        .vault
        .admin("GET", &format!("{MOUNT}/keys/{KEY}"), &Value::Null);
    if status != 200 {
        return (refused("reading", status, &body), None);
    }
    let data = &body["data"];
    (key_value(data), data["latest_version"].as_u64())
}

/// `vault write -f transit/keys/kms-key/rotate`: what it prints, and whether it worked.
pub fn vault_rotate(world: &World) -> (String, bool) {
    let path = format!("{MOUNT}/keys/{KEY}/rotate");
    let (status, body) = world.vault.admin("POST", &path, &Value::Null);
    match status {
        200 => (key_value(&body["data"]), true),
        204 => (format!("Success! Data written to: {path}"), true),
        _ => (refused("writing data to", status, &body), false),
    }
}

fn refused(what: &str, status: u16, body: &Value) -> String {
    let errors: Vec<&str> = body["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if status == 404 && errors.is_empty() {
        return format!("No value found at {MOUNT}/keys/{KEY}");
    }
    format!(
        "Error {what} {MOUNT}/keys/{KEY}: Code: {status}. Errors: {}",
        errors.join("; ")
    )
}

/// A table of keys and values as the Vault client prints it.
fn key_value(data: &Value) -> String {
    let mut rows = vec![
        vec!["Key".to_owned(), "Value".to_owned()],
        vec!["---".to_owned(), "-----".to_owned()],
    ];
    for (key, value) in data.as_object().into_iter().flatten() {
        let shown = match value {
            Value::String(text) => text.clone(),
            Value::Object(map) => {
                let all = map
                    .iter()
                    .map(|(key, value)| format!("{key}:{}", bare(value)));
                format!("map[{}]", all.collect::<Vec<_>>().join(" "))
            }
            other => bare(other),
        };
        rows.push(vec![key.clone(), shown]);
    }
    table(&rows)
}

fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

/// Pods of an API server, as `oc get pods -l apiserver=true` lists them: name, readiness, revision.
pub fn server_pods(world: &World, component: usize) -> String {
    let pods = world.plane.cluster.api.pods(COMPONENTS[component].0);
    let rows: Vec<Vec<String>> = pods
        .map(|pod| {
            let ready = if pod.ready { "1/1" } else { "0/1" };
            vec![
                pod.name.clone(),
                ready.to_owned(),
                format!("revision {}", pod.revision),
            ]
        })
        .collect();
    table(&rows)
}

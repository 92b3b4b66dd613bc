//! What others say of a run, where they are there: events of the cluster, logs of the plugin's pods, conditions of
//! OpenShift's operators. It goes into the history, and says what no judge could: why.
//!
//! The texts are other people's, so they are shown as the doctor shows them: known words alone, all else as a hash. Before
//! that they are searched for the run's canaries. What cannot be read is said to be so, and no run ends over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use kms_apiserver_api::Method;
use kms_doctor::veil::Veil;
use kms_history::chaos::Event;
use kms_history::search::holds;
use kms_scenario::world::Recorder;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::api::Api;
use super::pods::listed;
use super::{NAMESPACE, Parts, PluginPods};

/// Most events of a namespace that are kept, and most lines of a log: the last ones.
const MOST: usize = 200;
/// Most pods whose logs are asked for.
const PODS: usize = 8;
/// After this no further log is asked for: an API server waits long for a kubelet that is away.
const GATHERING: Duration = Duration::from_secs(45);
/// Limit for a log to be read before its pod is ended.
const BEFORE_END: Duration = Duration::from_secs(5);
/// Most bytes of a log that are read.
const LOG: usize = 256 << 10;
/// What OpenShift's operators say of API servers.
const OPERATORS: [(&str, &str); 2] = [
    (
        "clusteroperator kube-apiserver",
        "/apis/config.openshift.io/v1/clusteroperators/kube-apiserver",
    ),
    (
        "kubeapiserver cluster",
        "/apis/operator.openshift.io/v1/kubeapiservers/cluster",
    ),
];
/// Reasons of events about pods, by kubelet, scheduler and controllers; others are hashed.
const REASONS: &[&str] = &[
    "BackOff",
    "Created",
    "Evicted",
    "Failed",
    "FailedCreate",
    "FailedCreatePodSandBox",
    "FailedMount",
    "FailedScheduling",
    "InspectFailed",
    "Killing",
    "NetworkNotReady",
    "NodeNotReady",
    "Preempting",
    "ProbeWarning",
    "Pulled",
    "Pulling",
    "SandboxChanged",
    "Scheduled",
    "Started",
    "SuccessfulCreate",
    "SuccessfulDelete",
    "TaintManagerEviction",
    "Unhealthy",
];

/// Listens to one cluster.
pub struct Others {
    api: Api,
    recorder: Recorder,
    pods: Vec<PluginPods>,
    salt: [u8; 32],
    begun: Instant,
    /// By namespace, how far its events had come.
    before: BTreeMap<String, u64>,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    /// By operator and type, the condition as it was told last.
    conditions: BTreeMap<(usize, String), String>,
    /// Logs of pods that are gone, by their place.
    logs: Vec<(String, String)>,
    gathered: bool,
}

impl Others {
    /// Begins: what was said before is none of the run's.
    ///
    /// # Errors
    /// Events cannot be listed.
    pub async fn start(api: Api, parts: &Parts, recorder: Recorder) -> Result<Self> {
        let pods: Vec<PluginPods> = [&parts.pods, &parts.watched]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let namespaces = pods.iter().map(|pods| pods.namespace.as_str());
        let namespaces: BTreeSet<&str> = namespaces.chain([NAMESPACE]).collect();
        let mut before = BTreeMap::new();
        for namespace in namespaces {
            let list = api
                .get(&format!("{}?limit=1", events_of(namespace)))
                .await?;
            let version = list.resource_version().parse().unwrap_or_default();
            before.insert(namespace.to_owned(), version);
        }
        let (one, two) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let mut salt = [0; 32];
        salt[..16].copy_from_slice(one.as_bytes());
        salt[16..].copy_from_slice(two.as_bytes());
        Ok(Self {
            api,
            recorder,
            pods,
            salt,
            begun: Instant::now(),
            before,
            said: Mutex::default(),
        })
    }

    /// Tells what was said since the start, once; places where one of the needles stood.
    pub async fn gather(&self, needles: &[Vec<u8>]) -> Vec<String> {
        if std::mem::replace(&mut self.said().gathered, true) {
            return Vec::new();
        }
        let mut found = Vec::new();
        self.conditions().await;
        for (namespace, before) in &self.before {
            self.events(namespace, *before, needles, &mut found).await;
        }
        let mut logs = std::mem::take(&mut self.said().logs);
        for pods in &self.pods {
            self.logs(pods, "", &mut logs).await;
        }
        for (place, log) in logs {
            if holds_any(&log, needles) {
                found.push(place);
            }
        }
        found
    }

    /// Tells conditions of operators that were not told as they are; whether there are such operators.
    pub async fn conditions(&self) -> bool {
        let veil = Veil::new(self.salt, []);
        let mut any = false;
        for (number, (place, path)) in OPERATORS.into_iter().enumerate() {
            let Ok(answer) = self.api.call(Method::Get, path, None).await else {
                any = true; // an outage of the API server is no absence
                continue;
            };
            any |= answer.code != 404;
            if !answer.ok() {
                continue;
            }
            let conditions = answer.json().pointer("/status/conditions");
            for it in conditions.and_then(Value::as_array).into_iter().flatten() {
                let kind = veil.text(text(it, "/type"));
                let told = format!(
                    "{kind}={} {}: {}",
                    veil.one_of(&["True", "False", "Unknown"], text(it, "/status")),
                    veil.text(text(it, "/reason")),
                    veil.text(text(it, "/message")),
                );
                let last = self.said().conditions.insert((number, kind), told.clone());
                if last.as_ref() != Some(&told) {
                    self.seen(place, told);
                }
            }
        }
        any
    }

    async fn events(
        &self,
        namespace: &str,
        before: u64,
        needles: &[Vec<u8>],
        found: &mut Vec<String>,
    ) {
        let veil = Veil::new(self.salt, []);
        let shown = match namespace {
            NAMESPACE => NAMESPACE.to_owned(),
            other => veil.text(other),
        };
        let place = format!("events of {shown}");
        let path = format!("{}?limit=2000", events_of(namespace));
        let answer = match self.api.call(Method::Get, &path, None).await {
            Ok(answer) if answer.ok() => answer,
            Ok(answer) => return self.seen(&place, unread(answer.code)),
            Err(_) => return self.seen(&place, unread(0)),
        };
        let version = |it: &Value| -> u64 {
            let version = text(it, "/metadata/resourceVersion");
            version.parse().unwrap_or(u64::MAX)
        };
        let mut new: Vec<&Value> = answer.items().iter().collect();
        new.retain(|it| version(it) > before);
        new.sort_by_key(|it| version(it));
        if new.iter().any(|it| holds_any(&it.to_string(), needles)) {
            found.push(place.clone());
        }
        for it in new.iter().skip(new.len().saturating_sub(MOST)) {
            let told = format!(
                "{} {} {}/{} x{}: {}",
                veil.one_of(&["Normal", "Warning"], text(it, "/type")),
                veil.one_of(REASONS, text(it, "/reason")),
                veil.text(text(it, "/involvedObject/kind")),
                veil.text(text(it, "/involvedObject/name")),
                it["count"].as_u64().unwrap_or(1),
                veil.text(text(it, "/message")),
            );
            self.seen(&place, told);
        }
    }

    /// Keeps the logs of pods that a fault is about to end: nobody has them afterwards.
    pub async fn before_end(&self, pods: &PluginPods) {
        let mut logs = Vec::new();
        let reading = self.logs(pods, ", before it was ended", &mut logs);
        // a fault has its time; what was read until then is kept
        let _ = timeout(BEFORE_END, reading).await;
        self.said().logs.extend(logs);
    }

    /// Tells the logs of pods; and gives them as they are, for the canaries to be looked for.
    async fn logs(&self, pods: &PluginPods, when: &str, logs: &mut Vec<(String, String)>) {
        let until = Instant::now() + GATHERING;
        let plain = Veil::new(self.salt, []);
        let Ok(all) = listed(&self.api, pods).await else {
            let place = format!("pods of {}", plain.text(&pods.namespace));
            return self.seen(&place, unread(0));
        };
        let nodes = all.iter().map(|pod| text(pod, "/spec/nodeName").to_owned());
        let veil = Veil::new(self.salt, nodes);
        for pod in all.iter().take(PODS) {
            let name = text(pod, "/metadata/name");
            for (container, restarted) in containers(pod) {
                let path = format!(
                    "/api/v1/namespaces/{}/pods/{name}/log?container={container}&sinceSeconds={}&tailLines={MOST}&limitBytes={LOG}",
                    pods.namespace,
                    self.begun.elapsed().as_secs() + 1
                );
                let place = format!("log of {} {}", veil.text(name), veil.text(container));
                // what a process said that was killed stands in the one before
                let before = restarted.then(|| {
                    (
                        format!("{path}&previous=true"),
                        format!("{place}, before its last restart"),
                    )
                });
                let now = (path, format!("{place}{when}"));
                for (path, place) in before.into_iter().chain([now]) {
                    if Instant::now() >= until {
                        self.seen(&place, "not read: others took too long".to_owned());
                        continue;
                    }
                    match self.api.call(Method::Get, &path, None).await {
                        Ok(answer) if answer.ok() => {
                            for line in answer.text().lines() {
                                self.seen(&place, veil.text(line));
                            }
                            logs.push((place, answer.text().to_owned()));
                        }
                        Ok(answer) => self.seen(&place, unread(answer.code)),
                        Err(_) => self.seen(&place, unread(0)),
                    }
                }
            }
        }
    }

    fn seen(&self, place: &str, text: String) {
        let place = place.to_owned();
        self.recorder.note(None, Event::Seen { place, text });
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn events_of(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/events")
}

fn unread(code: u16) -> String {
    match code {
        0 => "could not be read: no answer".to_owned(),
        code => format!("could not be read: HTTP {code}"),
    }
}

/// The plugin's containers in a pod, by their names, else the first; and whether each was started more than once.
fn containers(pod: &Value) -> Vec<(&str, bool)> {
    let of = |pointer: &str| -> Vec<&Value> {
        let all = pod.pointer(pointer).and_then(Value::as_array);
        all.into_iter().flatten().collect()
    };
    let states = [
        of("/status/containerStatuses"),
        of("/status/initContainerStatuses"),
    ]
    .concat();
    let restarted = |name: &str| {
        let mut states = states.iter().filter(|state| text(state, "/name") == name);
        states.any(|state| state["restartCount"].as_u64().unwrap_or_default() > 0)
    };
    let all = [of("/spec/containers"), of("/spec/initContainers")].concat();
    let names: Vec<&str> = all.iter().map(|it| text(it, "/name")).collect();
    let plugins: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| name.contains("kms"))
        .collect();
    let chosen = if plugins.is_empty() {
        names.into_iter().take(1).collect()
    } else {
        plugins
    };
    chosen
        .into_iter()
        .map(|name| (name, restarted(name)))
        .collect()
}

fn holds_any(text: &str, needles: &[Vec<u8>]) -> bool {
    needles.iter().any(|needle| holds(text.as_bytes(), needle))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A sidecar among the containers of an API server, and a pod that has no container of such a name.
    #[test]
    fn the_plugins_container_is_found_by_its_name() {
        let pod = json!({
            "spec": {
                "containers": [{"name": "kube-apiserver"}, {"name": "other"}],
                "initContainers": [{"name": "setup"}, {"name": "vault-kms-plugin-1"}],
            },
            "status": {"initContainerStatuses": [{"name": "vault-kms-plugin-1", "restartCount": 2}]},
        });
        assert_eq!(containers(&pod), [("vault-kms-plugin-1", true)]);
        let pod = json!({"spec": {"containers": [{"name": "main"}, {"name": "other"}]}});
        assert_eq!(containers(&pod), [("main", false)]);
    }
}

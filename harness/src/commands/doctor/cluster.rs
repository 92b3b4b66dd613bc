//! A cluster by kubeconfig. Only what is needed is read: key secrets and encryption configurations by name or label, other
//! objects' metadata alone where a list shows whether they can be decrypted.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use http::Request;
use http_body_util::{BodyExt, Limited};
use kms_apiserver_api::{Call, Method};
use kms_doctor::evidence::Why;
use kms_doctor::intake::components;
use kms_doctor::raw::Raw;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::apiserver::caller::Caller;
use crate::exit::{Failure, OrUsage};

/// Limit of one call. An API server waits for a plugin for 10 s.
const LIMIT: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes.
const LARGEST: usize = 64 << 20;
/// Logs go back so far, in seconds.
const LOGS: u32 = 3600;
/// Pages of a list; there are 500 objects in each.
const PAGES: usize = 80;

const KIND: &str = "application/json";
const LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const OBJECT: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// Most objects of a resource that are read.
const MOST: usize = 2000;

/// What belongs to a component.
struct Operator {
    /// Plural name of the operator's resource.
    plural: &'static str,
    /// The operator's namespace.
    namespace: &'static str,
    /// What the component encrypts, with the paths of lists.
    resources: &'static [(&'static str, &'static str)],
}

/// In the order of [`components`].
const OPERATORS: [Operator; 3] = [
    Operator {
        plural: "kubeapiservers",
        namespace: "openshift-kube-apiserver-operator",
        resources: &[
            ("secrets", "/api/v1/secrets"),
            ("configmaps", "/api/v1/configmaps"),
        ],
    },
    Operator {
        plural: "openshiftapiservers",
        namespace: "openshift-apiserver-operator",
        resources: &[(
            "routes.route.openshift.io",
            "/apis/route.openshift.io/v1/routes",
        )],
    },
    Operator {
        plural: "authentications",
        namespace: "openshift-authentication-operator",
        resources: &[
            (
                "oauthaccesstokens.oauth.openshift.io",
                "/apis/oauth.openshift.io/v1/oauthaccesstokens",
            ),
            (
                "oauthauthorizetokens.oauth.openshift.io",
                "/apis/oauth.openshift.io/v1/oauthauthorizetokens",
            ),
        ],
    },
];

const MANAGED: &str = "/api/v1/namespaces/openshift-config-managed/secrets";
const LABEL: &str = "encryption.apiserver.operator.openshift.io%2Fcomponent";

pub(super) async fn look(file: &Path, raw: &mut Raw) -> Result<(), Failure> {
    let shown = file.display();
    let kubeconfig = Kubeconfig::read_from(file)
        .with_context(|| format!("--kubeconfig {shown}"))
        .or_usage()?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("--kubeconfig {shown}"))
        .or_usage()?;
    let host = config.cluster_url.host().unwrap_or("api").to_owned();
    let caller = Caller::new(config)
        .map_err(|trouble| anyhow!("--kubeconfig {shown}: {trouble}"))
        .or_usage()?;
    // whether anybody is there at all, before everything is said to be missing
    caller
        .call(Call::new(Method::Get, "/version").with_timeout(LIMIT))
        .await
        .map_err(|trouble| anyhow!("reach the cluster of {shown}: {trouble}"))?;
    let cluster = Cluster(caller.client());
    cluster.objects(raw).await;
    for (component, operator) in components().zip(OPERATORS) {
        cluster.operator(component, &operator, raw).await;
        cluster.pods(component, raw).await;
        cluster
            .server(component, &host, operator.resources, raw)
            .await;
    }
    Ok(())
}

struct Cluster(Client);

impl Cluster {
    /// A body of a good answer, or why there is none; the code and body of any answer.
    async fn ask(&self, path: &str, accept: &str) -> Result<(u16, Vec<u8>), Why> {
        let request = Request::get(path)
            .header("accept", accept)
            .body(Body::empty());
        let request = request.map_err(|_| Why::Unreadable)?;
        let exchange = async {
            let response = self.0.send(request).await.map_err(|_| Why::Unreachable)?;
            let code = response.status().as_u16();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            let body = body.map_err(|_| Why::TooLong)?.to_bytes();
            Ok((code, body.to_vec()))
        };
        timeout(LIMIT, exchange).await.unwrap_or(Err(Why::NoAnswer))
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, Why> {
        let (code, body) = self.ask(path, KIND).await?;
        match code {
            200 => Ok(body),
            401 | 403 => Err(Why::NotAllowed),
            404 => Err(Why::NotThere),
            _ => Err(Why::Refused),
        }
    }

    async fn json(&self, path: &str) -> Result<Value, Why> {
        let body = self.get(path).await?;
        serde_json::from_slice(&body).map_err(|_| Why::Unreadable)
    }

    /// What belongs to no component.
    async fn objects(&self, raw: &mut Raw) {
        let apiserver = "/apis/config.openshift.io/v1/apiservers/cluster";
        raw.add("cluster/apiserver.json", self.get(apiserver).await);
        let operators = "/apis/config.openshift.io/v1/clusteroperators";
        raw.add("cluster/clusteroperators.json", self.get(operators).await);
        let pods = self.get("/api/v1/namespaces/kube-system/pods").await;
        raw.add("cluster/pods.json", pods);
        let migrations = "/apis/migration.k8s.io/v1alpha1/storageversionmigrations";
        raw.add("cluster/migrations.json", self.get(migrations).await);
        raw.add("cluster/secrets.json", self.keys().await);
        let plugins = raw.json("cluster/pods.json").unwrap_or_default();
        for pod in items(&plugins) {
            let (name, node) = (text(pod, "/metadata/name"), text(pod, "/spec/nodeName"));
            if name.contains("kms") && !node.is_empty() {
                let log = self.log("kube-system", name, container(pod)).await;
                raw.add(format!("nodes/{node}/plugin.log"), log);
            }
        }
    }

    /// Key secrets and the configurations that operators want.
    async fn keys(&self) -> Result<Vec<u8>, Why> {
        let mut list = self
            .json(&format!("{MANAGED}?labelSelector={LABEL}"))
            .await?;
        for component in components() {
            match self
                .json(&format!("{MANAGED}/encryption-config-{component}"))
                .await
            {
                Ok(config) => push(&mut list, config),
                Err(Why::NotThere) => {}
                Err(why) => return Err(why),
            }
        }
        serde_json::to_vec(&list).map_err(|_| Why::Unreadable)
    }

    async fn operator(&self, component: &str, operator: &Operator, raw: &mut Raw) {
        let Operator {
            plural, namespace, ..
        } = operator;
        let resource = format!("/apis/operator.openshift.io/v1/{plural}/cluster");
        raw.add(
            format!("cluster/operators/{component}.json"),
            self.get(&resource).await,
        );
        let events = format!("/api/v1/namespaces/{namespace}/events?limit=2000");
        raw.add(
            format!("cluster/events/{component}.json"),
            self.get(&events).await,
        );
        let pods = self
            .json(&format!("/api/v1/namespaces/{namespace}/pods"))
            .await;
        let log = match pods {
            Err(why) => Err(why),
            Ok(pods) => match items(&pods).next() {
                None => Err(Why::NotThere),
                Some(pod) => {
                    let name = text(pod, "/metadata/name");
                    self.log(namespace, name, container(pod)).await
                }
            },
        };
        raw.add(format!("cluster/logs/{component}.log"), log);
    }

    /// Pods of a component with their logs, and the configurations of the revisions that they run.
    async fn pods(&self, component: &str, raw: &mut Raw) {
        let space = format!("/api/v1/namespaces/{component}");
        let pods = self
            .json(&format!("{space}/pods?labelSelector=apiserver%3Dtrue"))
            .await;
        let mut revisions = BTreeSet::new();
        for pod in pods.iter().flat_map(items) {
            let (name, node) = (text(pod, "/metadata/name"), text(pod, "/spec/nodeName"));
            revisions.extend(text(pod, "/metadata/labels/revision").parse::<u32>());
            if node.is_empty() {
                continue;
            }
            let log = self.log(component, name, container(pod)).await;
            raw.add(format!("nodes/{node}/{component}.log"), log);
            let sidecar = pod
                .pointer("/spec/initContainers")
                .and_then(Value::as_array);
            let mut sidecars = sidecar.into_iter().flatten().map(|it| text(it, "/name"));
            if let Some(plugin) = sidecars.find(|name| name.starts_with("vault-kms-plugin")) {
                let log = self.log(component, name, plugin).await;
                raw.add(format!("nodes/{node}/plugin.log"), log);
            }
        }
        let name = format!("cluster/pods/{component}.json");
        raw.add(
            name,
            pods.and_then(|it| serde_json::to_vec(&it).map_err(|_| Why::Unreadable)),
        );
        let operator = raw
            .json(&format!("cluster/operators/{component}.json"))
            .unwrap_or_default();
        let latest = [
            "/status/latestAvailableRevision",
            "/status/oauthAPIServer/latestAvailableRevision",
        ];
        let latest = latest.iter().find_map(|at| operator.pointer(at)?.as_u64());
        revisions.extend(latest.and_then(|it| u32::try_from(it).ok()));
        let configs = self.configs(&space, &revisions).await;
        raw.add(format!("cluster/secrets/{component}.json"), configs);
    }

    async fn configs(&self, space: &str, revisions: &BTreeSet<u32>) -> Result<Vec<u8>, Why> {
        let mut list = json!({"items": []});
        // the name without a number tells whether they may be read at all
        match self
            .get(&format!("{space}/secrets/encryption-config"))
            .await
        {
            Ok(_) | Err(Why::NotThere) => {}
            Err(why) => return Err(why),
        }
        for revision in revisions {
            match self
                .json(&format!("{space}/secrets/encryption-config-{revision}"))
                .await
            {
                Ok(config) => push(&mut list, config),
                Err(Why::NotThere) => {}
                Err(why) => return Err(why),
            }
        }
        serde_json::to_vec(&list).map_err(|_| Why::Unreadable)
    }

    async fn log(&self, namespace: &str, pod: &str, container: &str) -> Result<Vec<u8>, Why> {
        self.get(&format!(
            "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&sinceSeconds={LOGS}&timestamps=true&limitBytes=4194304"
        ))
        .await
    }

    /// What is asked of the API server that the kubeconfig leads to.
    async fn server(&self, component: &str, host: &str, resources: &[(&str, &str)], raw: &mut Raw) {
        let at = format!("nodes/{host}/{component}");
        if component == "openshift-kube-apiserver" {
            let readyz = self.ask("/readyz?verbose", "*/*").await;
            // 500 is its answer, too
            let readyz = readyz.and_then(|(code, body)| match code {
                200 | 500 => Ok(body),
                401 | 403 => Err(Why::NotAllowed),
                _ => Err(Why::Refused),
            });
            if let Ok(body) = &readyz {
                self.check(&at, &String::from_utf8_lossy(body), raw).await;
            }
            raw.add(format!("{at}.readyz.txt"), readyz);
            let metrics = self.ask("/metrics", "*/*").await;
            let metrics = metrics.and_then(|(code, body)| match code {
                200 => Ok(body),
                401 | 403 => Err(Why::NotAllowed),
                _ => Err(Why::Refused),
            });
            raw.add(format!("{at}.metrics.txt"), metrics);
        }
        let mut lists = json!({});
        let mut why = None;
        for (resource, path) in resources {
            match self.list(path).await {
                Ok(answer) => lists[*resource] = answer,
                Err(missing) => why = Some(missing),
            }
        }
        let none = lists.as_object().is_none_or(serde_json::Map::is_empty);
        let name = format!("{at}.lists.json");
        match why.filter(|_| none) {
            Some(why) => raw.add(name, Err(why)),
            None => super::put(raw, name, &lists),
        }
    }

    /// The words of the check of KMS providers, if it fails: asked for by its name the server says why, all checks
    /// together it does not.
    async fn check(&self, at: &str, readyz: &str, raw: &mut Raw) {
        let failed = readyz
            .lines()
            .filter_map(|line| line.strip_prefix("[-]kms-provider"));
        let mut failed = failed.filter_map(|rest| rest.split(' ').next());
        if let Some(rest) = failed.next() {
            let told = self
                .ask(&format!("/readyz/kms-provider{rest}"), "*/*")
                .await;
            let told = told.and_then(|(code, body)| match code {
                // it passes by now, and there is nothing to tell
                200 => Err(Why::NotThere),
                401 | 403 => Err(Why::NotAllowed),
                _ => Ok(body),
            });
            raw.add(format!("{at}.check.txt"), told);
        }
    }

    /// Code and message of reading what a list names, metadata alone. A list may come out of the server's memory; one
    /// object never does, so each is read, or [`MOST`] of them evenly.
    async fn list(&self, path: &str) -> Result<Value, Why> {
        let mut names = Vec::new();
        let mut next = String::new();
        for _ in 0..PAGES {
            let page = format!("{path}?limit=500&continue={next}");
            let (code, body) = self.ask(&page, LIST).await?;
            let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
            match code {
                200 => {}
                401 | 403 => return Err(Why::NotAllowed),
                404 => return Err(Why::NotThere),
                _ => return Ok(json!({"code": code, "message": answer["message"]})),
            }
            names.extend(items(&answer).map(|it| object(path, it)));
            match text(&answer, "/metadata/continue") {
                "" => break,
                token => token.clone_into(&mut next),
            }
        }
        let step = names.len().div_ceil(MOST).max(1);
        for name in names.iter().step_by(step) {
            let (code, body) = self.ask(name, OBJECT).await?;
            if code >= 500 || code == 429 {
                let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
                return Ok(json!({"code": code, "message": answer["message"]}));
            }
        }
        Ok(json!({"code": 200}))
    }
}

/// The path of an object in a list over all namespaces.
fn object(list: &str, it: &Value) -> String {
    let (namespace, name) = (text(it, "/metadata/namespace"), text(it, "/metadata/name"));
    match list.rsplit_once('/') {
        Some((group, plural)) if !namespace.is_empty() => {
            format!("{group}/namespaces/{namespace}/{plural}/{name}")
        }
        _ => format!("{list}/{name}"),
    }
}

fn push(list: &mut Value, item: Value) {
    if let Some(items) = list["items"].as_array_mut() {
        items.push(item);
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn container(pod: &Value) -> &str {
    text(pod, "/spec/containers/0/name")
}

//! Convergence: the one gate of the state machine. What runs is known only while every node runs the same revision.

use std::collections::BTreeSet;

use crate::api::Api;
use crate::encryption_config::CONFIG_KEY;
use crate::object::{Pod, PodPhase, Secret};

/// What the API servers of a component run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployed {
    /// Not all nodes run one revision.
    NotConverged,
    /// All do; the configuration of that revision, if it has one.
    Converged(Option<Secret>),
}

/// Looks at the pods of the target namespace and takes the configuration of their revision.
///
/// # Errors
///
/// Refused calls, pods in an unknown phase, dead pods of a newer revision than the running one.
pub fn deployed(api: &Api, namespace: &str, nodes: &[String]) -> Result<Deployed, String> {
    if nodes.is_empty() {
        return Ok(Deployed::NotConverged);
    }
    let pods = api.list_pods(namespace).map_err(|e| e.to_string())?;
    let revision = common_revision(nodes, &pods)
        .map_err(|e| format!("failed to get converged static pod revision: {e}"))?;
    let Some(revision) = revision else {
        return Ok(Deployed::NotConverged);
    };
    match api.secret(namespace, &format!("{CONFIG_KEY}-{revision}")) {
        Ok(secret) => Ok(Deployed::Converged(Some(secret))),
        Err(e) if e.is_not_found() => Ok(Deployed::Converged(None)),
        Err(e) => Err(e.to_string()),
    }
}

/// The revision that every node runs, nothing while they differ or any pod is not ready.
///
/// # Errors
///
/// A pod in an unknown phase, a label that is no number, a dead pod of a newer revision.
pub fn common_revision(nodes: &[String], pods: &[Pod]) -> Result<Option<String>, String> {
    let mut running: Vec<&Pod> = Vec::new();
    let mut dead: BTreeSet<&str> = BTreeSet::new();
    for pod in pods {
        match pod.phase {
            PodPhase::Running if pod.ready => running.push(pod),
            PodPhase::Running | PodPhase::Pending => return Ok(None),
            PodPhase::Unknown => {
                return Err(format!("api server pod {} in unknown phase", pod.name));
            }
            PodPhase::Succeeded | PodPhase::Failed => {
                dead.insert(&pod.revision);
            }
        }
    }
    let Some(first) = running.first() else {
        return Ok(None);
    };
    let same = running.iter().all(|pod| pod.revision == first.revision);
    let everywhere = nodes
        .iter()
        .all(|node| running.iter().any(|pod| pod.node == *node));
    if !same || !everywhere {
        return Ok(None);
    }
    let revision = if first.revision.is_empty() {
        "0"
    } else {
        first.revision.as_str()
    };
    let number: i64 = revision
        .parse()
        .map_err(|_| format!("api server has invalid revision: {revision:?}"))?;
    for failed in dead.into_iter().filter(|failed| !failed.is_empty()) {
        let other: i64 = failed
            .parse()
            .map_err(|_| format!("api server has invalid failed revision: {failed:?}"))?;
        if other > number {
            return Err(format!(
                "api server has failed revision {other} which is newer than running revision {number}"
            ));
        }
    }
    Ok(Some(revision.to_owned()))
}

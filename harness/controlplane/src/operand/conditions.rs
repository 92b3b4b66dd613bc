//! What an operator says of its roll-out.

use std::collections::BTreeMap;

use super::{Kind, Operand, Work, pod_name};
use crate::cluster::Cluster;
use crate::object::{Condition, Status};

impl Operand {
    /// Puts the conditions into the operator's status.
    pub(super) fn report(&self, cluster: &mut Cluster) {
        let name = cluster.components[self.component].name.clone();
        let conditions = match self.kind {
            Kind::StaticPod => self.static_pods(),
            Kind::Deployment => vec![("APIServerDeploymentProgressing", self.deployment(&name))],
        };
        for (kind, condition) in conditions {
            cluster.components[self.component]
                .conditions
                .insert(kind.to_owned(), condition);
        }
    }

    fn static_pods(&self) -> Vec<(&'static str, Condition)> {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for node in &self.nodes {
            *counts.entry(node.current).or_default() += 1;
        }
        let mut parts: Vec<String> = counts
            .iter()
            .map(|(revision, count)| {
                format!(
                    "{count} {} at revision {revision}",
                    if *count > 1 { "nodes are" } else { "node is" }
                )
            })
            .collect();
        let progressing = self.nodes.iter().any(|node| node.current != self.latest);
        if progressing && !counts.contains_key(&self.latest) {
            parts.push(format!(
                "0 nodes have achieved new revision {}",
                self.latest
            ));
        }
        let text = parts.join("; ");
        let available = Condition::new(
            Status::True,
            "",
            format!("{} nodes are active; {text}", self.nodes.len()),
        );
        let installer = if progressing {
            Condition::new(Status::True, "", text)
        } else {
            Condition::new(Status::False, "AllNodesAtLatestRevision", text)
        };
        let fallen = self
            .nodes
            .iter()
            .find(|node| matches!(node.work, Work::Fallen { .. }));
        let fallback = fallen.map_or_else(Condition::no, |node| {
            let text = format!(
                "a static pod {} was rolled back to revision {} due to not being ready in time",
                pod_name(&node.name),
                node.target
            );
            Condition::new(Status::True, "NotReady", text)
        });
        vec![
            ("StaticPodsAvailable", available),
            ("NodeInstallerProgressing", installer),
            ("NodeInstallerDegraded", Condition::no()),
            ("StaticPodFallbackRevisionDegraded", fallback),
        ]
    }

    fn deployment(&self, namespace: &str) -> Condition {
        let all = self.nodes.len();
        let updated = self
            .nodes
            .iter()
            .filter(|node| node.current == self.latest)
            .count();
        let available = self
            .nodes
            .iter()
            .filter(|node| node.ready_since.is_some())
            .count();
        if updated == all {
            return Condition::new(Status::False, "AsExpected", "");
        }
        let text = format!(
            "deployment/apiserver.{namespace}: {updated}/{all} pods have been updated to the latest generation and {available}/{all} pods are available"
        );
        Condition::new(Status::True, "PodsUpdating", text)
    }
}

//! The health reporter of the newest operators: every half minute it asks the plugin of the write key on each node for
//! its Status. It never encrypts.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use kms_apiserver::grpc::Method;
use kms_apiserver::proto::StatusAnswer;
use kms_apiserver::seam::{CallId, Rpc};
use kms_apiserver_node::rpc::{Stream, handshake};
use kms_sim_net::Net;
use tokio::time::{Instant, timeout};

use super::World;
use super::plugin::SOCKET;
use crate::options::Mode;

/// How often.
const EVERY: Duration = Duration::from_secs(30);
/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the nodes last reported: for each the key_id, or nothing where the plugin did not say `ok`.
#[derive(Debug, Default)]
pub struct Reports {
    asked: Option<Instant>,
    endpoint: String,
    by_node: BTreeMap<usize, Option<String>>,
}

impl Reports {
    /// The key_id that all of so many nodes report for a socket.
    pub fn agreed(&self, endpoint: &str, nodes: usize) -> Option<&str> {
        let mut ids = self.by_node.values();
        let first = ids.next()?.as_deref()?;
        let same = self.endpoint == endpoint
            && self.by_node.len() == nodes
            && ids.all(|id| id.as_deref() == Some(first));
        same.then_some(first)
    }
}

impl World {
    /// Asks all nodes, if it is time to. Only the newest operators have reporters.
    pub(super) async fn report_health(&mut self) {
        let early = |asked: Instant| asked.elapsed() < EVERY;
        if self.plan.mode != Mode::Newest || self.reports.asked.is_some_and(early) {
            return;
        }
        let keys = self.keys(0);
        let Some(part) = keys.last().and_then(|key| key.kms.as_ref()) else {
            return;
        };
        let endpoint = part.provider.endpoint.clone();
        let net = &self.ground.net;
        let nodes = self.doors.iter().enumerate();
        let asked = nodes.map(|(node, doors)| ask(net, node, doors.behind(&endpoint)));
        let answers = join_all(asked).await;
        self.reports = Reports {
            asked: Some(Instant::now()),
            endpoint,
            by_node: answers.into_iter().enumerate().collect(),
        };
    }
}

async fn ask(net: &Net, node: usize, plugin: Option<String>) -> Option<String> {
    let asked = async {
        let stream = net
            .host(&format!("reporter-{node}"))
            .connect(&plugin?, SOCKET)
            .await
            .ok()?;
        let stream = Box::new(stream) as Stream;
        let (connection, driver) = handshake(stream, "localhost".to_owned(), "kms-health-reporter")
            .await
            .ok()?;
        let status = Rpc {
            call: CallId(0),
            method: Method::Status,
            request: Vec::new(),
            timeout: PATIENCE,
        };
        // the connection lives as long as this call
        let answer = tokio::select! {
            biased;
            answer = connection.call(status) => answer.ok()?,
            () = driver => return None,
        };
        let status = StatusAnswer::decode(&answer).ok()?;
        (status.healthz == "ok").then_some(status.key_id)
    };
    timeout(PATIENCE, asked).await.ok().flatten()
}

//! Revision controller: a changed copy of the target config becomes the next numbered revision.

use super::Operand;
use crate::cluster::Cluster;
use crate::encryption_config::CONFIG_KEY;
use crate::object::{Event, Secret};

impl Operand {
    pub(super) fn new_revision(&mut self, cluster: &mut Cluster) -> Vec<Event> {
        let namespace = cluster.components[self.component].name.clone();
        let data = |name: &str| {
            cluster
                .api
                .cached_secret(&namespace, name)
                .map(|secret| &secret.data)
        };
        let copied = data(CONFIG_KEY);
        if copied == data(&format!("{CONFIG_KEY}-{}", self.latest)) {
            return Vec::new();
        }
        let copied = copied.cloned();
        self.latest += 1;
        if let Some(data) = copied {
            let mut secret = Secret::new(&namespace, &format!("{CONFIG_KEY}-{}", self.latest));
            secret.data = data;
            let created = cluster.api.outside(|api| api.create_secret(secret));
            debug_assert!(created.is_ok(), "a revision's number is new");
        }
        let text = format!(
            "new revision {} triggered by \"optional secret/{CONFIG_KEY} has changed\"",
            self.latest
        );
        vec![
            Event::normal("StartingNewRevision", text.clone()),
            Event::normal("RevisionTriggered", text),
        ]
    }
}

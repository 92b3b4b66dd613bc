//! What is stored: the objects that a rehearsal begins with, and what lies in etcd for them.

use kms_apiserver_api::{StoredValue, Target, Trouble};
use serde_json::{Value, json};

use super::World;
use super::servers::STORAGE;

/// How many of `all` objects are of a resource: most are Secrets, as in the operators' own load tests.
fn share(component: usize, place: usize, all: u64) -> u64 {
    let (maps, few) = ((all * 35 / 100).max(2), (all * 3 / 100).max(2));
    match (component, place) {
        (0, 0) => all.saturating_sub(maps + 3 * few).max(2),
        (0, _) => maps,
        _ => few,
    }
}

impl World {
    /// Writes the objects that a rehearsal begins with, through the API, and remembers them as acknowledged.
    ///
    /// # Errors
    /// A server refuses one.
    pub async fn load(&mut self, all: u64) -> Result<(), Trouble> {
        for (component, storage) in STORAGE.iter().enumerate() {
            for (place, (_, resource, plural)) in storage.resources.iter().enumerate() {
                for number in 0..share(component, place, all) {
                    let target = Target {
                        resource: *resource,
                        namespace: "default".to_owned(),
                        name: format!("{}-{number:05}", plural.trim_end_matches('s')),
                    };
                    self.write(component, &target).await?;
                }
            }
        }
        Ok(())
    }

    /// Creates an object through a ready server; it counts as acknowledged from then on.
    ///
    /// # Errors
    /// It is refused.
    pub async fn write(&mut self, component: usize, target: &Target) -> Result<(), Trouble> {
        let server = self
            .ready_server(component)
            .ok_or_else(|| Trouble::new("no API server is ready"))?;
        let answer = self.servers[server]
            .api()
            .create(target, body(target))
            .await?;
        if answer.ok() {
            self.acknowledged.push((component, target.clone()));
            Ok(())
        } else {
            Err(Trouble::new(format!("{target}: {}", answer.message())))
        }
    }

    /// Creates an object on one server, past the load balancer, as somebody on the node would. The refusal if it is
    /// refused.
    pub async fn write_on(
        &mut self,
        component: usize,
        node: usize,
        target: &Target,
    ) -> Result<(), String> {
        let place = self.place(component, node);
        let answer = self.servers[place].api().create(target, body(target)).await;
        match answer {
            Ok(answer) if answer.ok() => {
                self.acknowledged.push((component, target.clone()));
                Ok(())
            }
            Ok(answer) => Err(answer.message().to_owned()),
            Err(trouble) => Err(trouble.to_string()),
        }
    }

    /// What lies in etcd under an object's key.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn stored(
        &self,
        component: usize,
        target: &Target,
    ) -> Result<Option<StoredValue>, Trouble> {
        let server = self
            .servers
            .iter()
            .find(|server| server.component == component);
        let server = server.ok_or_else(|| Trouble::new("there are no nodes"))?;
        server.api().stored(target).await
    }

    /// Prefixes of everything that a component stores of a resource, with how many values have each.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn prefixes(
        &self,
        component: usize,
        place: usize,
    ) -> Result<std::collections::BTreeMap<String, u64>, Trouble> {
        let (_, resource, _) = STORAGE[component].resources[place];
        let begin = format!("{}/{}/", STORAGE[component].prefix, resource.plural());
        let mut counts = std::collections::BTreeMap::new();
        for (key, bytes) in super::servers::everything(&self.ground.stores[component]).await? {
            if key.starts_with(&begin) {
                let value = StoredValue {
                    bytes,
                    mod_revision: 0,
                };
                *counts.entry(shown(value.prefix())).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

/// A prefix as text; plain protobuf is `plain`.
fn shown(prefix: &[u8]) -> String {
    if prefix.starts_with(b"k8s:enc:") {
        String::from_utf8_lossy(prefix).into_owned()
    } else {
        "plain".to_owned()
    }
}

/// An object of that kind. What it holds is the same for every rehearsal and protects nothing.
pub fn body(target: &Target) -> Value {
    match target.resource {
        kms_apiserver_api::Resource::Secrets => json!({"data": {"key": "dmFsdWU="}}),
        _ => json!({"data": {"key": "value"}}),
    }
}

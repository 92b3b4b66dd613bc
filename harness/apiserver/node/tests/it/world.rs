//! Servers in virtual time on one store, each with a plugin of its own.

use std::sync::Arc;
use std::time::Duration;

use kms_apiserver::version::Version;
use kms_apiserver_api::{Answer, ApiServer, Target, WatchEvent, Watching};
use kms_apiserver_node::node::Settings;
use kms_apiserver_node::simulated::Simulated;
use kms_apiserver_node::store::memory::MemoryStore;
use serde_json::json;
use tokio::time::sleep;

use crate::plugin::Plugin;

pub const KMS: &str = r#"
kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
- resources: [secrets]
  providers:
  - kms: {apiVersion: v2, name: demo, endpoint: "unix:///kms.sock", timeout: 3s}
  - identity: {}
"#;

pub struct World {
    pub store: MemoryStore,
    pub plugin: Plugin,
    pub server: Simulated,
}

pub fn settings(minor: u8, seed: u8) -> Settings {
    let version = Version::new(minor).unwrap();
    Settings::new(version, [seed; 32], Duration::from_secs(1_795_579_200))
}

/// A server that is not started.
pub fn server(settings: Settings, store: &MemoryStore, plugin: &Plugin) -> Simulated {
    let (store, plugin) = (Arc::new(store.clone()), Arc::new(plugin.clone()));
    Simulated::new(settings, Some(KMS), true, store, plugin, Arc::new(|_| {}))
}

impl World {
    /// A running server of a version with `n` Secrets, `s-0` and so on, and `k1` as the key.
    pub async fn new(minor: u8, n: usize) -> Self {
        let (store, plugin) = (MemoryStore::new(), Plugin::new());
        let server = server(settings(minor, 1), &store, &plugin);
        server.start().await.unwrap();
        let world = World {
            store,
            plugin,
            server,
        };
        world.settle().await;
        for at in 0..n {
            let created = world.create(&format!("s-{at}")).await;
            assert_eq!(created.code, 201, "{created:?}");
        }
        world
    }

    /// Lets the server come up.
    pub async fn settle(&self) {
        sleep(Duration::from_secs(2)).await;
    }

    pub async fn create(&self, name: &str) -> Answer {
        create(&self.server, name).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        get(&self.server, path).await
    }

    /// Flips the last bit of a stored value.
    pub async fn damage(&self, name: &str) {
        let target = Target::secret("default", name);
        let mut stored = self.server.stored(&target).await.unwrap().unwrap().bytes;
        // inside the sealed data, which is the first field
        stored[100] ^= 1;
        self.server.store(&target, Some(stored)).await.unwrap();
    }
}

pub async fn create(server: &dyn ApiServer, name: &str) -> Answer {
    let body = json!({"data": {"a": "eA=="}});
    server
        .create(&Target::secret("default", name), body)
        .await
        .unwrap()
}

pub async fn get(server: &dyn ApiServer, path: &str) -> Answer {
    server.health(path).await.unwrap()
}

/// What an open watch gives until it is silent for a second.
pub async fn drain(watch: &mut Watching) -> Vec<WatchEvent> {
    let Watching::Open(events) = watch else {
        panic!("the watch was refused")
    };
    let mut all = Vec::new();
    while let Ok(next) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
        match next.unwrap() {
            Some(event) => all.push(event),
            None => break,
        }
    }
    all
}

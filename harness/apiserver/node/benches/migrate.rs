//! Lists 100,000 Secrets and writes each of them again under a new key, in memory.
//!
//! ```text
//! cargo bench -p kms-apiserver-node --bench migrate -- [COUNT]
//! ```

#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "it belongs to the tests, which use more of it"
)]
#[path = "../tests/it/plugin.rs"]
mod plugin;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use kms_apiserver::version::Version;
use kms_apiserver_api::{ApiServer, ListOptions, Resource, Target, Trouble};
use kms_apiserver_node::node::Settings;
use kms_apiserver_node::simulated::Simulated;
use kms_apiserver_node::store::memory::MemoryStore;
use serde_json::json;

use plugin::Plugin;

const CONFIG: &str = r#"
kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
- resources: [secrets]
  providers:
  - kms: {apiVersion: v2, name: demo, endpoint: "unix:///kms.sock"}
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args()
        .skip(1)
        .find(|word| !word.starts_with('-'))
        .map_or(Ok(100_000), |count| count.parse())?;
    let mut out = std::io::stdout();
    let plugin = Plugin::new();
    let settings = Settings::new(Version::NEWEST, [7; 32], Duration::from_secs(1_795_579_200));
    let (store, dialer) = (Arc::new(MemoryStore::new()), Arc::new(plugin.clone()));
    let server = Simulated::new(
        settings,
        Some(CONFIG),
        false,
        store,
        dialer,
        Arc::new(|_| {}),
    );
    server.start().await?;
    while server.health("/readyz").await?.code != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let start = tokio::time::Instant::now();
    for at in 0..count {
        let target = Target::secret("default", &format!("s-{at:06}"));
        let made = server
            .create(&target, json!({"data": {"password": "aHVudGVyMg=="}}))
            .await?;
        if made.code != 201 {
            return Err(Trouble::new(format!("{target}: {made:?}")).into());
        }
    }
    writeln!(
        out,
        "created  {count} in {:.2} s",
        start.elapsed().as_secs_f64()
    )?;

    // the new key is seen at the next check; a health probe brings it about
    plugin.with(|plugin| plugin.key_id = "k2".to_owned());
    tokio::time::sleep(Duration::from_secs(21)).await;
    server.health("/healthz/kms-providers").await?;

    let start = tokio::time::Instant::now();
    let list = server
        .list(Resource::Secrets, ListOptions::default())
        .await?;
    let listed = start.elapsed();
    let mut rewritten = 0;
    for object in list.items() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let put = server
            .update(&Target::secret("default", name), object.clone())
            .await?;
        let old = object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default();
        rewritten += usize::from(put.code == 200 && put.resource_version() != old);
    }
    let all = start.elapsed();
    writeln!(
        out,
        "listed   {} in {:.2} s",
        list.items().len(),
        listed.as_secs_f64()
    )?;
    writeln!(
        out,
        "migrated {rewritten} in {:.2} s, the list included",
        all.as_secs_f64()
    )?;
    let calls = plugin.with(|plugin| {
        plugin
            .calls
            .iter()
            .filter(|(_, method)| *method == "Decrypt")
            .count()
    });
    writeln!(out, "Decrypt calls: {calls}")?;
    if rewritten == count {
        Ok(())
    } else {
        Err(Trouble::new("not everything was rewritten").into())
    }
}

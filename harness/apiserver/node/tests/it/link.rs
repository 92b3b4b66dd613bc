//! The server's side of the line to its plugin, and what its clients see of it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_apiserver_api::{ApiServer, Target};
use kms_apiserver_node::rpc::{Dialer, Stream};
use kms_apiserver_node::simulated::Simulated;
use kms_apiserver_node::store::memory::MemoryStore;
use tokio::io::AsyncReadExt;
use tokio::time::sleep;
use tonic::Status;

use crate::plugin::Plugin;
use crate::world::{KMS, World, create, settings};

/// A plugin on a common HTTP library takes no path for an authority (KMS2-CONN-04): servers before 1.32 cannot use it.
#[tokio::test(start_paused = true)]
async fn servers_before_1_32_cannot_talk_to_a_strict_plugin() {
    for (minor, code) in [(27, 500), (29, 500), (31, 500), (32, 200), (37, 200)] {
        let world = World::new(minor, 0).await;
        let health = world.get("/healthz/kms-providers").await;
        assert_eq!(health.code, code, "1.{minor}: {health:?}");
        assert_eq!(
            health.text().contains("PROTOCOL_ERROR"),
            code == 500,
            "1.{minor}: {health:?}"
        );
        assert_eq!(world.plugin.take_calls("Status") > 0, code == 200);
    }
}

/// Keeps the first bytes that come, and never answers.
#[derive(Clone, Default)]
struct Silent(Arc<Mutex<Vec<u8>>>);

impl Dialer for Silent {
    fn dial(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let seen = Arc::clone(&self.0);
        let (ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut bytes = [0; 24];
            if theirs.read_exact(&mut bytes).await.is_ok() {
                seen.lock().unwrap().extend_from_slice(&bytes);
            }
            // held open
            let _ = theirs.read(&mut bytes).await;
            sleep(Duration::from_secs(600)).await;
        });
        Box::pin(async move { Ok(Box::new(ours) as Stream) })
    }
}

/// The first bytes are HTTP/2 in clear: no TLS, nothing that proves who calls (KMS2-CONN-03). What a request holds is all of
/// it.
#[tokio::test(start_paused = true)]
async fn the_client_speaks_http2_in_clear_and_shows_no_credentials() {
    let silent = Silent::default();
    let server = Simulated::new(
        settings(37, 1),
        Some(KMS),
        true,
        Arc::new(MemoryStore::new()),
        Arc::new(silent.clone()),
        Arc::new(|_| {}),
    );
    server.start().await.unwrap();
    let seen = silent.0.lock().unwrap().clone();
    assert!(
        seen.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        "{seen:?}"
    );

    let world = World::new(37, 1).await;
    let names = world.plugin.with(|state| state.header_names.clone());
    let expected = [
        "content-type",
        "grpc-accept-encoding",
        "grpc-timeout",
        "te",
        "user-agent",
    ];
    assert!(names.iter().eq(expected), "{names:?}");
}

/// A write that cannot be transformed is a 500 with the reason InternalError (KMS2-WRITE-03).
#[tokio::test(start_paused = true)]
async fn a_write_without_a_seed_is_an_internal_error() {
    let world = World::new(37, 0).await;
    world.plugin.with(|state| {
        let sealed = Status::failed_precondition("sealed");
        state.failing.insert("Encrypt", sealed);
    });
    world.server.restart().await.unwrap();
    world.settle().await;
    let refused = world.create("one").await;
    assert_eq!(
        (refused.code, refused.reason()),
        (500, "InternalError"),
        "{refused:?}"
    );
    let stored = world.server.stored(&Target::secret("default", "one")).await;
    assert!(stored.unwrap().is_none());
}

/// A server that was not told to reload keeps its configuration until it starts again (KMS2-RELOAD-01).
#[tokio::test(start_paused = true)]
async fn without_the_flag_a_new_configuration_waits_for_a_start() {
    const IDENTITY: &str = r#"
kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
- resources: [secrets]
  providers:
  - identity: {}
"#;
    for reload in [false, true] {
        let server = Simulated::new(
            settings(37, 1),
            Some(KMS),
            reload,
            Arc::new(MemoryStore::new()),
            Arc::new(Plugin::new()),
            Arc::new(|_| {}),
        );
        server.start().await.unwrap();
        sleep(Duration::from_secs(2)).await;
        server.write_config(IDENTITY).await.unwrap();
        sleep(Duration::from_secs(300)).await;
        let encrypted = async |name: &str| {
            assert_eq!(create(&server, name).await.code, 201);
            let stored = server.stored(&Target::secret("default", name)).await;
            stored
                .unwrap()
                .unwrap()
                .prefix()
                .starts_with(b"k8s:enc:kms:")
        };
        assert_eq!(encrypted("before").await, !reload);
        server.restart().await.unwrap();
        sleep(Duration::from_secs(2)).await;
        assert!(!encrypted("after").await);
    }
}

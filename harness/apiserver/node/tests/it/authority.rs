//! What older servers put into `:authority`, and what becomes of plugins that refuse it.

use crate::world::World;

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

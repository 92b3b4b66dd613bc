//! What `contract/apiserver-live` recorded of the watch cache, in virtual time.

use std::time::Duration;

use kms_apiserver_api::{ApiServer, ListOptions, Resource, Target, Watching};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::plugin::Plugin;
use crate::world::{World, create, drain, get, server, settings};

const ALL: &str = "/api/v1/namespaces/default/secrets";
const CORRUPT: &str = "StorageError: corrupt object, Code: 7, Key: ";
const NOT_TRANSFORMABLE: &str = ", ResourceVersion: 0, AdditionalErrorMsg: data from the storage is not transformable revision=0: ";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Puts `n` Secrets with one seed each into the store, or all with one seed.
async fn with_seeds(world: &World, n: usize, seeds: usize) {
    for at in 0..n {
        if at < seeds && at > 0 {
            world.server.restart().await.unwrap();
            world.settle().await;
        }
        assert_eq!(world.create(&format!("s-{at}")).await.code, 201);
    }
}

/// 1.37 decodes the first list ten at a time, older servers one by one (KMS2-DEC-08, KMS2-DEC-14).
#[tokio::test(start_paused = true)]
async fn the_first_list_decodes_ten_at_a_time_from_1_37_on() {
    for (minor, n, seeds, decrypts, at_a_time) in [
        (37, 100, 1, 10, 10),
        (37, 20, 20, 20, 10),
        (36, 100, 1, 1, 1),
        (36, 20, 20, 20, 1),
        (33, 100, 1, 1, 1),
    ] {
        let world = World::new(minor, 0).await;
        with_seeds(&world, n, seeds).await;
        world
            .plugin
            .with(|plugin| plugin.decrypt_delay = Duration::from_millis(20));
        world.plugin.take_calls("Decrypt");
        world.plugin.with(|plugin| plugin.at_a_time = 0);
        world.server.restart().await.unwrap();
        sleep(seconds(5)).await;
        assert_eq!(
            world.plugin.take_calls("Decrypt"),
            decrypts,
            "1.{minor} {n} objects {seeds} seeds"
        );
        assert_eq!(
            world.plugin.with(|plugin| plugin.at_a_time),
            at_a_time,
            "1.{minor}"
        );
        // and then never again
        for path in [ALL, &format!("{ALL}?limit=5"), &format!("{ALL}/s-1")] {
            assert_eq!(world.get(path).await.code, 200);
        }
        assert_eq!(world.plugin.take_calls("Decrypt"), 0);
    }
}

/// One record that the plugin refuses, at the start: the cache is never filled.
#[tokio::test(start_paused = true)]
async fn undecryptable_data_at_the_start_is_429_and_livez_fails() {
    let world = World::new(37, 20).await;
    world
        .plugin
        .with(|plugin| plugin.key_id = "kbad".to_owned());
    sleep(seconds(61)).await;
    assert_eq!(world.create("x-bad").await.code, 201);
    world.plugin.with(|plugin| {
        plugin.key_id = "k3".to_owned();
        plugin.refused.insert("kbad".to_owned());
    });
    world.server.restart().await.unwrap();
    let start = Instant::now();
    let cause =
        "failed to decrypt DEK, error: rpc error: code = NotFound desc = scripted: key unknown";
    let inner = format!("{CORRUPT}/registry/secrets/default/x-bad{NOT_TRANSFORMABLE}{cause}");
    for (at, retry_after) in [(15, 2), (25, 4), (45, 14), (48, 17)] {
        tokio::time::sleep_until(start + seconds(at)).await;
        for query in [
            "",
            "?resourceVersion=0",
            "?fieldSelector=metadata.name%3Ds-1",
            "?watch=1",
            "?watch=1&resourceVersion=0",
        ] {
            let answer = world.get(&format!("{ALL}{query}")).await;
            assert_eq!(
                (answer.code, answer.retry_after),
                (429, Some(retry_after)),
                "{query} {answer:?}"
            );
            assert_eq!(answer.reason(), "TooManyRequests");
            assert_eq!(
                answer.message(),
                format!(
                    "storage is (re)initializing: failed to list <unspecified>: failed to read one or more secrets from the storage: {inner}"
                )
            );
            assert_eq!(
                answer.json()["details"],
                json!({"retryAfterSeconds": retry_after})
            );
        }
        let elsewhere = world.get("/api/v1/namespaces/kube-system/secrets").await;
        assert_eq!(elsewhere.code, 429);
    }
    // page by page it is read from the store
    assert_eq!(
        world.get(&format!("{ALL}?limit=10")).await.items().len(),
        10
    );
    let page = world.get(&format!("{ALL}?limit=100")).await;
    assert_eq!((page.code, page.reason()), (500, "StorageReadError"));
    assert_eq!(
        page.message(),
        format!("failed to read one or more secrets from the storage: {inner}")
    );
    assert_eq!(
        page.json()["details"],
        json!({"name": "list", "kind": "secrets", "causes": [
            {"reason": "UnexpectedServerResponse", "message": inner, "field": "/registry/secrets/default/x-bad"}]})
    );
    let short = format!("{CORRUPT}/secrets/default/x-bad{NOT_TRANSFORMABLE}{cause}");
    let bad = world.get(&format!("{ALL}/x-bad")).await;
    assert_eq!(
        (bad.code, bad.message()),
        (500, &*format!("Internal error occurred: {short}"))
    );
    assert_eq!(
        bad.json()["details"],
        json!({"causes": [{"message": short}]})
    );
    assert_eq!(world.get(&format!("{ALL}/s-1")).await.code, 200);
    assert_eq!(world.create("beside").await.code, 201);
    let target = Target::secret("default", "x-bad");
    let put = world.server.update(&target, json!({})).await.unwrap();
    let put_text = format!(
        "Internal error occurred: data from the storage is not transformable revision=0: {cause}"
    );
    assert_eq!((put.code, put.message()), (500, &*put_text));
    let deleted = world.server.delete(&target).await.unwrap();
    assert_eq!(
        (deleted.code, deleted.message()),
        (500, &*format!("Internal error occurred: {short}"))
    );
    // the process looks alive, but is not
    let livez = world.get("/livez").await;
    assert_eq!(livez.code, 500);
    assert!(
        livez
            .text()
            .contains("[-]poststarthook/storage-readiness failed: reason withheld\n"),
        "{livez:?}"
    );
    let readyz = world.get("/readyz").await;
    assert!(
        readyz
            .text()
            .contains("[+]kms-providers ok\n[-]informer-sync failed"),
        "{readyz:?}"
    );
    assert_eq!(
        world.get("/readyz/informer-sync").await.text(),
        "internal server error: 1 informers not started yet: [*v1.Secret]\n"
    );
    assert_eq!(
        world
            .get("/livez/poststarthook/storage-readiness")
            .await
            .text(),
        "internal server error: not finished\n"
    );
    // two Decrypts a try, about a try a second
    world.plugin.take_calls("Decrypt");
    sleep(seconds(10)).await;
    let tried = world.plugin.take_calls("Decrypt");
    assert!((18..=20).contains(&tried), "{tried}");
    // after a minute the hook is satisfied, and only readyz still knows
    tokio::time::sleep_until(start + seconds(62)).await;
    assert_eq!(
        (
            world.get("/livez").await.code,
            world.get("/readyz").await.code
        ),
        (200, 500)
    );
    let gone = world.server.delete_unreadable(&target).await.unwrap();
    assert_eq!(gone.code, 200);
    assert_eq!(
        gone.json()["details"],
        json!({"name": "x-bad", "kind": "Secret"})
    );
    sleep(seconds(3)).await;
    assert_eq!(world.get(ALL).await.items().len(), 21);
    assert_eq!(world.get("/livez").await.text(), "ok");
}

/// 1.34: shorter texts, no way to delete, and a livez that stays good.
#[tokio::test(start_paused = true)]
async fn undecryptable_data_at_the_start_of_1_34() {
    let world = World::new(34, 3).await;
    world.plugin.with(|plugin| {
        plugin.refused.insert("k1".to_owned());
        plugin.key_id = "k2".to_owned();
    });
    world.server.restart().await.unwrap();
    sleep(seconds(5)).await;
    let cause =
        "failed to decrypt DEK, error: rpc error: code = NotFound desc = scripted: key unknown";
    let list = world.get(ALL).await;
    let inner = format!("unable to transform key \"/registry/secrets/default/s-0\": {cause}");
    assert_eq!(
        list.message(),
        format!("storage is (re)initializing: failed to list *core.Secret: {inner}")
    );
    assert_eq!(
        world.get(&format!("{ALL}/s-0")).await.message(),
        format!("Internal error occurred: {cause}")
    );
    let page = world.get(&format!("{ALL}?limit=10")).await;
    assert_eq!(
        (page.code, page.message()),
        (500, &*format!("Internal error occurred: {inner}"))
    );
    let target = Target::secret("default", "s-0");
    assert_eq!(
        world.server.delete_unreadable(&target).await.unwrap().code,
        500
    );
    assert_eq!(world.get("/livez").await.code, 200);
    assert_eq!(world.get("/readyz").await.code, 500);
}

/// A record damaged while the server runs: 30 s of standing still, then 429 (KMS2-DEC-13, KMS2-HEALTH-07).
#[tokio::test(start_paused = true)]
async fn damage_at_run_time_stops_the_cache_for_30_seconds_and_then_refuses() {
    let world = World::new(37, 5).await;
    let mut watch = world
        .server
        .watch(Resource::Secrets, ListOptions::default())
        .await
        .unwrap();
    assert_eq!(drain(&mut watch).await.len(), 5);
    world.damage("s-1").await;
    let start = Instant::now();
    sleep(seconds(3)).await;
    assert_eq!(world.create("new").await.code, 201);
    for at in [4, 12, 24] {
        tokio::time::sleep_until(start + seconds(at)).await;
        let asked = Instant::now();
        let list = world.get(ALL).await;
        assert_eq!(
            (list.code, list.reason(), asked.elapsed()),
            (500, "StorageReadError", seconds(3)),
            "{list:?}"
        );
        let limited = world.get(&format!("{ALL}?limit=50")).await;
        assert_eq!(
            (limited.code, limited.reason(), asked.elapsed()),
            (500, "StorageReadError", seconds(6))
        );
        let stale = world.get(&format!("{ALL}?resourceVersion=0")).await;
        assert_eq!(
            (stale.code, stale.items().len()),
            (200, 5),
            "the cache does not know of the new one"
        );
        assert_eq!(world.get(&format!("{ALL}/s-0")).await.code, 200);
        assert_eq!(world.get(&format!("{ALL}/s-1")).await.code, 500);
    }
    let Watching::Open(events) = &mut watch else {
        panic!()
    };
    let closed = timeout(seconds(60), events.next()).await.unwrap().unwrap();
    assert!(
        closed.is_none(),
        "silence, and then the end without an error: {closed:?}"
    );
    let after = start.elapsed().as_millis();
    assert!((31_000..31_300).contains(&after), "{after}");
    for path in [
        ALL,
        &format!("{ALL}?resourceVersion=0"),
        &format!("{ALL}?watch=1"),
    ] {
        let answer = world.get(path).await;
        assert_eq!(
            (answer.code, answer.retry_after),
            (429, Some(1)),
            "{answer:?}"
        );
    }
    let asked = Instant::now();
    assert_eq!(world.get(&format!("{ALL}?limit=50")).await.code, 500);
    assert_eq!(
        asked.elapsed(),
        Duration::ZERO,
        "at once: the cache is not waited for"
    );
    // nothing of it shows in the health of the process
    assert_eq!(
        (
            world.get("/livez").await.code,
            world.get("/readyz").await.code
        ),
        (200, 200)
    );
    let target = Target::secret("default", "s-1");
    assert_eq!(world.server.delete(&target).await.unwrap().code, 500);
    assert_eq!(
        world.server.delete_unreadable(&target).await.unwrap().code,
        200
    );
    sleep(seconds(2)).await;
    assert_eq!(world.get(ALL).await.items().len(), 5);
}

/// The first refusal after the 30 s has no cause yet; it comes with the next try.
#[tokio::test(start_paused = true)]
async fn the_first_refusal_after_the_loss_does_not_know_why() {
    let world = World::new(37, 2).await;
    world.damage("s-1").await;
    sleep(Duration::from_millis(30_200)).await;
    let early = world.get(&format!("{ALL}?resourceVersion=0")).await;
    assert_eq!(
        (early.code, early.message()),
        (429, "storage is (re)initializing")
    );
    sleep(seconds(1)).await;
    let late = world.get(&format!("{ALL}?resourceVersion=0")).await;
    assert!(
        late.message()
            .contains("cipher: message authentication failed"),
        "{late:?}"
    );
}

/// Without watch progress (etcd 3.4) a LIST goes to the store: 500 at once instead of 429.
#[tokio::test(start_paused = true)]
async fn a_list_from_the_store_is_500_at_once() {
    let (store, plugin) = (
        kms_apiserver_node::store::memory::MemoryStore::new(),
        Plugin::new(),
    );
    let mut settings = settings(37, 1);
    settings.watch_progress = false;
    let server = server(settings, &store, &plugin);
    server.start().await.unwrap();
    sleep(seconds(1)).await;
    for name in ["s-0", "s-1"] {
        assert_eq!(create(&server, name).await.code, 201);
    }
    let world = World {
        store,
        plugin,
        server,
    };
    world.damage("s-1").await;
    let asked = Instant::now();
    let list = world.get(ALL).await;
    assert_eq!(
        (list.code, list.reason(), asked.elapsed()),
        (500, "StorageReadError", Duration::ZERO)
    );
    assert_eq!(
        world.get(&format!("{ALL}?resourceVersion=0")).await.code,
        200
    );
    sleep(seconds(32)).await;
    assert_eq!(
        world.get(&format!("{ALL}?resourceVersion=0")).await.code,
        429
    );
    assert_eq!(world.get(ALL).await.code, 500);
}

/// Plugin absent at the start, encrypted data there (KMS2-START-01, -03); it comes back later.
#[tokio::test(start_paused = true)]
async fn a_server_without_its_plugin_refuses_and_recovers() {
    let world = World::new(37, 2).await;
    world.plugin.down();
    let asked = Instant::now();
    world.server.restart().await.unwrap();
    assert_eq!(
        asked.elapsed(),
        seconds(3),
        "one Status timeout, and then it serves"
    );
    sleep(seconds(2)).await;
    let list = world.get(ALL).await;
    assert_eq!(list.code, 429);
    assert!(
        list.message()
            .ends_with("got unexpected nil transformer (and 1 more)"),
        "{list:?}"
    );
    let created = world.create("x").await;
    assert_eq!(
        (created.code, created.message()),
        (
            500,
            "Internal error occurred: got unexpected nil transformer"
        )
    );
    let map = Target::config_map("default", "m");
    assert_eq!(
        world
            .server
            .create(&map, json!({"data": {"a": "b"}}))
            .await
            .unwrap()
            .code,
        201
    );
    let health = world.get("/healthz/kms-providers").await;
    assert_eq!(health.code, 500);
    let why = "rpc error: code = DeadlineExceeded desc = latest balancer error: connection error: desc = \"transport: Error while dialing: dial unix /kms.sock: connect: no such file or directory\"";
    assert!(
        health
            .text()
            .starts_with("internal server error: kms-provider-0: ")
            && health.text().ends_with(&format!("{why}\n")),
        "{health:?}"
    );
    assert_eq!(
        (
            world.get("/livez").await.code,
            world.get("/readyz").await.code
        ),
        (500, 500)
    );
    world.plugin.up();
    let back = Instant::now();
    while world.get("/readyz").await.code != 200 {
        assert!(back.elapsed() < seconds(60));
        sleep(seconds(1)).await;
    }
    assert_eq!(world.get(ALL).await.items().len(), 2);
    assert_eq!(world.get("/livez").await.code, 200);
}

/// One new seed of another server while the plugin is away breaks the whole cache of this one (KMS2-OUT-01).
#[tokio::test(start_paused = true)]
async fn another_servers_new_seed_breaks_the_cache_of_a_server_without_its_plugin() {
    let world = World::new(37, 3).await;
    let second = Plugin::new();
    let two = server(settings(37, 2), &world.store, &second);
    two.start().await.unwrap();
    sleep(seconds(2)).await;
    assert_eq!(get(&two, ALL).await.items().len(), 3);
    second.down();
    world.server.restart().await.unwrap();
    sleep(seconds(2)).await;
    assert_eq!(world.create("new-1").await.code, 201);
    let written = Instant::now();
    let asked = Instant::now();
    assert_eq!(get(&two, ALL).await.code, 500);
    assert!(asked.elapsed() >= seconds(3), "{:?}", asked.elapsed());
    assert_eq!(get(&two, &format!("{ALL}/new-1")).await.code, 500);
    assert_eq!(get(&two, &format!("{ALL}/s-0")).await.code, 200);
    assert_eq!(create(&two, "meanwhile").await.code, 201);
    tokio::time::sleep_until(written + seconds(45)).await;
    assert_eq!(get(&two, ALL).await.code, 429);
    assert_eq!(get(&two, "/livez").await.code, 200);
    second.up();
    sleep(seconds(40)).await;
    assert_eq!(get(&two, ALL).await.items().len(), 5);
}

/// A server whose plugin is sick at its start asks it as often as bad results allow, because it waits for its own readyz;
/// once ready, only each minute.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_ready_asks_its_plugin_every_3_seconds() {
    let world = World::new(37, 1).await;
    world
        .plugin
        .with(|plugin| plugin.healthz = "sick".to_owned());
    world.server.restart().await.unwrap();
    world.plugin.take_calls("Status");
    sleep(seconds(30)).await;
    let asked = world.plugin.take_calls("Status");
    assert!((9..=11).contains(&asked), "{asked}");
    world.plugin.with(|plugin| plugin.healthz = "ok".to_owned());
    sleep(seconds(5)).await;
    world.plugin.take_calls("Status");
    sleep(seconds(180)).await;
    let asked = world.plugin.take_calls("Status");
    assert!((3..=4).contains(&asked), "{asked}");
}

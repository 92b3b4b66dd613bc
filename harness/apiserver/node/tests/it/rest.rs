//! The API's manners: conflicts, names, pages, watches, stale values.

use std::time::Duration;

use kms_apiserver_api::{ApiServer, Call, ListOptions, Method, Resource, Target, Watching};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{World, drain};

const ALL: &str = "/api/v1/namespaces/default/secrets";

async fn call(world: &World, method: Method, path: &str, body: Value) -> kms_apiserver_api::Answer {
    world
        .server
        .call(Call::new(method, path).with_body(body))
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn refusals_have_upstreams_codes_and_texts() {
    let world = World::new(37, 1).await;
    let secret =
        |name: &str| json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}});
    for (method, path, body, code, reason, message) in [
        (Method::Get, format!("{ALL}/none"), Value::Null, 404, "NotFound", "secrets \"none\" not found".to_owned()),
        (Method::Post, ALL.into(), secret("s-0"), 409, "AlreadyExists", "secrets \"s-0\" already exists".into()),
        (Method::Put, format!("{ALL}/none"), secret("none"), 404, "NotFound", "secrets \"none\" not found".into()),
        (Method::Delete, format!("{ALL}/none"), json!({}), 404, "NotFound", "secrets \"none\" not found".into()),
        (
            Method::Put,
            format!("{ALL}/s-0"),
            json!({"metadata": {"name": "s-0", "resourceVersion": "1"}}),
            409,
            "Conflict",
            "Operation cannot be fulfilled on secrets \"s-0\": the object has been modified; please apply your changes to the latest version and try again".into(),
        ),
        (
            Method::Post,
            "/api/v1/namespaces/nowhere/secrets".into(),
            secret("a"),
            404,
            "NotFound",
            "namespaces \"nowhere\" not found".into(),
        ),
        (
            Method::Post,
            ALL.into(),
            json!({"metadata": {}}),
            422,
            "Invalid",
            "Secret \"\" is invalid: metadata.name: Required value: name or generateName is required".into(),
        ),
        (
            Method::Post,
            ALL.into(),
            json!({"metadata": {"name": "a", "namespace": "b"}}),
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request".into(),
        ),
        (Method::Post, format!("{ALL}/s-0"), secret("a"), 405, "MethodNotAllowed", String::new()),
        (
            Method::Put,
            format!("{ALL}/s-0"),
            json!({"metadata": {"name": "s-0"}, "type": "other"}),
            422,
            "Invalid",
            "Secret \"s-0\" is invalid: type: Invalid value: \"other\": field is immutable".into(),
        ),
    ] {
        let answer = call(&world, method, &path, body).await;
        assert_eq!((answer.code, answer.reason()), (code, reason), "{path} {answer:?}");
        assert!(message.is_empty() || answer.message() == message, "{path} {answer:?}");
        assert_eq!(answer.json()["code"], code, "the code stands in the body too");
    }
    let nonsense = world
        .server
        .call(Call::new(Method::Post, ALL))
        .await
        .unwrap();
    assert_eq!((nonsense.code, nonsense.reason()), (400, "BadRequest"));
}

#[tokio::test(start_paused = true)]
async fn the_server_fills_in_what_is_its_own() {
    let world = World::new(37, 0).await;
    let made = call(
        &world,
        Method::Post,
        ALL,
        json!({"metadata": {"generateName": "made-", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z"},
               "stringData": {"a": "x"}}),
    )
    .await;
    assert_eq!(made.code, 201);
    let name = made.field("/metadata/name").to_owned();
    assert!(
        name.starts_with("made-") && name.len() == "made-".len() + 5,
        "{name}"
    );
    assert_eq!(made.field("/metadata/uid").len(), 36);
    assert!(
        made.field("/metadata/creationTimestamp")
            .starts_with("2026-"),
        "{made:?}"
    );
    assert_eq!(
        (made.field("/type"), made.field("/data/a")),
        ("Opaque", "eA==")
    );
    assert_eq!(made.json().get("stringData"), None);
    // and a client cannot change it
    let mut changed = made.json().clone();
    changed["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    changed["data"]["a"] = "eQ==".into();
    let put = call(&world, Method::Put, &format!("{ALL}/{name}"), changed).await;
    assert_eq!(put.code, 200, "{put:?}");
    assert_eq!(
        put.field("/metadata/creationTimestamp"),
        made.field("/metadata/creationTimestamp")
    );
    assert_ne!(put.resource_version(), made.resource_version());
}

/// KMS2-STALE-04, KMS2-WRITE-04: a no-op update writes a stale value once, and nothing else.
#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_rewrites_stale_values_once() {
    let world = World::new(37, 1).await;
    let target = Target::secret("default", "s-0");
    let read = world.server.get(&target).await.unwrap();
    let put = world
        .server
        .update(&target, read.json().clone())
        .await
        .unwrap();
    assert_eq!(
        (put.code, put.resource_version()),
        (200, read.resource_version())
    );
    world.plugin.with(|plugin| plugin.key_id = "k2".to_owned());
    sleep(Duration::from_secs(61)).await;
    let before = world.server.stored(&target).await.unwrap().unwrap();
    let put = world
        .server
        .update(&target, read.json().clone())
        .await
        .unwrap();
    assert_ne!(put.resource_version(), read.resource_version());
    let after = world.server.stored(&target).await.unwrap().unwrap();
    assert_eq!(after.mod_revision.to_string(), put.resource_version());
    assert_ne!(before.bytes, after.bytes);
    assert!(
        after.bytes.windows(4).any(|window| window == b"\x12\x02k2"),
        "under the new key"
    );
    let again = world
        .server
        .update(&target, put.json().clone())
        .await
        .unwrap();
    assert_eq!(again.resource_version(), put.resource_version());
    // an expired seed refuses what must be written, and only that
    world.plugin.down();
    sleep(Duration::from_secs(200)).await;
    let noop = world
        .server
        .update(&target, again.json().clone())
        .await
        .unwrap();
    assert_eq!(
        (noop.code, noop.resource_version()),
        (200, again.resource_version())
    );
    let refused = world.create("late").await;
    assert_eq!(refused.code, 500);
    assert!(
        refused
            .message()
            .contains("encryptedDEKSource with keyID hash \"sha256:"),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn pages_show_one_state_and_end() {
    let world = World::new(37, 7).await;
    let mut path = format!("{ALL}?limit=3");
    let mut names = Vec::new();
    let mut versions = Vec::new();
    let mut remaining = Vec::new();
    loop {
        let page = world.get(&path).await;
        assert_eq!(page.code, 200, "{page:?}");
        names.extend(
            page.items()
                .iter()
                .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()),
        );
        versions.push(page.resource_version().to_owned());
        remaining.push(page.json()["metadata"]["remainingItemCount"].as_u64());
        // what happens between two pages is not in them
        world.create(&format!("zz-{}", names.len())).await;
        match page.field("/metadata/continue") {
            "" => break,
            token => path = format!("{ALL}?limit=3&continue={token}"),
        }
    }
    assert_eq!(
        names,
        (0..7).map(|at| format!("s-{at}")).collect::<Vec<_>>()
    );
    assert!(
        versions.iter().all(|version| *version == versions[0]),
        "{versions:?}"
    );
    assert_eq!(remaining, [Some(4), Some(1), None]);
    let bad = world.get(&format!("{ALL}?limit=3&continue=nonsense")).await;
    assert_eq!((bad.code, bad.reason()), (400, "BadRequest"));
    let exact = world
        .get(&format!(
            "{ALL}?resourceVersion={}&resourceVersionMatch=Exact",
            versions[0]
        ))
        .await;
    assert_eq!(exact.items().len(), 7);
    let one = world
        .get(&format!("{ALL}?fieldSelector=metadata.name%3Ds-3"))
        .await;
    assert_eq!(one.items().len(), 1);
    let future = world.get(&format!("{ALL}?resourceVersion=100000")).await;
    assert_eq!(
        (future.code, future.reason(), future.retry_after),
        (504, "Timeout", Some(1))
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_shows_what_happens_after_its_revision() {
    let world = World::new(37, 2).await;
    let list = world.get(ALL).await;
    let from = |bookmarks| ListOptions {
        namespace: Some("default".to_owned()),
        resource_version: Some(list.resource_version().to_owned()),
        bookmarks,
        ..ListOptions::default()
    };
    let mut watch = world
        .server
        .watch(Resource::Secrets, from(false))
        .await
        .unwrap();
    world.create("new").await;
    let target = Target::secret("default", "s-0");
    world
        .server
        .update(&target, json!({"data": {"a": "eQ=="}}))
        .await
        .unwrap();
    world.server.delete(&target).await.unwrap();
    // another kind, and another namespace, are nobody's business here
    world
        .server
        .create(&Target::config_map("default", "m"), json!({}))
        .await
        .unwrap();
    world
        .server
        .create(&Target::secret("kube-system", "x"), json!({}))
        .await
        .unwrap();
    let events = drain(&mut watch).await;
    let shown: Vec<(&str, &str)> = events
        .iter()
        .map(|event| (&*event.kind, event.name()))
        .collect();
    assert_eq!(
        shown,
        [("ADDED", "new"), ("MODIFIED", "s-0"), ("DELETED", "s-0")]
    );
    let versions: Vec<i64> = events
        .iter()
        .map(|event| {
            event.object["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    assert!(
        versions.is_sorted() && versions[1] < versions[2],
        "the end has a revision of its own: {versions:?}"
    );
    // the past can be watched again, with bookmarks
    let Watching::Open(mut again) = world
        .server
        .watch(Resource::Secrets, from(true))
        .await
        .unwrap()
    else {
        panic!()
    };
    for kind in ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"] {
        assert_eq!(again.next().await.unwrap().unwrap().kind, kind);
    }
    // what leaves a selection is deleted for who watches it
    let only = ListOptions {
        label_selector: Some("tier=web".to_owned()),
        ..ListOptions::default()
    };
    let mut only = world.server.watch(Resource::Secrets, only).await.unwrap();
    let labelled = |tier: &str| json!({"metadata": {"labels": {"tier": tier}}});
    let target = Target::secret("default", "s-1");
    for tier in ["web", "web2", "web"] {
        world.server.update(&target, labelled(tier)).await.unwrap();
    }
    let shown: Vec<String> = drain(&mut only)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(shown, ["ADDED", "DELETED", "ADDED"]);
}

/// A watch from before what is kept gets one error and ends.
#[tokio::test(start_paused = true)]
async fn a_watch_from_too_far_back_is_told_so() {
    let world = World::new(37, 2).await;
    world.server.restart().await.unwrap();
    world.settle().await;
    let options = ListOptions {
        resource_version: Some("2".to_owned()),
        ..ListOptions::default()
    };
    let Watching::Open(mut watch) = world
        .server
        .watch(Resource::Secrets, options)
        .await
        .unwrap()
    else {
        panic!()
    };
    let error = watch.next().await.unwrap().unwrap();
    assert_eq!(
        (
            &*error.kind,
            error.object["code"].as_u64(),
            error.object["reason"].as_str()
        ),
        ("ERROR", Some(410), Some("Expired"))
    );
}

/// The first objects come with the watch itself, and a bookmark says where they end.
#[tokio::test(start_paused = true)]
async fn a_watch_can_bring_the_list_along() {
    let world = World::new(37, 3).await;
    let path = format!(
        "{ALL}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=5"
    );
    let reply = world
        .server
        .api()
        .unwrap()
        .handle(kms_apiserver_node::serve::Request::get(&path))
        .await;
    let kms_apiserver_node::serve::Reply::Watch(mut watch) = reply else {
        panic!()
    };
    let mut kinds = Vec::new();
    while let Some(event) = watch.next().await {
        kinds.push(event["type"].as_str().unwrap().to_owned());
        if let Some(mark) = event.pointer("/object/metadata/annotations/k8s.io~1initial-events-end")
        {
            assert_eq!(mark, "true");
        }
    }
    assert_eq!(kinds, ["ADDED", "ADDED", "ADDED", "BOOKMARK"]);
}

#[tokio::test(start_paused = true)]
async fn patches_change_in_part() {
    let world = World::new(37, 1).await;
    let target = Target::secret("default", "s-0");
    for (content_type, code) in [
        ("application/strategic-merge-patch+json", 200),
        ("application/merge-patch+json", 200),
        ("application/json-patch+json", 415),
    ] {
        let mut call =
            Call::new(Method::Patch, target.path()).with_body(json!({"data": {"b": "eQ=="}}));
        call.content_type = Some(content_type);
        assert_eq!(
            world.server.call(call).await.unwrap().code,
            code,
            "{content_type}"
        );
    }
    let read = world.server.get(&target).await.unwrap();
    assert_eq!(read.json()["data"], json!({"a": "eA==", "b": "eQ=="}));
}

/// Whoever asks for a table gets one, with the columns that people know.
#[tokio::test(start_paused = true)]
async fn a_table_has_the_columns_that_people_know() {
    let world = World::new(37, 1).await;
    sleep(Duration::from_secs(90)).await;
    let mut request = kms_apiserver_node::serve::Request::get(ALL);
    request.accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json".to_owned();
    let reply = world.server.api().unwrap().handle(request).await;
    let kms_apiserver_node::serve::Reply::Json { body, .. } = reply else {
        panic!()
    };
    let columns: Vec<&str> = body["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Type", "Data", "Age"]);
    assert_eq!(body["rows"][0]["cells"], json!(["s-0", "Opaque", 1, "90s"]));
}

/// kubectl and every client of Go's typed library send protobuf.
#[tokio::test(start_paused = true)]
async fn objects_are_taken_as_protobuf() {
    let world = World::new(37, 1).await;
    let api = world.server.api().unwrap();
    let read = world
        .server
        .get(&Target::secret("default", "s-0"))
        .await
        .unwrap();
    let mut secret =
        kms_apiserver_node::object::Object::from_json(Resource::Secrets, read.json()).unwrap();
    secret.meta.name = "typed".to_owned();
    let body = kms_apiserver_node::object::protobuf::encode(&secret);
    let reply = api
        .handle(kms_apiserver_node::serve::Request::new("POST", ALL, body))
        .await;
    let kms_apiserver_node::serve::Reply::Json {
        code: 201, body, ..
    } = reply
    else {
        panic!()
    };
    assert_eq!(body["data"], json!({"a": "eA=="}));
    // a deletion with a precondition: envelope, type, raw = preconditions {uid}
    let options = |uid: &str| {
        let preconditions = [&[0x0a, u8::try_from(uid.len()).unwrap()], uid.as_bytes()].concat();
        let raw = [
            &[0x12, u8::try_from(preconditions.len()).unwrap()],
            &preconditions[..],
        ]
        .concat();
        [
            b"k8s\0",
            &[0x12, u8::try_from(raw.len()).unwrap()][..],
            &raw,
        ]
        .concat()
    };
    for (uid, expected) in [
        ("other", 409),
        (body["metadata"]["uid"].as_str().unwrap(), 200),
    ] {
        let request = kms_apiserver_node::serve::Request::new(
            "DELETE",
            &format!("{ALL}/typed"),
            options(uid),
        );
        let kms_apiserver_node::serve::Reply::Json { code, .. } = api.handle(request).await else {
            panic!()
        };
        assert_eq!(code, expected, "{uid}");
    }
}

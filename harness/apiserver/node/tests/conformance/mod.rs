//! What every store must do. The same code runs on the store in memory and on a real etcd; each case works under a
//! prefix of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kms_apiserver_node::store::{Change, Changed, Expect, Range, Store, StoreError, successor};
use tokio::time::timeout;

pub type Case = fn(Arc<dyn Store>, String) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// All cases by name.
pub const CASES: [(&str, Case); 8] = [
    (
        "a_write_makes_a_revision_and_keeps_the_first",
        |store, prefix| Box::pin(revisions(store, prefix)),
    ),
    (
        "a_write_on_an_old_revision_changes_nothing",
        |store, prefix| Box::pin(compare_and_set(store, prefix)),
    ),
    ("a_delete_is_conditional_too", |store, prefix| {
        Box::pin(deletes(store, prefix))
    }),
    ("pages_show_one_revision", |store, prefix| {
        Box::pin(pages(store, prefix))
    }),
    ("a_prefix_is_not_its_neighbour", |store, prefix| {
        Box::pin(neighbours(store, prefix))
    }),
    ("a_watch_replays_and_follows", |store, prefix| {
        Box::pin(watches(store, prefix))
    }),
    ("a_watch_says_how_far_it_is", |store, prefix| {
        Box::pin(progress(store, prefix))
    }),
    ("what_is_compacted_is_gone", |store, prefix| {
        Box::pin(compaction(store, prefix))
    }),
];

async fn put(store: &dyn Store, key: &str, value: &str) -> i64 {
    match store
        .put(key, Bytes::copy_from_slice(value.as_bytes()), Expect::Any)
        .await
        .unwrap()
    {
        Changed::Done { revision } => revision,
        Changed::Conflict { .. } => panic!("nothing was expected"),
    }
}

async fn revisions(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    assert_eq!(store.get(&key).await.unwrap().0, None);
    let first = put(&*store, &key, "1").await;
    let second = put(&*store, &key, "2").await;
    assert!(second > first);
    let (entry, revision) = store.get(&key).await.unwrap();
    let entry = entry.unwrap();
    assert!(revision >= second);
    assert_eq!(
        (entry.create_revision, entry.mod_revision, &*entry.value),
        (first, second, &b"2"[..])
    );
    store.delete(&key, Expect::Any).await.unwrap();
    let third = put(&*store, &key, "3").await;
    let entry = store.get(&key).await.unwrap().0.unwrap();
    assert_eq!(
        entry.create_revision, third,
        "a key that was deleted begins anew"
    );
}

async fn compare_and_set(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    let created = store.put(&key, value("1"), Expect::Absent).await.unwrap();
    let Changed::Done { revision: first } = created else {
        panic!("{created:?}")
    };
    let again = store.put(&key, value("x"), Expect::Absent).await.unwrap();
    let Changed::Conflict {
        current: Some(current),
    } = again
    else {
        panic!("{again:?}")
    };
    assert_eq!((current.mod_revision, &*current.value), (first, &b"1"[..]));
    let second = store
        .put(&key, value("2"), Expect::Revision(first))
        .await
        .unwrap();
    let Changed::Done { revision: second } = second else {
        panic!("{second:?}")
    };
    let late = store
        .put(&key, value("x"), Expect::Revision(first))
        .await
        .unwrap();
    assert!(
        matches!(late, Changed::Conflict { current: Some(current) } if current.mod_revision == second)
    );
    let none = store
        .put(&format!("{prefix}b"), value("x"), Expect::Revision(first))
        .await
        .unwrap();
    assert_eq!(none, Changed::Conflict { current: None });
    assert_eq!(&*store.get(&key).await.unwrap().0.unwrap().value, b"2");
}

async fn deletes(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    let first = put(&*store, &key, "1").await;
    let second = put(&*store, &key, "2").await;
    let late = store.delete(&key, Expect::Revision(first)).await.unwrap();
    assert!(
        matches!(late, Changed::Conflict { current: Some(_) }),
        "{late:?}"
    );
    let gone = store.delete(&key, Expect::Revision(second)).await.unwrap();
    assert!(
        matches!(gone, Changed::Done { revision } if revision > second),
        "{gone:?}"
    );
    assert_eq!(store.get(&key).await.unwrap().0, None);
    let again = store.delete(&key, Expect::Any).await.unwrap();
    assert!(matches!(again, Changed::Done { .. }), "{again:?}");
}

async fn pages(store: Arc<dyn Store>, prefix: String) {
    for at in 0..5 {
        put(&*store, &format!("{prefix}{at}"), "old").await;
    }
    let first = Range {
        limit: Some(2),
        ..Range::all(&prefix)
    };
    let page = store.range(first.clone()).await.unwrap();
    let keys: Vec<String> = page.entries.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(
        (keys.as_slice(), page.count),
        ([format!("{prefix}0"), format!("{prefix}1")].as_slice(), 5)
    );
    // what changes between two pages is not seen by the second one
    put(&*store, &format!("{prefix}3"), "new").await;
    store
        .delete(&format!("{prefix}4"), Expect::Any)
        .await
        .unwrap();
    put(&*store, &format!("{prefix}5"), "new").await;
    let from = Some(successor(&keys[1]));
    let rest = Range {
        from: from.clone(),
        limit: None,
        revision: Some(page.revision),
        ..first
    };
    let rest = store.range(rest).await.unwrap();
    let shown: Vec<(&str, &[u8])> = rest
        .entries
        .iter()
        .map(|entry| (&entry.key[prefix.len()..], &*entry.value))
        .collect();
    assert_eq!(shown, [("2", &b"old"[..]), ("3", b"old"), ("4", b"old")]);
    assert_eq!(rest.count, 3);
    let now = store
        .range(Range {
            from,
            ..Range::all(&prefix)
        })
        .await
        .unwrap();
    let shown: Vec<(&str, &[u8])> = now
        .entries
        .iter()
        .map(|entry| (&entry.key[prefix.len()..], &*entry.value))
        .collect();
    assert_eq!(shown, [("2", &b"old"[..]), ("3", b"new"), ("5", b"new")]);
    let future = store
        .range(Range {
            revision: Some(now.revision + 1_000_000),
            ..Range::all(&prefix)
        })
        .await;
    assert_eq!(future, Err(StoreError::Future));
}

async fn neighbours(store: Arc<dyn Store>, prefix: String) {
    for key in ["secrets/a", "secrets0", "secret", "secretstore/a"] {
        put(&*store, &format!("{prefix}{key}"), "x").await;
    }
    let page = store
        .range(Range::all(format!("{prefix}secrets/")))
        .await
        .unwrap();
    assert_eq!(page.entries.len(), 1);
    // a key from before the prefix does not widen the range
    let range = Range {
        from: Some(prefix.clone()),
        ..Range::all(format!("{prefix}secrets/"))
    };
    assert_eq!(store.range(range).await.unwrap().entries.len(), 1);
}

async fn watches(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    let first = put(&*store, &key, "1").await;
    let second = put(&*store, &key, "2").await;
    put(
        &*store,
        &format!("{}elsewhere", prefix.replace('/', "-")),
        "x",
    )
    .await;
    let mut watch = store.watch(&prefix, first + 1).await.unwrap();
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen = within(watch.next()).await.unwrap();
    }
    let [
        Change::Put {
            entry,
            previous: Some(previous),
        },
    ] = seen.as_slice()
    else {
        panic!("{seen:?}")
    };
    assert_eq!((entry.mod_revision, &*entry.value), (second, &b"2"[..]));
    assert_eq!(
        (previous.mod_revision, &*previous.value),
        (first, &b"1"[..])
    );
    // giving up waiting loses nothing
    assert!(
        timeout(Duration::from_millis(20), watch.next())
            .await
            .is_err()
    );
    store.delete(&key, Expect::Any).await.unwrap();
    let seen = within(watch.next()).await.unwrap();
    let [
        Change::Delete {
            key: gone,
            previous: Some(previous),
            revision,
        },
    ] = seen.as_slice()
    else {
        panic!("{seen:?}")
    };
    assert_eq!((gone, &*previous.value), (&key, &b"2"[..]));
    assert!(*revision > second);
}

async fn progress(store: Arc<dyn Store>, prefix: String) {
    let first = put(&*store, &format!("{prefix}a"), "1").await;
    let mut watch = store.watch(&prefix, first + 1).await.unwrap();
    // the watch has to be open on the other side before it can say anything
    assert!(
        timeout(Duration::from_millis(100), watch.next())
            .await
            .is_err()
    );
    let other = put(
        &*store,
        &format!("{}elsewhere", prefix.replace('/', "-")),
        "x",
    )
    .await;
    watch.ask_progress();
    let seen = within(watch.next()).await.unwrap();
    assert!(
        matches!(seen.as_slice(), [Change::Progress { revision }] if *revision >= other),
        "{seen:?}"
    );
    let second = put(&*store, &format!("{prefix}a"), "2").await;
    let seen = within(watch.next()).await.unwrap();
    assert!(
        matches!(seen.as_slice(), [Change::Put { entry, .. }] if entry.mod_revision == second),
        "{seen:?}"
    );
}

async fn compaction(store: Arc<dyn Store>, prefix: String) {
    let key = format!("{prefix}a");
    let first = put(&*store, &key, "1").await;
    let gone = format!("{prefix}b");
    put(&*store, &gone, "1").await;
    store.delete(&gone, Expect::Any).await.unwrap();
    let last = put(&*store, &key, "2").await;
    store.compact(last).await.unwrap();
    let old = store
        .range(Range {
            revision: Some(first),
            ..Range::all(&prefix)
        })
        .await;
    assert_eq!(old, Err(StoreError::Compacted));
    let now = store
        .range(Range {
            revision: Some(last),
            ..Range::all(&prefix)
        })
        .await
        .unwrap();
    assert_eq!(now.entries.len(), 1);
    let mut watch = store.watch(&prefix, first).await.unwrap();
    assert_eq!(within(watch.next()).await, Err(StoreError::Compacted));
    assert_eq!(store.compact(first).await, Err(StoreError::Compacted));
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future)
        .await
        .expect("something happens")
}

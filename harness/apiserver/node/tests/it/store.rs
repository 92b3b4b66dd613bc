//! The store in memory does what every store must do.

use std::sync::Arc;

use kms_apiserver_node::store::memory::MemoryStore;

use crate::conformance::CASES;

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_is_a_store() {
    for (name, case) in CASES {
        println!("{name}");
        case(Arc::new(MemoryStore::new()), format!("/{name}/")).await;
    }
}

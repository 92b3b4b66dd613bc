//! The same store tests on a real etcd. Where there is none the tests show as ignored, with the reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../conformance/mod.rs"]
mod conformance;
mod etcd;

use std::sync::Arc;

use kms_apiserver_node::store::etcd::EtcdStore;
use libtest_mimic::{Arguments, Failed, Trial};

use etcd::{Etcd, find};

fn main() {
    let arguments = Arguments::from_args();
    let found = find();
    let trials = conformance::CASES.into_iter().map(|(name, case)| {
        let binary = found.clone();
        let trial = Trial::test(format!("etcd::{name}"), move || {
            let binary = binary.map_err(Failed::from)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let etcd = Etcd::start(&binary).await.map_err(Failed::from)?;
                let store = EtcdStore::connect(etcd.address()).await?;
                case(Arc::new(store), format!("/{name}/")).await;
                Ok(())
            })
        });
        let required = std::env::var("KMS_REQUIRE").is_ok_and(|value| value == "all");
        trial.with_ignored_flag(found.is_err() && !required)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

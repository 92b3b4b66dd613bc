//! Equal seeds, equal histories.

use std::time::Duration;

use kms_scenario::fault::{Edge, Fault};
use kms_scenario::world::World;
use kms_sim::run::virtual_time;

use crate::bench::{Bench, seconds, spec};

/// A busy quarter of an hour; everything that was noted, as text.
fn story(seed: u64) -> String {
    let mut spec = spec(2);
    spec.seed = seed;
    virtual_time(seed, async {
        let mut bench = Bench::new(&spec).await;
        bench.world.net().record();
        let faults = [
            Fault::NetPartition(Edge::Vault),
            Fault::PluginKill,
            Fault::VaultRevokeTokens,
            Fault::VaultRotate(1),
            Fault::PluginFreeze,
            Fault::NetLatency {
                edge: Edge::Vault,
                min: Duration::from_millis(1),
                max: Duration::from_secs(2),
            },
        ];
        for (number, fault) in faults.into_iter().enumerate() {
            let id = format!("fault-{number}");
            bench.inject(&id, fault, &[1]).await;
            for _ in 0..10 {
                bench.write(0).await;
                bench.write(1).await;
                seconds(4).await;
            }
            bench.recover(&id).await;
            seconds(60).await;
        }
        let net = bench.world.net().recorded().join("\n");
        let logs = [bench.world.plugin_log(0), bench.world.plugin_log(1)].join("\n");
        let history = bench.history().iter();
        let history: Vec<String> = history.map(|entry| format!("{entry:?}")).collect();
        bench.world.stop().await.unwrap();
        [history.join("\n"), logs, net].join("\n\n")
    })
}

#[test]
fn the_same_seed_gives_the_same_history_to_the_last_packet() {
    let first = story(11);
    assert!(first.lines().count() > 1_000);
    let second = story(11);
    let differs = first
        .lines()
        .zip(second.lines())
        .enumerate()
        .find(|(_, (a, b))| a != b);
    assert_eq!(differs, None);
    assert_eq!(first.len(), second.len());
    assert_ne!(first, story(12));
}

/// Status polls that are given up before their answers come, with a pause of the machine in between.
fn late_answers(pause: bool) -> Vec<String> {
    virtual_time(1, async {
        let mut bench = Bench::new(&spec(1)).await;
        bench.world.net().record();
        let slow = Duration::from_secs(4);
        let fault = Fault::NetLatency {
            edge: Edge::Socket,
            min: slow,
            max: slow,
        };
        bench.inject("slow", fault, &[0]).await;
        for _ in 0..40 {
            bench.write(0).await;
            seconds(5).await;
        }
        for _ in 0..6 {
            if pause {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "real time is what must not matter"
                )]
                std::thread::sleep(Duration::from_millis(1_200));
            }
            tokio::time::sleep(Duration::from_millis(3_700)).await;
        }
        bench.recover("slow").await;
        seconds(60).await;
        let record = bench.world.net().recorded();
        bench.world.stop().await.unwrap();
        record
    })
}

/// The HTTP/2 library forgets a stream that was reset after a real second, if it is not told otherwise; an answer that
/// comes later is then answered itself.
#[test]
fn a_machine_that_stands_still_for_a_while_changes_nothing() {
    let (smooth, paused) = (late_answers(false), late_answers(true));
    let differs = smooth.iter().zip(&paused).find(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert_eq!(smooth.len(), paused.len());
}

//! The control plane in simulated time, with something out of order.

use std::time::Duration;

use jiff::Timestamp;
use kms_controlplane::invariant::{Invariant, Judge};
use kms_controlplane::object::Status;
use kms_controlplane::operand::Work;
use kms_controlplane::plane::{COMPONENTS, Plane};
use kms_controlplane::resource::GroupResource;

use crate::plane::{
    KAS, MINUTE, OAS, OAUTH, condition, down, enable, encrypted, keys, plane, ready,
};

#[test]
fn an_unanswering_plugin_makes_the_pod_unready_and_freezes_the_state_machine() {
    let mut plane = plane(3, 100);
    enable(&mut plane, 180 * MINUTE);
    plane.run_for(5 * MINUTE, |_| {});
    down(&mut plane, "master-1");
    plane.run_for(Duration::from_secs(14), |_| {});
    assert_eq!(ready(&plane, KAS), 3, "three probes must fail");
    plane.run_for(Duration::from_secs(62), |_| {});
    assert_eq!(ready(&plane, KAS), 2);
    plane.cluster.spec.mode = "aescbc".to_owned();
    plane.run_for(60 * MINUTE, |_| {});
    assert_eq!(keys(&plane, KAS), 1, "no key is made while a node is out");
    assert_eq!(
        condition(&plane, KAS, "EncryptionKeyControllerDegraded").0,
        Status::False,
        "and nobody says so"
    );
    assert_eq!(encrypted(&plane, KAS), "EncryptionCompleted");
    let pod = plane
        .cluster
        .api
        .pod(COMPONENTS[KAS].0, "apiserver-master-1")
        .unwrap();
    assert_eq!(
        pod.revision, "3",
        "liveness does not look at plugins: nothing was restarted"
    );

    plane.outages.plugins.clear();
    let end = plane.now() + 2 * MINUTE;
    assert!(
        plane.run_until(end, |plane| keys(plane, KAS) == 2),
        "it goes on by itself"
    );
    assert_eq!(ready(&plane, KAS), 3);
}

#[test]
fn a_plugin_that_is_missing_on_one_node_holds_the_rollout_there() {
    let mut plane = plane(3, 100);
    down(&mut plane, "master-0");
    plane.cluster.spec.mode = "KMS".to_owned();
    plane.run_for(60 * MINUTE, |_| {});
    let nodes: Vec<(u32, u32)> = plane.operands[KAS]
        .nodes
        .iter()
        .map(|node| (node.current, node.target))
        .collect();
    assert_eq!(
        nodes,
        [(1, 2), (1, 0), (1, 0)],
        "the other nodes still run the old config: nothing is encrypted"
    );
    assert_eq!(
        condition(&plane, KAS, "NodeInstallerProgressing").0,
        Status::True
    );
    assert_eq!(
        condition(&plane, KAS, "NodeInstallerDegraded").0,
        Status::False
    );
    plane.cluster.spec.mode = "aescbc".to_owned();
    plane.run_for(60 * MINUTE, |_| {});
    assert_eq!(keys(&plane, KAS), 1, "another type makes no key either");
    plane.outages.plugins.clear();
    let end = plane.now() + 240 * MINUTE;
    assert!(
        plane.run_until(end, |plane| keys(plane, KAS) == 2),
        "the first key is finished, then the wish is heard"
    );
    assert_eq!(encrypted(&plane, KAS), "EncryptionCompleted");
}

#[test]
fn a_cut_off_node_is_unready_whatever_it_runs() {
    let mut plane = plane(3, 100);
    plane.run_for(MINUTE, |_| {});
    plane.outages.nodes.insert("master-2".to_owned());
    plane.run_for(2 * MINUTE, |_| {});
    plane.cluster.spec.mode = "KMS".to_owned();
    plane.run_for(10 * MINUTE, |_| {});
    assert_eq!(
        [keys(&plane, KAS), keys(&plane, OAS), keys(&plane, OAUTH)],
        [0; 3]
    );
}

#[test]
fn a_newer_revision_does_not_wait_for_one_that_hangs() {
    let mut plane = plane(3, 100);
    down(&mut plane, "master-0");
    plane.cluster.spec.mode = "KMS".to_owned();
    plane.run_for(30 * MINUTE, |_| {});
    assert_eq!(plane.operands[KAS].nodes[0].target, 2);
    // Somebody changes the operand's copy: the next revision, without the plugin.
    let mut copy = plane
        .cluster
        .api
        .cached_secret(COMPONENTS[KAS].0, "encryption-config")
        .unwrap()
        .clone();
    copy.data.clear();
    plane.cluster.api.update_secret(copy).unwrap();
    let end = plane.now() + 20 * MINUTE;
    let mut targets = Vec::new();
    plane.run_until(end, |plane| {
        targets.push(plane.operands[KAS].nodes[0].target);
        false
    });
    assert!(targets.iter().any(|target| *target >= 3), "{targets:?}");
}

#[test]
fn a_single_node_falls_back_and_tries_again_later_and_later() {
    let mut plane = plane(1, 100);
    down(&mut plane, "master-0");
    plane.cluster.spec.mode = "KMS".to_owned();
    let mut falls: Vec<(Timestamp, Timestamp)> = Vec::new();
    plane.run_for(300 * MINUTE, |plane| {
        if let Work::Fallen { retry } = plane.operands[KAS].nodes[0].work
            && falls.last().is_none_or(|(_, last)| *last != retry)
        {
            falls.push((plane.now(), retry));
        }
    });
    let waits: Vec<i64> = falls
        .iter()
        .map(|(at, retry)| retry.duration_since(*at).as_mins())
        .collect();
    assert_eq!(waits[..4], [10, 20, 40, 80], "{waits:?}");
    let fallen = condition(&plane, KAS, "StaticPodFallbackRevisionDegraded");
    assert_eq!(fallen.0, Status::True, "{fallen:?}");
    plane.outages.plugins.clear();
    let end = plane.now() + 300 * MINUTE;
    assert!(plane.run_until(end, |plane| encrypted(plane, KAS) == "EncryptionCompleted"));
    assert_eq!(
        condition(&plane, KAS, "StaticPodFallbackRevisionDegraded").0,
        Status::False
    );
}

#[test]
fn one_stuck_migration_holds_those_of_all_operators() {
    let mut plane = plane(3, 100);
    let routes = GroupResource::from("routes.route.openshift.io");
    plane.migrator.stuck.insert(
        routes.clone(),
        "Internal error occurred: no matching prefix found".to_owned(),
    );
    plane.cluster.spec.mode = "KMS".to_owned();
    plane.run_for(240 * MINUTE, |_| {});
    assert_eq!(
        plane.migrator.trouble().map(|(resource, _)| resource),
        Some(&routes)
    );
    let progressing = "EncryptionMigrationControllerProgressing";
    for component in [KAS, OAS] {
        assert_eq!(condition(&plane, component, progressing).0, Status::True);
        assert_eq!(
            condition(&plane, component, "EncryptionMigrationControllerDegraded").0,
            Status::False
        );
        assert_eq!(encrypted(&plane, component), "EncryptionInProgress");
    }
    plane.migrator.stuck.clear();
    let end = plane.now() + 30 * MINUTE;
    let all = |plane: &Plane| {
        (0..3).all(|component| encrypted(plane, component) == "EncryptionCompleted")
    };
    assert!(plane.run_until(end, all), "then everything goes on");
}

#[test]
fn a_failed_migration_is_tried_again_after_five_minutes() {
    use kms_controlplane::object::MigrationState;
    let mut plane = plane(3, 3000);
    plane.cluster.spec.mode = "KMS".to_owned();
    let name = kms_controlplane::migration_name(&GroupResource::from("routes.route.openshift.io"));
    let end = plane.now() + 60 * MINUTE;
    assert!(plane.run_until(end, |plane| {
        plane.cluster.api.migrations().contains_key(&name)
    }));
    let failed = plane.now();
    let state = MigrationState::Failed(failed, "resource not served".to_owned());
    plane.cluster.api.migration_mut(&name).unwrap().state = state;
    let end = plane.now() + 20 * MINUTE;
    assert!(plane.run_until(end, |plane| encrypted(plane, OAS) == "EncryptionCompleted"));
    let waited = plane.now().duration_since(failed).as_mins();
    assert!((5..=7).contains(&waited), "{waited} minutes");
}

#[test]
fn the_rules_hold_through_outages_at_any_time_and_two_runs_are_the_same() {
    let run = |seed: u64| {
        let mut plane = plane(3, 200);
        let mut judge = Judge::default();
        let mut broken = Vec::new();
        let mut state = seed;
        let mut draw = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for _ in 0..12 {
            let node = format!("master-{}", draw(3));
            match draw(5) {
                0 => {
                    plane.cluster.spec.mode =
                        ["KMS", "aescbc", "identity", "aesgcm"][draw(4) as usize].to_owned()
                }
                1 => down(&mut plane, &node),
                2 => drop(plane.outages.nodes.insert(node)),
                3 => plane.outages = Default::default(),
                _ => plane.cluster.spec.mode = "KMS".to_owned(),
            }
            let pause = Duration::from_secs(60 * draw(50));
            plane.run_for(pause, |plane| {
                broken.append(&mut judge.look(&plane.cluster))
            });
        }
        (broken, plane.log.len(), plane.now())
    };
    for seed in 1..=3 {
        let (broken, said, end) = run(seed);
        assert_eq!(broken, [], "seed {seed}");
        if seed == 1 {
            assert_eq!((broken, said, end), run(seed));
            assert!(said > 20, "something happened: {said}");
        }
    }
}

#[test]
fn a_lost_kms_secret_is_seen_by_the_judge_on_the_running_plane() {
    let mut plane = plane(3, 100);
    enable(&mut plane, 180 * MINUTE);
    let name = "encryption-key-openshift-kube-apiserver-1";
    let mut secret = plane
        .cluster
        .api
        .cached_secret("openshift-config-managed", name)
        .unwrap()
        .clone();
    secret.finalizers.clear();
    plane.cluster.api.update_secret(secret).unwrap();
    plane
        .cluster
        .api
        .delete_secret("openshift-config-managed", name)
        .unwrap();
    let mut judge = Judge::default();
    let mut broken = Vec::new();
    plane.run_for(60 * MINUTE, |plane| {
        broken.append(&mut judge.look(&plane.cluster))
    });
    assert!(
        broken
            .iter()
            .any(|violation| violation.invariant == Invariant::Readable),
        "{broken:?}"
    );
    assert_eq!(
        encrypted(&plane, KAS),
        "EncryptionCompleted",
        "and the condition is green"
    );
}

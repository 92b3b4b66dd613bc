//! The control plane in simulated time: one node after the other, gates, outages, one migrator for all.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kms_controlplane::generation::Generation;
use kms_controlplane::invariant::Judge;
use kms_controlplane::object::Status;
use kms_controlplane::plane::{COMPONENTS, Plane, What};
use kms_controlplane::resource::GroupResource;

pub const KAS: usize = 0;
pub const OAS: usize = 1;
pub const OAUTH: usize = 2;
pub const SOCKET: &str = "unix:///var/run/kmsplugin/kms.sock";
pub const MINUTE: Duration = Duration::from_secs(60);

fn start() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub fn plane(nodes: usize, secrets: u64) -> Plane {
    let objects = BTreeMap::from([
        (GroupResource::from("secrets"), secrets),
        (GroupResource::from("configmaps"), secrets / 2),
        (GroupResource::from("routes.route.openshift.io"), 100),
        (
            GroupResource::from("oauthaccesstokens.oauth.openshift.io"),
            100,
        ),
        (
            GroupResource::from("oauthauthorizetokens.oauth.openshift.io"),
            100,
        ),
    ]);
    Plane::new(Generation::V1, nodes, objects, 1, start())
}

pub fn encrypted(plane: &Plane, component: usize) -> String {
    plane.cluster.components[component].conditions["Encrypted"]
        .reason
        .clone()
}

pub fn condition(plane: &Plane, component: usize, name: &str) -> (Status, String) {
    let condition = &plane.cluster.components[component].conditions[name];
    (condition.status, condition.message.clone())
}

fn minutes(plane: &Plane) -> i64 {
    plane.now().duration_since(start()).as_mins()
}

pub fn down(plane: &mut Plane, node: &str) {
    plane
        .outages
        .plugins
        .insert((node.to_owned(), SOCKET.to_owned()));
}

pub fn ready(plane: &Plane, component: usize) -> usize {
    let name = COMPONENTS[component].0;
    plane.cluster.api.pods(name).filter(|pod| pod.ready).count()
}

pub fn keys(plane: &Plane, component: usize) -> usize {
    let name = COMPONENTS[component].0;
    let label = kms_controlplane::object::COMPONENT_LABEL;
    plane
        .cluster
        .api
        .cached_secrets("openshift-config-managed", label, name)
        .count()
}

/// Runs until all three components say Completed; gives the minutes that each took.
pub fn enable(plane: &mut Plane, limit: Duration) -> [i64; 3] {
    plane.cluster.spec.mode = "KMS".to_owned();
    let mut took = [None; 3];
    let mut judge = Judge::default();
    let end = plane.now() + limit;
    let done = plane.run_until(end, |plane| {
        assert_eq!(judge.look(&plane.cluster), []);
        for (component, took) in took.iter_mut().enumerate() {
            if took.is_none() && encrypted(plane, component) == "EncryptionCompleted" {
                *took = Some(minutes(plane));
            }
        }
        took.iter().all(Option::is_some)
    });
    assert!(done, "{took:?}");
    took.map(|minutes| minutes.unwrap())
}

#[test]
fn enabling_takes_as_long_as_the_procedure_says() {
    let mut plane = plane(3, 500);
    let [kas, oas, oauth] = enable(&mut plane, 180 * MINUTE);
    assert!(
        (5..=10).contains(&oas) && (5..=10).contains(&oauth),
        "5-10 minutes: {oas}, {oauth}"
    );
    assert!(
        (46..=60).contains(&kas),
        "twice 23 minutes and the migration: {kas}"
    );
}

#[test]
fn nodes_follow_one_after_the_other_and_the_ready_ones_rest_first() {
    let mut plane = plane(3, 100);
    plane.cluster.spec.mode = "KMS".to_owned();
    let mut fewest = 3;
    plane.run_for(60 * MINUTE, |plane| fewest = fewest.min(ready(plane, KAS)));
    assert_eq!(fewest, 2, "never two nodes out at once");
    let operand: Vec<(Timestamp, String)> = plane
        .log
        .iter()
        .filter(|entry| entry.by == "operand" && entry.component == COMPONENTS[KAS].0)
        .filter_map(|entry| match &entry.what {
            What::Event(event) => Some((entry.at, event.reason.clone())),
            _ => None,
        })
        .collect();
    let of = |reason: &str| -> Vec<Timestamp> {
        operand
            .iter()
            .filter(|(_, r)| r == reason)
            .map(|(at, _)| *at)
            .collect()
    };
    let (begun, done) = (
        of("NodeTargetRevisionChanged"),
        of("NodeCurrentRevisionChanged"),
    );
    assert_eq!(
        (begun.len(), done.len()),
        (6, 6),
        "two revisions on three nodes"
    );
    for (done, begun) in done.iter().zip(&begun[1..]) {
        let rest = begun.duration_since(*done).as_secs();
        assert!(
            (31..=60).contains(&rest),
            "ready for more than 30 s before the next node: {rest}"
        );
    }
    let text = "new revision 2 triggered by \"optional secret/encryption-config has changed\"";
    assert!(
        plane
            .log
            .iter()
            .any(|entry| matches!(&entry.what, What::Event(event) if event.text == text))
    );
}

#[test]
fn rollout_conditions_count_the_nodes() {
    let mut plane = plane(3, 100);
    plane.cluster.spec.mode = "KMS".to_owned();
    plane.run_for(Duration::from_secs(120), |_| {});
    let text = "3 nodes are at revision 1; 0 nodes have achieved new revision 2".to_owned();
    assert_eq!(
        condition(&plane, KAS, "NodeInstallerProgressing"),
        (Status::True, text)
    );
    plane.run_for(10 * MINUTE, |_| {});
    let text = "2 nodes are at revision 1; 1 node is at revision 2".to_owned();
    assert_eq!(
        condition(&plane, KAS, "NodeInstallerProgressing"),
        (Status::True, text)
    );
    plane.run_for(120 * MINUTE, |_| {});
    let text = "3 nodes are at revision 3".to_owned();
    assert_eq!(
        condition(&plane, KAS, "NodeInstallerProgressing"),
        (Status::False, text)
    );
    assert_eq!(
        condition(&plane, OAS, "APIServerDeploymentProgressing"),
        (Status::False, String::new())
    );
}

#[test]
fn the_first_migration_of_39000_objects_takes_half_an_hour() {
    let mut plane = plane(3, 25_000);
    let objects = [("secrets", 25_000), ("configmaps", 14_000)];
    for (resource, count) in objects {
        plane
            .migrator
            .objects
            .insert(GroupResource::from(resource), count);
    }
    let progressing = "EncryptionMigrationControllerProgressing";
    plane.cluster.spec.mode = "KMS".to_owned();
    let mut begun = None;
    let end = plane.now() + 300 * MINUTE;
    assert!(plane.run_until(end, |plane| {
        if begun.is_none() && condition(plane, KAS, progressing).0 == Status::True {
            begun = Some(plane.now());
        }
        encrypted(plane, KAS) == "EncryptionCompleted"
    }));
    let took = plane.now().duration_since(begun.unwrap()).as_mins();
    assert!(
        (28..=30).contains(&took),
        "39,000 objects, 23 a second: {took} minutes"
    );
}

#[test]
fn a_key_is_rotated_every_week_but_never_under_kms() {
    let week = Duration::from_secs(8 * 24 * 3600);
    let mut plane = plane(3, 100);
    plane.cluster.spec.mode = "aescbc".to_owned();
    plane.run_for(week, |_| {});
    assert_eq!(keys(&plane, KAS), 2);
    plane.cluster.spec.mode = "KMS".to_owned();
    plane.run_for(week, |_| {});
    assert_eq!(keys(&plane, KAS), 3);
}

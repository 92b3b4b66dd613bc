//! The twelve traps that driving the real controllers has shown, `OCP-TRAP-01` to `-12`: how one gets in, what is seen,
//! and the way out where there is one.

use kms_controlplane::generation::Generation::{self, Generic, V1, V2};
use kms_controlplane::invariant::{Invariant, Judge};

use crate::player::Player;
use crate::stories::KAS_ONLY;

const KEY: &str = "EncryptionKeyControllerDegraded";
const PREFLIGHT: &str = "EncryptionKMSPreflightControllerDegraded";

struct Walk {
    player: Player,
    judge: Judge,
    broken: Vec<Invariant>,
}

impl Walk {
    fn new(generation: Generation, steps: &str) -> Self {
        let walk = Self {
            player: Player::new(generation, KAS_ONLY),
            judge: Judge::default(),
            broken: Vec::new(),
        };
        walk.then(steps)
    }

    fn then(mut self, steps: &str) -> Self {
        for step in steps.split("; ") {
            let Self {
                player,
                judge,
                broken,
            } = &mut self;
            let mut watch = |cluster: &_| {
                broken.extend(
                    judge
                        .look(cluster)
                        .iter()
                        .map(|violation| violation.invariant),
                )
            };
            player.play_watched(step, &mut watch);
        }
        self
    }

    /// Operators of another generation take the cluster over.
    fn under(mut self, generation: Generation) -> Self {
        self.player.cluster.generation = generation;
        self.then("settle")
    }

    fn says(&self, condition: &str, status: &str, text: &str) -> &Self {
        let (read, reason, message) = self.player.condition(condition);
        assert_eq!(
            (read.as_str(), format!("{reason} {message}").trim()),
            (status, text),
            "{condition}"
        );
        self
    }

    fn green(&self) -> &Self {
        self.says(
            "Encrypted",
            "True",
            "EncryptionCompleted All resources encrypted: secrets, configmaps",
        )
    }

    fn target(&self, providers: &str) -> &Self {
        assert_eq!(self.player.target(), providers);
        self
    }

    /// So many lines with that in them were written since the last step began.
    fn lines(&self, what: &str, text: &str) -> usize {
        let last = &self.player.lines.last().unwrap()["step"];
        let of_last = self
            .player
            .lines
            .iter()
            .filter(|line| line["step"] == *last && line["what"] == what);
        of_last
            .filter(|line| line.to_string().contains(text))
            .count()
    }

    fn broke(&self, rule: Invariant) -> bool {
        self.broken.contains(&rule)
    }
}

#[test]
fn ocp_trap_01_plain_text_is_written_behind_a_green_condition() {
    let walk = Walk::new(V1, "spec KMS; complete; deployed force-delete; rollout");
    walk.green();
    assert!(walk.broke(Invariant::NoPlainText));
    let walk = walk.then("complete");
    walk.green().target("kms:1,identity");
    assert_eq!(
        walk.lines("migration", ""),
        0,
        "what was written in between stays plain"
    );
    let walk = walk.then("spec aescbc; complete");
    assert!(
        walk.lines("migration", "succeeded") >= 2,
        "a change of keys rewrites it"
    );
}

#[test]
fn ocp_trap_02_a_lost_target_config_is_not_written_again_before_all_nodes_agree() {
    let walk = Walk::new(
        V1,
        "spec aescbc; complete; spec KMS; rollout 1; target force-delete; settle",
    );
    assert!(
        walk.lines("event", "TargetSecretDeleted") > 0,
        "at every sync"
    );
    let target = "encryption-config-openshift-kube-apiserver";
    assert!(
        walk.player
            .cluster
            .api
            .cached_secret("openshift-config-managed", target)
            .is_none()
    );
    let walk = walk.then("rollout");
    walk.target("kms:2,aescbc:1,identity");
    let copy = walk
        .player
        .cluster
        .api
        .cached_secret("openshift-kube-apiserver", "encryption-config")
        .unwrap();
    assert!(
        copy.deleting,
        "its finalizer holds the copy; it stays like that"
    );
}

#[test]
fn ocp_trap_03_operators_without_kms_make_a_kms_cluster_unreadable() {
    let walk = Walk::new(V1, "spec KMS; complete").under(Generic);
    walk.target("identity")
        .says(KEY, "True", "Error unknown encryption mode configured: KMS");
    assert!(walk.then("rollout").broke(Invariant::Readable));
}

#[test]
fn ocp_trap_04_an_unknown_type_hides_behind_green_and_stops_rotation() {
    let walk = Walk::new(Generic, "spec aescbc; complete; spec KMS; key 1 age 200h");
    walk.green()
        .says(KEY, "True", "Error unknown encryption mode configured: KMS");
    assert_eq!(walk.lines("key", "\"new\""), 0);
    let walk = walk.then("spec aescbc");
    assert_eq!(
        walk.lines("key", "\"new\""),
        1,
        "back at a known type it rotates"
    );
}

#[test]
fn ocp_trap_05_an_unmanaged_operator_reads_as_unencrypted() {
    let walk = Walk::new(V1, "spec KMS; complete; managed Unmanaged");
    walk.says("Encrypted", "False", "");
    walk.then("managed Managed").green();
}

#[test]
fn ocp_trap_06_whoever_makes_the_next_secret_makes_the_key() {
    let walk = Walk::new(V1, "spec aescbc; complete; key 2 create aescbc; complete");
    walk.target("aescbc:2,aescbc:1,identity");
    let invalid = "secret encryption-key-openshift-kube-apiserver-3 is invalid, new keys cannot be created for encryption target";
    let walk = walk.then("key 3 create bogus; settle");
    walk.says(KEY, "False", "");
    let walk = walk.then("spec KMS");
    walk.says(KEY, "True", &format!("Error {invalid}"));
    walk.then("key 3 force-delete; complete")
        .target("kms:3,aescbc:2,identity");
}

#[test]
fn ocp_trap_07_a_lost_config_on_identity_lists_identity_twice() {
    let lost = "key 1 force-delete; key 2 force-delete; target force-delete; deployed force-delete";
    let walk = Walk::new(
        V1,
        &format!("spec aescbc; complete; spec identity; complete; {lost}; complete"),
    );
    let twice = walk
        .player
        .lines
        .iter()
        .any(|line| line.to_string().contains("identity,identity,aesgcm-null:"));
    assert!(twice, "which is valid for an API server");
}

#[test]
fn ocp_trap_08_a_kms_key_without_its_secret_loses_its_provider() {
    let walk = Walk::new(V1, "spec KMS; complete; key 1 save; key 1 force-delete");
    walk.target("kms:2,identity");
    walk.says(
        "Encrypted",
        "False",
        "EncryptionInProgress Resource secrets is being encrypted",
    );
    assert!(
        !walk.broke(Invariant::Readable),
        "not yet: nothing runs that config"
    );
    let walk = walk.then("key 1 restore; complete");
    walk.green().target("kms:2,kms:1,identity");
    assert!(
        !walk.broke(Invariant::Readable),
        "put back in time, nothing is lost"
    );

    let walk = Walk::new(
        V1,
        "spec KMS; complete; key 1 save; key 1 force-delete; rollout",
    );
    assert!(walk.broke(Invariant::Readable), "too late");
    let walk = walk.then("key 1 restore; rollout");
    let readable = Judge::default().look(&walk.player.cluster);
    assert_eq!(readable, [], "but the provider returns as a read key");
    assert!(walk.player.target().contains("kms:1"));
}

#[test]
fn ocp_trap_09_v2_cannot_read_the_keys_of_v1() {
    let walk = Walk::new(V1, "spec KMS; complete").under(V2);
    walk.target("kms:2,identity");
    assert!(walk.then("rollout").broke(Invariant::Readable));

    let mut walk = Walk::new(V1, "spec KMS; complete");
    walk.player.cluster.spec.kms = None;
    let walk = walk.under(V2);
    walk.says(KEY, "True", "Error unsupported KMS provider type \"\"")
        .target("kms:1,identity");
    assert_eq!(
        walk.lines("panic", "index out of range"),
        2,
        "state and migration controller die at every sync"
    );
}

#[test]
fn ocp_trap_10_v1_cannot_read_the_keys_of_v2() {
    let walk = Walk::new(V2, "spec KMS; complete").under(V1);
    walk.target("kms:2,identity");
    assert!(walk.then("rollout").broke(Invariant::Readable));
}

#[test]
fn ocp_trap_11_a_lost_key_kills_controllers_until_the_preflight_check_passes() {
    let steps = "preflight played; spec KMS; preflight hash; preflight pass key-1; complete";
    let walk =
        Walk::new(V2, steps).then("kms address https://other.example:8200; key 1 force-delete");
    assert_eq!(walk.lines("panic", "index out of range"), 2);
    walk.target("kms:1,identity");
    let walk = walk.then("settle");
    assert_eq!(
        walk.lines("panic", "index out of range"),
        2,
        "again and again"
    );
    walk.then("preflight hash; preflight pass key-2")
        .target("kms:2,identity");
}

#[test]
fn ocp_trap_12_a_crashed_check_stands_in_the_way_of_a_better_configuration() {
    let steps = "preflight played; spec KMS; preflight crashed OOMKilled; kms address https://other.example:8200";
    let walk = Walk::new(V2, steps);
    let text = "OOMKilled preflight pod failed for hash fg2UPg==: at least one container kms-preflight exited with 1 (OOMKilled)";
    walk.says(PREFLIGHT, "True", text);
    let walk = walk.then("preflight removed; preflight hash; preflight pass key-1");
    walk.says(PREFLIGHT, "False", "").target("identity,kms:1");
}

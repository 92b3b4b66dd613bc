//! The judges: which rules the real controllers break in the stories; and each rule broken by a controller that is wrong
//! on purpose.

use std::collections::{BTreeMap, BTreeSet};

use kms_controlplane::encryption_config::Provider;
use kms_controlplane::generation::Generation::{self, Generic, V1, V2};
use kms_controlplane::invariant::Invariant::{self, *};
use kms_controlplane::invariant::{Judge, Violation};
use kms_controlplane::key_secret::{DATA_PREFIX, key_secret_name};
use kms_controlplane::object::{MANAGED_NAMESPACE, Migration, MigrationState, Pod};
use kms_controlplane::resource::GroupResource;

use crate::player::Player;
use crate::stories::KAS_ONLY;

/// Stories in which the real controllers break a rule: always because somebody took an object away by force, or
/// because two generations met.
#[rustfmt::skip]
const BROKEN: &[(Invariant, &[&str])] = &[
    // a key's number comes back: given out again after its secret was lost, or put back by hand
    (NumbersGrow, &["generic/09", "generic/48", "v1/k17", "v1/k24", "v1/k25", "v1/k26", "v1/k37",
        "v2/k17", "v2/k24", "v2/k25", "v2/k26", "v2/k37", "v2/p24"]),
    // the config of the running revision was lost: a window of plain text behind a green condition
    (NoPlainText, &["generic/28", "generic/46", "v1/k09", "v1/k15", "v2/k09", "v2/k15", "v2/p22"]),
    // a KMS key's secret was lost, unreadable, or of another generation: its provider goes
    (Readable, &["generic/09", "v1/k11", "v1/k12", "v1/k13", "v1/k19", "v1/k20", "v1/k21", "v1/k23", "v1/k25", "v1/k33",
        "v1/k37", "v1/v03", "v1/v04", "v2/k11", "v2/k12", "v2/k13", "v2/k19", "v2/k20", "v2/k21", "v2/k23", "v2/k25",
        "v2/k32", "v2/k37", "v2/p18", "v2/p21", "v2/p23", "v2/p24"]),
];

/// Those of one family, by rule.
pub fn known_to_break(family: &str) -> BTreeMap<Invariant, BTreeSet<String>> {
    let of_family = |stories: &[&str]| -> BTreeSet<String> {
        stories
            .iter()
            .filter(|story| story.split('/').next() == Some(family))
            .map(|story| (*story).to_owned())
            .collect()
    };
    let rules = BROKEN
        .iter()
        .map(|(rule, stories)| (*rule, of_family(stories)));
    rules.filter(|(_, stories)| !stories.is_empty()).collect()
}

/// Plays steps and judges after each; `wrong` is done before the step of that name.
struct Trial {
    player: Player,
    judge: Judge,
    found: Vec<Violation>,
}

impl Trial {
    fn new(generation: Generation) -> Self {
        Self {
            player: Player::new(generation, KAS_ONLY),
            judge: Judge::default(),
            found: Vec::new(),
        }
    }

    fn play(mut self, steps: &str) -> Self {
        for step in steps.split("; ") {
            let Self {
                player,
                judge,
                found,
            } = &mut self;
            player.play_watched(step, &mut |cluster| found.append(&mut judge.look(cluster)));
        }
        self
    }

    /// What a wrong controller does; the right ones do not run after it.
    fn wrong(mut self, act: impl FnOnce(&mut Player)) -> Self {
        assert_eq!(self.found, [], "nothing is broken before");
        self = self.play("auto off");
        act(&mut self.player);
        self.look()
    }

    fn look(mut self) -> Self {
        self.found
            .append(&mut self.judge.look(&self.player.cluster));
        self
    }

    fn rolled(mut self, step: &str) -> Self {
        self = self.play(step);
        self.look()
    }

    /// The rule is broken, and it is the first one.
    #[track_caller]
    fn breaks(self, rule: Invariant, text: &str) {
        let first = self
            .found
            .first()
            .map(|violation| (violation.invariant, violation.text.as_str()));
        assert_eq!(first, Some((rule, text)));
    }
}

/// Moves the first KMS provider of every resource to the front.
fn promote(player: &mut Player) {
    player.edit_target(|config| {
        for entry in &mut config.resources {
            let place = entry
                .providers
                .iter()
                .position(|provider| matches!(provider, Provider::Kms(_)))
                .unwrap();
            let kms = entry.providers.remove(place);
            entry.providers.insert(0, kms);
        }
    });
}

#[test]
fn read_before_write_breaks_when_the_read_stage_is_left_out() {
    let trial = Trial::new(V1)
        .play("spec KMS")
        .wrong(promote)
        .rolled("rollout 1");
    trial.breaks(
        ReadBeforeWrite,
        "node-1 writes secrets with kms:1, which node-2 cannot read",
    );
}

#[test]
fn read_before_write_breaks_when_one_node_stands_for_all() {
    // A deployer that sees the first node only: the read config "runs everywhere" at once.
    let blind = |player: &mut Player| {
        let name = player.cluster.components[0].name.clone();
        let hidden: Vec<Pod> = player
            .cluster
            .api
            .pods(&name)
            .filter(|pod| pod.node != "node-1")
            .cloned()
            .collect();
        for pod in &hidden {
            player.cluster.api.remove_pod(&name, &pod.name);
        }
        player.cluster.components[0].nodes = vec!["node-1".to_owned()];
        player.settle();
        for pod in hidden {
            player.cluster.api.set_pod(&name, pod);
        }
    };
    let trial = Trial::new(V1)
        .play("spec KMS; rollout 1")
        .wrong(blind)
        .rolled("rollout 1");
    trial.breaks(
        ReadBeforeWrite,
        "node-1 writes secrets with kms:1, which node-2 cannot read",
    );
}

#[test]
fn kept_until_migrated_breaks_when_a_key_is_pruned_early() {
    let drop_old = |player: &mut Player| {
        player.edit_target(|config| {
            for entry in &mut config.resources {
                entry
                    .providers
                    .retain(|provider| !matches!(provider, Provider::Aescbc(_)));
            }
        });
    };
    let trial = Trial::new(V1)
        .play("spec aescbc; complete; spec KMS; rollout; rollout; migrator succeeds secrets");
    let text = "key 1 left the config of secrets before all was migrated to a newer one";
    trial.wrong(drop_old).breaks(KeptUntilMigrated, text);
}

#[test]
fn kept_until_migrated_breaks_when_no_older_key_stays() {
    let drop_old = |player: &mut Player| {
        player.edit_target(|config| {
            for entry in &mut config.resources {
                entry
                    .providers
                    .retain(|provider| !matches!(provider, Provider::Aescbc(_)));
            }
        });
    };
    let trial = Trial::new(V1)
        .play("spec aescbc; complete; spec KMS; complete")
        .wrong(drop_old);
    trial.breaks(
        KeptUntilMigrated,
        "key 1 left the config of secrets, and no older key stayed",
    );
}

#[test]
fn migrates_when_stable_breaks_when_convergence_is_not_awaited() {
    let begin = |player: &mut Player| {
        let resource = GroupResource::from("secrets");
        let name = kms_controlplane::migration_name(&resource);
        let (version, write_key, state) = ("v1".to_owned(), "1".to_owned(), MigrationState::New);
        player
            .cluster
            .api
            .create_migration(Migration {
                name,
                resource,
                version,
                write_key,
                state,
            })
            .unwrap();
    };
    let trial = Trial::new(V1)
        .play("spec KMS; rollout; rollout 1")
        .wrong(begin);
    trial.breaks(
        MigratesWhenStable,
        "migration of secrets begins while pods differ",
    );
}

#[test]
fn migrates_when_stable_breaks_when_a_new_config_leaves_the_migration() {
    let trial = Trial::new(V1)
        .play("spec KMS; rollout; rollout; migrator runs secrets")
        .wrong(|player| {
            player.edit_target(|config| config.resources[0].providers.reverse());
        });
    trial.breaks(
        MigratesWhenStable,
        "migration of configmaps stands beside a config that does not run yet",
    );
}

#[test]
fn same_keys_breaks_when_one_resource_is_forgotten() {
    let forget = |player: &mut Player| {
        player.edit_target(|config| {
            config.resources[0]
                .providers
                .retain(|provider| !matches!(provider, Provider::Kms(_)));
        });
    };
    let trial = Trial::new(V1)
        .play("spec aescbc; complete; spec KMS")
        .wrong(forget);
    trial.breaks(
        SameKeys,
        r#"read keys differ between resources: {{"aescbc:1"}, {"aescbc:1", "kms:2"}}"#,
    );
}

#[test]
fn numbers_grow_breaks_when_a_number_is_given_out_again() {
    let trial = Trial::new(Generic).play("spec aescbc; complete; spec aesgcm; key 2 force-delete");
    trial.breaks(NumbersGrow, "key 2 after key 2");
}

#[test]
fn one_at_a_time_breaks_when_the_last_key_is_not_awaited() {
    let trial =
        Trial::new(Generic).play("spec aescbc; rollout; rollout; migrator succeeds secrets");
    trial
        .wrong(|player| player.play("key 2 create aesgcm"))
        .breaks(
            OneAtATime,
            "a key after key 1, to which not all is migrated",
        );
}

#[test]
fn own_socket_breaks_when_two_keys_share_one() {
    let share = |player: &mut Player| {
        let name = key_secret_name("openshift-kube-apiserver", "2");
        let mut secret = player
            .cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &name)
            .unwrap()
            .clone();
        let key = format!("{DATA_PREFIX}kms-encryption-config");
        let text = String::from_utf8(secret.data[&key].clone())
            .unwrap()
            .replace("kms-2.sock", "kms-1.sock");
        secret.data.insert(key, text.into_bytes());
        player.cluster.api.update_secret(secret).unwrap();
        player.settle();
    };
    let trial = Trial::new(V2)
        .play("spec KMS; complete; kms address https://other.example:8200")
        .wrong(share);
    trial.breaks(OwnSocket, "2 keys at unix:///var/run/kmsplugin/kms-1.sock");
}

#[test]
fn no_plain_text_breaks_in_the_window_after_a_lost_config() {
    let trial = Trial::new(V1).play("spec KMS; complete; deployed force-delete; rollout 1");
    trial.breaks(
        NoPlainText,
        "node-1 writes secrets in plain text, though all of it is under key 1",
    );
}

#[test]
fn readable_breaks_when_a_kms_key_loses_its_secret() {
    let trial = Trial::new(V1).play("spec KMS; complete; key 1 force-delete; rollout 1");
    trial.breaks(
        ReadBeforeWrite,
        "node-1 writes secrets with kms:2, which node-2 cannot read",
    );
    let trial = Trial::new(V1).play("spec KMS; complete; key 1 force-delete; rollout");
    trial.breaks(
        Readable,
        "secrets stored under kms:1 cannot be read on node-1",
    );
}

/// The same ways, gone by the right controllers, break nothing.
#[test]
fn nothing_breaks_on_the_usual_ways() {
    for (generation, steps) in [
        (
            V1,
            "spec KMS; rollout 1; rollout 2; rollout; rollout 1; rollout; migrator succeeds secrets; complete",
        ),
        (
            V1,
            "spec aescbc; complete; spec KMS; complete; spec identity; complete; spec KMS; complete",
        ),
        (
            V2,
            "spec KMS; complete; kms address https://other.example:8200; complete; spec aesgcm; complete",
        ),
        (
            Generic,
            "spec aescbc; complete; key 1 age 169h; complete; key 1 force-delete; complete; reason one; complete",
        ),
    ] {
        assert_eq!(Trial::new(generation).play(steps).found, [], "{steps}");
    }
}

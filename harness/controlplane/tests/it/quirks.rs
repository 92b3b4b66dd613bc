//! Each quirk of the real operators: what is seen with it, and what would be seen without.

use kms_controlplane::generation::Generation::{self, Generic, V1, V2};
use kms_controlplane::generation::Quirks;

use crate::player::Player;
use crate::stories::{KAS_ONLY, recordings, replay};

/// Plays the steps with the quirk and without it, and takes the same look both times.
fn with_and_without<T>(
    who: Generation,
    switch: fn(&mut Quirks),
    steps: &str,
    look: impl Fn(&Player) -> T,
) -> (T, T) {
    let play = |without: bool| {
        let mut player = Player::new(who, KAS_ONLY);
        if without {
            switch(&mut player.cluster.quirks);
        }
        for step in steps.split("; ") {
            player.play(step);
        }
        look(&player)
    };
    (play(false), play(true))
}

fn encrypted(player: &Player) -> String {
    let (status, reason, message) = player.condition("Encrypted");
    format!("{status} {reason} {message}").trim_end().to_owned()
}

/// The events of the last step, with the reason in front.
fn events(player: &Player) -> Vec<String> {
    let last = player.lines.last().unwrap()["step"].clone();
    let of_last = player
        .lines
        .iter()
        .filter(|line| line["step"] == last && line["what"] == "event");
    of_last
        .map(|line| {
            format!(
                "{} {}",
                line["name"].as_str().unwrap(),
                line["text"].as_str().unwrap()
            )
        })
        .collect()
}

const GREEN: &str = "True EncryptionCompleted All resources encrypted: secrets, configmaps";

#[test]
fn completed_during_change() {
    let steps = "spec aescbc; complete; spec KMS; rollout; rollout; migrator succeeds secrets";
    let (with, without) =
        with_and_without(V1, |q| q.completed_during_change = false, steps, encrypted);
    assert_eq!(with, GREEN);
    assert_eq!(
        without,
        "False EncryptionInProgress Resource configmaps is being encrypted"
    );
    let (with, without) = with_and_without(
        V1,
        |q| q.completed_during_change = false,
        "spec aescbc; complete; spec KMS; complete",
        encrypted,
    );
    assert_eq!(
        [with, without],
        [GREEN; 2],
        "green in the end, quirk or not"
    );
}

#[test]
fn completed_while_plain() {
    let steps = "spec KMS; complete; deployed force-delete; rollout";
    let (with, without) =
        with_and_without(V1, |q| q.completed_while_plain = false, steps, encrypted);
    assert_eq!(with, GREEN);
    assert_eq!(
        without,
        "False EncryptionInProgress Resource secrets is not encrypted"
    );
}

#[test]
fn unmanaged_reads_unencrypted() {
    let steps = "spec KMS; complete; managed Unmanaged";
    let (with, without) = with_and_without(
        V1,
        |q| q.unmanaged_reads_unencrypted = false,
        steps,
        encrypted,
    );
    assert_eq!(with, "False");
    assert_eq!(without, GREEN);
}

#[test]
fn progressing_drops_while_rolling() {
    let steps = "spec KMS; rollout; rollout; node 3 unready";
    let look = |player: &Player| {
        player
            .condition("EncryptionMigrationControllerProgressing")
            .0
    };
    let (with, without) = with_and_without(
        V1,
        |q| q.progressing_drops_while_rolling = false,
        steps,
        look,
    );
    assert_eq!([with.as_str(), without.as_str()], ["False", "True"]);
}

#[test]
fn retry_reports_old_failure() {
    let steps = "spec KMS; rollout; rollout; migrator succeeds configmaps; auto off; migrator fails secrets 301s no; only migration";
    let look = |player: &Player| player.condition("EncryptionMigrationControllerDegraded").0;
    let (with, without) =
        with_and_without(V1, |q| q.retry_reports_old_failure = false, steps, look);
    assert_eq!([with.as_str(), without.as_str()], ["True", "False"]);
}

#[test]
fn events_name_old_key() {
    let steps = "spec aescbc; complete; spec KMS; rollout";
    let (with, without) = with_and_without(V1, |q| q.events_name_old_key = false, steps, events);
    let changed = |key| {
        format!("EncryptionWriteKeyChanged Write key \"{key}\" for resource \"secrets\" changed")
    };
    assert!(
        with.contains(&changed(1)) && !with.contains(&changed(2)),
        "{with:?}"
    );
    assert!(
        without.contains(&changed(2)) && !without.contains(&changed(1)),
        "{without:?}"
    );
}

#[test]
fn lost_kms_secret_drops_provider() {
    let steps = "spec KMS; complete; key 1 force-delete";
    let look = |player: &Player| player.target();
    let (with, without) = with_and_without(
        V1,
        |q| q.lost_kms_secret_drops_provider = false,
        steps,
        look,
    );
    assert_eq!(
        with, "kms:2,identity",
        "what is stored under key 1 cannot be read any more"
    );
    assert_eq!(without, "kms:1,kms:2,identity");
}

#[test]
fn empty_config_panics() {
    let steps = "spec KMS; complete; auto off; key 1 force-delete; only state";
    let look = |player: &Player| {
        (
            player.condition("EncryptionStateControllerDegraded").0,
            player.target(),
        )
    };
    let (with, without) = with_and_without(V1, |q| q.empty_config_panics = false, steps, look);
    assert_eq!(with, (String::new(), "kms:1,identity".to_owned()));
    assert_eq!(without, ("False".to_owned(), "identity".to_owned()));
}

#[test]
fn create_failure_without_cause() {
    let steps = "fail create secrets no; spec aescbc";
    let text = |cause| {
        format!(
            "EncryptionKeyCreateFailed Secret \"encryption-key-openshift-kube-apiserver-1\" failed to create: {cause}"
        )
    };
    let (with, without) = with_and_without(
        Generic,
        |q| q.create_failure_without_cause = false,
        steps,
        events,
    );
    assert!(with.contains(&text("<nil>")), "{with:?}");
    assert!(without.contains(&text("no")), "{without:?}");
    let (with, _) = with_and_without(
        V2,
        |q| q.create_failure_without_cause = false,
        steps,
        events,
    );
    assert!(with.contains(&text("no")), "v2 does not have it: {with:?}");
}

#[test]
fn crashed_preflight_stays() {
    let steps = "preflight played; spec KMS; preflight crashed OOMKilled; kms address https://other.example:8200";
    let look = |player: &Player| {
        player
            .condition("EncryptionKMSPreflightControllerDegraded")
            .0
    };
    let (with, without) = with_and_without(V2, |q| q.crashed_preflight_stays = false, steps, look);
    assert_eq!([with.as_str(), without.as_str()], ["True", "False"]);
}

/// Every quirk is in the recordings: without it, a story comes out otherwise.
#[test]
fn each_quirk_was_recorded() {
    type Switch = fn(&mut Quirks);
    let shown: [(&str, Generation, &str, Switch); 10] = [
        ("generic", Generic, "04-", |q| {
            q.completed_during_change = false
        }),
        ("generic", Generic, "28-", |q| {
            q.completed_while_plain = false
        }),
        ("generic", Generic, "30-", |q| {
            q.unmanaged_reads_unencrypted = false
        }),
        ("generic", Generic, "13-", |q| {
            q.progressing_drops_while_rolling = false
        }),
        ("generic", Generic, "16-", |q| {
            q.retry_reports_old_failure = false
        }),
        ("generic", Generic, "19-", |q| q.events_name_old_key = false),
        ("v1", V1, "k11-", |q| {
            q.lost_kms_secret_drops_provider = false
        }),
        ("v1", V1, "k14-", |q| q.empty_config_panics = false),
        ("generic", Generic, "35-", |q| {
            q.create_failure_without_cause = false
        }),
        ("v2", V2, "p05-", |q| q.crashed_preflight_stays = false),
    ];
    let families = ["generic", "v1", "v2"].map(|family| (family, recordings(family)));
    for (family, generation, prefix, switch) in shown {
        let (_, stories) = families.iter().find(|(name, _)| *name == family).unwrap();
        let story = stories
            .iter()
            .find(|(name, _)| name.starts_with(prefix))
            .unwrap();
        let mut quirks = Quirks::REAL;
        switch(&mut quirks);
        let played = replay(
            generation,
            quirks,
            story,
            &mut Default::default(),
            &mut |_| {},
        );
        assert!(played.is_err(), "{family}/{} does not show it", story.0);
    }
}

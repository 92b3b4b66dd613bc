//! The conditions, row by row: what each says, and in which situation. The recordings show these situations too; here
//! they stand side by side, so that one can look up what a message means.

use kms_controlplane::generation::Generation::{self, Generic, V1, V2};

use crate::player::Player;
use crate::stories::KAS_ONLY;

/// A situation: who, the steps that lead there, and how a condition then reads.
struct Row {
    who: Generation,
    steps: &'static str,
    condition: &'static str,
    status: &'static str,
    reason: &'static str,
    message: &'static str,
}

const fn row(
    who: Generation,
    steps: &'static str,
    condition: &'static str,
    status: &'static str,
    reason: &'static str,
    message: &'static str,
) -> Row {
    Row {
        who,
        steps,
        condition,
        status,
        reason,
        message,
    }
}

const ENCRYPTED: &str = "Encrypted";
const KEY: &str = "EncryptionKeyControllerDegraded";
const STATE: &str = "EncryptionStateControllerDegraded";
const PRUNE: &str = "EncryptionPruneControllerDegraded";
const MIGRATION: &str = "EncryptionMigrationControllerDegraded";
const PROGRESSING: &str = "EncryptionMigrationControllerProgressing";
const PREFLIGHT: &str = "EncryptionKMSPreflightControllerDegraded";
const CHECKING: &str = "EncryptionKMSPreflightControllerProgressing";
const SYNC: &str = "ResourceSyncControllerDegraded";

const IN_PROGRESS: &str = "EncryptionInProgress";
const ALL: &str = "All resources encrypted: secrets, configmaps";
const DECRYPTING: &str = "Encryption mode set to identity and decryption is not finished";
const DECRYPTED: &str = "Encryption mode set to identity and everything is decrypted";
const INVALID: &str = "secret encryption-key-openshift-kube-apiserver-1 is invalid, new keys cannot be created for encryption target";
const UNKNOWN: &str =
    "failed to get converged static pod revision: api server pod apiserver-node-2 in unknown phase";
const NEWER: &str = "failed to get converged static pod revision: api server has failed revision 9 which is newer than running revision 3";
const CORRUPT: &str = "invalid encryption config openshift-kube-apiserver/encryption-config-3: couldn't get version/kind; json parse error: unexpected end of JSON input";
const CORRUPT_V2: &str = "invalid encryption config openshift-kube-apiserver/encryption-config-3: failed to decode EncryptionConfiguration: couldn't get version/kind; json parse error: unexpected end of JSON input";
const NOT_FOUND: &str = "failed to get key secret openshift-config-managed/encryption-key-openshift-kube-apiserver-1: secrets \"encryption-key-openshift-kube-apiserver-1\" not found";
const CHECK_FAILED: &str = "preflight check failed for hash zm_s8A==: permission denied";
const NO_KEY_FOR: &str = "failed to create key: KMS preflight check failed for config hash zm_s8A==; fix the KMS configuration to proceed";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // Encrypted: nothing was ever asked for, or nobody looks
    row(Generic, "settle", ENCRYPTED, "False", "", ""),
    row(Generic, "spec identity", ENCRYPTED, "False", "", ""),
    row(Generic, "spec aescbc; complete; managed Unmanaged", ENCRYPTED, "False", "", ""),
    row(Generic, "spec aescbc; complete; managed Removed", ENCRYPTED, "False", "", ""),
    row(Generic, "spec aescbc; complete; external no", ENCRYPTED, "False", "", ""),
    row(Generic, "spec aescbc; complete; managed Force", ENCRYPTED, "True", "EncryptionCompleted", ALL),
    // no key
    row(Generic, "spec KMS", ENCRYPTED, "False", "EncryptionDisabled", "Encryption is not enabled"),
    row(V2, "preflight played; spec KMS", ENCRYPTED, "False", "EncryptionDisabled", "Encryption is not enabled"),
    row(V1, "spec KMS; complete; auto off; key 1 force-delete; only condition", ENCRYPTED, "False", "EncryptionDisabled", "Encryption is not enabled"),
    // on the way in
    row(V1, "spec KMS", ENCRYPTED, "False", IN_PROGRESS, "Resource secrets is not encrypted"),
    row(V1, "spec KMS; rollout", ENCRYPTED, "False", IN_PROGRESS, "Resource secrets is being encrypted"),
    row(V1, "spec KMS; rollout; rollout; migrator succeeds secrets", ENCRYPTED, "False", IN_PROGRESS, "Resource configmaps is being encrypted"),
    row(V1, "spec KMS; complete", ENCRYPTED, "True", "EncryptionCompleted", ALL),
    // on the way out and in again
    row(V1, "spec KMS; complete; spec identity; rollout", ENCRYPTED, "False", "DecryptionInProgress", DECRYPTING),
    row(V1, "spec KMS; complete; spec identity; complete", ENCRYPTED, "False", "DecryptionCompleted", DECRYPTED),
    row(V1, "spec KMS; complete; spec identity; complete; spec KMS", ENCRYPTED, "False", "DecryptionCompleted", DECRYPTED),
    row(V1, "spec KMS; complete; spec identity; complete; spec KMS; rollout; rollout", ENCRYPTED, "False", IN_PROGRESS, "Encryption is ongoing"),
    // it stays as it was while nodes differ or the look fails
    row(V1, "spec KMS; rollout 1; node 1 unready", ENCRYPTED, "False", IN_PROGRESS, "Resource secrets is not encrypted"),
    row(V1, "spec KMS; complete; node 1 unready; spec identity", ENCRYPTED, "True", "EncryptionCompleted", ALL),
    row(V1, "spec KMS; complete; deployed corrupt", ENCRYPTED, "True", "EncryptionCompleted", ALL),
    row(V1, "spec KMS; complete; external error not ready", ENCRYPTED, "True", "EncryptionCompleted", ALL),
    // it stays green through a change, under an unknown type, and while plain text is written
    row(V1, "spec aescbc; complete; spec KMS; rollout; rollout", ENCRYPTED, "True", "EncryptionCompleted", ALL),
    row(V1, "spec aescbc; complete; spec bogus", ENCRYPTED, "True", "EncryptionCompleted", ALL),
    row(V1, "spec KMS; complete; deployed force-delete; rollout", ENCRYPTED, "True", "EncryptionCompleted", ALL),

    // Progressing of the migration
    row(V1, "spec KMS; rollout", PROGRESSING, "False", "", ""),
    row(V1, "spec KMS; rollout; rollout", PROGRESSING, "True", "Migrating", "migrating resources to a new write key: [core/configmaps core/secrets]"),
    row(V1, "spec KMS; rollout; rollout; migrator succeeds secrets", PROGRESSING, "True", "Migrating", "migrating resources to a new write key: [core/configmaps]"),
    row(V1, "spec KMS; rollout; rollout; node 3 unready", PROGRESSING, "False", "", ""),
    row(V1, "spec KMS; rollout; rollout; migrator succeeds secrets; migrator fails configmaps 0s no", PROGRESSING, "False", "", ""),
    row(V1, "spec KMS; complete", PROGRESSING, "False", "", ""),

    // Degraded of the migration
    row(V1, "spec KMS; rollout; rollout; migrator fails secrets 0s no", MIGRATION, "True", "Error", "migration of secrets for key \"1\" failed: no"),
    row(V1, "spec KMS; rollout; rollout; migrator fails secrets 0s no; migrator fails configmaps 0s nor", MIGRATION, "True", "Error", "[migration of configmaps for key \"1\" failed: nor, migration of secrets for key \"1\" failed: no]"),
    row(Generic, "spec aescbc; complete; auto off; key 1 force-delete; only migration", MIGRATION, "True", "Error", NOT_FOUND),
    row(V1, "spec KMS; complete; auto off; key 1 force-delete; only migration", MIGRATION, "", "", ""),

    // Degraded of the key controller
    row(Generic, "spec KMS", KEY, "True", "Error", "unknown encryption mode configured: KMS"),
    row(V1, "spec AESCBC", KEY, "True", "Error", "unknown encryption mode configured: AESCBC"),
    row(V2, "spec secretbox", KEY, "True", "Error", "unknown encryption mode configured: secretbox"),
    row(V1, "auto off; spec aescbc; key 1 create bogus; auto on; settle", KEY, "True", "Error", INVALID),
    row(V1, "rawoverride not json; spec aescbc", KEY, "True", "Error", "invalid character 'o' in literal null (expecting 'u')"),
    row(V1, "rawoverride {\"encryption\":{\"reason\":5}}; spec aescbc", KEY, "True", "Error", "json: cannot unmarshal number into Go struct field .encryption.reason of type string"),
    row(V2, "auto off; spec KMS; kms authtype Token; auto on; settle", KEY, "True", "Error", "failed to create key: unsupported Vault authentication type \"Token\""),
    row(V2, "auto off; spec KMS; kms provider AWS; auto on; settle", KEY, "True", "Error", "unsupported KMS provider type \"AWS\""),
    row(V2, "credentials role-id gone; spec KMS", KEY, "True", "Error", "failed to create key: secret vault-approle in openshift-config is missing required key \"role-id\""),
    row(V2, "credentials gone; spec KMS", KEY, "True", "Error", "failed to create key: failed to get secret vault-approle in openshift-config: secrets \"vault-approle\" not found"),
    row(V2, "ca gone; spec KMS", KEY, "True", "Error", "failed to create key: failed to get configmap vault-ca in openshift-config: configmaps \"vault-ca\" not found"),
    row(V2, "preflight played; spec KMS; preflight hash; preflight fail permission denied", KEY, "True", "Error", NO_KEY_FOR),
    row(V2, "preflight played; spec KMS", KEY, "False", "", ""),
    row(V1, "spec bogus; spec KMS; rollout 1", KEY, "False", "", ""),

    // what turns all of them Degraded together, with one text
    row(V1, "spec KMS; complete; node 2 unknown", KEY, "True", "Error", UNKNOWN),
    row(V1, "spec KMS; complete; node 2 unknown", STATE, "True", "Error", UNKNOWN),
    row(V1, "spec KMS; complete; node 2 unknown", PRUNE, "True", "Error", UNKNOWN),
    row(V1, "spec KMS; complete; node 2 unknown", MIGRATION, "True", "Error", UNKNOWN),
    row(V1, "spec KMS; complete; extrapod 3 9 failed", STATE, "True", "Error", NEWER),
    row(V1, "spec KMS; complete; deployed corrupt", PRUNE, "True", "Error", CORRUPT),
    row(V2, "spec KMS; complete; deployed corrupt", PRUNE, "True", "Error", CORRUPT_V2),
    row(V1, "spec KMS; fail list secrets etcdserver: request timed out", STATE, "True", "Error", "etcdserver: request timed out"),
    // and what does not
    row(V1, "spec KMS; complete; node 2 unready", STATE, "False", "", ""),
    row(V1, "spec KMS; complete; node 2 unknown; node 2 unready", STATE, "False", "", ""),
    row(V1, "spec KMS; complete; node 2 failed", STATE, "False", "", ""),
    row(V1, "spec KMS; auto off; copy force-delete; fail create secrets no; only sync", SYNC, "True", "Error", "no"),

    // the preflight check
    row(V2, "settle", PREFLIGHT, "False", "", ""),
    row(V2, "preflight played; spec KMS", CHECKING, "True", "RunningPreflightCheck", "Waiting for preflight pod to report config hash for zm_s8A=="),
    row(V2, "preflight played; spec KMS; preflight hash", CHECKING, "True", "RunningPreflightCheck", "Waiting for preflight pod to report result for zm_s8A=="),
    row(V2, "auto off; preflight played; spec KMS; only key; only preflight", CHECKING, "True", "RunningPreflightCheck", "Deploying preflight pod for hash zm_s8A=="),
    row(V2, "preflight played; spec KMS; preflight hash; auto off; kms address https://other.example:8200; only key; only preflight", CHECKING, "True", "RunningPreflightCheck", "Cleaning up preflight pod with stale configuration"),
    row(V2, "preflight played; spec KMS; preflight hash; preflight fail permission denied", PREFLIGHT, "True", "PreflightCheckFailed", CHECK_FAILED),
    row(V2, "preflight played; spec KMS; preflight hash; preflight fail permission denied; preflight removed", PREFLIGHT, "True", "PreflightCheckFailed", "preflight check failed for hash zm_s8A==: pod was removed but failure is recorded in status"),
    row(V2, "preflight played; spec KMS; preflight done", PREFLIGHT, "True", "PodCompletedWithoutResult", "preflight pod completed without reporting result for hash zm_s8A=="),
    row(V2, "preflight played; spec KMS; preflight waiting ImagePullBackOff; preflight old 181s", PREFLIGHT, "True", "ImagePullBackOff", "preflight pod has not reported config hash after 3m0s: at least one container kms-preflight is waiting: ImagePullBackOff"),
    row(V2, "preflight played; spec KMS; preflight waiting ImagePullBackOff; preflight old 179s", PREFLIGHT, "False", "", ""),
    row(V2, "preflight played; spec KMS; preflight initwaiting ImagePullBackOff; preflight old 181s", PREFLIGHT, "True", "Unknown", "preflight pod has not reported config hash after 3m0s: pod is in Pending phase"),
    row(V2, "preflight played; spec KMS; preflight hash; preflight old 181s", PREFLIGHT, "True", "Unknown", "preflight pod has not reported result after 3m0s: pod is in Running phase"),
    row(V2, "preflight played; spec KMS; preflight crashed OOMKilled", PREFLIGHT, "True", "OOMKilled", "preflight pod failed for hash zm_s8A==: at least one container kms-preflight exited with 1 (OOMKilled)"),
    row(V2, "preflight played; preflight deployfails pods is forbidden; spec KMS", PREFLIGHT, "True", "Error", "pods is forbidden"),
    row(V2, "preflight played; spec KMS; preflight hash; preflight pass key-1", CHECKING, "False", "", ""),
];

#[test]
fn every_row_of_the_table() {
    let mut wrong = Vec::new();
    for row in TABLE {
        let mut player = Player::new(row.who, KAS_ONLY);
        for step in row.steps.split("; ") {
            player.play(step);
        }
        let expected = (row.status, row.reason, row.message);
        let read = player.condition(row.condition);
        if read
            != (
                row.status.to_owned(),
                row.reason.to_owned(),
                row.message.to_owned(),
            )
        {
            wrong.push(format!(
                "{:?} {}: {}\n  expected {expected:?}\n  read     {read:?}",
                row.who, row.steps, row.condition
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A table whose rows all say the same proves little: every pair of type and reason stands in it.
#[test]
fn the_table_has_every_reason() {
    let mut reasons: Vec<&str> = TABLE
        .iter()
        .filter(|row| row.condition == ENCRYPTED)
        .map(|row| row.reason)
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    let all = [
        "",
        "DecryptionCompleted",
        "DecryptionInProgress",
        "EncryptionCompleted",
        "EncryptionDisabled",
        IN_PROGRESS,
    ];
    assert_eq!(reasons, all);
}

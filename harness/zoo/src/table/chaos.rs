//! Our own plugin in the simulation, with a bug planted around it: what takes a fault to show.

use kms_planted::Variant;

use crate::mutant::Mutant;

pub(super) static MUTANTS: &[Mutant] = &[
    Mutant::chaos("chaos-always-ok", Variant::AlwaysOk)
        .fails(&["always:status-truthful"])
        .also(&[
            (&["sometimes:status-bad@fault"], "the outage is never told"),
        ])
        .stands_for(&["KMS2-AVAIL-10"])
        .why("Cosmian's Status is a constant, and others believe a cache for as long as the process lives."),
    Mutant::chaos("chaos-sick-for-ever", Variant::SickForEver)
        .fails(&["eventually:status-ok"])
        .also(&[
            (&["eventually:recovers","always:status-truthful"], "Status stays bad though Encrypt works again"),
            (&["always:readable-by-fresh-apiserver"], "a server that starts reads nothing through a plugin that says it is sick"),
        ])
        .stands_for(&["KMS2-AVAIL-01"])
        .why("Falco's plugin found its token dead and never logged in again (vault-kubernetes-kms#304, BUG-001)."),
    Mutant::chaos("chaos-stale-key-id", Variant::StaleKeyId)
        .fails(&["always:key-id-agrees"])
        .also(&[
            (&["eventually:key-id-changes"], "Status shows no rotation"),
            (&["always:readable-by-fresh-apiserver"], "a server that starts finds Status and Encrypt apart, and reads nothing"),
        ])
        .stands_for(&["KMS2-STATUS-07"])
        .why("Status is answered from what was read at the start."),
    Mutant::chaos("chaos-key-id-flaps", Variant::KeyIdFlaps)
        .fails(&["always:key-id-never-flaps"])
        .also(&[
            (&["always:key-id-never-returns"], "after each flap the right key_id comes back"),
        ])
        .stands_for(&["KMS2-STATUS-08"])
        .why("One of five backends has another key."),
    Mutant::chaos("chaos-key-id-returns", Variant::KeyIdReturns)
        .fails(&["always:key-id-never-returns"])
        .also(&[
            (&["always:key-id-never-flaps"], "key_id changes more often than the key"),
        ])
        .stands_for(&["KMS2-STATUS-08"])
        .why("One of five backends has not seen the rotation yet (openshift/enhancements#2000)."),
    Mutant::chaos("chaos-hangs", Variant::Hangs)
        .fails(&["always:deadlines-kept"])
        .also(&[
            (&["eventually:recovers","eventually:status-ok"], "among the calls that hang are those that show a recovery"),
        ])
        .stands_for(&["KMS2-AVAIL-03"])
        .why("Vault's clients wait for a frozen leader, or retry for minutes (hashicorp/vault#23074)."),
    Mutant::chaos("chaos-one-ciphertext", Variant::OneCiphertext)
        .fails(&["always:readable-by-fresh-apiserver"])
        .stands_for(&["KMS2-ENC-10"])
        .why("A cache that forgets to look at the plaintext."),
    Mutant::chaos("chaos-annotations-lost", Variant::AnnotationsLost)
        .fails(&["always:readable-by-fresh-apiserver"])
        .stands_for(&["KMS2-DEC-04"])
        .why("A layer that copies the fields it knows."),
    Mutant::chaos("chaos-clear", Variant::Clear)
        .fails(&["always:no-plaintext-anywhere"])
        .also(&[
            (&["always:status-truthful"], "Encrypt works in the outage that Status tells of"),
        ])
        .stands_for(&["KMS2-ENC-12"])
        .why("A way around an outage that somebody thought safe because etcd's disk is encrypted."),
    Mutant::chaos("chaos-other-bytes", Variant::OtherBytes)
        .fails(&["always:readable-by-fresh-apiserver"])
        .stands_for(&["KMS2-DEC-04"])
        .why("Encryption without authentication."),
    Mutant::chaos("chaos-forgets-at-restart", Variant::ForgetsAtRestart)
        .fails(&["always:readable-by-fresh-apiserver"])
        .stands_for(&["KMS2-RT-02"])
        .why("dc-tec's plugin without its state file."),
    Mutant::chaos("chaos-old-keys-refused", Variant::OldKeysRefused)
        .fails(&["always:readable-by-fresh-apiserver"])
        .stands_for(&["KMS2-DEC-07", "KMS2-ROT-03"])
        .why("Azure's Decrypt refuses every key but the one in its flags."),
    Mutant::chaos("chaos-login-once", Variant::LoginOnce)
        .fails(&["eventually:recovers"])
        .also(&[
            (&["eventually:status-ok"], "Status tells it truly, to the end"),
            (&["always:readable-by-fresh-apiserver"], "a server that starts reads nothing through a plugin without a token"),
        ])
        .stands_for(&["KMS2-AVAIL-01"])
        .why("Infisical logs in once in its life, and a token at its max TTL cannot be renewed (Falco, BUG-002)."),
    Mutant::chaos("chaos-login-storm", Variant::LoginStorm)
        .fails(&["always:vault-logins-at-most"])
        .stands_for(&["KMS2-AVAIL-07"])
        .why("A login for each operation piles up leases until Vault stops (BUG-009), and expired batch tokens became 660,000 logins (BUG-007)."),
    Mutant::chaos("chaos-request-storm", Variant::RequestStorm)
        .fails(&["always:vault-requests-at-most"])
        .stands_for(&["KMS2-AVAIL-07"])
        .why("Falco's Status asks Vault four times, and every API server asks for Status."),
    Mutant::chaos("chaos-rotation-unseen", Variant::RotationUnseen)
        .fails(&["eventually:key-id-changes"])
        .stands_for(&["KMS2-ROT-01"])
        .why("The version is read once, at the start."),
];

//! Status.

use crate::bug::Bug::{
    HealthzUpperCase, KeyIdAtItsLimit, KeyIdBeforeFirstContact, KeyIdComesBack, KeyIdFlipFlops,
    KeyIdHoldsAddress, KeyIdNames, KeyIdTooLong, StatusRefuses, StatusSlow,
    VersionChangesWithRestart, VersionFlips, VersionUnknown,
};
use crate::mutant::Mutant;

pub(super) static MUTANTS: &[Mutant] = &[
    Mutant::of(VersionUnknown)
        .fails(&["KMS2-STATUS-01"])
        .why("AWS's plugin says v2beta1 to this day, which servers still take; the next word that somebody thinks of they do not."),
    Mutant::of(VersionFlips)
        .fails(&["KMS2-STATUS-02"])
        .why("Two replicas of different versions behind one socket."),
    Mutant::process(VersionChangesWithRestart)
        .fails(&["KMS2-STATUS-02"])
        .why("The plugin is updated under an API server that has pinned the first version it saw."),
    Mutant::of(HealthzUpperCase)
        .fails(&["KMS2-STATUS-03"])
        .why("Whoever writes OK has not read that the server compares letter by letter."),
    Mutant::of(StatusRefuses)
        .fails(&["KMS2-STATUS-03"])
        .why("Infisical's and Azure's Status make a live call, and fail when that one call does."),
    Mutant::of(KeyIdTooLong)
        .fails(&["KMS2-STATUS-04", "KMS2-ENC-06"])
        .why("Everything that names the key is strung together, with no eye on the length."),
    Mutant::of(KeyIdAtItsLimit)
        .warns(&["KMS2-STATUS-04", "KMS2-ENC-06"])
        .why("Cut to 1024, which the server takes and the API's own words do not."),
    Mutant::of(KeyIdNames)
        .warns(&["KMS2-STATUS-06"])
        .why("AWS's plugin gives the key's resource name with the account in it, GCP's the path of the key."),
    Mutant::of(KeyIdHoldsAddress)
        .warns(&["KMS2-STATUS-06"])
        .why("HashiCorp's key_id is base64 of a text with the server's address: readable for all, and another one when only the address changes."),
    Mutant::of(KeyIdFlipFlops)
        .fails(&["KMS2-STATUS-08"])
        .why("Backends that lag behind each other are asked by turns (openshift/enhancements#2041): each flip stops a migration."),
    Mutant::of(KeyIdComesBack)
        .fails(&["KMS2-STATUS-08"])
        .why("The key is put back to an earlier version under its old name, and stale data passes for current (BUG-039, k8s-cloudkms-plugin#27)."),
    Mutant::of(KeyIdBeforeFirstContact)
        .fails(&["KMS2-STATUS-08"])
        .why("GCP's Status gives the bare address of the key until it has been answered once, so an outage at the start makes key_id flip later."),
    Mutant::of(StatusSlow)
        .warns(&["KMS2-STATUS-15"])
        .why("Falco's Status makes four calls to Vault each time, GCP's and Infisical's an Encrypt."),
];

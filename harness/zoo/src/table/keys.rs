//! Keys, over rotations, restarts and nodes.

use crate::bug::Bug::{
    KeyIdOfAnotherRequest, LocalKeyPerStart, NameIsTheKeyId, NodesNameKeysApart, OtherNodeLags,
    RefusedRotationTakenUp, RestartForgetsEarlierKeys, RestartLosesKeys, RotationByStatusOnly,
    RotationDropsOldKeys, RotationUnseen,
};
use crate::mutant::Mutant;

pub(super) static MUTANTS: &[Mutant] = &[
    Mutant::process(RestartLosesKeys)
        .fails(&["KMS2-RT-02"])
        .also(&[(&["KMS2-DEC-07", "KMS2-ROT-03"], "the earlier keys are lost with the newest")])
        .why("Keys made at the start and kept in memory; upstream's test plugin does so."),
    Mutant::process(RestartForgetsEarlierKeys)
        .fails(&["KMS2-DEC-07", "KMS2-ROT-03"])
        .why("dc-tec's plugin needs its state file after the first rotation: lost, what was written before it stays unread."),
    Mutant::process(LocalKeyPerStart)
        .warns(&["KMS2-ENC-14"])
        .also(&[(&["KMS2-STATUS-08"], "key_id changes with each start, more often than anybody rotates")])
        .why("The Go helper library's local KEK, when its id is given out as key_id: each start looks like a rotation."),
    Mutant::process(RotationDropsOldKeys)
        .fails(&["KMS2-DEC-07", "KMS2-ROT-03"])
        .why("Azure's plugin knows the one version in its flags, and min_decryption_version raised too soon does the same in Vault (BUG-025)."),
    Mutant::process(RotationUnseen)
        .fails(&["KMS2-ROT-01"])
        .also(&[(&["KMS2-STALE-05"], "there is no time to report")])
        .why("AWS rotates under one resource name, so nobody ever learns that data is stale (BUG-040)."),
    Mutant::of(RotationByStatusOnly)
        .fails(&["KMS2-ROT-01"])
        .also(&[(&["KMS2-STATUS-07", "KMS2-ENC-06"], "from then on Status and Encrypt differ")])
        .why("Status reads the newest version, Encrypt has one pinned in its settings."),
    Mutant::of(KeyIdOfAnotherRequest)
        .fails(&["KMS2-DEC-07", "KMS2-ROT-03"])
        .why("Falco encrypts and then reads the version in a second request: around a rotation the label is newer than the key (BUG-037)."),
    Mutant::of(NameIsTheKeyId)
        .fails(&["KMS2-ROT-04"])
        .why("Falco's key_id is the bare number of the version: a key that was deleted and made again starts at 1 once more."),
    Mutant::of(RefusedRotationTakenUp)
        .fails(&["KMS2-ROT-05"])
        .why("The request is taken for the deed, and writes stop under a key_id that no key has."),
    Mutant::of(NodesNameKeysApart)
        .fails(&["KMS2-ROT-02"])
        .why("What is hashed into key_id differs by node, such as an address: OpenShift waits for nodes to agree and never goes on."),
    Mutant::of(OtherNodeLags)
        .fails(&["KMS2-ROT-02"])
        .why("A node looks for new versions by a timer alone and refuses what it does not know yet (BUG-035)."),
];

//! Availability.

use crate::bug::Bug::{
    FreezeDropsConnections, NoStartWithoutBackend, OldSocketStopsStart, OneBadObjectMakesSick,
    SickWithKeyId, SilentBackendHangs, StatusKnowsNothing, StopCutsCalls, StopLeavesCallsHanging,
};
use crate::mutant::Mutant;

pub(super) static MUTANTS: &[Mutant] = &[
    Mutant::of(SilentBackendHangs)
        .fails(&["KMS2-AVAIL-03"])
        .why("No limit of its own on a call to the backend, as in GCP's and Infisical's plugins."),
    Mutant::of(NoStartWithoutBackend)
        .fails(&["KMS2-AVAIL-04"])
        .why("Falco logs in at its start and exits when that fails, as Infisical, Thales and Ali do; with /health as liveness probe an outage becomes a crash loop."),
    Mutant::process(OldSocketStopsStart)
        .fails(&["KMS2-AVAIL-05"])
        .why("Falco's plugin found its socket in place after a power cut and stayed down (vault-kubernetes-kms#134)."),
    Mutant::process(StopCutsCalls)
        .fails(&["KMS2-AVAIL-06"])
        .why("Infisical's plugin exits at once when told to stop."),
    Mutant::process(StopLeavesCallsHanging)
        .fails(&["KMS2-AVAIL-06"])
        .why("A graceful end without a bound, as most plugins have, with the listener still open."),
    Mutant::of(OneBadObjectMakesSick)
        .fails(&["KMS2-AVAIL-08"])
        .also(&[(&["KMS2-STATUS-03"], "Status is bad while Encrypt works")])
        .why("AWS's plugin keeps one health for all that it does, and the failures of one key mark the others."),
    Mutant::process(FreezeDropsConnections)
        .fails(&["KMS2-AVAIL-09"])
        .why("A watchdog that takes a pause of the machine for a dead peer (BUG-047, BUG-049)."),
    Mutant::of(StatusKnowsNothing)
        .fails(&["KMS2-AVAIL-10"])
        .also(&[(&["KMS2-SEC-03"], "with a false backend Status is good as well")])
        .why("Cosmian's Status is a constant; AWS's, GCP's and Infisical's are good while Decrypt is refused (aws-encryption-provider#139)."),
    Mutant::of(SickWithKeyId)
        .warns(&["KMS2-AVAIL-10"])
        .why("AWS's, GCP's and dc-tec's plugins say that they are sick and name a key: the server goes on writing (kubernetes#138950, BUG-042)."),
];

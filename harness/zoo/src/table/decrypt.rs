//! Decrypt.

use crate::bug::Bug::{
    AnnotationsNotBound, DamageGivesEmptySuccess, DamageGivesOtherBytes, DecryptDropsLastByte,
    DecryptSlow, DecryptTrimsLineEnds, EmptyCiphertextCrashes, EqualCallsCollide, KeyIdIgnored,
    OverloadedByBurst,
};
use crate::mutant::Mutant;

pub(super) static MUTANTS: &[Mutant] = &[
    Mutant::of(DecryptDropsLastByte)
        .fails(&["KMS2-DEC-02", "KMS2-RT-01"])
        .also(&[(
            &["KMS2-DEC-04", "KMS2-DEC-07", "KMS2-DEC-08", "KMS2-PERF-02", "KMS2-RT-02", "KMS2-ROT-03"],
            "every answer of Decrypt is short, whoever asks and when",
        )])
        .why("Padding that is not there is taken off."),
    Mutant::of(DecryptTrimsLineEnds)
        .fails(&["KMS2-DEC-02", "KMS2-RT-01"])
        .also(&[(&["KMS2-DEC-04"], "such a seed is not undone")])
        .why("Base64 by way of a text function, or the wrong alphabet (BUG-027): one seed in 65,536 is lost."),
    Mutant::of(DamageGivesEmptySuccess)
        .fails(&["KMS2-DEC-04", "KMS2-SEC-04"])
        .also(&[
            (&["KMS2-DEC-05"], "altered annotations are one such damage"),
            (&["KMS2-LOG-04"], "no call fails, so there is no line about one"),
        ])
        .why("An error that is dropped on its way (Trousseau, again): the server takes the empty seed for an answer."),
    Mutant::of(DamageGivesOtherBytes)
        .fails(&["KMS2-DEC-04", "KMS2-SEC-04"])
        .also(&[(&["KMS2-DEC-05"], "altered annotations are one such damage")])
        .why("A mode without authentication, as AES-CBC in Thales' plugin: the server keeps the wrong seed for a day (KMS2-DEC-03, trousseau#91)."),
    Mutant::process(EmptyCiphertextCrashes)
        .fails(&["KMS2-SEC-04"])
        .also(&[(&["KMS2-DEC-04"], "a crash is no error")])
        .why("A slice beyond the end, or a nil where the key's path gave nothing (BUG-028)."),
    Mutant::of(AnnotationsNotBound)
        .fails(&["KMS2-DEC-05"])
        .also(&[(&["KMS2-SEC-04"], "an altered annotation is a damaged request that is served")])
        .why("Falco, Azure, Cosmian and others have no associated data at all."),
    Mutant::of(KeyIdIgnored)
        .fails(&["KMS2-DEC-04"])
        .also(&[(&["KMS2-SEC-04"], "a foreign key_id is a hostile request")])
        .why("Falco's and AWS's Decrypt never look at the key_id, and GCP's uses whatever key the request names."),
    Mutant::of(DecryptSlow)
        .warns(&["KMS2-DEC-06"])
        .why("A connection, or a login, for each call: Trousseau dials anew each time, and cold starts last minutes (kubernetes#90856)."),
    Mutant::of(EqualCallsCollide)
        .fails(&["KMS2-DEC-08"])
        .why("Coalescing that refuses the second caller where it should let it wait; a starting server asks for one seed many times at once."),
    Mutant::of(OverloadedByBurst)
        .fails(&["KMS2-PERF-02"])
        .why("dc-tec's semaphores answer RESOURCE_EXHAUSTED, and the API server does not try again."),
];

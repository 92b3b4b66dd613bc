//! Encrypt.

use crate::bug::Bug::{
    AnnotationKeyBare, AnnotationsCostly, AnnotationsTooLarge, CiphertextAtItsLimit,
    CiphertextTooLong, Deterministic, EmptyCiphertextOnError, EmptyUidInternal, EncryptKeyIdLags,
    EncryptSlow, PlaintextEchoed, PlaintextHexInAnnotation, SimpleSeedsShareAnAnswer,
};
use crate::mutant::Mutant;

pub(super) static MUTANTS: &[Mutant] = &[
    Mutant::of(EmptyUidInternal)
        .warns(&["KMS2-ENC-04"])
        .why("Upstream's mock refuses an empty uid, with INVALID_ARGUMENT; an internal error is neither of the two good answers."),
    Mutant::of(CiphertextTooLong)
        .fails(&["KMS2-ENC-05"])
        .also(&[(&["KMS2-DEC-04"], "what pads it is not authenticated")])
        .why("A format with certificates or signatures in it outgrows what the server takes."),
    Mutant::of(CiphertextAtItsLimit)
        .warns(&["KMS2-ENC-05"])
        .why("Padded to 1024, which the server takes and the API's own words do not."),
    Mutant::of(EmptyCiphertextOnError)
        .fails(&["KMS2-ENC-05"])
        .also(&[(&["KMS2-ENC-10"], "one empty ciphertext is like another")])
        .why("Trousseau's errors are swallowed with a static token: Encrypt succeeds with an empty ciphertext, and a v1 server stored that."),
    Mutant::of(EncryptKeyIdLags)
        .fails(&["KMS2-STATUS-07", "KMS2-ENC-06"])
        .why("Status and Encrypt each have a cache (kubernetes#115235, kubernetes/kms#2): the server throws the answer away and stops writing."),
    Mutant::of(AnnotationKeyBare)
        .fails(&["KMS2-ENC-07"])
        .why("A key without a dot is no domain name; plugins that learnt annotations from the mock miss the rule."),
    Mutant::of(AnnotationsTooLarge)
        .fails(&["KMS2-ENC-08"])
        .also(&[(&["KMS2-ENC-14"], "so much is not little data, either")])
        .why("A whole certificate chain goes along with each object."),
    Mutant::of(AnnotationsCostly)
        .warns(&["KMS2-ENC-14"])
        .why("Two kilobytes of a plugin's own notes, stored in clear with each object."),
    Mutant::of(SimpleSeedsShareAnAnswer)
        .fails(&["KMS2-ENC-10"])
        .also(&[(
            &["KMS2-RT-01", "KMS2-DEC-04"],
            "of two seeds with one ciphertext one comes back as the other",
        )])
        .why("A cache whose key is a checksum hands one seed's ciphertext to another one."),
    Mutant::of(PlaintextHexInAnnotation)
        .fails(&["KMS2-ENC-12"])
        .why("A debugging aid that was never taken out; the server would store it in clear."),
    Mutant::of(PlaintextEchoed)
        .fails(&["KMS2-ENC-12"])
        .also(&[(&["KMS2-DEC-04"], "what stands behind the ciphertext is not authenticated")])
        .why("Upstream's test plugin of the API server encodes instead of encrypting, and has been taken for a start."),
    Mutant::of(EncryptSlow)
        .warns(&["KMS2-ENC-13"])
        .why("Falco's Encrypt is a write and then a read of the key; a login in the path of a request costs more."),
    Mutant::of(Deterministic)
        .warns(&["KMS2-RT-03"])
        .why("A convergent key, or a nonce made from the plaintext: who reads etcd sees which objects are equal."),
];

//! The API server's write state and how objects are written with it.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::{Code, Derived, Live, Measured};
use crate::requirement::Level::Must;
use crate::requirement::{Requirement, apiserver};

/// The write state.
pub static STATE: &[Requirement] = &[
    apiserver("KMS2-STATE-01", Must, Caller, &[Code, Measured])
        .title("State changes as a whole")
        .source("CFG; ENV State")
        .says(
            "Transformer, key_id, encrypted seed, annotations, source type, uid, expiry and cache \
             key form one state that is replaced atomically, and only when everything succeeded.",
        ),
    apiserver("KMS2-STATE-02", Must, Caller, &[Code, Measured])
        .title("When the state is extended")
        .source("CFG rotateDEKOnKeyIDChange")
        .says(
            "A processed Status whose key_id is that of a valid state of the right source type \
             moves the expiry to 3 min from now, and any other calls Encrypt; now is read before \
             that Encrypt begins.",
        ),
    apiserver("KMS2-STATE-03", Must, Caller, &[Code, Measured])
        .title("Writes stop after expiry")
        .source("ENV ValidateEncryptCapability, TransformFromStorage")
        .says(
            "A write is refused only when the clock is past the expiry, not at it, with a text \
             that names the hash of the key_id and both times in whole seconds; reads never look \
             at the expiry.",
        ),
    apiserver("KMS2-STATE-04", Must, Caller, &[Code, Measured])
        .title("An expired state revives")
        .source("CFG rotateDEKOnKeyIDChange")
        .says(
            "An expired state comes back with its old seed, and without Encrypt, as soon as Status \
             reports its key_id again.",
        ),
    apiserver("KMS2-STATE-05", Must, Caller, &[Derived, Measured])
        .title("A rotation given up")
        .source("CFG rotateDEKOnKeyIDChange")
        .says(
            "When Status moved on to a second key, Encrypt never followed and Status then returns \
             to the first, the first key's state is extended and no new seed is made.",
        ),
    apiserver("KMS2-STATE-06", Must, Caller, &[Derived, Measured])
        .title("Three seeds for A, B, A")
        .source("CFG rotateDEKOnKeyIDChange; ENV TransformFromStorage")
        .says(
            "A key_id that goes from A to B and back to A, each time with a successful Encrypt, \
             yields three seeds, and what was written in the first period of A is not stale in the \
             second.",
        ),
    apiserver("KMS2-STATE-07", Must, Caller, &[Code, Measured])
        .title("No valid state, no service")
        .source("CFG getCurrentState")
        .says(
            "While there is no transformer, no valid stored answer, no expiry or no cache key, \
             reads and writes through the provider both fail with `got unexpected nil \
             transformer`.",
        ),
    apiserver("KMS2-STATE-08", Must, Caller, &[Derived])
        .title("Expiry uses monotonic time")
        .source("CFG; ENV")
        .says(
            "The expiry is measured on a monotonic clock: a jump of the wall clock does not expire \
             the seed, and on Linux the time of a suspended machine does not count.",
        ),
    apiserver("KMS2-STATE-09", Must, Caller, &[Code, Measured])
        .title("Seeds belong to a process")
        .source("ENV")
        .says(
            "A seed is random, lives in one process and is never saved by it, so N servers with R \
             restarts leave about N × (R + 1) seeds under one key_id.",
        ),
];

/// Writes.
pub static WRITE: &[Requirement] = &[
    apiserver("KMS2-WRITE-01", Must, Caller, &[Code, Measured])
        .title("Steps of a write")
        .source("ENV TransformToStorage; TR")
        .says(
            "A write takes the state, checks the expiry, puts the state's transformer into the \
             decrypt cache (new 24 h, old entries collected), seals with the path as associated \
             data, counts, validates the object, marshals and prefixes it, all without a call to \
             the plugin.",
        ),
    apiserver("KMS2-WRITE-02", Must, Caller, &[Code, Measured])
        .title("The first provider writes")
        .source("TR prefixTransformers.TransformToStorage")
        .says(
            "The first provider of the entry that matches does every write, in good health or bad; \
             its error is final and no later provider steps in.",
        ),
    apiserver("KMS2-WRITE-03", Must, Caller, &[Code, Live])
        .title("A failed write is a 500")
        .source("STORE Create, GuaranteedUpdate; A pkg/storage/errors/storage.go")
        .says(
            "An API client sees a write whose transformation failed as HTTP 500 with reason \
             InternalError.",
        ),
    apiserver("KMS2-WRITE-04", Must, Caller, &[Code, Live])
        .title("No-op updates")
        .source("STORE GuaranteedUpdate; IT")
        .says(
            "An update that changes nothing of a value that is not stale is not written and so \
             succeeds after expiry too; on a stale value it has to write and then fails.",
        ),
];

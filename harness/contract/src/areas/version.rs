//! What differs between server versions, and what does not.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::{Code, Derived, Measured};
use crate::requirement::Level::{May, Must, Should};
use crate::requirement::{Requirement, apiserver};

/// Differences between versions.
pub static VER: &[Requirement] = &[
    apiserver("KMS2-VER-01", Should, Caller, &[Derived])
        .title("Downgrade to 1.27")
        .source("ENV")
        .until(27)
        .says(
            "A 1.27 server skips field 5 of a type-1 object, takes the seed for an AES key and \
             fails with an authentication error.",
        ),
    apiserver("KMS2-VER-02", Must, Caller, &[Code, Measured])
        .title("Type 0 is read for ever")
        .source("ENV addTransformerForDecryption")
        .since(28)
        .says(
            "Every server from 1.28 on reads type 0, as plain AES-GCM under a 12-byte nonce that \
             may have been made in any way.",
        ),
    apiserver("KMS2-VER-03", May, Caller, &[Code])
        .title("Constants do not vary")
        .source("CFG; ENV")
        .says(
            "60 s, 10 s, 3 min, 24 h, 20 s, 3 s and the limits on sizes are the same from 1.27 to \
             1.37.",
        ),
];

//! Own area: rotation of the remote key, seen from all nodes.

use crate::requirement::Basis::{Docs, Practice};
use crate::requirement::Confidence::Doc;
use crate::requirement::Level::{Must, Should};
use crate::requirement::{Requirement, plugin};

/// Rotation.
pub static ROT: &[Requirement] = &[
    plugin("KMS2-ROT-01", Should, Practice, &[])
        .title("A rotation is reported")
        .source("KMS2-STATUS-07; KMS2-STALE-05")
        .says(
            "A rotation in the backend shows within the stated time, once, and in Status and \
             Encrypt together.",
        ),
    plugin("KMS2-ROT-02", Should, Practice, &[])
        .title("Nodes agree")
        .source("KMS2-DEC-07")
        .says(
            "Two nodes report one key_id, and straight after a rotation each decrypts what the \
             other wrote.",
        ),
    plugin("KMS2-ROT-03", Must, Docs, &[Doc])
        .title("All earlier keys decrypt")
        .source("DOC; KMS2-DEC-07")
        .says("After N rotations and a restart, data of every earlier key_id decrypts."),
    plugin("KMS2-ROT-04", Should, Practice, &[])
        .title("A re-created key is a new key")
        .source("KMS2-STATUS-08")
        .says(
            "A key that was made again, or restored, under the same name does not appear under a \
             key_id of before.",
        )
        .reason(
            "The remote key has to be deleted and made again, which destroys what was written with it; \
             no check does that to a key that it was not given for the purpose.",
        ),
    plugin("KMS2-ROT-05", Should, Practice, &[])
        .title("A failed rotation changes nothing")
        .source("KMS2-ENC-06")
        .says("A rotation that fails leaves the old key_id in force, for Encrypt as well.")
        .reason(
            "A rotation that fails half-way is a fault of the backend: one that was rotated well cannot \
             show it.",
        ),
];

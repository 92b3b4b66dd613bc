//! Which stored values count as stale.

use crate::requirement::Basis::{Caller, Docs};
use crate::requirement::Confidence::{Code, Doc, Live, Measured};
use crate::requirement::Level::{Must, Should};
use crate::requirement::{Requirement, apiserver, both};

/// Staleness, which storage migration relies on.
pub static STALE: &[Requirement] = &[
    apiserver("KMS2-STALE-01", Must, Caller, &[Code, Measured])
        .title("What makes a value stale")
        .source("ENV TransformFromStorage")
        .says(
            "A value is stale when its key_id or its source type is not that of the present state; \
             which seed, which encrypted bytes and which annotations it has is of no account.",
        ),
    apiserver("KMS2-STALE-02", Must, Caller, &[Code, Measured])
        .title("Not the first provider")
        .source("TR TransformFromStorage")
        .says("A value that any provider but the first of its list could read is stale as well."),
    apiserver("KMS2-STALE-03", Must, Caller, &[Code, Measured])
        .title("Compared with the state")
        .source("ENV TransformFromStorage")
        .says(
            "The comparison is made with the state of the last successful rotation, expired or \
             not, and not with the latest Status.",
        ),
    apiserver("KMS2-STALE-04", Must, Caller, &[Code, Live])
        .title("Only updates use staleness")
        .source("STORE GuaranteedUpdate; IT")
        .says(
            "An update writes a stale value back, under a new resource version, even if nothing in \
             it changed, and once is enough; GET, LIST and WATCH take no notice.",
        ),
    both("KMS2-STALE-05", Should, Docs, &[Doc])
        .title("Waiting before a migration")
        .source("DOC; CFG")
        .says(
            "After the KEK was rotated, migration waits 3 + N + M minutes, N being the time until \
             the plugin reports the new key_id and M a reserve of at least 5.",
        )
        .reason("A measurement: N is reported, and no value of it breaks anything."),
];

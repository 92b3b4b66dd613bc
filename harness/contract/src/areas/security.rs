//! Own area: secrets stay inside and hostile input outside.

use crate::requirement::Basis::{Docs, Practice};
use crate::requirement::Confidence::Doc;
use crate::requirement::Level::{Must, Should};
use crate::requirement::{Requirement, plugin};

/// Secrets and hostile input.
pub static SEC: &[Requirement] = &[
    plugin("KMS2-SEC-01", Should, Practice, &[])
        .title("No secrets outside")
        .source("OWN")
        .says(
            "Planted secrets and plaintexts turn up in no log, metric, error text, argument list \
             or core file.",
        ),
    plugin("KMS2-SEC-02", Should, Practice, &[])
        .title("Socket is closed to others")
        .source("KMS2-CONN-15")
        .says("Other users can neither read from the socket nor write to it."),
    plugin("KMS2-SEC-03", Should, Practice, &[])
        .title("Only the right backend")
        .source("OWN")
        .says(
            "A bad certificate, a wrong name, plain http and a redirect to a foreign host are \
             refused, and no credential is sent there.",
        )
        .reason(
            "A false backend has to stand where the plugin expects its own; what it sends there does not \
             show on its socket.",
        ),
    plugin("KMS2-SEC-04", Must, Docs, &[Doc])
        .title("Hostile requests")
        .source("DOC; KMS2-DEC-04")
        .says(
            "Damaged, foreign, oversized and malformed requests meet an error, and never a crash \
             or other bytes.",
        ),
];

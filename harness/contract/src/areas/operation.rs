//! Own areas: what an operator sees and what it costs.

use crate::requirement::Basis::Practice;
use crate::requirement::Level::Should;
use crate::requirement::{Requirement, plugin};

/// Observability.
pub static OBS: &[Requirement] = &[
    plugin("KMS2-OBS-01", Should, Practice, &[])
        .title("Failed calls name their uid")
        .source("KMS2-LOG-04")
        .says("The log line of a call that failed contains the request's uid."),
    plugin("KMS2-OBS-02", Should, Practice, &[])
        .title("Bounded series")
        .source("OWN")
        .says("After 1,000 different errors the number of metric series is still bounded."),
];

/// Performance.
pub static PERF: &[Requirement] = &[
    plugin("KMS2-PERF-01", Should, Practice, &[])
        .title("Bounded memory")
        .source("OWN")
        .says(
            "Neither 400 rotations nor 1,000 simultaneous Decrypts let memory grow without bound.",
        ),
    plugin("KMS2-PERF-02", Should, Practice, &[])
        .title("A cold start's herd")
        .source("KMS2-DEC-08; KMS2-START-04")
        .says(
            "Of 1,000 different Decrypts that arrive together, every one succeeds within the 3 s \
             that an API server allows.",
        ),
];

//! Reloading the encryption configuration.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::{Code, Derived, Measured};
use crate::requirement::Level::Must;
use crate::requirement::{Requirement, apiserver};

/// Reloading the configuration.
pub static RELOAD: &[Requirement] = &[
    apiserver("KMS2-RELOAD-01", Must, Caller, &[Code])
        .title("The reload flag")
        .source("A pkg/server/options/etcd.go")
        .since(26)
        .says(
            "`--encryption-provider-config-automatic-reload` is off unless given and is an error \
             without `--encryption-provider-config`.",
        ),
    apiserver("KMS2-RELOAD-02", Must, Caller, &[Code, Measured])
        .title("How a change is seen")
        .source("CTRL")
        .since(29)
        .says(
            "From 1.29 on the file is read at start and every 60 s and compared by a hash of its \
             content, whatever its time of change; 1.26 to 1.28 used inotify.",
        ),
    apiserver("KMS2-RELOAD-03", Must, Caller, &[Code, Measured])
        .title("Hash of the content")
        .source("CFG computeEncryptionConfigHash")
        .says(
            "The hash is the SHA-256 of the raw bytes, shown as `sha256:<hex>` from 1.34 on, as \
             `k8s:enc:unstable:1:<hex>` in 1.30 to 1.33 and as plain hex before.",
        ),
    apiserver("KMS2-RELOAD-04", Must, Caller, &[Code, Measured])
        .title("Steps of a reload")
        .source("CTRL processWorkItem, validateNewTransformersHealth; CFG")
        .says(
            "New content is parsed and validated and its providers are built with a Status and \
             Encrypt each; all of them become healthy within the longer of 10 s and twice the sum \
             of their timeouts (tried each 100 ms, answers cached for 3 s), then the sets are \
             swapped atomically, and the old one is closed after twice the sum of its own \
             timeouts.",
        ),
    apiserver("KMS2-RELOAD-05", Must, Caller, &[Code, Measured])
        .title("A reload that fails")
        .source("CTRL")
        .says(
            "After any failure, a single sick entry being enough, the old configuration stays, the \
             new clients are closed and a failure is counted; the retry comes after 5 ms doubled \
             for every failure since the process began, which no success resets, and at the next \
             60 s tick.",
        ),
    apiserver("KMS2-RELOAD-06", Must, Caller, &[Code, Measured])
        .title("Sum of the timeouts")
        .source("CFG kmsPrefixTransformer")
        .says("In the sum of timeouts a v1 entry counts double and a v2 entry single."),
    apiserver("KMS2-RELOAD-07", Must, Caller, &[Derived, Measured])
        .title("Same content, no reload")
        .source("CTRL")
        .says(
            "A file whose hash is the same causes nothing, so touching it cures neither a pinned \
             version nor a poisoned cache, while one changed byte does.",
        ),
];

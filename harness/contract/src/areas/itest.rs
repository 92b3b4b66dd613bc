//! What upstream's integration test asserts; replayed on the simulated API server.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::Code;
use crate::requirement::Level::Must;
use crate::requirement::{Requirement, apiserver};

/// What upstream's integration test asserts.
pub static ITEST: &[Requirement] = &[
    apiserver("KMS2-ITEST-01", Must, Caller, &[Code])
        .title("Stored form")
        .source("IT")
        .says(
            "A stored value begins with `k8s:enc:kms:v2:<name>:` and is of type 1; decrypting its \
             source gives the seed that the plugin saw, the data opens with that seed and the etcd \
             path, and API reads show it in clear.",
        ),
    apiserver("KMS2-ITEST-02", Must, Caller, &[Code])
        .title("Exact metrics")
        .source("IT")
        .since(29)
        .says(
            "After one create and two reads the cache size is 1, from_storage 2 and to_storage 1, \
             with the hash of key_id `1` and that of the server's id.",
        ),
    apiserver("KMS2-ITEST-03", Must, Caller, &[Code])
        .title("One rewrite after a rotation")
        .source("IT")
        .says(
            "No-op updates keep the resourceVersion; within 1 min of a new key_id a single one of \
             them changes it, the next again does not, and the object then has the new key_id and \
             another encrypted seed.",
        ),
    apiserver("KMS2-ITEST-04", Must, Caller, &[Code])
        .title("A failing plugin")
        .source("IT")
        .says(
            "With the plugin failing, creates work while the seed is valid and no-op updates \
             always; 5 min later a create fails and names the expired source with the SHA-256 of \
             its key_id; once repaired, writes are back within 3 min and untouched data keeps its \
             resourceVersion.",
        ),
    apiserver("KMS2-ITEST-05", Must, Caller, &[Code])
        .title("Another seed mode")
        .source("IT")
        .since(28)
        .says("Data becomes stale under the same key_id when the seed mode is switched."),
    apiserver("KMS2-ITEST-06", Must, Caller, &[Code])
        .title("A thousand creates")
        .source("IT")
        .says(
            "1000 creates share one encrypted seed; info and the first 4 bytes of the nonce are \
             not all zero; in type-0 mode the little-endian counter rises from 1000000001.",
        ),
    apiserver("KMS2-ITEST-07", Must, Caller, &[Code])
        .title("Two plugins, one check")
        .source("IT")
        .says(
            "Two plugins are behind one health check, which gives each error under its index and \
             both when both fail.",
        ),
    apiserver("KMS2-ITEST-08", Must, Caller, &[Code])
        .title("One client an entry")
        .source("IT")
        .says("The whole aggregated server constructs a single client for each configured entry."),
    apiserver("KMS2-ITEST-09", Must, Caller, &[Code])
        .title("Reading after a restart")
        .source("IT")
        .says("A server restarted with the same file reads the old data by way of Decrypt."),
    apiserver("KMS2-ITEST-10", Must, Caller, &[Code])
        .title("Old records stay readable")
        .source("IT")
        .since(28)
        .says(
            "Records of v1.27.0 (type 0) and v1.28.0 (type 1) can be read by every later server.",
        ),
];

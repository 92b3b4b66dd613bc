//! The Decrypt call and the steps of a read.

use crate::requirement::Basis::{Caller, Docs, Proto};
use crate::requirement::Confidence::{Code, Doc, Live, Measured};
use crate::requirement::Level::{Must, Should};
use crate::requirement::{Requirement, apiserver, plugin};

/// Decrypt and reads.
pub static DEC: &[Requirement] = &[
    apiserver("KMS2-DEC-01", Must, Caller, &[Code, Measured])
        .title("Decrypt gets what Encrypt gave")
        .source("ENV TransformFromStorage; GRPC Decrypt")
        .says(
            "Decrypt is handed ciphertext, key_id and annotations exactly as Encrypt returned them \
             and etcd kept them (fields 3, 2 and 4), together with a new uid.",
        ),
    plugin("KMS2-DEC-02", Must, Caller, &[Code, Measured])
        .title("Length of the plaintext")
        .source("XN NewHKDFExtendedNonceGCMTransformer; ENV addTransformerForDecryption")
        .says(
            "Decrypt gives back exactly the 32 bytes that Encrypt received; fewer fail a type-1 \
             read with `invalid seed length N used for key generation` each time anew, more are \
             used whole as a wrong seed, and for type 0 only 16, 24 or 32 bytes are a key.",
        ),
    apiserver("KMS2-DEC-03", Must, Caller, &[Code, Measured, Live])
        .title("A wrong answer poisons the cache")
        .source("ENV addTransformerForDecryption, TransformFromStorage")
        .says(
            "The transformer enters the cache before the data is authenticated, so one Decrypt \
             answer of 32 or more wrong bytes makes every read of that seed fail with `cipher: \
             message authentication failed`, without asking again, until a restart, a reload or an \
             insert after more than 24 h.",
        ),
    plugin("KMS2-DEC-04", Must, Proto, &[Doc])
        .title("Decrypt undoes Encrypt or refuses")
        .source("DOC; PROTO")
        .says(
            "Decrypt undoes Encrypt exactly; an unknown or foreign key_id, changed or missing \
             annotations, and a ciphertext that is empty, cut or altered get a gRPC error and \
             never other bytes.",
        ),
    plugin("KMS2-DEC-05", Must, Caller, &[Code])
        .title("key_id and annotations are bound")
        .source("STORE; ENV; K internal/plugins/_mock/pkcs11/pkcs11.go")
        .says(
            "Decrypt fails when a ciphertext comes with another valid key_id or with altered \
             annotations: the server authenticates only the path of an object, so whoever can \
             write to etcd can present any combination and the plugin has to bind them itself.",
        ),
    plugin("KMS2-DEC-06", Should, Docs, &[Doc])
        .title("Latency of Decrypt")
        .source("DOC")
        .says(
            "Decrypt answers within 10 ms (p99), since a starting server may make thousands of \
             calls.",
        ),
    plugin("KMS2-DEC-07", Must, Caller, &[Doc, Code])
        .title("Old key_ids stay readable")
        .source("DOC; IT")
        .says(
            "What was encrypted under an earlier key_id decrypts as long as such data can exist, \
             after restarts of the plugin and on every control-plane node.",
        ),
    plugin("KMS2-DEC-08", Must, Caller, &[Code, Measured, Live])
        .title("Decrypt at the same time")
        .source("ENV; GRPC")
        .says(
            "Decrypt serves many callers at once: the server sets no limit and merges nothing, so \
             100 cold reads of one seed are 100 equal calls in flight, and a 1.37 server at start \
             sends up to 10 together.",
        ),
    apiserver("KMS2-DEC-09", Must, Caller, &[Code, Measured])
        .title("Decrypt ends with the request")
        .source("ENV; GRPC")
        .says(
            "Decrypt runs in the context of the API request, is cancelled when that client leaves, \
             and in any case ends at the configured timeout.",
        ),
    apiserver("KMS2-DEC-10", Must, Caller, &[Code, Measured])
        .title("Steps of a read")
        .source("ENV TransformFromStorage")
        .says(
            "A read parses and validates the object, takes the state, looks into the cache, on a \
             miss counts it and calls Decrypt, caches the transformer, counts the key_id, opens \
             the data and decides staleness; without a first successful Encrypt nothing can be \
             read at all, however well Decrypt works.",
        ),
    apiserver("KMS2-DEC-11", Must, Caller, &[Code, Measured])
        .title("Stored objects are checked again")
        .source("ENV doDecode")
        .says(
            "Every read applies all limits on size and form again and refuses what breaks them \
             without a call: type first (`unknown encryptedDEKSourceType: N`, after cutting the \
             number to 32 bits), then `encrypted data is empty` and the limits on Encrypt's \
             answer; data under 44 bytes (type 1) or 12 (type 0) is `the stored data was shorter \
             than the required size`.",
        ),
    apiserver("KMS2-DEC-12", Must, Caller, &[Code, Measured])
        .title("Status codes change nothing")
        .source("ENV; CFG; GRPC")
        .says(
            "No gRPC code of any method is retried or treated as final; codes only show in metrics \
             and in texts such as `failed to decrypt DEK, error: rpc error: code = NAME desc = \
             MESSAGE`, numbers without a name as `Code(99)`.",
        ),
    apiserver("KMS2-DEC-13", Must, Caller, &[Code, Live])
        .title("One unreadable object")
        .source("STORE Get, processListItem; A pkg/features/kube_features.go")
        .says(
            "A failed read is HTTP 500 InternalError, and a single object that cannot be decrypted \
             fails the LIST of its resource and ends watches with an error; once the watch cache \
             is on, both answer 429 instead, and damage at run time shows only after 30 s; a gate \
             (alpha in 1.32, on in 1.37) allows deleting such objects.",
        ),
    apiserver("KMS2-DEC-14", Must, Caller, &[Code, Live])
        .title("How many Decrypts at once")
        .source("STORE; A pkg/features/kube_features.go")
        .says(
            "One LIST decrypts item after item, and calls overlap only between separate requests; \
             a watch may decode 10 events side by side where ConcurrentWatchObjectDecode is on (by \
             default in 1.37), the first fill of the watch cache included, after which LIST, GET \
             and WATCH from it need no Decrypt.",
        ),
];

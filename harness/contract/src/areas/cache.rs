//! The API server's caches: decrypted seeds and derived keys.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::{Code, Derived, Measured};
use crate::requirement::Level::Must;
use crate::requirement::{Requirement, apiserver};

/// Caches of the API server.
pub static CACHE: &[Requirement] = &[
    apiserver("KMS2-CACHE-01", Must, Caller, &[Code, Measured])
        .title("Decrypt cache")
        .source("CACHE; ENV")
        .says(
            "Each provider has a map without bound from a SHA-256 to the transformer for \
             decryption; `cachesize` does not apply to v2.",
        ),
    apiserver("KMS2-CACHE-02", Must, Caller, &[Code, Measured])
        .title("Entries live 24 h")
        .source("CACHE")
        .says(
            "An entry is due 24 h after its insertion, however often it is read, but served until \
             an insert collects it; each write is such an insert, and an entry of exactly 24 h \
             goes with it.",
        ),
    apiserver("KMS2-CACHE-03", Must, Caller, &[Derived, Measured])
        .title("Old seeds are asked for daily")
        .source("CACHE; ENV; kubernetes/kubernetes#138950")
        .says(
            "Each server therefore decrypts every old seed again about once a day, and a KEK that \
             became useless is noticed up to 24 h late and at another time on each server.",
        ),
    apiserver("KMS2-CACHE-04", Must, Caller, &[Code, Measured])
        .title("Own seed needs no Decrypt")
        .source("ENV TransformToStorage")
        .says(
            "From its first write with a seed until 24 h after the last one, a server reads its \
             own data without Decrypt; before that first write it does not.",
        ),
    apiserver("KMS2-CACHE-05", Must, Caller, &[Code])
        .title("Derived keys are cached by path")
        .source("XN; XNC")
        .since(28)
        .says(
            "A type-1 transformer remembers for each path the info and its derived key for 10 min, \
             or past that until the next insert, and uses them on a read only if the info is \
             equal; results are the same without it, and an empty path panics.",
        ),
    apiserver("KMS2-CACHE-06", Must, Caller, &[Derived, Measured])
        .title("A reload starts with empty caches")
        .source("CTRL; CFG")
        .says(
            "Every reload builds its providers afresh, unchanged ones too, so each costs a Status, \
             an Encrypt and a wave of Decrypts.",
        ),
    apiserver("KMS2-CACHE-07", Must, Caller, &[Code])
        .title("Identity in the decrypt cache")
        .source("ENV generateCacheKey; CACHE keyFunc")
        .says(
            "The cache key is the SHA-256 over the type (32 bits), then encrypted seed and key_id \
             each after a 16-bit length, and only if there are annotations their 32-bit count and, \
             sorted by key, each key and value after a 16-bit length; all numbers are big-endian.",
        ),
];

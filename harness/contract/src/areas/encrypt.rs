//! The Encrypt call: when it comes, what it carries and which answers are accepted.

use crate::requirement::Basis::{Caller, Docs, Practice, Proto};
use crate::requirement::Confidence::{Code, Derived, Doc, Measured};
use crate::requirement::Level::{Must, Should};
use crate::requirement::{Requirement, apiserver, plugin};

/// Encrypt.
pub static ENC: &[Requirement] = &[
    apiserver("KMS2-ENC-01", Must, Caller, &[Code, Measured])
        .title("Encrypt follows Status only")
        .source("CFG rotateDEKOnKeyIDChange; IT")
        .says(
            "Encrypt is called by the Status check and never by a write: once for a provider at \
             start or reload while there is no valid state, and once for each change of `key_id`.",
        ),
    apiserver("KMS2-ENC-02", Must, Caller, &[Code, Measured])
        .title("What is encrypted")
        .source("ENV GenerateTransformer; XN; AES")
        .says(
            "`plaintext` is 32 random bytes, the seed (up to 1.28 without the KDF gate: an AES-256 \
             key), and never a piece of an object.",
        ),
    apiserver("KMS2-ENC-03", Must, Caller, &[Code, Measured])
        .title("uid of a call")
        .source("CFG; ENV")
        .says(
            "`uid` is a new random version-4 UUID, 36 lower-case characters with hyphens, for each \
             check that gets as far as the `key_id` and for each Decrypt; it is never empty.",
        ),
    plugin("KMS2-ENC-04", Should, Practice, &[Code])
        .title("Empty uid")
        .source("MOCK kms_plugin_mock.go")
        .says(
            "An empty `uid` may be served or refused with INVALID_ARGUMENT, as upstream's mock \
             does.",
        )
        .reason("Both answers are acceptable, so no plugin can break it; the answer is noted."),
    plugin("KMS2-ENC-05", Must, Proto, &[Code, Measured])
        .title("Size of the ciphertext")
        .source("ENV validateEncryptedDEKSource; PROTO")
        .says("`ciphertext` is between 1 and 1024 bytes long.")
        .source_conflict(
            "The proto's comment asks for less than 1 kB while the API server takes 1024 bytes: \
             1024 is a warning, 1025 a failure.",
        ),
    plugin("KMS2-ENC-06", Must, Caller, &[Code, Measured])
        .title("key_id of an Encrypt answer")
        .source("CFG rotateDEKOnKeyIDChange")
        .says(
            "Encrypt's `key_id` has 1 to 1024 bytes and equals that of the Status which led to the \
             call; if not, seed and answer are dropped, the provider is unhealthy, the old state \
             ages on, and each later probe tries Encrypt again.",
        )
        .source_conflict(
            "The proto's comment asks for less than 1 kB while the API server takes 1024 bytes: \
             1024 is a warning, 1025 a failure.",
        ),
    plugin("KMS2-ENC-07", Must, Proto, &[Code, Measured])
        .title("Annotation keys")
        .source("ENV validateAnnotations; PROTO")
        .says(
            "An annotation key is a fully qualified domain name: one trailing dot aside at most \
             253 bytes, two or more labels, each of 1 to 63 of `a-z`, `0-9` and `-` with a letter \
             or digit at both ends; capitals, `_`, `/`, `*`, `@`, a lone label and a leading dot \
             are refused.",
        ),
    plugin("KMS2-ENC-08", Must, Caller, &[Code, Measured])
        .title("Size of the annotations")
        .source("ENV validateAnnotations; PROTO")
        .says(
            "The keys and values of all annotations together are at most 32768 bytes long; how \
             many there are does not matter.",
        )
        .source_conflict(
            "The proto's comment asks for less than 32 kB while the API server takes 32768 bytes: \
             32768 is a warning, 32769 a failure.",
        ),
    apiserver("KMS2-ENC-09", Must, Caller, &[Code, Measured])
        .title("A bad Encrypt answer keeps the old state")
        .source("ENV GenerateTransformer")
        .says(
            "An Encrypt answer that breaks a rule makes the check fail when it arrives, with the \
             old state kept; type, data, ciphertext, key_id and annotations are judged in this \
             order and only the first group at fault is named, all its annotation faults in random \
             order.",
        ),
    plugin("KMS2-ENC-10", Must, Caller, &[Doc, Code])
        .title("Distinct seeds, distinct answers")
        .source("DOC; ENV generateCacheKey")
        .says(
            "Two different plaintexts never share the triple of ciphertext, key_id and \
             annotations, since the triple identifies the seed in the server's cache; a constant \
             ciphertext with the wrapped key in an annotation is allowed.",
        ),
    apiserver("KMS2-ENC-11", Must, Caller, &[Code, Measured])
        .title("Nobody checks the way back")
        .source("ENV GenerateTransformer")
        .says(
            "The server never decrypts what was just encrypted to see whether it can be undone, so \
             a plugin with a broken Decrypt looks well until the next restart.",
        ),
    plugin("KMS2-ENC-12", Must, Proto, &[Derived, Measured])
        .title("The seed does not show")
        .source("ENV GenerateTransformer; PROTO")
        .says(
            "Neither ciphertext, key_id nor annotations contain the plaintext, whether raw, in \
             hexadecimal or in base64; the server would accept a plugin that echoes it.",
        ),
    plugin("KMS2-ENC-13", Should, Docs, &[Doc])
        .title("Latency of Encrypt")
        .source("DOC")
        .says("Encrypt answers within 100 ms (p99)."),
    plugin("KMS2-ENC-14", Should, Proto, &[Doc, Code])
        .title("What key_id and annotations say")
        .source("PROTO; ENV TransformToStorage")
        .says(
            "`key_id` stands for the remote KEK and not for a local one, and annotations hold no \
             secret and little data, for they are stored in clear with each object.",
        ),
];

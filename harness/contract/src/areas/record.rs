//! The bytes in etcd: object, prefix, associated data, encryption.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::{Code, Measured, Verified};
use crate::requirement::Level::Must;
use crate::requirement::{Requirement, apiserver};

/// The stored object.
pub static OBJ: &[Requirement] = &[apiserver("KMS2-OBJ-01", Must, Caller, &[Code, Verified])
    .title("Fields of EncryptedObject")
    .source("OBJ; ENV ValidateEncryptedObject")
    .says(
        "An object holds encryptedData (1, not empty), keyID (2, 1 to 1024 bytes), \
             encryptedDEKSource (3, 1 to 1024 bytes), annotations (4) and encryptedDEKSourceType \
             (5: 0 for an AES-GCM key, left out, 1 for an HKDF seed, nothing else), written in \
             ascending order with map entries in any; readers take every order, skip unknown \
             fields and keep the last of a repeated scalar.",
    )];

/// The value and the key in etcd.
pub static ETCD: &[Requirement] = &[
    apiserver("KMS2-ETCD-01", Must, Caller, &[Code, Measured])
        .title("Prefix of a value")
        .source("CFG kmsPrefixTransformer; TR")
        .says(
            "A value is `k8s:enc:kms:v2:`, the provider's name, `:` and the object, with nothing \
             around it; on a read all providers whose prefix matches are tried in the file's order \
             until one succeeds, a failing identity is passed over in silence, no match is an \
             error, and renaming a provider loses its data.",
        ),
    apiserver("KMS2-ETCD-02", Must, Caller, &[Verified, Measured])
        .title("Associated data")
        .source("STORE prepareKey, authenticatedDataString")
        .says(
            "The associated data is the full etcd key in UTF-8, beginning with one slash, then the \
             prefix (`registry` unless set) and the resource's path, such as \
             `/registry/secrets/default/demo`, with the group before the plural for custom \
             resources; a value copied to another key cannot be read.",
        ),
];

/// Encryption of the data.
pub static CRYPTO: &[Requirement] = &[
    apiserver("KMS2-CRYPTO-01", Must, Caller, &[Verified, Measured])
        .title("Type 1")
        .source("XN; AES")
        .since(28)
        .says(
            "Data of type 1 is 32 bytes of info, a 12-byte nonce, the ciphertext and a 16-byte tag \
             (n + 60 bytes), info and nonce new and random for each write, sealed by AES-256-GCM \
             with the etcd key, but not the info, as associated data.",
        ),
    apiserver("KMS2-CRYPTO-02", Must, Caller, &[Verified, Measured])
        .title("Type 0")
        .source("AES")
        .says(
            "Data of type 0 is a 12-byte nonce, the ciphertext and a 16-byte tag under the \
             decrypted source itself, whose length chooses AES-128, -192 or -256; writers of 1.27 \
             and 1.28 make the nonce of 4 random bytes and a little-endian 64-bit counter that \
             starts at 1000000001.",
        ),
    apiserver("KMS2-CRYPTO-03", Must, Caller, &[Verified, Measured])
        .title("Derived key of type 1")
        .source("XN")
        .since(28)
        .says(
            "The key of type 1 is HKDF-Expand with SHA-256, without Extract or salt, from the seed \
             over the 32 bytes of info alone to 32 bytes, which is HMAC-SHA-256(seed, info || \
             0x01).",
        ),
    apiserver("KMS2-CRYPTO-04", Must, Caller, &[Verified, Measured])
        .title("Limits on reading type 1")
        .source("XN")
        .since(28)
        .says(
            "Under 32 bytes of data, or under 12 after the info, is an error, as is a seed of less \
             than 32 bytes; a longer seed is used whole.",
        ),
];

//! Own area: what is encrypted comes back.

use crate::requirement::Basis::{Caller, Practice};
use crate::requirement::Confidence::Code;
use crate::requirement::Level::{May, Must};
use crate::requirement::{Requirement, plugin};

/// Round trips.
pub static RT: &[Requirement] = &[
    plugin("KMS2-RT-01", Must, Caller, &[Code])
        .title("Every seed comes back")
        .source("KMS2-ENC-02; KMS2-ENC-11; KMS2-DEC-02")
        .says(
            "10,000 random plaintexts of 32 bytes, the only length that an API server sends, come \
             back unchanged; other lengths from nothing to 1 MiB are tried and reported without a \
             verdict.",
        ),
    plugin("KMS2-RT-02", Must, Caller, &[Code])
        .title("Across a restart")
        .source("KMS2-ENC-11; KMS2-ITEST-09")
        .says("A ciphertext made before the plugin restarted decrypts after it."),
    plugin("KMS2-RT-03", May, Practice, &[])
        .title("Equal plaintexts look different")
        .source("OWN")
        .says("Encrypting one plaintext twice gives two different ciphertexts."),
];

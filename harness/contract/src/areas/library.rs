//! Upstream's helper library and mock plugins.
//!
//! Information about other people's code, kept because real plugins are built on it; nothing here
//! is a requirement.

use crate::requirement::Basis::Practice;
use crate::requirement::Confidence::Code;
use crate::requirement::Level::May;
use crate::requirement::{Requirement, info};

/// The Go helper library that real plugins use.
pub static SRV: &[Requirement] = &[
    info("KMS2-SRV-01", May, Practice, &[Code])
        .title("How it handles the socket")
        .source("SVC ListenAndServe")
        .says(
            "The helper listens on a path as Go does: a socket file left behind makes the start \
             fail with address in use, the umask decides about permissions, a clean close removes \
             the file and `@name` is abstract.",
        )
        .reason("Information about other people's code."),
    info("KMS2-SRV-02", May, Practice, &[Code])
        .title("What its timeout bounds")
        .source("SVC")
        .says(
            "Its timeout limits how long a connection may take to be set up and has no effect on \
             calls.",
        )
        .reason("Information about other people's code."),
    info("KMS2-SRV-03", May, Practice, &[Code])
        .title("It maps and checks nothing")
        .source("SVC")
        .says(
            "A plain Go error reaches the wire as UNKNOWN; sizes, uid and key_id go unchecked, and \
             neither a health service nor reflection is there.",
        )
        .reason("Information about other people's code."),
    info("KMS2-SRV-04", May, Practice, &[Code])
        .title("How it ends")
        .source("SVC")
        .says(
            "Shutdown waits for running calls without limit and Close ends at once; called before \
             serving began, either does nothing.",
        )
        .reason("Information about other people's code."),
];

/// Upstream's mock plugins.
pub static MOCK: &[Requirement] = &[
    info("KMS2-MOCK-01", May, Practice, &[Code])
        .title("The PKCS#11 mock")
        .source("K internal/plugins/_mock")
        .says(
            "Flags listen-addr (`unix:///tmp/kms.socket`), timeout (5 s) and config-file-path \
             (`/etc/softhsm-config.json`); AES-GCM under the key `kms-test`, which is key_id and \
             associated data as well; ciphertext is nonce, data and tag; the annotation \
             `version.encryption.remote.io` with value `1` has to come back alone; Status is v2, \
             ok, kms-test for ever.",
        )
        .reason("Information about other people's code."),
    info("KMS2-MOCK-02", May, Practice, &[Code])
        .title("The API server's test plugin")
        .source("MOCK kms_plugin_mock.go")
        .says(
            "Its ciphertext is the padded base64 of the plaintext (44 bytes for a seed), its \
             version v2beta1, its key_id `1` and later `2`, its annotation \
             `local-kek.kms.kubernetes.io` with `encrypted-local-kek`; it refuses an empty uid \
             with INVALID_ARGUMENT, fails all methods with FAILED_PRECONDITION when told to, and \
             insists on the authority `localhost`.",
        )
        .reason("Information about other people's code."),
];

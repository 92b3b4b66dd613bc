//! Logs, traces and audit on both sides.

use crate::requirement::Basis::{Caller, Docs};
use crate::requirement::Confidence::{Code, Doc};
use crate::requirement::Level::{May, Should};
use crate::requirement::{Requirement, apiserver, plugin};

/// Logs, traces and audit.
pub static LOG: &[Requirement] = &[
    apiserver("KMS2-LOG-01", Should, Caller, &[Code])
        .title("uid in the server's log")
        .source("ENV")
        .says(
            "At verbosity 6 the server logs the uid around Encrypt and Decrypt, with Decrypt and \
             writes also the etcd key and what the request was about, and with each write the uid \
             of the state's Encrypt.",
        ),
    apiserver("KMS2-LOG-02", Should, Caller, &[Code])
        .title("key_ids in the server's log")
        .source("CFG primeAndProbeKMSv2, rotateDEKOnKeyIDChange")
        .since(28)
        .says(
            "A failed probe leaves an error line at verbosity 2, and a key_id is logged only as a \
             SHA-256 (1.27 still printed it).",
        ),
    apiserver("KMS2-LOG-03", May, Caller, &[Code])
        .title("No audit of calls")
        .source("ENV; KEP")
        .says(
            "No audit event or annotation speaks of KMS calls and the uid is not the audit id; \
             traces have a span for each transformation with the provider's name, reported above \
             500 ms.",
        )
        .reason("States what does not exist, and nothing outside the server shows it."),
    plugin("KMS2-LOG-04", Should, Docs, &[Doc])
        .title("uid in the plugin's log")
        .source("KEP")
        .says(
            "The plugin writes the uid of a call to its log, so that both sides' lines can be \
             joined.",
        ),
];

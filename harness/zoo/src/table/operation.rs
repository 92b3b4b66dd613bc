//! Secrets, observability, resources.

use crate::bug::Bug::{
    AnyBackendTrusted, CredentialInArguments, CredentialInLog, CredentialInMetrics,
    ErrorHoldsPlaintext, LogHoldsPlaintext, LogWithoutUid, MemoryGrows, SeriesForEachError,
    SocketForEverybody, VersionsAreKeptWhole,
};
use crate::mutant::Mutant;

pub(super) static MUTANTS: &[Mutant] = &[
    Mutant::process(LogHoldsPlaintext)
        .fails(&["KMS2-SEC-01"])
        .why("A debugging line with the whole answer in it."),
    Mutant::process(CredentialInLog)
        .fails(&["KMS2-SEC-01"])
        .why("Falco's plugin printed token and secret-id (vault-kubernetes-kms#85, #86), Trousseau's its whole configuration."),
    Mutant::of(ErrorHoldsPlaintext)
        .fails(&["KMS2-SEC-01"])
        .why("An error text that quotes what it was comparing ends up in the API server's log and answer."),
    Mutant::process(CredentialInMetrics)
        .fails(&["KMS2-SEC-01"])
        .why("Request paths and identities as labels: Falco's request metric has the path of the login in it."),
    Mutant::process(CredentialInArguments)
        .warns(&["KMS2-SEC-01"])
        .why("Falco and Infisical take tokens, passwords and secret-ids as flags, which everybody on the node can list."),
    Mutant::process(SocketForEverybody)
        .fails(&["KMS2-SEC-02"])
        .warns(&["KMS2-CONN-15"])
        .why("Most plugins leave the mode to the umask, and a non-root API server has tempted some to open it (Thales#4, #6)."),
    Mutant::of(AnyBackendTrusted)
        .fails(&["KMS2-SEC-03"])
        .why("Skipping verification is a flag in HashiCorp's plugin and an environment variable of the SDK in Falco's."),
    Mutant::process(LogWithoutUid)
        .fails(&["KMS2-OBS-01"])
        .warns(&["KMS2-LOG-04"])
        .why("Lines that say what failed and not for whom cannot be joined with the API server's."),
    Mutant::process(SeriesForEachError)
        .fails(&["KMS2-OBS-02"])
        .why("Azure's histogram has the error text as a label, without bound."),
    Mutant::process(MemoryGrows)
        .fails(&["KMS2-PERF-01"])
        .why("A cache that nothing ever leaves (kubernetes#131853 has one on the other side)."),
    Mutant::of(VersionsAreKeptWhole)
        .fails(&["KMS2-PERF-01"])
        .why("Each version of a key that is rotated for years keeps a client, a connection and a log of its own."),
];

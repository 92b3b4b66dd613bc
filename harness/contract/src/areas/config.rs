//! The encryption configuration file: fields, defaults, validation.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::{Code, Derived, Measured};
use crate::requirement::Level::Must;
use crate::requirement::{Requirement, apiserver};

/// Configuration file.
pub static CFG: &[Requirement] = &[
    apiserver("KMS2-CFG-01", Must, Caller, &[Code, Measured])
        .title("Fields and defaults")
        .source("A pkg/apis/apiserver/v1/types_encryption.go, defaults.go")
        .says(
            "A KMS entry has apiVersion (`v1` unless given, also for null or empty), name, \
             endpoint, timeout (3s unless given) and, for v1 alone, cachesize (1000 unless given); \
             YAML or JSON, of which the first document counts, under kind EncryptionConfiguration \
             of apiserver.config.k8s.io/v1 or the older EncryptionConfig of v1.",
        ),
    apiserver("KMS2-CFG-02", Must, Caller, &[Code, Measured])
        .title("Names of providers")
        .source("VAL validateKMSConfigName")
        .says(
            "A provider has a name, and that of a v2 provider has no `:`, the delimiter of the \
             stored prefix; anything else is allowed.",
        ),
    apiserver("KMS2-CFG-03", Must, Caller, &[Code, Derived, Measured])
        .title("Names are not used twice")
        .source("VAL")
        .says(
            "A v2 name differs from all KMS names before it in the whole file, a v1 name only when \
             reload is on; as the check looks back only, v2 `foo` before v1 `foo` passes without \
             reload.",
        ),
    apiserver("KMS2-CFG-04", Must, Caller, &[Code, Measured])
        .title("Values of a KMS entry")
        .source("VAL")
        .says(
            "A v2 entry with cachesize, a timeout that is not above zero (1ns is), an endpoint \
             that is missing, unparseable or not `unix`, and an apiVersion other than v1 and v2 \
             are refused, the last by a text that names the field in place of the value.",
        ),
    apiserver("KMS2-CFG-05", Must, Caller, &[Code, Measured])
        .title("Shape of the lists")
        .source("VAL")
        .says(
            "The file has at least one entry, an entry at least one resource and one provider, and \
             each element of the provider list exactly one provider.",
        ),
    apiserver("KMS2-CFG-06", Must, Caller, &[Code, Measured])
        .title("Rules for resources")
        .source("VAL; CFG getTransformerOverridesAndKMSPluginProbes")
        .says(
            "Refused are capitals, a bare `*`, `name.*`, the groups events.k8s.io and extensions, \
             apiserveripinfo, serviceipallocations and servicenodeportallocations, repeats and \
             overlaps in one list, and whatever an earlier wildcard masks; one resource in two \
             entries joins their providers in order, and empty or unknown names pass.",
        ),
    apiserver("KMS2-CFG-07", Must, Caller, &[Code, Measured])
        .title("Which entry applies")
        .source("CFG transformerFromOverrides")
        .says(
            "A resource uses the entry of its exact name and group, else that of `*.group`, else \
             that of `*.*`, else plain storage that refuses to read values which begin with \
             `k8s:enc:`.",
        ),
    apiserver("KMS2-CFG-08", Must, Caller, &[Code, Measured])
        .title("Entries share nothing")
        .source("CFG kmsPrefixTransformer; IT")
        .says(
            "Two KMS entries have a client, probe, state and caches each, also when they name one \
             endpoint.",
        ),
];

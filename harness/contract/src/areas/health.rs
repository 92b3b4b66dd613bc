//! Health endpoints of the API server.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::{Code, Derived, Live, Measured};
use crate::requirement::Level::Must;
use crate::requirement::{Requirement, apiserver};

/// Health endpoints.
pub static HEALTH: &[Requirement] = &[
    apiserver("KMS2-HEALTH-01", Must, Caller, &[Code, Measured])
        .title("What a probe calls")
        .source("CFG kmsv2PluginProbe.check")
        .says("The v2 probe calls Status, Encrypt only if a rotation is due, and Decrypt never."),
    apiserver("KMS2-HEALTH-02", Must, Caller, &[Code, Measured])
        .title("Names of the checks")
        .source("CFG LoadEncryptionConfig; A pkg/server/options/etcd_test.go")
        .since(26)
        .says(
            "With automatic reload, or with v2 providers only, there is the one check \
             `kms-providers`; with a v1 provider and no reload there are `kms-provider-0`, \
             `kms-provider-1` and so on in the file's order; with neither KMS nor reload there is \
             none.",
        ),
    apiserver("KMS2-HEALTH-03", Must, Caller, &[Code, Live])
        .title("Where the checks hang")
        .source("A pkg/server/options/etcd.go addHealthChecksWithoutLivez")
        .since(29)
        .says(
            "The checks belong to /healthz and /readyz and, before 1.29, to /livez too; from 1.36 \
             on encrypted data that cannot be read at start nevertheless holds livez at 500, \
             through `poststarthook/storage-readiness`.",
        ),
    apiserver("KMS2-HEALTH-04", Must, Caller, &[Code, Measured])
        .title("Answers of the endpoints")
        .source("A pkg/server/healthz/healthz.go")
        .says(
            "`/healthz/<name>` answers 200 `ok`, or 500 with `internal server error: `, the error \
             and a line end; the root path names failing checks without their reason \
             (`[-]kms-providers failed: reason withheld`, then `healthz check failed`), and \
             `?exclude=kms-providers` leaves the check out.",
        ),
    apiserver("KMS2-HEALTH-05", Must, Caller, &[Code, Measured])
        .title("Several providers in one check")
        .source("CFG kmsHealthChecker.Check; IT")
        .says(
            "The combined check asks one provider after another, puts `kms-provider-<index>: ` \
             before each error and joins several in brackets.",
        ),
    apiserver("KMS2-HEALTH-06", Must, Caller, &[Code, Measured])
        .title("Fresh and cached error texts")
        .source("CFG kmsv2PluginProbe.check; IT")
        .says(
            "A failed Status call is wrapped with the provider's name the first time and appears \
             as the bare gRPC error while it comes from the 3 s cache; errors of validation are \
             wrapped both times.",
        ),
    apiserver("KMS2-HEALTH-07", Must, Caller, &[Derived, Live])
        .title("readyz follows the plugin")
        .source("A pkg/server/options/etcd.go")
        .says(
            "A sick plugin takes the server's readyz down while reads from the cache still work, \
             and writes do for 3 min; damage at run time that stops LIST and WATCH of a resource, \
             on the other hand, leaves readyz and livez at 200.",
        ),
];

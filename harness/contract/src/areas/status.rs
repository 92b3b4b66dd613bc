//! The Status call: what a plugin must answer and when the API server asks.

use crate::requirement::Basis::{Caller, Docs, Proto};
use crate::requirement::Confidence::{Code, Derived, Doc, Measured};
use crate::requirement::Level::{Must, Should};
use crate::requirement::{Requirement, apiserver, both, plugin};

/// Status and its polling.
pub static STATUS: &[Requirement] = &[
    plugin("KMS2-STATUS-01", Must, Proto, &[Code, Measured])
        .title("Version string")
        .source("ENV; CFG isKMSv2ProviderHealthyAndMaybeRotateDEK")
        .since(25)
        .says(
            "`version` is, to the letter, `v2` or `v2beta1` for servers from 1.29 on, `v2beta1` \
             for 1.27 and 1.28, and `v2alpha1` (with a service of that package) for 1.25 and 1.26; \
             a plugin for 1.27 to 1.37 says `v2beta1`.",
        ),
    both("KMS2-STATUS-02", Must, Caller, &[Code, Measured])
        .title("Version does not change")
        .source("CFG isKMSv2ProviderHealthyAndMaybeRotateDEK")
        .since(29)
        .says(
            "The version accepted first binds the provider for as long as the configuration is \
             loaded: another one makes it unhealthy until the first is said again, the server \
             restarts or a file with new content is loaded, though the `key_id` beside it still \
             counts.",
        ),
    plugin("KMS2-STATUS-03", Must, Proto, &[Code, Measured])
        .title("Healthz is ok")
        .source("CFG isKMSv2ProviderHealthyAndMaybeRotateDEK; PROTO")
        .says(
            "A healthy plugin says `ok` in `healthz`, in these two letters; the empty string, `OK` \
             or an added blank are unhealthy, and the value ends up in an error text that anyone \
             may read, so it holds no secret.",
        ),
    plugin("KMS2-STATUS-04", Must, Proto, &[Code, Measured])
        .title("Size of key_id in Status")
        .source("ENV ValidateKeyID; PROTO")
        .says(
            "`key_id` is between 1 and 1024 bytes long; outside of that the provider is unhealthy \
             and a counter rises under the label `empty` or `too_long`.",
        )
        .source_conflict(
            "The proto's comment asks for less than 1 kB while the API server takes 1024 bytes: \
             1024 is a warning, 1025 a failure.",
        ),
    apiserver("KMS2-STATUS-05", Must, Caller, &[Code, Measured])
        .title("Any characters in key_id")
        .source("ENV ValidateKeyID")
        .says(
            "Nothing but its size restricts `key_id`: blanks, colons and all other UTF-8 are \
             taken.",
        ),
    plugin("KMS2-STATUS-06", Should, Docs, &[Doc])
        .title("key_id is public")
        .source("DOC; PROTO")
        .says(
            "`key_id` gives nothing away, since logs may show it and etcd keeps it unencrypted; a \
             hash is the form to use, an account's resource name or a secret is not.",
        ),
    plugin("KMS2-STATUS-07", Must, Caller, &[Code, Doc])
        .title("Status and Encrypt agree")
        .source("CFG rotateDEKOnKeyIDChange; DOC")
        .says("At any one moment Status and Encrypt answer the same `key_id`."),
    plugin("KMS2-STATUS-08", Must, Docs, &[Doc, Derived])
        .title("key_id never returns")
        .source("DOC; ENV TransformFromStorage")
        .says(
            "`key_id` holds still between rotations and, once left, is never reported again, not \
             even when the old KEK is put back, because data of its first period would then pass \
             as current.",
        ),
    apiserver("KMS2-STATUS-09", Must, Caller, &[Code, Measured])
        .title("When Status is polled")
        .source("CFG primeAndProbeKMSv2")
        .says(
            "Loading makes one Status call and a fixed 60 s ticker starts when that ends; a failed \
             check starts a fixed 10 s ticker whose first call comes 10 s later, until one \
             succeeds, the slow ticker keeping its phase throughout; ticks that fall into a \
             running check are lost, and there is no jitter.",
        ),
    apiserver("KMS2-STATUS-10", Must, Caller, &[Code, Measured])
        .title("Two loops after a bad start")
        .source("CFG primeAndProbeKMSv2")
        .says(
            "If the check at load failed, a 10 s loop of its own runs in the background and the \
             main loop may start a second at 60 s; the 3 s cache mostly hides that (one call in 10 \
             s), but a plugin that hung for 3 s or more at that moment and later fails at once is \
             asked twice in 10 s until it succeeds.",
        ),
    apiserver("KMS2-STATUS-11", Must, Caller, &[Code, Measured])
        .title("Probe results are cached")
        .source("CFG kmsv2PluginProbe.check")
        .says(
            "Polls, health endpoints and reload checks share one function behind a mutex, which \
             repeats a good result for 20 s and a bad one for 3 s after the end of its check (at \
             exactly that age it asks again), so a provider sees about 3 Status calls a minute \
             when healthy and 20 when not.",
        ),
    apiserver("KMS2-STATUS-12", Must, Caller, &[Code, Measured])
        .title("Probes queue")
        .source("CFG kmsv2PluginProbe.check")
        .says(
            "A provider has at most one Status or Encrypt in flight; further probes wait behind \
             it, for up to two timeouts when both calls are slow.",
        ),
    apiserver("KMS2-STATUS-13", Must, Caller, &[Code, Measured])
        .title("A sick answer still extends the seed")
        .source("CFG isKMSv2ProviderHealthyAndMaybeRotateDEK; kubernetes/kubernetes#138950")
        .says(
            "All parts of a Status answer are judged together, and a valid `key_id` has its effect \
             (a seed made, rotated or extended) although `healthz` or `version` is wrong; a plugin \
             that reports sickness only by `healthz` thus keeps writes going without end while \
             readyz fails.",
        ),
    apiserver("KMS2-STATUS-14", Must, Caller, &[Code, Measured])
        .title("A failed Status changes nothing")
        .source("CFG kmsv2PluginProbe.check")
        .says(
            "When the Status call itself fails, there is no Encrypt and the expiry stays where it \
             was.",
        ),
    plugin("KMS2-STATUS-15", Should, Docs, &[Doc])
        .title("Status is cheap")
        .source("DOC")
        .says(
            "Status is answered well inside the 3 s timeout (p99) under constant load and does not \
             wait for a remote service.",
        ),
    apiserver("KMS2-STATUS-16", Must, Caller, &[Code, Derived, Measured])
        .title("An impatient prober cancels")
        .source("CFG kmsv2PluginProbe.check, toHealthzCheck")
        .says(
            "A health probe lends its request's context to Status and to the Encrypt of a \
             rotation, so a prober that hangs up cancels the call, and that failure counts as \
             unhealthy for 3 s.",
        ),
];

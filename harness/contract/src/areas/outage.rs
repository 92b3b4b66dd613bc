//! Start without a plugin, outages and recovery.

use crate::requirement::Basis::Caller;
use crate::requirement::Confidence::{Code, Derived, Live, Measured};
use crate::requirement::Level::Must;
use crate::requirement::{Requirement, apiserver};

/// Start of the API server.
pub static START: &[Requirement] = &[
    apiserver("KMS2-START-01", Must, Caller, &[Code, Measured])
        .title("Start without the plugin")
        .source("CFG primeAndProbeKMSv2")
        .says(
            "A server starts without its plugin: loading makes one Status for each provider in \
             turn, blocking up to its timeout (and an Encrypt, up to another), and goes on \
             whatever came of it.",
        ),
    apiserver("KMS2-START-02", Must, Caller, &[Code, Measured])
        .title("What does stop the start")
        .source("CFG loadConfig, kmsPrefixTransformer; A pkg/apis/apiserver/v1/defaults.go")
        .says(
            "An empty, unreadable or invalid configuration file stops the start, and so do unknown \
             fields from 1.31 on and KMS v1 without its gate (off by default from 1.29), which is \
             also what an omitted apiVersion means.",
        ),
    apiserver("KMS2-START-03", Must, Caller, &[Code, Measured, Live])
        .title("Before the first success")
        .source("CFG getCurrentState; TR")
        .says(
            "Until Status and Encrypt succeeded once, each read and write through the provider \
             fails with 500 (429 for LIST and WATCH where encrypted data is stored), while what \
             another provider of the list reads is still served.",
        ),
    apiserver("KMS2-START-04", Must, Caller, &[Derived, Measured])
        .title("Recovery at start")
        .source("CFG primeAndProbeKMSv2, kmsv2PluginProbe.check")
        .says(
            "A plugin that comes late is taken up by a check that waits at that moment or by the \
             first 10 s tick (or probe, bad results lasting 3 s) after the connection, which \
             itself waits out the pause between dials: plugins that came after 6, 25 and 95 s were \
             good after 13.0, 43.0 and 114.9 s.",
        ),
];

/// Outages.
pub static OUT: &[Requirement] = &[
    apiserver("KMS2-OUT-01", Must, Caller, &[Code, Measured, Live])
        .title("What goes on in an outage")
        .source("ENV; IT")
        .says(
            "In an outage after a good start writes last until 3 min after the last processed \
             Status, reads with a cached seed go on, and a read that needs Decrypt fails after its \
             timeout; one new seed from another server is enough to fail LIST and WATCH of that \
             resource here.",
        ),
    apiserver("KMS2-OUT-02", Must, Caller, &[Derived, Measured])
        .title("How long writes last")
        .source("CFG primeAndProbeKMSv2, kmsv2PluginProbe.check, rotateDEKOnKeyIDChange")
        .says(
            "Writes survive a plugin's death by 2 to 3 min, but by only about 100 s when a result \
             cached less than 20 s before answered the last tick and so let the last real Status \
             grow almost 80 s old: a probe at 41 s and a death at 119 s stop writes at 221 s.",
        ),
    apiserver("KMS2-OUT-03", Must, Caller, &[Derived, Measured])
        .title("Coming back")
        .source("CFG; GO")
        .says(
            "The first good check brings writes back at once with the old seed if the key_id is \
             the old one and after an Encrypt if not; pauses between dials may delay that check by \
             about 2 min, so an outage of less than 2 min can refuse writes although the plugin \
             was back before the 3 min were over.",
        ),
    apiserver("KMS2-OUT-04", Must, Caller, &[Derived, Measured])
        .title("Error answers cause no dial pause")
        .source("CFG primeAndProbeKMSv2")
        .says(
            "A plugin that answers with errors keeps its connection, so the next Status comes 10 s \
             later.",
        ),
    apiserver("KMS2-OUT-05", Must, Caller, &[Code, Measured])
        .title("A slow plugin")
        .source("GRPC")
        .says(
            "A call slower than the timeout has failed, Status and Encrypt each counting for \
             themselves: with 3 s, 2.9 s in both is good and 3.1 s in either is bad.",
        ),
];

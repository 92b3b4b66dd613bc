//! Own area: behaviour while the backend, the plugin or the machine is in trouble.

use crate::requirement::Basis::Practice;
use crate::requirement::Level::{May, Should};
use crate::requirement::{Requirement, plugin};

/// Availability.
pub static AVAIL: &[Requirement] = &[
    plugin("KMS2-AVAIL-01", Should, Practice, &[])
        .title("Quick recovery")
        .source("KMS2-OUT-03; KMS2-OUT-04; KMS2-OUT-05")
        .says(
            "Once the backend has healed, and with the socket up throughout, the model API server \
             has a healthy check, with its Encrypt where the key_id is new, no later than 20 s on: \
             a 10 s poll, two timeouts of 3 s and slack.",
        ),
    plugin("KMS2-AVAIL-02", May, Practice, &[])
        .title("Refused writes in an outage")
        .source("KMS2-OUT-02; KMS2-OUT-03; KMS2-STATUS-13")
        .says(
            "How many writes the model API server refuses in an outage, and for how long, is \
             measured and reported.",
        )
        .reason(
            "A measurement without a verdict: a seed outlives a dead plugin by 100 s to 3 min \
             depending on the phase of the probe, dial pauses stretch recovery, and a plugin that \
             only says it is sick never stops writes.",
        ),
    plugin("KMS2-AVAIL-03", Should, Practice, &[])
        .title("Answers before the deadline")
        .source("KMS2-CONN-07; KMS2-OUT-05")
        .says(
            "Each call is answered, well or badly, inside its caller's deadline, whatever the \
             backend does.",
        ),
    plugin("KMS2-AVAIL-04", Should, Practice, &[])
        .title("Starts without its backend")
        .source("KMS2-CONN-05; KMS2-START-04")
        .says(
            "The plugin starts and answers Status with the backend away, and serves without \
             anyone's help when it comes.",
        ),
    plugin("KMS2-AVAIL-05", Should, Practice, &[])
        .title("Starts beside an old socket")
        .source("KMS2-SRV-01")
        .says(
            "After kill -9 the plugin starts again and serves although the socket file is still \
             there, but never takes the socket from an owner that lives.",
        ),
    plugin("KMS2-AVAIL-06", Should, Practice, &[])
        .title("Graceful end")
        .source("KMS2-SRV-04")
        .says("On SIGTERM the calls in flight are finished and no new one is left hanging."),
    plugin("KMS2-AVAIL-07", Should, Practice, &[])
        .title("No storms")
        .source("OWN")
        .says(
            "Through outage and heal, the backend sees no more logins and requests than the bound \
             that was stated beforehand.",
        ),
    plugin("KMS2-AVAIL-08", Should, Practice, &[])
        .title("A bad object hurts nobody else")
        .source("OWN")
        .says("One object that cannot be decrypted alters neither Status nor any other call."),
    plugin("KMS2-AVAIL-09", Should, Practice, &[])
        .title("Old connections still serve")
        .source("KMS2-CONN-09")
        .says(
            "A connection goes on serving after an idle hour, after a freeze by SIGSTOP and under \
             grpc-go's pings.",
        ),
    plugin("KMS2-AVAIL-10", Should, Practice, &[])
        .title("Truthful Status")
        .source("KMS2-STATUS-03; KMS2-STATUS-13")
        .says(
            "Within the stated bound of a state in which Encrypt or Decrypt would fail, Status \
             stops being good, by a gRPC error or by a `healthz` other than `ok`; the second form \
             with a valid key_id is a warning, since the server then goes on writing.",
        ),
];

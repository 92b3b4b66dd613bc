//! What a run of each arm cannot show, whatever its result.

use crate::model::Arm;

/// The limits that every report of this arm states.
pub fn limits_of(arm: Arm) -> &'static [&'static str] {
    match arm {
        Arm::Sim => &[
            "sim arm: the subject is source compiled into the harness; nothing here is a \
             statement about a binary",
            "sim arm: API server, network and backend are models, as good as their comparison \
             with the real ones",
            "sim arm: time is virtual, so latencies say nothing about a machine",
        ],
        Arm::Process => &[
            "process arm: outcomes may differ when it is repeated, only the schedule is the same",
            "process arm: the plugin's clock and scheduler are not controlled",
            "process arm: other load on the machine shows in the latencies",
        ],
        Arm::Cluster => &[
            "cluster arm: nothing is repeatable",
            "cluster arm: the plugin's clock and scheduler are not controlled",
            "cluster arm: what else happened in the cluster is unknown",
        ],
    }
}

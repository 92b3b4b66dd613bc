//! What operators say of themselves.

use crate::evidence::{Form, Management};
use crate::finding::Finding;
use crate::sign::Sign;

use super::view::View;

pub(super) fn look(view: &View<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (component, kind, condition) in view.conditions() {
        if !kind.ends_with("Degraded") {
            continue;
        }
        let says = |sign| condition.signs.contains(&sign);
        let id = if kind == "StaticPodFallbackRevisionDegraded" {
            "OCP-FAULT-29"
        } else if says(Sign::KmsUnknown) {
            "OCP-TRAP-03"
        } else if says(Sign::ModeUnknown) {
            "OCP-TRAP-04"
        } else if says(Sign::KeySecretInvalid) {
            "OCP-TRAP-06"
        } else if says(Sign::ProviderUnknown) {
            if former_keys(view) {
                "OCP-TRAP-09"
            } else {
                "OCP-FAULT-03"
            }
        } else if says(Sign::ReferenceMissing) {
            "OCP-FAULT-02"
        } else if kind == "EncryptionKMSPreflightControllerDegraded" && !says(Sign::PreflightFailed)
        {
            "OCP-TRAP-12"
        } else if says(Sign::PreflightFailed) && kind.starts_with("EncryptionKMSPreflight") {
            "OCP-FAULT-03"
        } else {
            continue;
        };
        let reason = &condition.reason;
        let also = if view.is_confirmed(component, kind) {
            ", and its ClusterOperator says so"
        } else {
            ""
        };
        found.push(Finding::new(
            id,
            format!("{component}: {kind} {reason}: {}{also}", condition.message),
        ));
    }
    found.extend(unmanaged(view));
    found
}

/// A key of KMS in the form of the procedure's operators.
fn former_keys(view: &View<'_>) -> bool {
    let mut keys = view
        .components()
        .filter_map(|(_, it)| it.keys.get())
        .flatten();
    keys.any(|key| key.form == Some(Form::Annotation))
}

fn unmanaged(view: &View<'_>) -> Option<Finding> {
    view.components().find_map(|(name, it)| {
        let operator = it.operator.get()?;
        let encrypted = it.keys.get()?.iter().any(|key| !key.migrated.is_empty());
        (operator.management != Management::Managed && encrypted).then(|| {
            let state = match operator.management {
                Management::Removed => "Removed",
                _ => "Unmanaged",
            };
            let condition = operator.conditions.get("Encrypted");
            let says = if condition.is_some_and(|it| it.holds) {
                "True"
            } else {
                "False"
            };
            Finding::new(
                "OCP-TRAP-05",
                format!("{name} is {state}, Encrypted is {says}"),
            )
        })
    })
}

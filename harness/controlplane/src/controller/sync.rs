//! Resource sync: copies the target config to the operand's namespace, where the next revision takes it from.

use super::{Run, Stop};
use crate::apply::{Read, apply_secret};
use crate::cluster::target_config_name;
use crate::encryption_config::CONFIG_KEY;
use crate::object::{Condition, Event, MANAGED_NAMESPACE};

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Stop> {
    if !run.operator.is_managed() {
        return Ok(());
    }
    let result = if run.cluster.ever_enabled(&run.operator) {
        copy(run)
    } else {
        Ok(())
    };
    let condition = match &result {
        Err(Stop::Error(text)) => Condition::error(text.as_str()),
        _ => Condition::no(),
    };
    run.set_condition("ResourceSyncControllerDegraded", condition);
    Ok(())
}

fn copy(run: &mut Run<'_>) -> Result<(), Stop> {
    let namespace = run.operator.name.clone();
    let source = run
        .cluster
        .api
        .cached_secret(MANAGED_NAMESPACE, &target_config_name(&namespace))
        .cloned();
    let Some(mut copied) = source else {
        return match run.api().delete_secret(&namespace, CONFIG_KEY) {
            // While a finalizer holds it, it is deleted again and again.
            Ok(()) => {
                let text = format!(
                    "Deleted target secret {namespace}/{CONFIG_KEY} because source config does not exist"
                );
                run.events.push(Event::normal("TargetSecretDeleted", text));
                Ok(())
            }
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e.into()),
        };
    };
    copied.namespace = namespace;
    copied.name = CONFIG_KEY.to_owned();
    apply_secret(&mut run.cluster.api, &mut run.events, copied, Read::Cached)?;
    Ok(())
}

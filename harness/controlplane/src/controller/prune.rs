//! Prune controller: deletes key secrets that no config needs, all but the newest ten of them.

use super::{Run, Stop};
use crate::api::ApiError;
use crate::key::{KeyState, key_number};
use crate::key_secret::to_key;
use crate::object::{COMPONENT_LABEL, Event, FINALIZER, MANAGED_NAMESPACE, aggregate};

/// So many unused key secrets are kept.
pub(crate) const KEPT: usize = 10;

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Stop> {
    run.degraded("EncryptionPruneControllerDegraded", work)
}

fn work(run: &mut Run<'_>) -> Result<(), Stop> {
    let Some(seen) = run.look_or_wait()? else {
        return Ok(());
    };
    let used: Vec<&KeyState> = seen
        .desired
        .values()
        .flat_map(|keys| &keys.read_keys)
        .collect();
    let generation = run.cluster.generation;
    let mut secrets =
        run.cluster
            .api
            .list_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, &run.operator.name)?;
    secrets.sort_by_key(|secret| std::cmp::Reverse(key_number(&secret.name).unwrap_or(0)));
    let unused = secrets.into_iter().filter(|secret| {
        !to_key(secret, generation).is_ok_and(|key| used.iter().any(|other| other.same_as(&key)))
    });

    let mut errors: Vec<ApiError> = Vec::new();
    let mut deleted = 0;
    for mut secret in unused.skip(KEPT) {
        let name = secret.name.clone();
        if let Some(place) = secret
            .finalizers
            .iter()
            .position(|finalizer| finalizer == FINALIZER)
        {
            secret.finalizers.remove(place);
            if let Err(e) = run.api().update_secret(secret) {
                errors.push(e);
                continue;
            }
        }
        match run.api().delete_secret(MANAGED_NAMESPACE, &name) {
            Ok(()) => deleted += 1,
            Err(e) => errors.push(e),
        }
    }
    if deleted > 0 {
        run.events.push(Event::normal(
            "EncryptionKeysPruned",
            format!("Successfully pruned {deleted} secrets"),
        ));
    }
    let errors: Vec<String> = errors
        .iter()
        .filter(|e| !e.is_not_found())
        .map(ToString::to_string)
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Stop::Error(aggregate(&errors)))
    }
}

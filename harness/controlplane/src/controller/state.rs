//! State controller: writes the target config for the desired keys, and tells what changes by it.

use super::{Run, Stop};
use crate::apply::{Read, apply_secret};
use crate::cluster::target_config_name;
use crate::config_state::{EncryptionState, from_state, to_state};
use crate::encryption_config::CONFIG_KEY;
use crate::generation::Quirks;
use crate::object::{DESCRIPTION, DO_NOT_EDIT, Event, FINALIZER, MANAGED_NAMESPACE, Secret};

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Stop> {
    run.degraded("EncryptionStateControllerDegraded", work)
}

fn work(run: &mut Run<'_>) -> Result<(), Stop> {
    let Some(seen) = run.look_or_wait()? else {
        return Ok(());
    };
    if seen.running.is_none() && seen.secrets.is_empty() {
        return Ok(());
    }
    let quirks = run.cluster.quirks;
    let config = from_state(&seen.desired, &quirks)?;
    let mut secret = Secret::new(MANAGED_NAMESPACE, &target_config_name(&run.operator.name));
    secret
        .annotations
        .insert(DESCRIPTION.to_owned(), DO_NOT_EDIT.to_owned());
    secret.finalizers.push(FINALIZER.to_owned());
    secret.data.insert(CONFIG_KEY.to_owned(), config.to_text());
    secret
        .data
        .extend(crate::plugin_data::of_config(&config, &seen.desired));
    let changed = apply_secret(&mut run.cluster.api, &mut run.events, secret, Read::Live)?;
    if changed {
        let current = seen
            .running
            .map(|config| to_state(&config, &seen.backed, run.cluster.generation, &quirks))
            .unwrap_or_default();
        run.events.extend(changes(&current, &seen.desired, &quirks));
    }
    Ok(())
}

/// The events for a step from one state to the next.
pub fn changes(
    current: &EncryptionState,
    desired: &EncryptionState,
    quirks: &Quirks,
) -> Vec<Event> {
    let mut events = Vec::new();
    for gr in current.keys().filter(|gr| !desired.contains_key(gr)) {
        let text = format!("Resource \"{gr}\" was removed from encryption config");
        events.push(Event::normal("EncryptionResourceRemoved", text));
    }
    for (gr, next) in desired {
        let Some(now) = current.get(gr) else {
            let with = match &next.write_key {
                Some(key) => format!("with write key \"{}\"", key.name),
                None => "without write key".to_owned(),
            };
            let text = format!("Resource \"{gr}\" was added to encryption config {with}");
            events.push(Event::normal("EncryptionResourceAdded", text));
            continue;
        };
        match (&now.write_key, &next.write_key) {
            (None, Some(key)) => {
                let text = format!(
                    "Promoting key \"{}\" for resource \"{gr}\" to write key",
                    key.name
                );
                events.push(Event::normal("EncryptionKeyPromoted", text));
            }
            (Some(key), None) => {
                let text = format!(
                    "Removing key \"{}\" for resource \"{gr}\" to write key",
                    key.name
                );
                events.push(Event::normal("EncryptionKeyRemoved", text));
            }
            (Some(old), Some(new)) => {
                let named = if quirks.events_name_old_key {
                    &old.name
                } else {
                    &new.name
                };
                let because = |reason: &str| {
                    format!("Triggered key \"{named}\" for resource \"{gr}\" because {reason}")
                };
                if old.external_reason != new.external_reason {
                    let text = because(&new.external_reason);
                    events.push(Event::normal("EncryptionWriteKeyTriggeredExternal", text));
                }
                if old.internal_reason != new.internal_reason {
                    let text = because(&new.internal_reason);
                    events.push(Event::normal("EncryptionWriteKeyTriggeredInternal", text));
                }
                if !old.same_as(new) {
                    let text = format!("Write key \"{named}\" for resource \"{gr}\" changed");
                    events.push(Event::normal("EncryptionWriteKeyChanged", text));
                }
            }
            (None, None) => {}
        }
        let (had, has) = (now.read_keys.len(), next.read_keys.len());
        if had != has {
            let text =
                format!("Number of read keys for resource \"{gr}\" changed from {had} to {has}");
            events.push(Event::normal("EncryptionReadKeysChanged", text));
        }
    }
    events
}

//! The heart of the state machine: which keys each resource should have next, given what runs and what keys there are.

use crate::config_state::{EncryptionState, ResourceKeys, to_state};
use crate::encryption_config::EncryptionConfiguration;
use crate::generation::{Generation, Quirks};
use crate::key::{KeyState, keys_with_data_and_next, sort_recent_first};
use crate::resource::GroupResource;

/// The next state. At most one of these is done at a time, each a roll-out of its own: all read keys everywhere, then
/// the newest backed key writes everywhere, then keys that nothing is stored under any more go.
///
/// `running` is the configuration that all API servers run, `backed` the keys with a secret, newest first.
pub fn desired_state(
    running: Option<&EncryptionConfiguration>,
    backed: &[KeyState],
    resources: &[GroupResource],
    generation: Generation,
    quirks: &Quirks,
) -> EncryptionState {
    let mut state = running
        .map(|config| to_state(config, backed, generation, quirks))
        .unwrap_or_default();
    let encrypted: Vec<GroupResource> = match running {
        Some(_) => resources
            .iter()
            .filter(|gr| state.contains_key(gr))
            .cloned()
            .collect(),
        None => resources.to_vec(),
    };
    for gr in resources {
        state.entry(gr.clone()).or_default();
    }
    state.retain(|gr, _| resources.contains(gr));
    let Some(write_key) = backed.first() else {
        return state;
    };

    let needed = keys_with_data_and_next(&encrypted, backed);
    // every resource takes them in, also after one turned out to miss some
    let mut readable = true;
    for keys in state.values_mut() {
        readable &= take_in(keys, &needed);
    }
    if !readable {
        return state;
    }
    let writes = |keys: &ResourceKeys| {
        keys.write_key
            .as_ref()
            .is_some_and(|key| key.same_as(write_key))
    };
    if !state.values().all(writes) {
        for keys in state.values_mut() {
            keys.write_key = Some(write_key.clone());
        }
        return state;
    }
    if write_key.migrated_for(&encrypted) {
        for keys in state.values_mut() {
            if let Some(last) = needed
                .last()
                .and_then(|last| keys.read_keys.iter().position(|key| key.same_as(last)))
            {
                keys.read_keys.truncate(last + 1);
            }
        }
    }
    state
}

/// Adds the needed read keys; tells whether all were there already and the newest one has its secret.
fn take_in(keys: &mut ResourceKeys, needed: &[KeyState]) -> bool {
    let mut complete = true;
    for key in needed {
        if !keys.read_keys.iter().any(|have| have.same_as(key)) {
            keys.read_keys.push(key.clone());
            complete = false;
        }
    }
    sort_recent_first(&mut keys.read_keys);
    complete && keys.read_keys.first().is_some_and(|newest| newest.backed)
}

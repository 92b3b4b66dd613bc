//! Condition controller: `Encrypted`, the condition that everybody looks at.

use super::{Run, Stop};
use crate::config_state::{EncryptionState, to_state};
use crate::generation::Quirks;
use crate::key::{KeyState, Mode};
use crate::object::{Condition, Status};
use crate::resource::GroupResource;

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Stop> {
    if !run.ready()? {
        let was_enabled = run.cluster.ever_enabled(&run.operator);
        if run.cluster.quirks.unmanaged_reads_unencrypted || !was_enabled {
            run.set_condition("Encrypted", Condition::no());
        }
        return Ok(());
    }
    // Not converged: the condition stays as it is, and nobody asks to be called again.
    let Some(seen) = run.look()? else {
        return Ok(());
    };
    let quirks = run.cluster.quirks;
    let current = seen
        .running
        .map(|config| to_state(&config, &seen.backed, run.cluster.generation, &quirks))
        .unwrap_or_default();
    let any_secret = !seen.secrets.is_empty();
    let newest = seen.backed.first();
    let condition = encrypted(
        &current,
        &seen.desired,
        any_secret,
        newest,
        &run.operator.resources,
        &quirks,
    );
    run.set_condition("Encrypted", condition);
    Ok(())
}

/// The condition, from what runs everywhere, what should run, whether there is any key secret, and the newest key that
/// has one.
pub fn encrypted(
    current: &EncryptionState,
    desired: &EncryptionState,
    any_secret: bool,
    newest: Option<&KeyState>,
    resources: &[GroupResource],
    quirks: &Quirks,
) -> Condition {
    if !any_secret {
        return Condition::new(
            Status::False,
            "EncryptionDisabled",
            "Encryption is not enabled",
        );
    }
    let is_identity = |key: &&KeyState| key.mode == Mode::Identity;
    if let Some(key) = desired
        .values()
        .filter_map(|keys| keys.write_key.as_ref())
        .find(is_identity)
    {
        return decrypted(key, resources);
    }
    for gr in resources {
        let in_progress =
            |text: String| Condition::new(Status::False, "EncryptionInProgress", text);
        let Some(keys) = current.get(gr) else {
            return in_progress(format!("Resource {gr} is not encrypted"));
        };
        if let Some(key) = keys.write_key.as_ref().filter(is_identity) {
            return decrypted(key, resources);
        }
        if keys.write_key.is_none() && !quirks.completed_while_plain && !keys.read_keys.is_empty() {
            return in_progress(format!("Resource {gr} is not encrypted"));
        }
        if !quirks.completed_during_change && newest.is_some_and(|key| !key.migrated.contains(gr)) {
            return in_progress(format!("Resource {gr} is being encrypted"));
        }
        // An older key that is fully migrated will do: so this stays green while a newer one takes over.
        match keys
            .read_keys
            .iter()
            .find(|key| key.mode == Mode::Identity || key.migrated.contains(gr))
        {
            Some(key) if key.mode == Mode::Identity => {
                return in_progress("Encryption is ongoing".to_owned());
            }
            Some(_) => {}
            None => return in_progress(format!("Resource {gr} is being encrypted")),
        }
    }
    let names: Vec<String> = resources.iter().map(ToString::to_string).collect();
    Condition::new(
        Status::True,
        "EncryptionCompleted",
        format!("All resources encrypted: {}", names.join(", ")),
    )
}

fn decrypted(key: &KeyState, resources: &[GroupResource]) -> Condition {
    if key.migrated_for(resources) {
        let text = "Encryption mode set to identity and everything is decrypted";
        Condition::new(Status::False, "DecryptionCompleted", text)
    } else {
        let text = "Encryption mode set to identity and decryption is not finished";
        Condition::new(Status::False, "DecryptionInProgress", text)
    }
}

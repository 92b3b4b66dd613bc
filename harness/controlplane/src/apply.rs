//! Writing a secret only if it differs, with the events that tell of it.

use crate::api::{Api, ApiError};
use crate::object::{Event, Secret};

/// Where the secret is read before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// From the API: that can be refused.
    Live,
    /// From the cache.
    Cached,
}

/// Creates the secret, or takes over its data and adds its labels and annotations. Finalizers stay as they are on one
/// that exists. Tells whether anything changed.
pub(crate) fn apply_secret(
    api: &mut Api,
    events: &mut Vec<Event>,
    required: Secret,
    read: Read,
) -> Result<bool, ApiError> {
    let existing = match read {
        Read::Cached => api
            .cached_secret(&required.namespace, &required.name)
            .cloned(),
        Read::Live => match api.secret(&required.namespace, &required.name) {
            Ok(secret) => Some(secret),
            Err(e) if e.is_not_found() => None,
            Err(e) => return Err(e),
        },
    };
    let label = format!("Secret/{} -n {}", required.name, required.namespace);
    let Some(existing) = existing else {
        let result = api.create_secret(required);
        events.push(match &result {
            Ok(()) => Event::normal(
                "SecretCreated",
                format!("Created {label} because it was missing"),
            ),
            Err(e) => Event::warning(
                "SecretCreateFailed",
                format!("Failed to create {label}: {e}"),
            ),
        });
        return result.map(|()| true);
    };
    let mut changed = existing.clone();
    changed.labels.extend(required.labels);
    changed.annotations.extend(required.annotations);
    changed.data = required.data;
    if changed == existing {
        return Ok(false);
    }
    let result = api.update_secret(changed);
    events.push(match &result {
        Ok(()) => Event::normal(
            "SecretUpdated",
            format!("Updated {label} because it changed"),
        ),
        Err(e) => Event::warning(
            "SecretUpdateFailed",
            format!("Failed to update {label}: {e}"),
        ),
    });
    result.map(|()| true)
}

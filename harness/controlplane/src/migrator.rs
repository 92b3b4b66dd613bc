//! Migration objects: how the migration controller asks the one migrator of the cluster to rewrite a resource.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{Api, ApiError};
use crate::object::{Migration, MigrationState};
use crate::resource::GroupResource;

/// How far a migration has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Unfinished,
    Succeeded,
    Failed { text: String, at: Timestamp },
}

/// Name of a resource's migration object.
pub fn migration_name(gr: &GroupResource) -> String {
    format!(
        "encryption-migration-{}-{}",
        gr.spoken_group(),
        gr.resource()
    )
}

/// Sees to it that there is a migration to that key. `cache` is what the controller last saw of the objects: it does
/// not show what the same run has deleted.
pub(crate) fn ensure(
    api: &mut Api,
    cache: &BTreeMap<String, Migration>,
    gr: &GroupResource,
    write_key: &str,
) -> Result<Progress, String> {
    let name = migration_name(gr);
    match cache.get(&name) {
        Some(there) if there.write_key == write_key => {
            return Ok(match &there.state {
                MigrationState::Succeeded(_) => Progress::Succeeded,
                MigrationState::Failed(at, text) => Progress::Failed {
                    text: format!("migration of {gr} for key {write_key:?} failed: {text}"),
                    at: *at,
                },
                MigrationState::New | MigrationState::Running => Progress::Unfinished,
            });
        }
        Some(_) => prune(api, gr).map_err(|e| e.to_string())?,
        None => {}
    }
    let version = api
        .served
        .get(gr)
        .cloned()
        .ok_or_else(|| format!("failed to find version for {gr}, discoveryErr=<nil>"))?;
    api.create_migration(Migration {
        name,
        resource: gr.clone(),
        version,
        write_key: write_key.to_owned(),
        state: MigrationState::New,
    })
    .map_err(|e| e.to_string())?;
    Ok(Progress::Unfinished)
}

/// Takes a resource's migration away, finished or not.
///
/// # Errors
///
/// Refused; whether it was there does not matter.
pub(crate) fn prune(api: &mut Api, gr: &GroupResource) -> Result<(), ApiError> {
    match api.delete_migration(&migration_name(gr)) {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

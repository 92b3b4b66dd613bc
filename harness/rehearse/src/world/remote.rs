//! What the newest operators do after the remote key was rotated: once all nodes have reported the same new key_id for
//! five minutes, everything is rewritten, without a new key and without a roll-out.
//!
//! What they remember stands on the write key's secret: `target-remote-key-id` (what data should lie under),
//! `migrated-remote-key-id` (what it does lie under), `remote-key-converged-id` and `-at` (a candidate, and since when).

use std::time::Duration;

use jiff::Timestamp;
use kms_controlplane::api::ApiError;
use kms_controlplane::key::KeyState;
use kms_controlplane::key_secret::key_secret_name;
use kms_controlplane::migration_name;
use kms_controlplane::object::{MANAGED_NAMESPACE, Migration, MigrationState, Secret};
use kms_controlplane::plane::COMPONENTS;
use kms_controlplane::resource::GroupResource;

use super::World;
use crate::options::Mode;

const TARGET: &str = "target-remote-key-id";
const MIGRATED: &str = "migrated-remote-key-id";
const CANDIDATE: &str = "remote-key-converged-id";
const SINCE: &str = "remote-key-converged-at";

/// A new key_id is believed after so long.
pub const STABLE: Duration = Duration::from_secs(300);

impl World {
    /// Lets the operators look at the reports.
    pub(super) fn follow_remote_keys(&mut self) {
        if self.plan.mode != Mode::Newest {
            return;
        }
        for (component, (namespace, ..)) in COMPONENTS.iter().enumerate() {
            let Some(key) = self.keys(component).pop() else {
                continue;
            };
            let name = key_secret_name(namespace, &key.name);
            let api = &self.plane.cluster.api;
            let Some(before) = api.cached_secret(MANAGED_NAMESPACE, &name).cloned() else {
                continue;
            };
            let mut secret = before.clone();
            // what is refused is tried at the next look
            let done = self.follow_remote_key(component, &key, &mut secret);
            if done.is_ok() && secret != before {
                let _ = self.plane.cluster.api.update_secret(secret);
            }
        }
    }

    fn follow_remote_key(
        &mut self,
        component: usize,
        key: &KeyState,
        secret: &mut Secret,
    ) -> Result<(), ApiError> {
        let Some(part) = &key.kms else { return Ok(()) };
        let endpoint = &part.provider.endpoint;
        let agreed = self.reports.agreed(endpoint, self.plan.nodes);
        let agreed = agreed.map(str::to_owned);
        let resources = self.plane.cluster.components[component].resources.clone();
        let note = |secret: &Secret, name| secret.note(name).unwrap_or_default().to_owned();
        let target = note(secret, TARGET);
        if target.is_empty() {
            if let Some(id) = agreed {
                secret.set_note(TARGET, &id);
            }
            return Ok(());
        }
        let first_is_through = key.migrated_for(resources.iter());
        if note(secret, MIGRATED).is_empty() {
            if first_is_through {
                secret.set_note(MIGRATED, &target);
            }
            return Ok(());
        }
        if !self.plane.operands[component].is_rolled_out() {
            return Ok(());
        }
        if note(secret, MIGRATED) != target {
            let job = format!("{}-{target}", secret.name);
            if self.rewrite_for(&job, &resources)? {
                secret.set_note(MIGRATED, &target);
            }
            return Ok(());
        }
        let now = self.plane.now();
        match agreed {
            Some(id) if id == target => forget(secret),
            Some(id) if note(secret, CANDIDATE) != id => {
                secret.set_note(CANDIDATE, &id);
                secret.set_note(SINCE, &now.to_string());
            }
            Some(id) => {
                let since = note(secret, SINCE).parse::<Timestamp>();
                if since.is_ok_and(|since| since + STABLE <= now) {
                    secret.set_note(TARGET, &id);
                    forget(secret);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Has each resource rewritten for that job; whether all are.
    fn rewrite_for(&mut self, job: &str, resources: &[GroupResource]) -> Result<bool, ApiError> {
        let mut through = true;
        for gr in resources {
            let name = migration_name(gr);
            let api = &mut self.plane.cluster.api;
            match api.migrations().get(&name) {
                Some(there) if there.write_key == job => {
                    through &= matches!(there.state, MigrationState::Succeeded(_));
                    continue;
                }
                Some(_) => api.delete_migration(&name)?,
                None => {}
            }
            through = false;
            let version = api.served.get(gr).cloned().unwrap_or_default();
            api.create_migration(Migration {
                name,
                resource: gr.clone(),
                version,
                write_key: job.to_owned(),
                state: MigrationState::New,
            })?;
        }
        Ok(through)
    }

    /// Everything lies under the key_id that all nodes report, as far as the operators know. Nothing to wait for where
    /// they do not look at it.
    pub fn remote_key_is_settled(&self) -> bool {
        self.plan.mode != Mode::Newest
            || (0..COMPONENTS.len()).all(|component| self.remote_id(component).is_some())
    }

    /// The key_id that a component's data lies under, once all nodes report it, too; empty without KMS.
    pub fn remote_id(&self, component: usize) -> Option<String> {
        let keys = self.keys(component);
        let key = keys.last()?;
        let Some(part) = &key.kms else {
            return Some(String::new());
        };
        let name = key_secret_name(COMPONENTS[component].0, &key.name);
        let secret = self
            .plane
            .cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &name)?;
        let migrated = secret.note(MIGRATED)?;
        let agreed = self
            .reports
            .agreed(&part.provider.endpoint, self.plan.nodes)?;
        (secret.note(TARGET) == Some(migrated) && agreed == migrated).then(|| migrated.to_owned())
    }
}

fn forget(secret: &mut Secret) {
    for name in [CANDIDATE, SINCE] {
        let prefix = kms_controlplane::object::PREFIX;
        secret.annotations.remove(&format!("{prefix}{name}"));
    }
}

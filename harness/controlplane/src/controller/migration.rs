//! Migration controller: once all nodes run the desired config, has every resource rewritten with the write key, one
//! object per resource, and notes on the key secret which ones are done.

use std::time::Duration;

use super::{NOT_CONVERGED_RETRY, Run, Stop, degraded_by};
use crate::apply::{Read, apply_secret};
use crate::config_state::{from_state, to_state};
use crate::key::older_than;
use crate::key_secret::{key_secret_name, to_json};
use crate::migrator::{self, Progress};
use crate::object::{Condition, MANAGED_NAMESPACE, Secret, Status, aggregate, go_list};
use crate::resource::{GroupResource, Migrated, MigratedList};

/// A failed migration is tried again after this.
pub(crate) const RETRY: Duration = Duration::from_secs(300);
const DEGRADED: &str = "EncryptionMigrationControllerDegraded";
const PROGRESSING: &str = "EncryptionMigrationControllerProgressing";

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Stop> {
    if !run.ready()? {
        run.set_condition(DEGRADED, Condition::no());
        run.set_condition(PROGRESSING, Condition::no());
        return Ok(());
    }
    let mut migrating = Some(Vec::new());
    let result = work(run, &mut migrating);
    run.set_condition(DEGRADED, degraded_by(&result));
    match (&result, migrating) {
        (Err(Stop::Panic(_)), _) => run.set_condition(PROGRESSING, Condition::default()),
        (_, Some(names)) if !names.is_empty() => {
            let list = go_list(names.iter().map(String::as_str));
            let text = format!("migrating resources to a new write key: {list}");
            run.set_condition(PROGRESSING, Condition::new(Status::True, "Migrating", text));
        }
        (_, None) if !run.cluster.quirks.progressing_drops_while_rolling => {}
        _ => run.set_condition(PROGRESSING, Condition::no()),
    }
    result
}

/// `migrating` becomes nothing where this cannot be told.
fn work(run: &mut Run<'_>, migrating: &mut Option<Vec<String>>) -> Result<(), Stop> {
    let seen = run.look()?;
    let not_converged = seen.is_none();
    let Some((seen, running)) =
        seen.and_then(|mut seen| seen.running.take().map(|config| (seen, config)))
    else {
        run.requeue = Some(NOT_CONVERGED_RETRY);
        if not_converged {
            *migrating = None;
        }
        return Ok(());
    };
    let quirks = run.cluster.quirks;
    let current = to_state(&running, &seen.backed, run.cluster.generation, &quirks);
    let desired = from_state(&seen.desired, &quirks)?;
    if running.resources != desired.resources {
        for gr in current.keys() {
            // One that cannot be stopped now is stopped at the next look.
            let _ = migrator::prune(run.api(), gr);
        }
        run.requeue = Some(NOT_CONVERGED_RETRY);
        return Ok(());
    }

    let cache = run.cluster.api.migrations().clone();
    let mut errors = Vec::new();
    let mut unfinished = Vec::new();
    for (gr, keys) in &current {
        let Some(key) = keys
            .write_key
            .as_ref()
            .filter(|key| !key.migrated.contains(gr))
        else {
            continue;
        };
        let mut progress = match migrator::ensure(run.api(), &cache, gr, &key.name) {
            Ok(progress) => progress,
            Err(text) => {
                errors.push(text);
                continue;
            }
        };
        if let Progress::Failed { at, .. } = &progress
            && older_than(*at, RETRY, run.now)
        {
            if let Err(e) = migrator::prune(run.api(), gr) {
                errors.push(e.to_string());
                continue;
            }
            if !quirks.retry_reports_old_failure {
                progress = migrator::ensure(run.api(), &Default::default(), gr, &key.name)?;
            }
        }
        match progress {
            Progress::Unfinished => {
                unfinished.push(format!("{}/{}", gr.spoken_group(), gr.resource()))
            }
            Progress::Failed { text, .. } => errors.push(text),
            Progress::Succeeded => {
                if let Err(text) = note_migrated(run, gr, &key.name) {
                    errors.push(text);
                }
            }
        }
    }
    *migrating = Some(unfinished);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Stop::Error(aggregate(&errors)))
    }
}

fn note_migrated(run: &mut Run<'_>, gr: &GroupResource, key: &str) -> Result<(), String> {
    let name = key_secret_name(&run.operator.name, key);
    let mut secret = run
        .api()
        .secret(MANAGED_NAMESPACE, &name)
        .map_err(|e| format!("failed to get key secret {MANAGED_NAMESPACE}/{name}: {e}"))?;
    let now = run.now;
    if !set_migrated(&mut secret, gr, now) {
        return Ok(());
    }
    apply_secret(&mut run.cluster.api, &mut run.events, secret, Read::Live)
        .map(|_| ())
        .map_err(|e| e.to_string())
}

/// Adds the resource to the annotation; tells whether that changes anything.
fn set_migrated(secret: &mut Secret, gr: &GroupResource, now: jiff::Timestamp) -> bool {
    let text = secret.note("migrated-resources").unwrap_or_default();
    let mut list = MigratedList::parse(text).unwrap_or_default();
    let entry = Migrated::from(gr);
    let already = list.resources.contains(&entry);
    if already && secret.note("migrated-timestamp").is_some() {
        return false;
    }
    let seconds =
        jiff::Timestamp::from_second(now.as_second()).expect("a second of a valid time is valid");
    secret.set_note("migrated-timestamp", &seconds.to_string());
    if !already {
        list.resources.push(entry);
        secret.set_note("migrated-resources", &to_json(&list));
    }
    true
}

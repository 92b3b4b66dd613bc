//! The storage version migrator: one worker for the whole cluster, one migration after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::Api;
use crate::object::MigrationState;
use crate::resource::GroupResource;

/// The migrator.
#[derive(Clone, Debug)]
pub struct StorageMigrator {
    /// How many objects there are of a resource.
    pub objects: BTreeMap<GroupResource, u64>,
    /// Objects rewritten in a second.
    pub rate: u64,
    /// Resources of which some object cannot be rewritten: read or written with an error that is tried again for ever.
    pub stuck: BTreeMap<GroupResource, String>,
    /// Somebody else rewrites real objects and says with [`StorageMigrator::finish`] when a migration is through; `objects`
    /// and `rate` do not count then.
    pub by_others: bool,
    job: Option<Job>,
}

/// What the worker is at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    name: String,
    write_key: String,
    resource: GroupResource,
    left: Duration,
    seen: Timestamp,
}

impl StorageMigrator {
    /// A migrator that rewrites so many objects in a second; 23 is what the operators' tests see.
    pub fn new(objects: BTreeMap<GroupResource, u64>, rate: u64) -> Self {
        Self {
            objects,
            rate: rate.max(1),
            stuck: BTreeMap::new(),
            by_others: false,
            job: None,
        }
    }

    /// The migration at hand: what is rewritten, and the key that it is for.
    pub fn at_hand(&self) -> Option<(&GroupResource, &str)> {
        let job = self.job.as_ref()?;
        Some((&job.resource, job.write_key.as_str()))
    }

    /// Whoever rewrites the objects of the migration at hand is through with it.
    pub fn finish(&mut self) {
        if let Some(job) = &mut self.job {
            job.left = Duration::ZERO;
        }
    }

    /// Does what is due; tells whether any migration moved.
    pub fn step(&mut self, api: &mut Api, now: Timestamp) -> bool {
        let mut moved = false;
        loop {
            self.work(now);
            let Some(job) = &self.job else {
                if !self.take(api, now) {
                    return moved;
                }
                moved = true;
                continue;
            };
            let there = api
                .migrations()
                .get(&job.name)
                .is_some_and(|m| m.write_key == job.write_key);
            if there && !job.left.is_zero() {
                return moved;
            }
            if there && let Some(migration) = api.migration_mut(&job.name) {
                migration.state = MigrationState::Succeeded(now);
                moved = true;
            }
            self.job = None;
        }
    }

    /// When the migration at hand will be done, if it gets anywhere.
    pub fn next(&self) -> Option<Timestamp> {
        self.job
            .as_ref()
            .filter(|job| !self.by_others && !self.stuck.contains_key(&job.resource))
            .map(|job| job.seen + job.left)
    }

    /// The resource at hand and what stops it.
    pub fn trouble(&self) -> Option<(&GroupResource, &str)> {
        let job = self.job.as_ref()?;
        self.stuck
            .get(&job.resource)
            .map(|text| (&job.resource, text.as_str()))
    }

    /// Counts what was done since the last look.
    fn work(&mut self, now: Timestamp) {
        if let Some(job) = &mut self.job {
            let passed = Duration::try_from(now.duration_since(job.seen)).unwrap_or_default();
            if !self.by_others && !self.stuck.contains_key(&job.resource) {
                job.left = job.left.saturating_sub(passed);
            }
            job.seen = now;
        }
    }

    /// Takes up the next migration: one that was begun before, else the first.
    fn take(&mut self, api: &mut Api, now: Timestamp) -> bool {
        let open = |state: &MigrationState| {
            api.migrations()
                .values()
                .find(|m| m.state == *state)
                .cloned()
        };
        let Some(next) = open(&MigrationState::Running).or_else(|| open(&MigrationState::New))
        else {
            return false;
        };
        let objects = self.objects.get(&next.resource).copied().unwrap_or(0);
        self.job = Some(Job {
            name: next.name.clone(),
            write_key: next.write_key,
            resource: next.resource,
            left: if self.by_others {
                Duration::MAX
            } else {
                Duration::from_millis(objects.saturating_mul(1000) / self.rate)
            },
            seen: now,
        });
        if let Some(migration) = api.migration_mut(&next.name) {
            migration.state = MigrationState::Running;
        }
        true
    }
}

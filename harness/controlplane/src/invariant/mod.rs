//! What must hold in every cluster at every moment, whatever the operators do: pure judges over two moments in a row.
//!
//! Real operators break some of them when somebody takes their objects away by force; [`crate::generation::Quirks`]
//! names the ways.

mod rules;

use std::collections::BTreeMap;
use std::fmt;

use crate::cluster::Cluster;
use crate::encryption_config::{EncryptionConfiguration, Provider};
use crate::generation::Generation;
use crate::resource::GroupResource;
use crate::view::{View, providers, same_data};

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// No pod writes with a key before every pod can read it.
    ReadBeforeWrite,
    /// A key that has its secret stays in the target config until all is migrated to a newer one, and one older key
    /// stays beyond that.
    KeptUntilMigrated,
    /// A migration begins only while every pod runs the target config, and none is left when they differ.
    MigratesWhenStable,
    /// All resources have the same keys, and one of them at most writes.
    SameKeys,
    /// Key numbers only grow.
    NumbersGrow,
    /// A new key waits until all is migrated to the one before.
    OneAtATime,
    /// Two keys never share a socket (not before v2, where there is only one).
    OwnSocket,
    /// Nothing is written in plain text once all is encrypted and nobody asked for plain text.
    NoPlainText,
    /// Whatever is stored can be read on every ready pod.
    Readable,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Where.
    pub component: String,
    /// How.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} in {}: {}",
            self.invariant, self.component, self.text
        )
    }
}

/// Looks at a cluster again and again, best after its controllers have settled.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    before: BTreeMap<String, View>,
    highest: BTreeMap<String, u64>,
    stored: BTreeMap<(String, GroupResource), Vec<Provider>>,
    /// What a pod was started with: it keeps that, whatever becomes of the secret.
    started: BTreeMap<(String, String, String), EncryptionConfiguration>,
}

/// Collects what is wrong with one component.
struct Report<'a> {
    view: &'a View,
    violations: Vec<Violation>,
}

impl Report<'_> {
    fn broken(&mut self, invariant: Invariant, text: String) {
        let component = self.view.name.clone();
        let violation = Violation {
            invariant,
            component,
            text,
        };
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }
}

impl Judge {
    /// Judges this moment and the step to it; gives the broken rules.
    pub fn look(&mut self, cluster: &Cluster) -> Vec<Violation> {
        let mut all = Vec::new();
        let wants_plain = matches!(cluster.spec.mode.as_str(), "" | "identity");
        for mut view in View::of(cluster) {
            self.remember(&mut view);
            let before = self.before.remove(&view.name);
            self.store(before.as_ref(), &view);
            let mut report = Report {
                view: &view,
                violations: Vec::new(),
            };
            rules::read_before_write(&mut report);
            rules::same_keys(&mut report);
            if !wants_plain {
                rules::no_plain_text(&mut report);
            }
            self.readable(&mut report);
            if cluster.generation == Generation::V2 {
                rules::own_socket(&mut report);
            }
            if let Some(before) = &before {
                rules::kept_until_migrated(before, &mut report);
                rules::one_at_a_time(before, &mut report);
                rules::migrates_when_stable(before, &mut report);
            }
            self.numbers_grow(before.as_ref(), &mut report);
            all.append(&mut report.violations);
            self.before.insert(view.name.clone(), view);
        }
        all
    }

    fn remember(&mut self, view: &mut View) {
        for pod in &mut view.pods {
            let id = (view.name.clone(), pod.node.clone(), pod.revision.clone());
            match &pod.config {
                Some(config) => drop(self.started.insert(id, config.clone())),
                None => pod.config = self.started.get(&id).cloned(),
            }
        }
    }

    /// What may be stored under which provider: every running pod writes, a finished migration leaves only what is
    /// written now. That it is finished shows on its object, or on the key secret if the object is gone already.
    fn store(&mut self, before: Option<&View>, view: &View) {
        for gr in &view.resources {
            let stored = self
                .stored
                .entry((view.name.clone(), gr.clone()))
                .or_default();
            let done = |view: &View, key: &str| {
                view.migrations
                    .get(gr)
                    .is_some_and(|m| m.succeeded && m.write_key == key)
                    || key.parse().is_ok_and(|n: u64| {
                        view.keys.get(&n).is_some_and(|k| k.migrated.contains(gr))
                    })
            };
            let migration = |view: &View| view.migrations.get(gr).map(|m| m.write_key.clone());
            let keys = before
                .and_then(migration)
                .into_iter()
                .chain(migration(view));
            if keys
                .into_iter()
                .any(|key| done(view, &key) && !before.is_some_and(|before| done(before, &key)))
            {
                stored.clear();
            }
            for pod in &view.pods {
                let writes = &providers(pod.config.as_ref(), gr)[0];
                if !stored.iter().any(|other| same_data(other, writes)) {
                    stored.push(writes.clone());
                }
            }
        }
    }

    fn readable(&self, report: &mut Report<'_>) {
        let view = report.view;
        for gr in &view.resources {
            for stored in self
                .stored
                .get(&(view.name.clone(), gr.clone()))
                .into_iter()
                .flatten()
            {
                for pod in view.pods.iter().filter(|pod| pod.ready) {
                    if !providers(pod.config.as_ref(), gr)
                        .iter()
                        .any(|reads| same_data(reads, stored))
                    {
                        let text = format!(
                            "{gr} stored under {} cannot be read on {}",
                            stored.label(),
                            pod.node
                        );
                        report.broken(Invariant::Readable, text);
                    }
                }
            }
        }
    }

    fn numbers_grow(&mut self, before: Option<&View>, report: &mut Report<'_>) {
        let view = report.view;
        let highest = self.highest.entry(view.name.clone()).or_default();
        for (number, uid) in &view.numbers {
            let new = before.is_some_and(|before| before.numbers.get(number) != Some(uid));
            if new && *number <= *highest {
                report.broken(
                    Invariant::NumbersGrow,
                    format!("key {number} after key {highest}"),
                );
            }
        }
        *highest = (*highest).max(view.numbers.keys().last().copied().unwrap_or(0));
    }
}

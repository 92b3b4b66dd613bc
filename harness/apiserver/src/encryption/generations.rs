//! Configurations that come into force and go: each with its providers, closed when nothing holds them.

use std::sync::Arc;

use super::Encryption;
use crate::kms::{Cx, Provider};
use crate::seam::{Action, Event, Now, ProviderId};
use crate::table::{Generation, Step};

impl Encryption {
    /// Goes on with the configuration that is being built.
    pub(crate) fn advance(&mut self, now: Now) {
        while let Some(mut build) = self.build.take() {
            let waiting = build.providers().last().copied();
            let primed = |id| self.providers.get(&id).is_some_and(Provider::is_primed);
            if waiting.is_some_and(|id| !primed(id)) {
                self.build = Some(build);
                return;
            }
            match build.step(&self.options) {
                Step::Start(entry) => {
                    self.made += 1;
                    let id = ProviderId(self.made);
                    build.made(&entry.name, id);
                    self.build = Some(build);
                    let mut cx = Cx {
                        now,
                        options: &self.options,
                        rng: &mut *self.rng,
                        metrics: &mut self.metrics,
                        out: &mut self.out,
                        calls: &mut self.calls,
                    };
                    let provider = Provider::start(id, entry, &mut cx);
                    self.providers.insert(id, provider);
                }
                Step::Done(generation) if self.current.is_some() => {
                    self.reload_built(now, generation);
                }
                Step::Done(generation) => {
                    if self.options.reload {
                        self.metrics.config(&generation.hash);
                        self.reload.begin(now);
                    }
                    self.current = Some(generation);
                    self.out.push(Action::Event(Event::Started));
                }
                Step::Failed(error) => {
                    let made = build.providers();
                    if self.current.is_some() {
                        self.reload_failed(now, error);
                    } else {
                        self.out.push(Action::Event(Event::StartFailed { error }));
                    }
                    for id in made {
                        self.with(id, now, |provider, cx| provider.close(cx));
                        self.providers.remove(&id);
                    }
                }
            }
        }
    }

    /// Puts a generation in force; the old one's connections close after its grace period.
    pub(crate) fn swap(&mut self, now: Now, generation: Generation) {
        self.metrics.config(&generation.hash);
        if let Some(old) = self.current.replace(generation) {
            self.retiring.push((now.mono + old.grace, old));
        }
    }

    /// Closes a generation's providers.
    pub(crate) fn close(&mut self, generation: Generation, now: Now) {
        for id in generation.providers() {
            self.with(id, now, |provider, cx| provider.close(cx));
        }
        self.closed.push(generation);
    }

    /// Forgets closed generations that no read holds and no check waits for.
    pub(super) fn forget_closed(&mut self) {
        let walking: Vec<ProviderId> = self
            .health
            .values()
            .flat_map(|walk| walk.waiting.iter().map(|(_, id)| *id))
            .collect();
        let (gone, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.closed)
            .into_iter()
            .partition(|generation| {
                Arc::strong_count(&generation.hold) == 1
                    && !generation.providers().any(|id| walking.contains(&id))
            });
        self.closed = held;
        for id in gone.iter().flat_map(Generation::providers) {
            self.providers.remove(&id);
        }
    }
}

/// The KMS providers of a generation with their indices in the file.
pub(crate) fn indexed(generation: &Generation) -> Vec<(usize, ProviderId)> {
    let slots = generation.kms.iter().enumerate();
    slots
        .filter_map(|(index, slot)| match slot {
            crate::table::Slot::V1 => None,
            crate::table::Slot::V2(id) => Some((index, *id)),
        })
        .collect()
}

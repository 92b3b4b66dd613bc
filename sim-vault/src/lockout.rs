//! User lockout: after some failed logins every attempt is refused, the right one included.

use std::{collections::BTreeMap, time::Duration};

/// The limits of one mount. Defaults: 5 failures, 15 minutes each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockoutConfig {
    pub threshold: u64,
    pub duration: Duration,
    pub reset: Duration,
    pub disabled: bool,
}

/// Nothing was said about any of them.
pub(crate) const UNSAID: LockoutConfig = LockoutConfig {
    threshold: 0,
    duration: Duration::ZERO,
    reset: Duration::ZERO,
    disabled: false,
};

impl Default for LockoutConfig {
    fn default() -> Self {
        Self {
            threshold: 5,
            duration: Duration::from_secs(900),
            reset: Duration::from_secs(900),
            disabled: false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u64,
    last: Duration,
}

/// Failed logins by mount accessor and alias.
#[derive(Clone, Default)]
pub(crate) struct Lockouts {
    failures: BTreeMap<(String, String), Failures>,
}

impl Lockouts {
    pub(crate) fn is_locked(
        &self,
        accessor: &str,
        alias: &str,
        config: LockoutConfig,
        now: Duration,
    ) -> bool {
        !config.disabled
            && self
                .failures
                .get(&(accessor.to_owned(), alias.to_owned()))
                .is_some_and(|f| f.count >= config.threshold && now < f.last + config.duration)
    }

    pub(crate) fn failed(
        &mut self,
        accessor: &str,
        alias: &str,
        config: LockoutConfig,
        now: Duration,
    ) {
        if config.disabled {
            return;
        }
        let entry = self
            .failures
            .entry((accessor.to_owned(), alias.to_owned()))
            .or_insert(Failures {
                count: 0,
                last: now,
            });
        let served = entry.count >= config.threshold && now >= entry.last + config.duration;
        if served || now >= entry.last + config.reset {
            entry.count = 0;
        }
        entry.count += 1;
        entry.last = now;
    }

    pub(crate) fn clear(&mut self, accessor: &str, alias: &str) {
        self.failures
            .remove(&(accessor.to_owned(), alias.to_owned()));
    }

    /// Locked aliases by accessor.
    pub(crate) fn locked(
        &self,
        config: impl Fn(&str) -> LockoutConfig,
        now: Duration,
    ) -> BTreeMap<String, Vec<String>> {
        let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (accessor, alias) in self.failures.keys() {
            if self.is_locked(accessor, alias, config(accessor), now) {
                out.entry(accessor.clone()).or_default().push(alias.clone());
            }
        }
        out
    }
}

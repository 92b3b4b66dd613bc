//! When a broken watch is opened again, and when the cache starts anew.

use std::time::Duration;

/// How long internal errors of one watch are answered by another watch.
const PATIENCE: Duration = Duration::from_secs(30);

/// Errors further apart than this do not belong together.
const RESET: Duration = Duration::from_secs(60);

/// The pause between a watch that broke on stored data and the next one. The real server makes none beyond the time
/// that opening takes; nobody can see the difference but in the number of Decrypt calls.
const REWATCH_PAUSE: Duration = Duration::from_millis(100);

/// The pause before the cache is filled anew.
pub const RELIST_PAUSE: Duration = Duration::from_secs(1);

/// What to do after a watch broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterError {
    /// Watch on from the last revision after this pause.
    Watch(Duration),
    /// The cache is lost: fill it anew after [`RELIST_PAUSE`].
    Relist,
}

/// The memory of earlier errors.
#[derive(Debug, Default)]
pub struct Reflector {
    first: Duration,
    last: Option<Duration>,
}

impl Reflector {
    /// A watch broke; `internal` if on data that cannot be read rather than on the store.
    pub fn watch_broke(&mut self, now: Duration, internal: bool) -> AfterError {
        if !internal {
            return AfterError::Relist;
        }
        if self
            .last
            .is_none_or(|last| now.saturating_sub(last) >= RESET)
        {
            self.first = now;
        }
        self.last = Some(now);
        if now.saturating_sub(self.first) <= PATIENCE {
            AfterError::Watch(REWATCH_PAUSE)
        } else {
            AfterError::Relist
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_repaired_for_30_seconds_and_then_given_up() {
        let mut reflector = Reflector::default();
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(
            reflector.watch_broke(at(100), true),
            AfterError::Watch(REWATCH_PAUSE)
        );
        assert_eq!(
            reflector.watch_broke(at(130), true),
            AfterError::Watch(REWATCH_PAUSE)
        );
        assert_eq!(reflector.watch_broke(at(131), true), AfterError::Relist);
        // another incident, long after
        assert_eq!(
            reflector.watch_broke(at(300), true),
            AfterError::Watch(REWATCH_PAUSE)
        );
        assert_eq!(reflector.watch_broke(at(301), false), AfterError::Relist);
    }
}

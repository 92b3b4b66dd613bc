//! Moments at which a server changes by itself, long after what caused it. Nothing is compared while one of them may be
//! due on one server and not yet on the other, so both are judged by one clock, the story's.

use std::time::Duration;

use tokio::time::Instant;

use crate::facts::Facts;
use crate::story::{Chapter, Event};
use crate::tap::{Fault, Method};

/// A seed is used for 3 min after the last good Status (KMS2-STATE-02). A chapter begins so early that it ends before
/// that, or so late that it is over.
const SEED_LASTS: Duration = Duration::from_secs(180);
/// From then on it is over on both.
const SEED_IS_OVER: Duration = Duration::from_secs(205);
/// What a chapter takes at most, and one with a start in it.
const CHAPTER: Duration = Duration::from_secs(45);
const CHAPTER_WITH_START: Duration = Duration::from_secs(100);
/// The hook `storage-readiness` gives up 60 s after its start, and then counts as done.
const HOOK_MAY_END: Duration = Duration::from_secs(50);
const HOOK_HAS_ENDED: Duration = Duration::from_secs(100);
/// The facts that show it.
const HOOK: [&str; 2] = ["poststarthook/storage-readiness", "/livez?verbose: code"];

/// Since when.
#[derive(Debug, Default)]
pub struct Times {
    no_good_status: Option<Instant>,
    started_sick: Option<Instant>,
    sick: bool,
}

impl Times {
    /// Waits, before a chapter, until a seed that would expire in it has expired.
    pub async fn before(&mut self, chapter: &Chapter) {
        let takes = match chapter.event {
            Event::Restart => CHAPTER_WITH_START,
            _ => CHAPTER,
        };
        if let Some(since) = self.no_good_status
            && !matches!(chapter.event, Event::Silence(_))
            && since.elapsed() + takes > SEED_LASTS
        {
            tokio::time::sleep_until(since + SEED_IS_OVER).await;
        }
        match &chapter.event {
            Event::Fault(Fault::None) | Event::Back => {
                *self = Self::default();
            }
            event => {
                if ends_good_status(event) {
                    self.no_good_status.get_or_insert_with(Instant::now);
                } else if matches!(event, Event::Fault(_)) {
                    self.no_good_status = None;
                }
                self.sick |= matches!(event, Event::Fault(_) | Event::Gone);
            }
        }
        if chapter.event == Event::Restart && self.sick {
            self.started_sick = Some(Instant::now());
        }
    }

    /// Takes out, after a chapter that began then, what may be due on one of the two only.
    pub fn settle(&self, began: Instant, facts: [&mut Facts; 2]) {
        let Some(start) = self.started_sick else {
            return;
        };
        if start.elapsed() < HOOK_MAY_END || began > start + HOOK_HAS_ENDED {
            return;
        }
        for side in facts {
            side.retain(|label, _| !HOOK.iter().any(|hook| label.ends_with(hook)));
        }
    }
}

/// Whether no key_id is heard any more: then the seed's time runs.
fn ends_good_status(event: &Event) -> bool {
    match event {
        Event::Gone => true,
        Event::Fault(fault) => matches!(
            fault,
            Fault::StatusKeyId(_)
                | Fault::Refuse(Method::Status, ..)
                | Fault::Slow(Method::Status, _)
        ),
        _ => false,
    }
}

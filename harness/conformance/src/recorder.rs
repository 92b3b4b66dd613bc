//! Collects the transcript while stimuli run.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use kms_history::{Event, Header, History, What};
use tokio::time::Instant;

/// Called with every event as it happens.
pub type Sink = Box<dyn FnMut(&Event) + Send>;

/// Gives events their number and time. Clones write to the same transcript.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    history: History,
    next: u64,
    sink: Option<Sink>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("events", &self.lock().next)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// An empty transcript. Its clock starts now.
    pub fn new(header: Header) -> Self {
        let history = History::new(header, Vec::new()).expect("no events cannot contradict");
        Recorder {
            start: Instant::now(),
            inner: Arc::new(Mutex::new(Inner {
                history,
                next: 0,
                sink: None,
            })),
        }
    }

    /// The same, and `sink` sees every event at once, so that an interrupted run leaves a file.
    pub fn with_sink(header: Header, sink: Sink) -> Self {
        let recorder = Self::new(header);
        recorder.lock().sink = Some(sink);
        recorder
    }

    /// Adds an event and returns its sequence number.
    pub fn record(&self, stimulus: &'static str, caller: u32, what: What) -> u64 {
        let at_ns = nanos(self.start.elapsed());
        let mut inner = self.lock();
        let seq = inner.next;
        inner.next += 1;
        let event = Event {
            seq,
            at_ns,
            stimulus: stimulus.into(),
            caller,
            what,
        };
        if let Some(sink) = &mut inner.sink {
            sink(&event);
        }
        inner
            .history
            .push(event)
            .expect("numbers ascend and answers follow their calls");
        seq
    }

    /// Everything recorded so far.
    pub fn history(&self) -> History {
        self.lock().history.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

/// A duration as nanoseconds; 584 years fit.
pub(crate) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

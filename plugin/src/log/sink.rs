//! Lines leave through a thread of their own: a full disk or a reader that stopped must never hold
//! up a call.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for the reader; further ones are dropped and counted.
const QUEUE: usize = 1024;

enum Item {
    Line(Vec<u8>),
    /// Everything before has been written when the sender of this is dropped.
    Flush(SyncSender<()>),
}

/// Takes lines without ever waiting. Cloned for each line.
#[derive(Clone, Debug)]
pub struct Sink {
    lines: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    /// Starts the thread that writes to `out` until the last clone is gone.
    ///
    /// # Errors
    /// The system's, when it has no thread to give.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(out, &queue, &counted))?;
        Ok(Self { lines, dropped })
    }

    /// Waits until everything sent so far is written, at most `limit`. Blocks: for the end of a
    /// process only.
    pub fn flush(&self, limit: Duration) {
        let (done, written) = sync_channel(0);
        if self.lines.try_send(Item::Flush(done)).is_ok() {
            // Either way the wait is over.
            let _: Result<(), RecvTimeoutError> = written.recv_timeout(limit);
        }
    }
}

fn write_all(mut out: impl Write, queue: &Receiver<Item>, dropped: &AtomicU64) {
    while let Ok(item) = queue.recv() {
        // Where the log cannot be written there is nobody to tell, and serving goes on.
        match item {
            Item::Line(line) => {
                let _ = out.write_all(&line);
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(
                        out,
                        r#"{{"level":"WARN","message":"log lines lost","count":{lost}}}"#
                    );
                }
            }
            Item::Flush(written) => {
                let _ = out.flush();
                drop(written);
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.lines.try_send(Item::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

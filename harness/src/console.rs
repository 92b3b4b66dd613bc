//! The one place that prints: progress and errors to standard error, results to standard output.

#![expect(
    clippy::print_stderr,
    reason = "progress and errors are for the terminal"
)]

use std::io::{self, IsTerminal, Write};

/// A line about what is being done.
pub fn tell(text: &str) {
    clear();
    eprintln!("kms-harness: {text}");
}

/// How far long work is: on a terminal a line that the next one overwrites, elsewhere a line for
/// each piece of work when it `begins`.
pub fn progress(work: &str, done: u64, total: u64, begins: bool) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{work} {done}/{total}");
        let _ = io::stderr().flush();
    } else if begins {
        eprintln!("kms-harness: {work}");
    }
}

/// Takes such a line away.
pub fn clear() {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

/// A result. A reader that has gone away is no error.
pub fn result(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

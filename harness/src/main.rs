//! `kms-harness`: see the library.

use std::process::ExitCode;

use kms_harness::cli::Cli;
use kms_harness::{commands, console};

/// Simulations spend their time in small things that come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (cli, given) = Cli::read();
    match commands::run(cli, given) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            console::tell(&format!("error: {failure}"));
            failure.exit_code()
        }
    }
}

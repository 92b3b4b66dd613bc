//! `kms-harness`: see the library.

use std::process::ExitCode;

use kms_harness::cli::Cli;
use kms_harness::{commands, console};

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

//! `kms-harness`: see the library.

use std::process::ExitCode;

use clap::Parser;
use kms_harness::cli::Cli;
use kms_harness::{commands, console};

fn main() -> ExitCode {
    match commands::run(&Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            console::tell(&format!("error: {failure}"));
            failure.exit_code()
        }
    }
}

//! The binary. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    vault_kubernetes_kms::run::main_impl()
}

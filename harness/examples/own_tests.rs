//! The suite as the tests of a plugin's own: what stands in its `tests/kms.rs`, with `harness = false` in its manifest.

use std::env::var;
use std::process::ExitCode;

use kms_trials::{Scenarios, Subject};

fn main() -> ExitCode {
    let library = var("TOY_SCENARIOS").ok();
    let scenarios =
        library.map(|library| Scenarios::new(format!("{library}/toy.subject"), library));
    let subject = || {
        let tests = std::env::current_exe().unwrap_or_default();
        let words = ["--socket={socket}", "--key={folder}/toy.key", "--break"];
        let words = words.map(str::to_owned).into_iter();
        let words = words.chain([var("TOY_BREAK").unwrap_or_default()]);
        Subject::command(tests.with_file_name("toy_plugin"), words)
    };
    kms_trials::main_with(subject, scenarios)
}

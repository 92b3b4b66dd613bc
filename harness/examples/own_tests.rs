//! The suite as the tests of a plugin's own: what stands in its `tests/kms.rs`, with `harness = false` in its manifest.

use std::process::ExitCode;

use kms_trials::Subject;

fn main() -> ExitCode {
    kms_trials::main(|| {
        let tests = std::env::current_exe().unwrap_or_default();
        let broken = std::env::var("TOY_BREAK").unwrap_or_default();
        let words = ["--socket={socket}", "--key={folder}/toy.key", "--break"];
        let words = words.map(str::to_owned).into_iter().chain([broken]);
        Subject::command(tests.with_file_name("toy_plugin"), words)
    })
}

//! The simulation against a live server: the same random calls to both, and status, texts and shapes must agree.
//!
//! Needs the server's binary: `$BAO` or `bao` on the PATH. Without it the tests are shown as ignored; with `KMS_REQUIRE=all`
//! they fail. HashiCorp Vault is compared only where `$VAULT` or `vault` on the PATH is there: no script installs it.
//! `DIFFERENTIAL_CALLS` sets the number of calls (3,000), `DIFFERENTIAL_SEED` the
//! first seed, `DIFFERENTIAL_SHOW` how many differences are looked for (1). A difference is cut down to the shortest sequence that shows it.

use std::{
    env,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use libtest_mimic::{Arguments, Failed, Trial};
use sim_vault::Flavour;

mod calls;
mod cli;
#[path = "../../examples/transcripts/client.rs"]
mod client;
mod live;
#[path = "../../examples/transcripts/norm.rs"]
mod norm;

/// Captured values, as the normaliser wants them: here there are none.
pub type Vars = Vec<(String, String)>;

/// Calls of one sequence; each sequence has mounts of its own.
const LENGTH: usize = 30;

fn find(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Some(path.into());
    }
    let paths = env::var_os("PATH")?;
    env::split_paths(&paths)
        .map(|p| p.join(name))
        .find(|p| p.is_file() && !is_script(p))
}

/// Whether `file` is a wrapper script: what it starts would outlive it.
fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    File::open(file)
        .and_then(|mut f| f.read_exact(&mut start))
        .is_ok_and(|()| start == *b"#!")
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

fn compare(binary: &Path, flavour: Flavour) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut pair = live::Pair::start(binary, flavour).await?;
        let first = number("DIFFERENTIAL_SEED", 1);
        let sequences = number("DIFFERENTIAL_CALLS", 3_000).div_ceil(LENGTH as u64);
        let mut shown = Vec::new();
        for seed in first..first + sequences {
            let calls = calls::sequence(seed, LENGTH);
            if pair.run(&calls).await?.is_some() {
                let shortest = pair.shrink(calls).await?;
                shown.push(format!("seed {seed}:\n{shortest}"));
                if shown.len() as u64 >= number("DIFFERENTIAL_SHOW", 1) {
                    break;
                }
            }
        }
        if shown.is_empty() {
            Ok(())
        } else {
            Err(Failed::from(shown.join("\n")))
        }
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = env::var("KMS_REQUIRE").is_ok_and(|v| v == "all");
    let mut trials = Vec::new();
    let openbao = find("BAO", "bao");
    let absent = openbao.is_none();
    let trial = Trial::test("openbao", move || match openbao {
        Some(path) => compare(&path, Flavour::OpenBao),
        None => Err("no `bao` on the PATH and no $BAO".into()),
    });
    trials.push(trial.with_ignored_flag(absent && !required));
    if let Some(path) = find("VAULT", "vault") {
        trials.push(Trial::test("vault", move || compare(&path, Flavour::Vault)));
    }
    let found = find("BAO", "bao");
    let absent = found.is_none();
    let trial = Trial::test("bao_client", move || match found {
        Some(path) => cli::drive(&path),
        None => Err("no `bao` on the PATH and no $BAO".into()),
    });
    trials.push(trial.with_ignored_flag(absent && !required));
    libtest_mimic::run(&arguments, trials).exit_code()
}

//! The simulation against live servers: random calls to both, and status, texts, headers and shapes must agree.
//!
//! The reference is the model, the system under test a live dev server of the same flavour (see [`model`] and [`live`]); what
//! is asked is data (see [`surface`]). A difference shrinks to the shortest sequence that shows it, and what it taught becomes
//! a story (see [`stories`]): stories are told to the server before the random calls begin.
//!
//! What needs several nodes is compared on clusters of three (see [`cluster`]).
//!
//! Needs the servers' binaries: `$BAO` and `$VAULT`, or `bao` and `vault` on the PATH, or the cache of real parts. Without
//! one its tests are shown as ignored; with `KMS_REQUIRE=all` they fail. `DIFFERENTIAL_CALLS` sets the number of calls on
//! each server, `DIFFERENTIAL_SEED` the seed, `DIFFERENTIAL_SHOW` how many differences are looked for, and `DIFFERENTIAL_SURVEY`
//! goes on after a difference and collects all kinds of them, each with the calls that led to it, without shrinking any.

use std::{
    env,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use libtest_mimic::{Arguments, Failed, Trial};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestError, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

mod call;
mod cli;
#[path = "../../examples/transcripts/client.rs"]
mod client;
mod cluster;
mod known;
mod live;
mod memory;
mod model;
#[path = "../../examples/transcripts/norm.rs"]
mod norm;
mod shape;
#[path = "../../examples/transcripts/signers.rs"]
mod signers;
mod stories;
mod strategy;
mod surface;
mod wire;

use call::Call;
use known::Known;
use live::Server;
use model::{HashiCorp, OpenBao, Product, Reference};

/// Captured values, as the normaliser wants them: here there are none.
pub type Vars = Vec<(String, String)>;

/// Calls of one sequence.
const LENGTH: usize = 40;

/// The binary: by its variable, on the PATH, or in the cache that the scripts of `ci/` fill.
fn find(variable: &str, name: &str, cached: &str) -> Option<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Some(path.into());
    }
    let usable = |p: &PathBuf| p.is_file() && !is_script(p);
    let on_path = env::var_os("PATH")
        .and_then(|paths| env::split_paths(&paths).map(|p| p.join(name)).find(usable));
    on_path.or_else(|| {
        let cache = env::var_os("KMS_CACHE").map(PathBuf::from).or_else(|| {
            let base = env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")))?;
            Some(base.join("kms-real-parts"))
        })?;
        let mut parts: Vec<PathBuf> = std::fs::read_dir(cache)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|p| {
                p.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with(cached))
            })
            .map(|p| p.join("bin").join(name))
            .filter(usable)
            .collect();
        parts.sort();
        parts.pop()
    })
}

/// Whether `file` is a wrapper script: what it starts would outlive it.
fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    File::open(file)
        .and_then(|mut f| f.read_exact(&mut start))
        .is_ok_and(|()| start == *b"#!")
}

fn number(variable: &str, default: u64) -> Result<u64, Failed> {
    match env::var(variable) {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("{variable}: {text:?} is not a number").into()),
        Err(_) => Ok(default),
    }
}

/// All stories and at least `calls` random calls on both; every known difference must still be one.
fn compare<P: Product>(binary: &Path, calls: u64) -> Result<(), Failed> {
    let calls = number("DIFFERENTIAL_CALLS", calls)?;
    let seed = number("DIFFERENTIAL_SEED", 1)?;
    let show = number("DIFFERENTIAL_SHOW", 1)?;
    let server = Server::start(binary, Known::load(P::FLAVOUR)?)?;
    let mut shown = Vec::new();
    for story in stories::all() {
        let wrong = server.told::<P>(&story);
        let calls: Vec<Call> = story.steps.into_iter().map(|step| step.call).collect();
        let wrong = wrong.into_iter().chain(server.difference::<P>(&calls));
        shown.extend(wrong.map(|text| format!("{}\n {text}", story.title)));
    }
    let mut round = 0;
    while server.compared.get() < calls && (shown.len() as u64) < show {
        let left = calls - server.compared.get();
        let cases = left.div_ceil(LENGTH as u64);
        let mut runner = TestRunner::new(Config {
            cases: u32::try_from(cases).unwrap_or(u32::MAX),
            max_shrink_iters: 400,
            max_shrink_time: 15_000,
            failure_persistence: None,
            rng_algorithm: RngAlgorithm::ChaCha,
            rng_seed: RngSeed::Fixed(seed + 1_000_003 * round),
            ..Config::default()
        });
        let sequences = Reference::<P>::sequential_strategy(LENGTH);
        let run = runner.run(&sequences, |(state, calls, seen)| {
            server.run::<P>(state, &calls, seen, true);
            Ok(())
        });
        match run {
            Ok(()) => {}
            Err(TestError::Fail(reason, (_, calls, _))) => {
                let lines: Vec<String> = calls.iter().map(|c| format!("   {c}")).collect();
                shown.push(format!("{}\n {reason}", lines.join("\n")));
            }
            Err(TestError::Abort(reason)) => return Err(reason.to_string().into()),
        }
        round += 1;
    }
    if let Some(survey) = &server.survey {
        for (kind, (count, path)) in survey.borrow().iter() {
            shown.push(format!("{count} times, e.g.\n{path}\n {kind}\n"));
        }
    }
    // a survey does not end at a difference, so it cannot tell whether one is left
    let known = server.known.entries().filter(|_| server.survey.is_none());
    let known = known.filter(|entry| !entry.rare);
    for entry in known {
        let calls = entry.calls()?;
        if !(0..entry.tries).any(|_| server.difference::<P>(&calls).is_some()) {
            shown.push(format!(
                "no longer a difference, remove it from known.toml: {}",
                entry.reason
            ));
        }
    }
    if shown.is_empty() {
        Ok(())
    } else {
        Err(Failed::from(shown.join("\n")))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = env::var("KMS_REQUIRE").is_ok_and(|v| v == "all");
    // a difference is shown once, at its shortest, and not at every step on the way there
    std::panic::set_hook(Box::new(|_| {}));
    let trial = |name: &str,
                 binary: Option<PathBuf>,
                 absent: &'static str,
                 test: fn(&Path) -> Result<(), Failed>| {
        let missing = binary.is_none();
        let trial = Trial::test(name.to_owned(), move || match binary {
            Some(path) => test(&path),
            None => Err(absent.into()),
        });
        let ignored = missing && !required;
        let trial = if ignored {
            trial.with_kind(absent)
        } else {
            trial
        };
        trial.with_ignored_flag(ignored)
    };
    let openbao = || find("BAO", "bao", "openbao-");
    let vault = || find("VAULT", "vault", "vault-");
    const NO_BAO: &str = "no OpenBao: neither $BAO nor bao on the PATH nor in the cache";
    const NO_VAULT: &str =
        "no HashiCorp Vault: neither $VAULT nor vault on the PATH nor in the cache";
    let trials = vec![
        trial("openbao", openbao(), NO_BAO, |path| {
            compare::<OpenBao>(path, 3_000)
        }),
        trial("vault", vault(), NO_VAULT, |path| {
            compare::<HashiCorp>(path, 1_000)
        }),
        trial("openbao_cluster", openbao(), NO_BAO, |path| {
            cluster::compare::<OpenBao>(path, 300)
        }),
        trial("vault_cluster", vault(), NO_VAULT, |path| {
            cluster::compare::<HashiCorp>(path, 200)
        }),
        trial("bao_client", openbao(), NO_BAO, cli::drive),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

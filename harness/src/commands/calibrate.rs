//! `calibrate`: the suite over the zoo. Whether each broken plugin is named, and by the right requirement.

pub mod kept;
pub mod show;

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, anyhow};
use kms_planted::{SCENARIO, Variant};
use kms_scenario::language;
use kms_scenario::plan::Plan;
use kms_scenario::verdict::outcome;
use kms_sim::planted::Bug;
use kms_sim::run::{Company, run_with};
use kms_zoo::judged::{Seen, Verdict, judged};
use kms_zoo::{Arm, Mutant, Program};

use crate::cli::CalibrateArgs;
use crate::console;
use crate::exit::{self, Failure, OrUsage};

/// A plugin that was named wrongly is judged again, so often in all: a machine that stood still for a second has named
/// deadlines that no bug had missed. What is wrong with the suite is wrong each time.
const ATTEMPTS: u32 = 3;
/// Plugins judged at a time by each core: most of a run is waiting.
const PER_CORE: usize = 4;
/// Seed of the chaos runs.
const SEED: u64 = 1;

/// One plugin and what the suite said of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The plugin.
    pub mutant: &'static Mutant,
    /// What failed and warned.
    pub seen: Seen,
    /// Whether that is what is broken.
    pub verdict: Verdict,
    /// How often it was judged until then.
    pub attempts: u32,
}

/// Runs the suite over the zoo, or a part of it, and says what came of it.
pub fn calibrate(args: &CalibrateArgs) -> Result<u8, Failure> {
    let mutants = chosen(&args.mutants).map_err(|text| Failure::Usage(anyhow!(text)))?;
    if let Some(out) = &args.out {
        let about = || format!("make the folder {}", out.display());
        std::fs::create_dir_all(out)
            .with_context(about)
            .or_usage()?;
    }
    let rows = measure(&mutants, &own_program()?, args.jobs)?;
    if let Some(out) = &args.out {
        kept::keep(out, &rows)?;
    }
    show::print(&rows, args.format)?;
    Ok(code(&rows))
}

/// What it exits with: the suite is the subject here.
pub fn code(rows: &[Row]) -> u8 {
    match rows.iter().all(|row| row.verdict.is_right()) {
        true => exit::HELD,
        false => exit::SUBJECT_FAILED,
    }
}

fn chosen(ids: &[String]) -> Result<Vec<&'static Mutant>, String> {
    if ids.is_empty() {
        return Ok(kms_zoo::table().iter().collect());
    }
    ids.iter().map(|id| kms_zoo::find(id)).collect()
}

/// The program that serves mutants which are processes: this one, by its command `zoo`.
fn own_program() -> anyhow::Result<Program> {
    Ok(program(
        std::env::current_exe().context("find this program")?,
    ))
}

/// A `kms-harness` as the program that serves mutants.
pub fn program(path: PathBuf) -> Program {
    Program {
        path,
        words: vec!["zoo".to_owned()],
    }
}

/// Judges mutants, `at_once` of them at a time, each in a thread with a runtime of its own. They come back in order.
///
/// # Errors
/// One could not be served, or the simulation broke off.
pub fn measure(
    mutants: &[&'static Mutant],
    program: &Program,
    at_once: Option<u16>,
) -> anyhow::Result<Vec<Row>> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = at_once.map_or(cores * PER_CORE, usize::from);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(mutants.len()));
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, mutants.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = mutants.get(number) else {
                        return;
                    };
                    let row = row(mutant, program).with_context(|| mutant.id.to_owned());
                    if row.is_err() {
                        next.store(mutants.len(), Ordering::Relaxed);
                    }
                    let mut done = lock(&done);
                    done.push((number, row));
                    console::progress("mutants", done.len() as u64, mutants.len() as u64, false);
                }
            });
        }
    });
    console::clear();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, row)| row).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn row(mutant: &'static Mutant, program: &Program) -> anyhow::Result<Row> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let seen = match mutant.arm {
            Arm::Chaos(variant) => chaos(Some(variant))?,
            Arm::Honest => chaos(None)?.and(in_real_time(mutant, program)?),
            Arm::InProcess(_) | Arm::Process(_) => in_real_time(mutant, program)?,
        };
        let verdict = Verdict::of(mutant, &seen);
        if verdict.is_right() || attempts == ATTEMPTS || matches!(mutant.arm, Arm::Chaos(_)) {
            return Ok(Row {
                mutant,
                seen,
                verdict,
                attempts,
            });
        }
    }
}

fn in_real_time(mutant: &Mutant, program: &Program) -> anyhow::Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(judged(mutant, program))
}

/// Our own plugin in the simulation, with a bug planted around it, or without one.
fn chaos(variant: Option<Variant>) -> anyhow::Result<Seen> {
    let scenario = language::read(SCENARIO, None).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!(lines.join("\n"))
    })?;
    let plan = Plan::of(&scenario, SEED);
    let company = Company {
        between: Some(variant.map_or_else(Bug::none, Bug::new)),
        ..Company::default()
    };
    let ran = run_with(&plan, company);
    if let Some(trouble) = ran.trouble {
        return Err(anyhow!("the simulation broke off: {trouble}"));
    }
    let mut seen = Seen::default();
    for broken in outcome(&plan, &ran.history).broken() {
        seen.failed.insert(broken.id.clone());
        seen.text
            .push_str(&format!("{}: {}\n", broken.id, broken.detail));
    }
    Ok(seen)
}

//! One module a command, and what they share: [`session`] sends the stimuli to a plugin and leaves
//! the bundle.

pub mod apiserver;
pub mod calibrate;
pub mod chaos;
pub mod check;
mod choice;
pub mod collect;
pub mod doctor;
mod front;
pub mod job;
pub mod judge;
pub mod library;
pub mod list;
mod manifest;
mod matrix;
pub mod rbac;
pub mod rehearse;
pub mod relay;
mod replay;
pub mod report;
pub mod run;
pub mod scenario;
pub mod session;
pub mod shrink;
pub mod swarm;
pub mod zoo;

use std::collections::BTreeSet;
use std::future::Future;

use anyhow::Context;

use crate::cli::{Cli, Command};
use crate::exit::{self, Failure};
use crate::interrupt::Interrupt;
use crate::plan::Planned;

/// Does what the command line says; `given` are the options that stand there. The exit code.
pub fn run(cli: Cli, given: BTreeSet<String>) -> Result<u8, Failure> {
    match cli.command {
        Command::Run(args) => block_on(|interrupt| run::run(args, Planned::new(given), interrupt)),
        Command::Check(args) => {
            block_on(|interrupt| check::check(args, Planned::new(given), interrupt))
        }
        Command::Judge(args) => judge::judge(&args),
        Command::List(args) => list::list(&args).map(|()| exit::HELD),
        Command::Explain(args) => list::explain(&args).map(|()| exit::HELD),
        Command::Chaos(args) => chaos::chaos(&args),
        Command::Swarm(args) => swarm::swarm(&args),
        Command::Report(command) => report::report(&command),
        Command::Replay(args) => replay::replay(&args),
        Command::Shrink(args) => shrink::shrink(&args),
        Command::Calibrate(args) => calibrate::calibrate(&args),
        Command::Zoo(args) => block_without_signals(zoo::zoo(&args)),
        Command::Scenario(command) => scenario::scenario(&command),
        Command::Rehearse(args) => rehearse::rehearse(&args),
        Command::Doctor(args) => block_without_signals(Box::pin(doctor::doctor(&args))),
        Command::Collect(args) => block_without_signals(Box::pin(collect::collect(&args))),
        Command::Rbac(args) => rbac::rbac(&args),
        Command::Job(args) => job::job(&args),
        Command::Relay(args) => block_on(async |interrupt| relay::relay(&args, interrupt).await),
        Command::ApiServer(args) => block_on(|interrupt| apiserver::apiserver(*args, interrupt)),
    }
}

fn block_on<F>(work: impl FnOnce(Interrupt) -> F) -> Result<u8, Failure>
where
    F: Future<Output = Result<u8, Failure>>,
{
    block_without_signals(async { work(Interrupt::listen()?).await })
}

/// For what has an answer of its own to signals.
fn block_without_signals(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(work)
}

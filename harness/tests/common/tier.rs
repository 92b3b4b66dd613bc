//! Tiers: tests that need a real part. Where it is absent they show as ignored with the reason,
//! unless `KMS_REQUIRE=all` says that ignored means failed.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// No test of a tier takes longer; those with an API server's timers in them take minutes.
const TEST_LIMIT: Duration = Duration::from_secs(480);

/// So many tests of several tiers at a time: with more, those that take longest get too little of the cores at their start.
const TOGETHER: usize = 24;

/// A tier, and how many of its tests run at a time unless the command line says otherwise. They mostly wait, so that is more
/// than there are cores.
pub type Tier = (Vec<Trial>, usize);

/// Runs tiers and exits. Where everything is required their real servers want the cores, and one tier comes after the other;
/// elsewhere what is left of them waits, and all run together.
pub fn run(tiers: Vec<Tier>) -> ! {
    let arguments = Arguments::from_args();
    let tiers = if all_required() {
        tiers
    } else {
        let all = tiers.into_iter().flat_map(|(trials, _)| trials);
        vec![(all.collect(), TOGETHER)]
    };
    let mut failed = false;
    for (trials, at_once) in tiers {
        let mut arguments = arguments.clone();
        arguments.test_threads.get_or_insert(at_once);
        failed |= libtest_mimic::run(&arguments, trials).has_failed();
    }
    std::process::exit(if failed { 101 } else { 0 })
}

fn all_required() -> bool {
    std::env::var_os("KMS_REQUIRE").is_some_and(|value| value == "all")
}

/// A test of a tier. `part` is what it needs, or why that is not there.
pub fn test<P, F, R>(name: &str, part: Result<P, impl Display>, body: F) -> Trial
where
    P: Send + 'static,
    F: FnOnce(P) -> R + Send + 'static,
    R: Future<Output = anyhow::Result<()>>,
{
    test_when(all_required(), name, part, body)
}

/// The same, told whether an absent part is a failure.
pub fn test_when<P, F, R>(
    required: bool,
    name: &str,
    part: Result<P, impl Display>,
    body: F,
) -> Trial
where
    P: Send + 'static,
    F: FnOnce(P) -> R + Send + 'static,
    R: Future<Output = anyhow::Result<()>>,
{
    let part = part.map_err(|reason| reason.to_string());
    Trial::ignorable_test(name, move || match part {
        Ok(part) => block_on(body(part)).map(|()| Completion::Completed),
        Err(reason) if required => Err(Failed::from(format!("KMS_REQUIRE=all, and {reason}"))),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
}

fn block_on(body: impl Future<Output = anyhow::Result<()>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime
        .block_on(async { tokio::time::timeout(TEST_LIMIT, body).await })
        .map_err(|_| format!("not done after {} s", TEST_LIMIT.as_secs()))?
        .map_err(|error| Failed::from(format!("{error:#}")))
}

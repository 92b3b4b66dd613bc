//! What is measured.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kms_scenario::language::{self, file::ArmName};
use kms_scenario::plan::Plan;
use kms_scenario::verdict::{Verdict, outcome};
use kms_sim_net::{Latency, Net};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A scenario; clones share it.
#[derive(Clone)]
pub struct Scenario(pub Arc<language::Scenario>);

impl Scenario {
    pub fn read(text: &str) -> Result<Self, String> {
        let read = language::read(text, None).map_err(|problems| {
            let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
            all.join("\n")
        });
        Ok(Self(Arc::new(read?)))
    }
}

/// Seconds.
#[derive(Clone, Copy)]
pub struct Cost {
    pub wall: f64,
    /// Of all threads of this process.
    pub cpu: f64,
}

/// The real time.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
pub fn now() -> Instant {
    Instant::now()
}

/// The CPU time of this process.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let field = |at: usize| {
        let word = after_name.split_whitespace().nth(at);
        word.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    };
    Duration::from_millis((field(11) + field(12)) * 10) // Linux counts in hundredths
}

fn cost<T>(work: impl FnOnce() -> T) -> (Cost, T) {
    let (began, before) = (now(), cpu());
    let done = work();
    let cost = Cost {
        wall: began.elapsed().as_secs_f64(),
        cpu: (cpu() - before).as_secs_f64(),
    };
    (cost, done)
}

/// One run with its judgement. Its cost and its hops.
pub fn one(scenario: &Scenario, seed: u64) -> Result<(Cost, f64), String> {
    let (cost, hops) = cost(|| passes(scenario, seed));
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    Ok((cost, hops? as f64))
}

fn passes(scenario: &Scenario, seed: u64) -> Result<u64, String> {
    let plan = Plan::of(&scenario.0, seed);
    let ran = kms_sim::run::run(&plan);
    let outcome = outcome(&plan, &ran.history);
    if ran.trouble.is_some() || outcome.verdict != Verdict::Pass {
        return Err(format!(
            "{} with seed {seed} does not pass: {:?} {outcome:#?}",
            plan.scenario, ran.trouble
        ));
    }
    Ok(ran.hops)
}

/// So many seeds of each, on so many threads.
pub fn many(scenarios: &[(Scenario, u32)], threads: usize) -> Result<Cost, String> {
    let jobs: Vec<_> = scenarios
        .iter()
        .flat_map(|(scenario, seeds)| (1..=u64::from(*seeds)).map(move |seed| (scenario, seed)))
        .collect();
    let next = AtomicUsize::new(0);
    let (cost, done) = cost(|| {
        std::thread::scope(|scope| {
            let work = || {
                while let Some((scenario, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    passes(scenario, *seed)?;
                }
                Ok(())
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                let ended = thread.join();
                ended.unwrap_or_else(|_| Err("a run panicked".to_owned()))
            })
        })
    });
    done.map(|()| cost)
}

/// Every scenario of the library that runs here, with one seed.
pub fn library() -> Result<Vec<(Scenario, u32)>, String> {
    let mut files = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    below(&folder, &mut files).map_err(|error| format!("{}: {error}", folder.display()))?;
    files.sort();
    let read = files.iter().map(|file| {
        let about = |error: String| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| about(error.to_string()))?;
        Scenario::read(&text).map_err(about)
    });
    let mut all = read.collect::<Result<Vec<_>, String>>()?;
    all.retain(|scenario| Plan::runs_in(&scenario.0, ArmName::Sim).is_ok());
    Ok(all.into_iter().map(|scenario| (scenario, 1)).collect())
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

/// Two programs throw 100 bytes to and fro, 1 to 3 ms apart.
pub fn hops(count: u32) -> Cost {
    let play = async {
        let net = Net::new(1);
        let latency = Latency::between(Duration::from_millis(1), Duration::from_millis(3));
        net.set_default_latency(latency);
        let mut listener = net.host("server").listen(80).expect("a free port");
        let client = net.host("client");
        let mut left = client.connect("server", 80).await.expect("a connection");
        let mut right = listener.accept().await.expect("the same connection");
        let echo = tokio::spawn(async move {
            let mut message = [0; 100];
            while right.read_exact(&mut message).await.is_ok() {
                right.write_all(&message).await.expect("room");
            }
        });
        let mut message = [7; 100];
        for _ in 0..count / 2 {
            left.write_all(&message).await.expect("room");
            left.read_exact(&mut message).await.expect("the echo");
        }
        drop(left);
        echo.await.expect("no panic");
    };
    cost(|| kms_sim::run::virtual_time(1, play)).0
}

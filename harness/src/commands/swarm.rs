//! `swarm`: scenarios that are drawn whole. Several workers share the seeds; each leaves a report, and merged they say what
//! one alone would have said.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use kms_contract::Profile;
use kms_judge::CheckStatus;
use kms_report::Inputs;
use kms_report::model::{
    Arm, Artifact, ArtifactDigest, ArtifactKind, Environment, Origin, ScenarioReport, Subject,
    Trust,
};
use kms_scenario::verdict::Verdict;
use kms_scenario::{language, swarm};
use uuid::Uuid;

use super::calibrate::kept::trusted;
use super::chaos::{keep, recorded, row, runs, show};
use super::session::{self, REPORT};
use crate::bundle::sha256;
use crate::cli::SwarmArgs;
use crate::environment;
use crate::exit::{self, Failure, OrUsage};
use crate::plan::Planned;
use crate::subject::own;

/// What an Indexed Job tells its pods.
pub const INDEX: &str = "JOB_COMPLETION_INDEX";

/// Runs drawn scenarios. A fault that touched nothing is no finding here: what is drawn need not meet.
pub fn swarm(args: &SwarmArgs) -> Result<u8, Failure> {
    let share = share(args).or_usage()?;
    let out = show::folder(args.out.as_deref())?;
    let toml = |seed: u64| language::write(&swarm::draw(seed)).map_err(|error| anyhow!(error));
    let mut jobs = Vec::new();
    for number in (0..args.seeds).filter(|number| number % share.of == share.index) {
        let seed = args.seed.wrapping_add(number);
        let replay = format!("kms-harness swarm --seeds 1 --seed {seed} --out swarm-{seed}");
        let job = runs::job_of(&toml(seed)?, seed, replay);
        jobs.push(job.map_err(|problems| anyhow!("seed {seed}: {problems}"))?);
    }
    let rows = Mutex::new(Vec::new());
    let ran = runs::all(&jobs, args.jobs, |ran| {
        let Some(out) = &out else { return Ok(()) };
        let mut kept = String::new();
        if ran.verdict != Verdict::Pass || args.seeds == 1 {
            show::write(&out.join(format!("{}.toml", ran.id)), &toml(ran.seed)?)?;
            keep(Some(out), ran)?;
            kept = recorded::name(ran);
        }
        let mut row = row::row(ran, kept)?;
        if row.verdict == CheckStatus::Inconclusive && ran.reason.is_none() {
            row.verdict = CheckStatus::Warn;
        }
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.push(row);
        Ok(())
    })?;
    if let Some(out) = &out {
        let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
        report(out, args, rows)?;
    }
    let whole = ran.iter().all(|ran| ran.reason.is_none());
    let code = show::finish(&ran, args.format, out.as_deref())?;
    let untouched = code == exit::INCONCLUSIVE && whole;
    Ok(if untouched { exit::HELD } else { code })
}

/// Which seeds are this worker's: those whose number leaves `index` when divided by `of`.
struct Share {
    index: u64,
    of: u64,
}

fn share(args: &SwarmArgs) -> Result<Share> {
    let Some(of) = args.workers else {
        ensure!(args.worker.is_none(), "--worker needs --workers");
        return Ok(Share { index: 0, of: 1 });
    };
    let told = std::env::var(INDEX).ok();
    let told = told.map(|text| {
        text.parse()
            .with_context(|| format!("{INDEX}={text:?} is no number"))
    });
    let index = match (args.worker, told) {
        (Some(index), _) => index,
        (None, Some(told)) => told?,
        (None, None) => {
            return Err(anyhow!(
                "--workers {of}: which of them is this one? An Indexed Job says it in {INDEX}; else write --worker 0 to {}",
                of - 1
            ));
        }
    };
    ensure!(
        index < of,
        "worker {index} of {of}: they are numbered 0 to {}",
        of - 1
    );
    Ok(Share { index, of })
}

/// What the runs say, as a report on the plugin's source. Nothing in it tells which worker it was.
fn report(out: &Path, args: &SwarmArgs, scenarios: Vec<ScenarioReport>) -> Result<()> {
    let harness = std::env::current_exe().context("find this program")?;
    let bytes = std::fs::read(&harness).context("read this program")?;
    let mut plan = Planned::default();
    plan.set("seed", args.seed, Origin::Flag);
    plan.set("seeds", args.seeds, Origin::Flag);
    let inputs = Inputs {
        report_id: Uuid::new_v4().to_string(),
        run_id: session::run_id(),
        created_at: session::now(),
        generated_by: session::generated_by(),
        derived_from: None,
        suite: environment::suite(),
        trust: Trust {
            calibration: trusted(),
            ..Trust::default()
        },
        subject: Subject {
            project: own::PACKAGE.to_owned(),
            // The program that the source was compiled into.
            artifacts: vec![Artifact {
                kind: ArtifactKind::Source,
                name: env!("CARGO_PKG_NAME").to_owned(),
                digest: ArtifactDigest {
                    sha256: sha256(&bytes),
                },
            }],
            ..Subject::default()
        },
        environment: Environment {
            arm: Arm::Sim,
            clock_source: "virtual".to_owned(),
            ..environment::environment(None)
        },
        plan: plan.plan(),
        profile: Profile::Chaos,
        server: None,
        checks: Vec::new(),
        scenarios,
        latency: Vec::new(),
        properties: Vec::new(),
        findings: Vec::new(),
        limits: Vec::new(),
        attachments: Vec::new(),
    };
    let report = kms_report::build(inputs).context("put the report together")?;
    show::write(&out.join(REPORT), &kms_report::to_json(&report))
}

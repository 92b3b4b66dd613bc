//! `swarm`: scenarios that are drawn whole.

use anyhow::anyhow;
use kms_scenario::verdict::Verdict;
use kms_scenario::{language, swarm};

use super::chaos::{keep, runs, show};
use crate::cli::SwarmArgs;
use crate::exit::{self, Failure};

/// Runs drawn scenarios. A fault that touched nothing is no finding here: what is drawn need not meet.
pub fn swarm(args: &SwarmArgs) -> Result<u8, Failure> {
    let out = show::folder(args.out.as_deref())?;
    let toml = |seed: u64| language::write(&swarm::draw(seed)).map_err(|error| anyhow!(error));
    let mut jobs = Vec::new();
    for number in 0..args.seeds {
        let seed = args.seed.wrapping_add(number);
        let replay = format!("kms-harness swarm --seeds 1 --seed {seed} --out swarm-{seed}");
        let job = runs::job_of(&toml(seed)?, seed, replay);
        jobs.push(job.map_err(|problems| anyhow!("seed {seed}: {problems}"))?);
    }
    let ran = runs::all(&jobs, args.jobs, |ran| {
        if let Some(out) = &out
            && (ran.verdict != Verdict::Pass || args.seeds == 1)
        {
            show::write(&out.join(format!("{}.toml", ran.id)), &toml(ran.seed)?)?;
            keep(Some(out), ran)?;
        }
        Ok(())
    })?;
    let whole = ran.iter().all(|ran| ran.reason.is_none());
    let code = show::finish(&ran, args.format, out.as_deref())?;
    let untouched = code == exit::INCONCLUSIVE && whole;
    Ok(if untouched { exit::HELD } else { code })
}

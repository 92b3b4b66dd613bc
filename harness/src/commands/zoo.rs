//! `zoo`: serves one plugin of the zoo, for a look at what the suite says of it.

use anyhow::{Context, anyhow};
use kms_zoo::serve::{Place, serve};
use kms_zoo::{Arm, find};

use crate::cli::ZooArgs;
use crate::exit::{self, Failure, OrUsage};
use crate::socket;

/// Serves it until it is told to end.
pub async fn zoo(args: &ZooArgs) -> Result<u8, Failure> {
    let mutant = find(&args.mutant).map_err(|text| Failure::Usage(anyhow!(text)))?;
    let bug = match mutant.arm {
        Arm::Honest => None,
        Arm::InProcess(bug) | Arm::Process(bug) => Some(bug),
        Arm::Chaos(_) => {
            return Err(Failure::Usage(anyhow!(
                "{} is planted around our own plugin in the simulation: calibrate alone runs it",
                mutant.id
            )));
        }
    };
    let place = Place {
        socket: socket::parse(&args.socket).or_usage()?,
        state: args.state.clone(),
        metrics_port: args.metrics_port,
    };
    serve(bug, &place)
        .await
        .with_context(|| format!("serve {}", mutant.id))?;
    Ok(exit::HELD)
}

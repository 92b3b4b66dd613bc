//! `rehearse`: the operators' procedure on a simulated OpenShift cluster.

use anyhow::Context;
use kms_rehearse::options::{Options, Wish};

use super::matrix;
use crate::cli::{Format, RehearseArgs};
use crate::console;
use crate::exit::{self, Failure, OrUsage};

/// Options that procedures have.
const PROCEDURES: [&str; 6] = [
    "--at",
    "--mode",
    "--nodes",
    "--objects",
    "--fault",
    "a category",
];

/// Plays a procedure and prints it, live answers included.
pub fn rehearse(args: &RehearseArgs) -> Result<u8, Failure> {
    match args.procedure.as_str() {
        "matrix" => return matrix::matrix(args),
        "swarm" => return matrix::swarm(args),
        _ => matrix::refuse(args, &PROCEDURES)?,
    }
    let options = Options::read(&Wish {
        procedure: &args.procedure,
        category: args.category.as_deref(),
        fault: args.fault.as_deref(),
        at: args.at.as_deref(),
        mode: args.mode.as_deref(),
        nodes: args.nodes,
        objects: args.objects,
        seed: args.seed,
    })
    .or_usage()?;
    let played = kms_rehearse::rehearse(&options).context("rehearse")?;
    let text = match args.format {
        Format::Text => played.text(),
        Format::Json => {
            let text = serde_json::to_string_pretty(&played).context("write the rehearsal")?;
            text + "\n"
        }
    };
    console::result(&text).context("print the rehearsal")?;
    Ok(if played.held {
        exit::HELD
    } else {
        exit::SUBJECT_FAILED
    })
}

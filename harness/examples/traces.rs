//! Plays the recordings of the real API server's client code on the simulated one, and prints for
//! each how many events were alike and how many different.
//!
//! `cargo run -p kms-harness --example traces [NAME...]`; exit 1 if anything is different.

#[path = "../apiserver/replay/mod.rs"]
mod replay;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use replay::{Trace, play};

fn main() -> std::io::Result<ExitCode> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("apiserver/tests/traces");
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<28} {:>6} {:>9}  kinds compared",
        "trace", "alike", "different"
    )?;
    let (mut alike, mut different) = (0, 0);
    let mut elsewhere: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files {
        let trace = Trace::parse(&std::fs::read_to_string(&file)?);
        if !wanted.is_empty() && !wanted.contains(&trace.scenario) {
            continue;
        }
        let table = play(&trace);
        let kinds = table
            .alike
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"));
        let kinds: Vec<String> = kinds.collect();
        writeln!(
            out,
            "{:<28} {:>6} {:>9}  {}",
            table.scenario,
            table.alike_count(),
            table.different_count(),
            kinds.join(", ")
        )?;
        for (kind, whys) in &table.different {
            for why in whys {
                writeln!(out, "    {kind}: {why}")?;
            }
        }
        alike += table.alike_count();
        different += table.different_count();
        for (why, count) in table.elsewhere {
            *elsewhere.entry(why).or_default() += count;
        }
    }
    writeln!(out, "{:<28} {alike:>6} {different:>9}", "all")?;
    writeln!(out, "\nnot compared here:")?;
    for (why, count) in elsewhere {
        writeln!(out, "{count:>7}  {why}")?;
    }
    Ok(if different == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

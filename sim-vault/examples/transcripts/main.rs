//! How the simulation compares with the recordings of the real servers, topic by topic.
//!
//! `cargo run -p sim-vault --example transcripts [-- [openbao|vault] [TOPIC...] [--differences]]`

use std::process::ExitCode;

use sim_vault::Flavour;

#[path = "replay.rs"]
mod replay;

use replay::{replay as run, topics};

#[expect(clippy::print_stdout, reason = "the table is the example's output")]
fn main() -> ExitCode {
    let mut flavours = vec![Flavour::OpenBao, Flavour::Vault];
    let mut wanted = Vec::new();
    let mut verbose = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "openbao" => flavours = vec![Flavour::OpenBao],
            "vault" => flavours = vec![Flavour::Vault],
            "--differences" => verbose = true,
            topic => wanted.push(topic.to_owned()),
        }
    }
    let mut all_alike = true;
    for flavour in flavours {
        println!("{flavour:?}");
        let mut sum = (0, 0, 0);
        for topic in topics(flavour) {
            if !wanted.is_empty() && !wanted.contains(&topic) {
                continue;
            }
            let report = run(flavour, &topic);
            println!(
                "  {topic:<22} alike {:>4}  different {:>3}  not applicable {:>3}  observations {:>3}",
                report.alike,
                report.different.len(),
                report.not_applicable.len(),
                report.observations
            );
            sum.0 += report.alike;
            sum.1 += report.different.len();
            sum.2 += report.not_applicable.len();
            for reason in &report.not_applicable {
                println!("      not applicable: {reason}");
            }
            for difference in report.different.iter().filter(|_| verbose) {
                println!("    DIFFERENT {difference}");
            }
        }
        println!(
            "  sum: {} alike, {} different, {} not applicable",
            sum.0, sum.1, sum.2
        );
        all_alike &= sum.1 == 0;
    }
    if all_alike {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

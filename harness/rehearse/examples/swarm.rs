//! Plays seeds of the swarm on two threads: how many, and which is the first.
//!
//! ```text
//! cargo run --release -p kms-rehearse --example swarm 2000 1
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "it measures real time beside the cluster's"
)]

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use kms_rehearse::many;
use kms_rehearse::swarm::{Swarm, fly};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let count: u64 = words.next().map_or(Ok(100), |word| word.parse())?;
    let first: u64 = words.next().map_or(Ok(1), |word| word.parse())?;
    let seeds: Vec<u64> = (first..first + count).collect();
    let began = Instant::now();
    let flown = many::play(
        &seeds,
        2,
        |seed| fly(*seed),
        |flown| {
            if !flown.wrong.is_empty() {
                // whoever waits for thousands of seeds wants to know at once
                let text = format!("{}: {}: {:?}\n", flown.seed, flown.drawn, flown.wrong);
                std::io::stderr()
                    .write_all(text.as_bytes())
                    .unwrap_or_default();
            }
        },
    );
    let text = format!("{}{:.1?}\n", Swarm::of(flown).text(), began.elapsed());
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

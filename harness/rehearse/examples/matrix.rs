//! Plays the fault matrix, or a part of it, on two threads: `name=value` words for path, fault, phase and seed.
//!
//! ```text
//! cargo run -p kms-rehearse --example matrix path=kms-to-identity fault=key-rotated
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "it measures real time beside the cluster's"
)]

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use kms_rehearse::many;
use kms_rehearse::matrix::report::{Sweep, Verdict};
use kms_rehearse::matrix::{Cell, Wish, cells};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let mut all = words.iter();
        all.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let wish = Wish {
        path: value("path"),
        fault: value("fault"),
        phase: value("phase"),
        seed: value("seed").map_or(Ok(1), str::parse)?,
    };
    let began = Instant::now();
    let played = many::play(&cells(&wish)?, 2, Cell::play, |played| {
        if played.verdict == Verdict::Failed {
            // whoever waits for hundreds of cells wants to know at once
            let text = format!("{}: {:?}\n", played.cell, played.wrong);
            std::io::stderr()
                .write_all(text.as_bytes())
                .unwrap_or_default();
        }
    });
    let sweep = Sweep::of(played);
    let text = format!("{}{:.1?}\n", sweep.text(), began.elapsed());
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

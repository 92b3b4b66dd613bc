//! Prints a rehearsal: procedure, then `name=value` words.
//!
//! ```text
//! cargo run -p kms-rehearse --example page enable fault=OCP-FAULT-13 at=edit objects=100
//! ```

use std::error::Error;
use std::io::Write;

use kms_rehearse::options::{Options, Wish};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let mut all = words.iter();
        all.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let wish = Wish {
        procedure: words.first().map_or("enable", String::as_str),
        category: value("category"),
        fault: value("fault"),
        at: value("at"),
        mode: value("mode"),
        nodes: value("nodes").map(str::parse).transpose()?,
        objects: value("objects").map(str::parse).transpose()?,
        seed: value("seed").map_or(Ok(1), str::parse)?,
    };
    let played = kms_rehearse::rehearse(&Options::read(&wish)?)?;
    std::io::stdout().write_all(played.text().as_bytes())?;
    Ok(())
}

//! The command line, and tiers on real parts, in one binary: most of it waits, and where no real part wants the cores all of
//! it waits together.
//!
//! Names begin with the tier: `cargo test -p kms-harness --test tiers doctor::` runs one. Tiers that need the Kubernetes
//! client are binaries of their own, `apiserver` and `cluster`.

/// Trials of functions that panic where something does not hold. Their names are the tier's and their paths.
macro_rules! plain {
    ($tier:literal: $($place:ident :: $name:ident),* $(,)?) => {
        vec![$(
            libtest_mimic::Trial::test(
                concat!($tier, "::", stringify!($place), "::", stringify!($name)),
                || {
                    $place::$name();
                    Ok(())
                },
            )
        ),*]
    };
}

mod commands;
mod common;
mod deploy;
mod doctor;
#[path = "../report/tests/it/fixture.rs"]
mod fixture;
mod page;
mod process;
mod vaults;
mod zoo;

use std::sync::Arc;

use common::{plugin, tier};

fn main() {
    let plugin = Arc::new(plugin::built_first());
    if process::many_kills(&plugin) {
        return;
    }
    // The longest first, so that none of them runs alone at the end.
    tier::run(vec![
        commands::tier(),
        zoo::tier(),
        vaults::tier(&plugin),
        process::tier(&plugin),
        doctor::tier(&plugin),
        deploy::tier(&plugin),
        page::tier(),
    ])
}

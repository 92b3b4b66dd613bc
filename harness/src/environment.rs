//! What a report says about the machine and about the suite that judged.

use std::fs;

use kms_report::model::{Arm, Backend, Contract, Environment, Suite};

use crate::vault::VaultBackend;

/// This build of the suite.
pub fn suite() -> Suite {
    let known = |text: &str| (text != "unknown").then(|| text.to_owned());
    Suite {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: known(env!("KMS_SUITE_COMMIT")),
        dirty: Some(env!("KMS_SUITE_DIRTY") == "true"),
        build_profile: env!("KMS_SUITE_PROFILE").to_owned(),
        rustc: known(env!("KMS_SUITE_RUSTC")),
        target: known(env!("KMS_SUITE_TARGET")),
        features: Vec::new(),
        contract: Contract::current(),
        scenarios_digest: None,
    }
}

/// This machine before a run, as far as it tells. Load after the run is filled in later.
pub fn environment(vault: Option<&dyn VaultBackend>) -> Environment {
    Environment {
        arm: Arm::Process,
        os: std::env::consts::OS.to_owned(),
        kernel: read("/proc/sys/kernel/osrelease"),
        arch: std::env::consts::ARCH.to_owned(),
        cpu: cpu(),
        memory_bytes: memory(),
        container_runtime: vault
            .and_then(|vault| vault.container_runtime())
            .map(str::to_owned),
        clock_source: "CLOCK_MONOTONIC".to_owned(),
        time_scale: 1,
        load_before: load(),
        load_after: None,
        kubernetes: None,
        backend: vault.map(|vault| Backend {
            product: vault.product().name.clone(),
            version: vault.product().version.clone(),
            model_digest: None,
        }),
    }
}

/// The three load averages.
pub fn load() -> Option<String> {
    let text = read("/proc/loadavg")?;
    Some(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

fn cpu() -> Option<String> {
    let count = std::thread::available_parallelism().ok()?;
    let info = read("/proc/cpuinfo")?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    Some(format!("{count} x {model}"))
}

fn memory() -> Option<u64> {
    let info = read("/proc/meminfo")?;
    let kib = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    kib.trim()
        .strip_suffix(" kB")?
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

fn read(file: &str) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}

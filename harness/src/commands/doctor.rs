//! `doctor`: what is wrong with a cluster's KMS encryption.
//!
//! Here is where it looks; what that means is `kms-doctor`'s. Each gatherer brings raw documents and says of each why it
//! is missing: `socket`, `vault`, `files`, and `cluster` behind the feature `kube`.

#[cfg(feature = "kube")]
mod cluster;
mod files;
mod socket;
mod vault;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, ensure};
use kms_doctor::canary::{self, Secret};
use kms_doctor::evidence::Why;
use kms_doctor::raw::Raw;
use kms_doctor::{Diagnosis, Evidence, bundle, intake};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::cli::{DoctorArgs, Format, GatherArgs};
use crate::console;
use crate::exit::{self, Failure, OrUsage};

/// What was gathered.
pub(super) struct Gathered {
    /// It, redacted.
    pub evidence: Evidence,
    /// Names of nodes with what stands for them.
    pub nodes: BTreeMap<String, String>,
    /// What must not be shown of it.
    pub secrets: Vec<Secret>,
}

/// Looks, and says what is wrong.
pub async fn doctor(args: &DoctorArgs) -> Result<u8, Failure> {
    let gathered = match &args.bundle {
        Some(folder) => open(folder).or_usage()?,
        None => gather(&args.gather).await?,
    };
    let diagnosis = Diagnosis::of(&gathered.evidence).named(&gathered.nodes);
    let text = match args.format {
        Format::Text => diagnosis.text(),
        Format::Json => {
            let text = serde_json::to_string_pretty(&diagnosis).context("write the findings")?;
            text + "\n"
        }
    };
    console::result(&text).context("print the findings")?;
    Ok(code(&gathered.evidence, &diagnosis))
}

/// 1 if something is wrong, 3 if nothing was seen, else 0.
pub(super) fn code(evidence: &Evidence, diagnosis: &Diagnosis) -> u8 {
    if !diagnosis.findings.is_empty() {
        exit::SUBJECT_FAILED
    } else if evidence.saw_anything() {
        exit::HELD
    } else {
        exit::INCONCLUSIVE
    }
}

/// Looks where the options say.
pub(super) async fn gather(args: &GatherArgs) -> Result<Gathered, Failure> {
    let asked = [
        args.kubeconfig.is_some(),
        args.socket.is_some(),
        args.plugin_log.is_some(),
        args.vault.is_some(),
    ];
    if !asked.contains(&true) {
        return Err(anyhow!(
            "say where to look: --kubeconfig FILE, --socket unix:///PATH, --vault ADDRESS, or what was gathered before"
        ))
        .or_usage();
    }
    let mut raw = Raw::new(now().context("read the clock")?);
    let mut secrets = Vec::new();
    if let Some(file) = &args.kubeconfig {
        cluster(file, &mut raw).await?;
    }
    let node = this_node();
    if let Some(url) = &args.socket {
        let path = crate::socket::parse(url).or_usage()?;
        socket::look(&path, &node, &mut raw).await;
    }
    if let Some(file) = &args.plugin_log {
        let text = std::fs::read(file)
            .with_context(|| format!("--plugin-log {}", file.display()))
            .or_usage()?;
        raw.add(format!("nodes/{node}/plugin.log"), Ok(text));
    }
    if let Some(address) = &args.vault {
        vault::look(address, args, &mut raw, &mut secrets)
            .await
            .or_usage()?;
    }
    redacted(&raw, secrets).map_err(Failure::Harness)
}

/// What was gathered before: a bundle, or documents.
pub(super) fn open(folder: &Path) -> Result<Gathered> {
    let shown = folder.display();
    ensure!(
        folder.is_dir(),
        "{shown} is no folder; name one that collect or a run has written"
    );
    if folder.join(bundle::MANIFEST).is_file() {
        let files = files::all(folder)?;
        return Ok(Gathered {
            evidence: bundle::read(&files).with_context(|| shown.to_string())?,
            nodes: BTreeMap::new(),
            secrets: Vec::new(),
        });
    }
    documents(folder)
}

/// Raw documents in a folder.
pub(super) fn documents(folder: &Path) -> Result<Gathered> {
    let raw = files::documents(folder, now()?)?;
    ensure!(
        raw.names().next().is_some(),
        "{} has none of the documents that kms-harness collect --help names, and is no bundle",
        folder.display()
    );
    redacted(&raw, Vec::new())
}

fn redacted(raw: &Raw, mut secrets: Vec<Secret>) -> Result<Gathered> {
    let mut salt = [0; 32];
    for half in salt.chunks_exact_mut(16) {
        half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    let (evidence, veil) = intake::evidence(raw, salt);
    secrets.extend(canary::known(raw, veil.nodes().keys().cloned()));
    Ok(Gathered {
        evidence,
        nodes: veil.nodes().clone(),
        secrets,
    })
}

#[cfg(feature = "kube")]
async fn cluster(file: &Path, raw: &mut Raw) -> Result<(), Failure> {
    cluster::look(file, raw).await
}

#[cfg(not(feature = "kube"))]
async fn cluster(file: &Path, _: &mut Raw) -> Result<(), Failure> {
    Err(anyhow!(
        "--kubeconfig {}: this kms-harness cannot reach clusters: build it with `--features kube`",
        file.display()
    ))
    .or_usage()
}

/// This machine's name, which is its node's.
fn this_node() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Seconds since 1970.
fn now() -> Result<i64> {
    #[expect(clippy::disallowed_methods, reason = "a real cluster has real time")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.context("the clock is before 1970")?;
    i64::try_from(now.as_secs()).context("the clock is far ahead")
}

/// A secret in a file.
fn secret_file(option: &str, file: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .with_context(|| format!("{option} {}", file.display()))?;
    let secret = Zeroizing::new(text.trim().to_owned());
    ensure!(
        !secret.is_empty(),
        "{option} {}: the file is empty",
        file.display()
    );
    Ok(secret)
}

fn put(raw: &mut Raw, name: impl Into<String>, value: &Value) {
    raw.add(name, serde_json::to_vec(value).map_err(|_| Why::Unreadable));
}

//! Plugins that are not ours to build, and a Vault that is not ours to break: the same arm, and a reason where it cannot.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use kms_harness::arm::process::Parts;
use kms_harness::arm::process::subject::Subject;
use kms_harness::arm::process::vault::make::Make;
use kms_harness::commands::chaos::runs::{self, Job, Place, Ran};
use kms_harness::commands::chaos::show::explained;
use kms_harness::subject::file::SubjectFile;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use kms_harness::vault::VaultBackend;
use kms_harness::vault::provision::Wanted;
use kms_harness::vault::server::Server;
use kms_scenario::verdict::Verdict;
use libtest_mimic::Trial;

use super::{openbao, parts};
use crate::common::tier;

/// A short run: kind and parameters of its fault, and what `[world]` says.
fn scenario(world: &str, fault: &str) -> String {
    format!(
        r#"
id = "short"
title = "A fault for a moment."
proves = ["KMS2-RT-01"]
arms = ["process"]
{world}
[load]
writes = "120/min"
reads = "120/min"
objects = 3
[phases]
settle = "5s"
baseline = "2s"
fault = "6s"
heal = "2s"
liveness = "20s"
[[fault]]
id = "it"
at = "1s"
{fault}
[[expect]]
eventually = "writes-ok"
within = "15s"
[[expect]]
eventually = "reads-ok"
within = "15s"
"#
    )
}

/// Our binary as somebody else's: a file with its command.
fn described(binary: &Path) -> Result<SubjectFile> {
    SubjectFile::parse(&format!(
        r#"
name = "acme"
several = true
command = [
    {binary:?}, "-vault-address={{vault}}", "-auth-method=token", "-token-path={{token_file}}", "-transit-mount={{mount}}",
    "-transit-key={{key}}", "-socket=unix://{{socket}}", "-health-port=0", "-metrics-port={{metrics_port}}",
]
"#
    ))
}

/// All of them.
pub fn trials(subject: &Subject) -> Vec<Trial> {
    vec![
        tier::test(
            "process::subject::any_plugin_by_its_file",
            openbao(subject),
            any_plugin_by_its_file,
        ),
        tier::test(
            "process::subject::a_socket_of_somebody_elses",
            openbao(subject),
            a_socket_of_somebody_elses,
        ),
        tier::test(
            "process::subject::a_vault_at_an_address_is_given_back",
            openbao(subject),
            a_vault_at_an_address_is_given_back,
        ),
        tier::test(
            "process::subject::a_cluster_that_is_simulated",
            Ok::<_, String>(parts(subject, Make::Simulated)),
            a_cluster_that_is_simulated,
        ),
    ]
}

async fn ran(text: &str, parts: Parts) -> Result<Ran> {
    let job = runs::job_of(text, 1, String::new()).map_err(anyhow::Error::msg)?;
    let place = Place::Process(Arc::new(parts));
    let job = Job { place, ..job };
    #[expect(clippy::disallowed_methods, reason = "a run has a runtime of its own")]
    let ran = tokio::task::spawn_blocking(move || runs::one(&job));
    Ok(ran.await?)
}

async fn passes(text: &str, parts: Parts) -> Result<()> {
    let ran = ran(text, parts).await?;
    if ran.verdict != Verdict::Pass {
        bail!("{}", explained(&ran));
    }
    Ok(())
}

async fn refused(text: &str, parts: Parts, why: &str) -> Result<()> {
    let ran = ran(text, parts).await?;
    let reason = ran.reason.clone().unwrap_or_default();
    ensure!(
        ran.verdict == Verdict::NotApplicable && reason.contains(why),
        "{:?}: {reason}",
        ran.verdict
    );
    Ok(())
}

const TOKEN: &str = "[world]\nnodes = 2\nvault = { auth = \"token\" }";
const KILLED: &str = "kind = \"plugin-kill\"\nfor = \"2s\"";

async fn any_plugin_by_its_file(parts: Parts) -> Result<()> {
    let Subject::Own(binary) = &parts.subject else {
        bail!("our binary stands for any");
    };
    let file = described(binary)?;
    let acme = Parts {
        subject: Subject::Described(Box::new(file)),
        ..parts.clone()
    };
    passes(&scenario(TOKEN, KILLED), acme.clone()).await?;
    let by_approle = "[world]\nnodes = 1";
    refused(&scenario(by_approle, KILLED), acme, "AppRole").await
}

async fn a_socket_of_somebody_elses(parts: Parts) -> Result<()> {
    let (Make::Real(family, server), Subject::Own(binary)) = (&parts.vault, &parts.subject) else {
        bail!("it is about our plugin on a real server");
    };
    let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
    let vault = Server::dev(*family, server, folder.path()).await?;
    let access = Wanted::default();
    let access = access.create(&vault.admin(), folder.path()).await?;
    let values = values(&vault, &access, folder.path());
    let subject = own::describe(binary, Vocabulary::Sidecar, &values);
    let plugin = Running::start(subject, values, folder.path().join("plugin.log")).await?;
    let theirs = Parts {
        subject: Subject::Socket(plugin.socket().to_owned()),
        ..parts.clone()
    };
    let cut = scenario(
        "",
        "kind = \"rpc-hold\"\nfor = \"3s\"\nmethod = \"encrypt\"",
    );
    let restarted =
        format!("{cut}\n[[fault]]\nid = \"again\"\nat = \"2s\"\nkind = \"apiserver-restart\"\n");
    passes(&restarted, theirs.clone()).await?;
    refused(&scenario("", KILLED), theirs.clone(), "somebody else's").await?;
    refused(&scenario("", "kind = \"vault-seal\""), theirs, "Vault is").await
}

async fn a_vault_at_an_address_is_given_back(parts: Parts) -> Result<()> {
    let Make::Real(family, server) = &parts.vault else {
        bail!("it is about a real server");
    };
    let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
    let vault = Server::dev(*family, server, folder.path()).await?;
    let admin = vault.admin();
    let before = admin.read("sys/mounts").await?.ok()?["data"].clone();
    let theirs = Parts {
        vault: Make::Theirs {
            addresses: vault.addresses(),
            ca: None,
            token: admin.token().to_owned().into(),
        },
        ..parts.clone()
    };
    let rotated = scenario("", "kind = \"vault-rotate\"");
    passes(&rotated, theirs.clone()).await?;
    let after = admin.read("sys/mounts").await?.ok()?["data"].clone();
    ensure!(before == after, "left behind: {before} and now {after}");
    let shown = format!("{:?}", theirs.vault);
    ensure!(!shown.contains(admin.token()), "the token is shown");
    refused(&scenario("", "kind = \"vault-seal\""), theirs, "not ours").await
}

async fn a_cluster_that_is_simulated(parts: Parts) -> Result<()> {
    let three = "[world.vault]\nnodes = 3";
    let text = scenario(three, "kind = \"vault-step-down\"");
    passes(&(text + "[scale]\nprocess = 0.25\n"), parts).await
}

//! Faults of the plugin's process on its node, made by the relay there. A supervisor stands for the kubelet.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kms_harness::relay::client::Relay;
use kms_harness::relay::serve::{self, Places};
use kms_harness::relay::{Deed, Harm, Ordered};
use nix::sys::signal::Signal;
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::world::{Cluster, Parts, Said, Wish, ended, signal, until};

const SCENARIO: &str = r#"
title = "Everything that happens to a process, one after another."
proves = ["KMS2-RT-01"]
arms = ["cluster"]

[phases]
settle = "5s"
baseline = "2s"
fault = "34s"
heal = "1s"
liveness = "75s"

[[fault]]
id = "killed"
kind = "plugin-restart"
at = "1s"

[[fault]]
id = "frozen"
kind = "plugin-freeze"
at = "5s"
for = "10s"

[[fault]]
id = "gone"
kind = "plugin-kill"
at = "18s"
for = "5s"

[[fault]]
id = "ended"
kind = "plugin-stop"
at = "25s"
for = "4s"

[[fault]]
id = "stale"
kind = "plugin-stale-socket"
at = "32s"

[[expect]]
eventually = "status-ok"
within = "60s"
after = "heal"

[[expect]]
eventually = "writes-ok"
within = "60s"
after = "heal"
"#;

/// It stands still for a moment, in a fault phase that goes on long after.
const FROZEN: &str = r#"
title = "The plugin stands still."
proves = ["KMS2-RT-01"]
arms = ["cluster"]

[phases]
settle = "5s"
baseline = "2s"
fault = "10m"
heal = "1s"
liveness = "30s"

[[fault]]
id = "frozen"
kind = "plugin-freeze"
at = "1s"
for = "15s"

[[expect]]
sometimes = "writes-ok"
"#;

/// Number and state of the processes with this executable.
fn processes(executable: &Path) -> Vec<(i32, char)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let place = entry.path();
        let runs = std::fs::read_link(place.join("exe")).is_ok_and(|linked| linked == executable);
        let stat = std::fs::read_to_string(place.join("stat")).unwrap_or_default();
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        let id = entry.file_name().to_string_lossy().parse();
        if let (true, Some(state), Ok(id)) = (runs, state, id) {
            found.push((id, state));
        }
    }
    found
}

fn stands_still(executable: &Path) -> bool {
    processes(executable).iter().any(|(_, state)| *state == 'T')
}

/// All of it on one cluster.
pub async fn its_process_is_broken_where_both_sides_allow_it(parts: Parts) -> Result<()> {
    let wish = Wish {
        supervised: true,
        ..Wish::default()
    };
    let cluster = Cluster::with(&parts, wish).await?;
    it_is_killed_frozen_and_kept_away(&cluster).await?;
    what_is_frozen_goes_on_without_the_harness(&cluster).await?;
    without_the_mark_nothing_is_frozen(&cluster).await
}

/// Both sides must allow it; then each fault touches the process, the supervisor starts it again, and all is well.
async fn it_is_killed_frozen_and_kept_away(cluster: &Cluster) -> Result<()> {
    let policy = cluster.policy().await?;
    let executable = cluster.path("the-plugin");
    let scenario = cluster.scenario("process", SCENARIO)?;
    let relayed = cluster.relayed();
    let before = processes(&executable);
    ensure!(before.len() == 1, "{before:?}");

    // The harness is not allowed to.
    let words = cluster.staged(&[&relayed[0], &relayed[1], &scenario]);
    let said = Said::of(cluster.chaos(&words)).await?.ended(3)?;
    said.tells(&["not_applicable", "--allow-node-faults allows it"])?;
    // The relay is not: it says so before a run, and refuses.
    let [port] = kms_process::ports::free_ports()?;
    let serving = serve::start(Places {
        vault: Some((
            format!("127.0.0.1:{port}").parse()?,
            cluster.vault_address(),
        )),
        socket: None,
        process: None,
        control: "127.0.0.1:0".parse()?,
        token: Zeroizing::new(std::fs::read_to_string(cluster.path("relay-token"))?),
    })
    .await?;
    let control = format!("http://{}", serving.control);
    let other = format!("--relay={control}");
    let words = cluster.staged(&[&other, &relayed[1], "--allow-node-faults", &scenario]);
    let said = Said::of(cluster.chaos(&words)).await?.ended(3)?;
    said.tells(&[
        "not_applicable",
        "--plugin-executable and --allow-node-faults",
    ])?;
    let relay = Relay::reach(&control, &cluster.path("relay-token"))?;
    let kill = Ordered {
        deed: Deed::Process(Harm::Kill),
        millis: 1000,
    };
    let refused = relay.make("kill", &kill).await.err();
    let refused = format!("{:#}", refused.context("a process was killed")?);
    ensure!(refused.contains("--allow-node-faults"), "{refused}");
    let mut alone = Command::new(env!("CARGO_BIN_EXE_kms-harness"));
    alone.args(["relay", "--control-token-path=x", "--plugin-executable=/x"]);
    let said = Said::of(alone).await?.ended(2)?;
    said.tells(&["--allow-node-faults"])?;
    ensure!(processes(&executable) == before, "something was done to it");

    let allowed = [&relayed[0], &relayed[1], "--allow-node-faults", &scenario];
    let dry = Said::of(cluster.chaos(&cluster.staged(&[&allowed[..], &["--dry-run"]].concat())));
    dry.await?.ended(0)?.tells(&[
        "plugin-kill, for 5 s",
        "plugin-freeze, for 10 s",
        "the plugin's process, which may be broken",
    ])?;
    let out = format!("--out={}", cluster.path("out").display());
    let run = cluster
        .chaos(&cluster.staged(&[&allowed[..], &[&out]].concat()))
        .spawn()?;
    let mut seen = BTreeSet::new();
    until("the process stands still", async || {
        seen.extend(processes(&executable).into_iter().map(|(id, _)| id));
        Ok(stands_still(&executable))
    })
    .await?;
    let files = cluster.undo_files()?;
    let kept = files.iter().any(|text| text.contains(&cluster.relay));
    ensure!(kept, "it stands still, and no file undoes it: {files:?}");
    until("it goes on", async || Ok(!stands_still(&executable))).await?;
    let output = run.wait_with_output().await?;
    let said = Said::output(&output)?.ended(0)?;
    said.tells(&["\"verdict\": \"pass\""])?;
    seen.extend(processes(&executable).into_iter().map(|(id, _)| id));
    ensure!(seen.len() >= 3, "it was never another process: {seen:?}");
    cluster.is_as_before(&policy).await
}

/// Killed outright while the process stands still, the harness thaws nothing: the relay does, at the time it was told.
async fn what_is_frozen_goes_on_without_the_harness(cluster: &Cluster) -> Result<()> {
    let policy = cluster.policy().await?;
    let executable = cluster.path("the-plugin");
    let scenario = cluster.scenario("frozen", FROZEN)?;
    let relayed = cluster.relayed();
    let words = cluster.staged(&[&relayed[0], &relayed[1], "--allow-node-faults", &scenario]);
    let run = cluster.chaos(&words).spawn()?;
    until("it stands still", async || Ok(stands_still(&executable))).await?;
    signal(&run, Signal::SIGKILL)?;
    ended(run).await?;
    ensure!(stands_still(&executable), "who thawed it?");
    until("the relay thaws it", async || {
        Ok(!stands_still(&executable))
    })
    .await?;

    let cleanup = ["--staging=staging", "--cleanup"];
    Said::of(cluster.chaos(&cleanup))
        .await?
        .ended(0)?
        .tells(&["2 undone"])?;
    cluster.is_as_before(&policy).await
}

/// The mark is looked for before these faults, too: taken away meanwhile, the process is left alone.
async fn without_the_mark_nothing_is_frozen(cluster: &Cluster) -> Result<()> {
    let executable = cluster.path("the-plugin");
    let short = FROZEN.replace("10m", "4s").replace("for = \"15s\"\n", "");
    let scenario = cluster.scenario("short", &short.replace("30s", "2s"))?;
    let relayed = cluster.relayed();
    let words = cluster.staged(&[&relayed[0], &relayed[1], "--allow-node-faults", &scenario]);
    let run = cluster.chaos(&words).spawn()?;
    until("a run's lease", async || {
        Ok(!cluster.objects().await?.is_empty())
    })
    .await?;
    let mark = "transit/keys/kms-key-kms-harness-staging";
    let config = serde_json::json!({"deletion_allowed": true});
    let admin = cluster.admin();
    admin.write(&format!("{mark}/config"), config).await?;
    admin.delete(mark).await?;
    let before = processes(&executable);
    let said = ended(run).await?.ended(3)?;
    said.tells(&["\"refused\"", "not marked"])?;
    ensure!(
        processes(&executable).len() == 1 && !stands_still(&executable),
        "{before:?}"
    );
    cluster.is_as_before(&cluster.policy().await?).await
}

//! The swarm in parts, its manifest, and a relay on its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_harness::relay::client::Relay;
use kms_harness::relay::serve::{self, Places};
use kms_harness::relay::{Deed, Ordered, Way};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::world::{Cluster, Parts, SOON, Said, until};

fn harness() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms-harness"));
    command
        .env_remove("JOB_COMPLETION_INDEX")
        .kill_on_drop(true);
    command
}

/// Three workers by their index, as an Indexed Job starts them; merged, their report has the digest of one that ran alone.
pub async fn workers_say_together_what_one_says((): ()) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let swarm = |out: &str| {
        let mut command = harness();
        command
            .args([
                "swarm",
                "--seed=5",
                "--seeds=7",
                "--jobs=1",
                "--format=json",
                "--out",
            ])
            .arg(path(out));
        command
    };
    let alone = Said::of(swarm("alone")).await?;
    ensure!(matches!(alone.code, Some(0 | 1)), "{alone:?}");
    let parts = ["0", "1", "2"];
    for index in parts {
        let mut worker = swarm(index);
        worker.arg("--workers=3").env("JOB_COMPLETION_INDEX", index);
        let said = Said::of(worker).await?;
        let result: Value = serde_json::from_str(&said.out)?;
        let seeds: Vec<u64> = result["scenarios"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|row| row["seed"].as_u64())
            .collect();
        let own: u64 = index.parse()?;
        ensure!(
            !seeds.is_empty() && seeds.iter().all(|seed| (seed - 5) % 3 == own),
            "{seeds:?}"
        );
    }
    let mut merge = harness();
    merge
        .args(["report", "merge"])
        .args(parts.map(|part| path(part).join("report.json")))
        .arg("--out")
        .arg(path("merged"));
    let merged = Said::of(merge).await?;
    ensure!(
        merged.code == alone.code && merged.out.contains("scenarios "),
        "{merged:?}"
    );
    let mut digest = harness();
    digest
        .args(["report", "digest"])
        .arg(path("alone"))
        .arg(path("merged"))
        .arg(path("0"));
    let said = Said::of(digest).await?.ended(0)?;
    let digests: Vec<&str> = said
        .out
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    ensure!(
        digests.len() == 3 && digests[0] == digests[1],
        "{}",
        said.out
    );
    ensure!(
        digests[0] != digests[2],
        "a part has the digest of the whole: {}",
        said.out
    );

    for (words, told) in [
        (&["--workers=3"][..], "JOB_COMPLETION_INDEX"),
        (&["--workers=3", "--worker=3"][..], "0 to 2"),
        (&["--worker=0"][..], "--workers"),
    ] {
        let mut wrong = swarm("wrong");
        wrong.args(words);
        Said::of(wrong).await?.ended(2)?.tells(&[told])?;
    }
    Ok(())
}

/// The manifests of `job` are valid to a real server, by a dry run and for good; YAML and JSON say the same to kubectl.
pub async fn the_job_is_taken_by_a_real_server(parts: Parts) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    let words = [
        "job",
        "--seeds=100",
        "--workers=4",
        "--parallelism=2",
        "--image=example/kms-harness:1",
    ];
    let mut json = harness();
    json.args(words).arg("--format=json");
    let said = Said::of(json).await?.ended(0)?;
    let list: Value = serde_json::from_str(&said.out)?;
    for object in list["items"].as_array().context("no list")? {
        for query in [
            "?dryRun=All&fieldValidation=Strict",
            "?fieldValidation=Strict",
        ] {
            let (code, message) = cluster.send(object, query).await?;
            ensure!(code == 201, "{}{query}: {code} {message}", object["kind"]);
        }
    }
    let job = &list["items"][1];
    ensure!(
        job["kind"] == "Job" && job["spec"]["completions"] == 4 && job["spec"]["parallelism"] == 2,
        "{job}"
    );
    if let Some(kubectl) = &parts.server.kubectl {
        for words in [
            &[&words[..], &["--name=other"]].concat()[..],
            &["rbac", "--plugin-pods=default"],
        ] {
            let mut yaml = harness();
            yaml.args(words);
            let said = Said::of(yaml).await?.ended(0)?;
            let file = cluster.path("manifest.yaml");
            std::fs::write(&file, &said.out)?;
            let applied = kubectl_apply(kubectl, &cluster, &file).await?;
            applied.ended(0)?;
        }
    }
    let mut many = harness();
    many.args(["job", "--seeds=3", "--workers=4", "--image=i"]);
    Said::of(many)
        .await?
        .ended(2)?
        .tells(&["more workers than seeds"])
}

async fn kubectl_apply(kubectl: &Path, cluster: &Cluster, file: &Path) -> Result<Said> {
    let mut command = Command::new(kubectl);
    command
        .arg("--kubeconfig")
        .arg(&cluster.server.files().kubeconfig)
        .args([
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "-f",
        ])
        .arg(file)
        .env("HOME", cluster.folder.path());
    Said::of(command).await
}

/// A fault on a relay is over at its time, whether or not somebody ends it; wrong tokens and addresses are refused.
pub async fn a_fault_ends_without_its_harness((): ()) -> Result<()> {
    let echo = TcpListener::bind("127.0.0.1:0").await?;
    let far = echo.local_addr()?;
    let answering = async move {
        loop {
            let Ok((mut stream, _)) = echo.accept().await else {
                return;
            };
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                let _ = stream.write_all(&byte).await;
            }
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(answering);
    let [port] = kms_process::ports::free_ports()?;
    let places = |control: &str, token: &str| {
        Ok::<_, anyhow::Error>(Places {
            vault: Some((
                format!("127.0.0.1:{port}").parse()?,
                format!("http://{far}"),
            )),
            socket: None,
            process: None,
            control: control.parse()?,
            token: Zeroizing::new(token.to_owned()),
        })
    };
    for (control, token, told) in [
        ("0.0.0.0:0", "0123456789abcdef", "loopback"),
        ("127.0.0.1:0", "short", "16 characters"),
    ] {
        let refused = serve::start(places(control, token)?).await.err();
        let refused = format!("{:#}", refused.context("it was taken")?);
        ensure!(refused.contains(told), "{refused}");
    }
    let serving = serve::start(places("127.0.0.1:0", "0123456789abcdef")?).await?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str, token: &str| -> Result<std::path::PathBuf> {
        let file = folder.path().join(name);
        std::fs::write(&file, token)?;
        Ok(file)
    };
    let control = format!("http://{}", serving.control);
    let stranger = Relay::reach(&control, &file("wrong", "0123456789abcdeX")?)?;
    ensure!(stranger.state().await.is_err(), "a wrong token was taken");
    let relay = Relay::reach(&control, &file("right", "0123456789abcdef\n")?)?;

    let mut through = tokio::net::TcpSocket::new_v4()?
        .connect(format!("127.0.0.1:{port}").parse()?)
        .await?;
    let held = Ordered {
        deed: Deed::Link {
            requests: Way {
                held: true,
                ..Way::default()
            },
            answers: Way::default(),
        },
        millis: 1500,
    };
    relay.make("cut", &held).await?;
    ensure!(
        relay.make("cut", &held).await.is_err(),
        "one name for two faults"
    );
    through.write_all(b"x").await?;
    let mut byte = [0];
    let early = timeout(Duration::from_millis(300), through.read_exact(&mut byte)).await;
    ensure!(early.is_err(), "it passed through a cut way");
    // Nobody ends it.
    timeout(SOON, through.read_exact(&mut byte)).await??;
    until("the fault's end", async || {
        Ok(relay.state().await?.faults == 0)
    })
    .await?;
    let state = relay.state().await?;
    ensure!(
        state.vault && !state.socket && state.link_hits > 0,
        "{state:?}"
    );
    Ok(())
}

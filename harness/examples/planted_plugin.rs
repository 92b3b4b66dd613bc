//! A plugin with a planted bug: an honest one behind middlemen, on its socket and on its way to Vault. For tests.
//!
//! ```text
//! planted_plugin --bug NAME --socket PATH --vault http://HOST:PORT -- PROGRAM ARGUMENT…
//! ```
//!
//! In the arguments `@socket` and `@vault` stand for the places at which the honest plugin meets its middlemen. One
//! process is one life of the plugin: both go together.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Parser;
use kms_planted::{Planted, Variant};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

#[derive(Parser)]
struct Args {
    /// A variant of kms-planted, or `none`.
    #[arg(long)]
    bug: String,
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    vault: String,
    #[arg(last = true, required = true)]
    plugin: Vec<String>,
}

/// The middlemen of both sides. Without a bug, each has one of the other side.
fn life(bug: &str) -> Result<(Planted, Planted)> {
    let (kms, vault) = if bug == "none" {
        (Variant::LoginOnce, Variant::AlwaysOk)
    } else {
        let bug: Variant = bug.parse().map_err(anyhow::Error::msg)?;
        (bug, bug)
    };
    Ok((Planted::new(kms), Planted::new(vault)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let (kms, vault) = life(&args.bug)?;
    let far = args.vault.strip_prefix("http://");
    let far = far.context("--vault is http://HOST:PORT")?.to_owned();
    let inner = args.socket.with_extension("honest");
    if args.socket.exists() {
        std::fs::remove_file(&args.socket).context("remove the socket of before")?;
    }
    let callers = UnixListener::bind(&args.socket).context("listen on the socket")?;
    let requests = TcpListener::bind("127.0.0.1:0").await?;
    let near = format!("http://{}", requests.local_addr()?);

    let filled = args.plugin.iter().map(|word| {
        word.replace("@socket", &inner.display().to_string())
            .replace("@vault", &near)
    });
    let filled: Vec<String> = filled.collect();
    let mut honest = Command::new(&filled[0])
        .args(&filled[1..])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("start the honest plugin")?;

    let mut carried = JoinSet::new();
    let mut asked_to_end = signal(SignalKind::terminate())?;
    loop {
        while carried.try_join_next().is_some() {}
        tokio::select! {
            biased;
            _ = asked_to_end.recv() => return Ok(()),
            ended = honest.wait() => bail!("the honest plugin ended: {}", ended?),
            caller = callers.accept() => {
                let ((caller, _), kms, inner) = (caller?, kms.clone(), inner.clone());
                carried.spawn(async move {
                    // A plugin that is not there yet is seen as a connection that ends.
                    if let Ok(plugin) = UnixStream::connect(&inner).await {
                        kms.carry_kms(caller, plugin).await;
                    }
                });
            }
            request = requests.accept() => {
                let ((plugin, _), vault, far) = (request?, vault.clone(), far.clone());
                carried.spawn(async move {
                    #[expect(clippy::disallowed_methods, reason = "a middleman of its own, no part of the plugin")]
                    let server = TcpStream::connect(&far).await;
                    if let Ok(server) = server {
                        vault.carry_vault(plugin, server).await;
                    }
                });
            }
        }
    }
}

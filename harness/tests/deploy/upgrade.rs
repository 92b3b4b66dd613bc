//! `upgrade.md`, carried out: another program takes the socket over under calls, and gives it back.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::subject::file::{SubjectFile, Values};
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::{place, values};
use kms_harness::vault::VaultBackend;
use kms_harness::vault::provision::Wanted;
use kms_harness::vault::server::Server;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::common::kms::{Kms, Sealed};
use crate::page;
use crate::setup::Parts;

/// A start with good credentials is good within this.
const START: Duration = Duration::from_secs(60);
/// What an API server waits for a call: its connection included, since it waits for the socket to be there.
const CALL: Duration = Duration::from_secs(10);

/// Forward and back; no call is lost, the key_id stays, each reads what the other wrote.
pub async fn another_program_takes_over_and_gives_back(parts: Parts) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
    let vault = Server::dev(parts.family, &parts.server, folder.path()).await?;
    let access = Wanted::default()
        .create(&vault.admin(), folder.path())
        .await?;
    let mut values = values(&vault, &access, folder.path());
    place(&mut values, folder.path())?;
    // Another program as far as the system can tell, with a trailing byte that nobody reads.
    let newer = folder.path().join("newer");
    let mut program = std::fs::read(&*parts.plugin)?;
    program.push(0);
    std::fs::write(&newer, program)?;
    std::fs::set_permissions(&newer, std::fs::Permissions::from_mode(0o755))?;
    let describe = |program: &Path| -> Result<SubjectFile> {
        let mut subject = own::describe(program, Vocabulary::StaticToken, &values);
        for option in ["health", "metrics"] {
            let word = format!("-{option}-address=127.0.0.1:{{metrics_port}}");
            subject.command.push(word.parse()?);
        }
        Ok(subject)
    };

    let mut first = Running::start(
        describe(&parts.plugin)?,
        values.clone(),
        folder.path().join("old.log"),
    )
    .await?;
    let kms = Kms::connect(first.socket()).await?;
    kms.wait_good(START).await?;
    let before = kms.round_trip(&[1; 32]).await?;
    let look = Look::new(&parts.plugin, &newer, &describe(&newer)?, &values)?;
    look.before(folder.path()).await?;

    let (stop, calls) = calls(first.socket().to_owned());
    let mut second = hand_over(&mut first, describe(&newer)?, &values, folder.path()).await?;
    look.after(folder.path(), &before.answer.key_id).await?;
    let kms = Kms::connect(second.socket()).await?;
    kms.opens(&before).await.context("the old one's value")?;
    let between = kms.round_trip(&[2; 32]).await?;
    ensure!(
        between.answer.key_id == before.answer.key_id,
        "another key_id after the upgrade"
    );

    let _third = hand_over(
        &mut second,
        describe(&parts.plugin)?,
        &values,
        folder.path(),
    )
    .await?;
    look.after(folder.path(), &before.answer.key_id).await?;
    let kms = Kms::connect(_third.socket()).await?;
    kms.opens(&between).await.context("the new one's value")?;
    stop.send(true)?;
    let made = calls.await??;
    ensure!(made > 20, "only {made} calls were made meanwhile");
    Ok(())
}

/// Starts the next one, which waits, and stops the one that serves; the next one serves.
async fn hand_over(
    serving: &mut Running,
    next: SubjectFile,
    values: &Values,
    folder: &Path,
) -> Result<Running> {
    let log = folder.join("next.log");
    // Their metrics have one port, which the first gives away as it ends.
    let next = Running::spawn(next, values.clone(), log)?;
    serving.stop().await?;
    let deadline = Instant::now() + START;
    loop {
        if let Ok(kms) = Kms::connect(next.socket()).await
            && kms
                .status()
                .await
                .is_ok_and(|status| status.healthz == "ok")
        {
            return Ok(next);
        }
        ensure!(Instant::now() < deadline, "the next one does not serve");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Calls without a pause until told to stop, each on a connection of its own; how many. One that fails is an error.
fn calls(socket: PathBuf) -> (watch::Sender<bool>, JoinHandle<Result<u32>>) {
    let (stop, stopped) = watch::channel(false);
    let work = async move {
        let mut made = 0;
        let mut last: Option<Sealed> = None;
        while !*stopped.borrow() {
            let deadline = Instant::now() + CALL;
            let kms = loop {
                match Kms::connect(&socket).await {
                    Ok(kms) => break kms,
                    Err(error) if Instant::now() >= deadline => bail!("{error:#}"),
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            };
            if let Some(sealed) = &last {
                kms.opens(sealed).await.context("under calls")?;
            }
            last = Some(kms.encrypt(&[3; 32]).await.context("under calls")?);
            made += 1;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(made)
    };
    (stop, tokio::spawn(work))
}

/// What the page has an operator look at.
struct Look {
    variables: Vec<(&'static str, String)>,
}

impl Look {
    fn new(old: &Path, new: &Path, subject: &SubjectFile, values: &Values) -> Result<Self> {
        let words = subject.command.iter().skip(1).map(|word| word.fill(values));
        let arguments = words.collect::<Result<Vec<_>>>()?.join(" ");
        let metrics = format!("http://127.0.0.1:{}/metrics", values["metrics_port"]);
        Ok(Self {
            variables: vec![
                ("old", old.display().to_string()),
                ("new", new.display().to_string()),
                ("arguments", arguments),
                ("metrics", metrics),
            ],
        })
    }

    async fn before(&self, folder: &Path) -> Result<()> {
        for block in page::blocks("upgrade.md", "Before")? {
            let said = page::run(&block, folder, &self.variables).await?;
            ensure!(!said.is_empty(), "{block}\nsaid nothing");
        }
        Ok(())
    }

    async fn after(&self, folder: &Path, key_id: &str) -> Result<()> {
        let mut variables = self.variables.clone();
        variables.push(("key_id", key_id.to_owned()));
        for block in page::blocks("upgrade.md", "One node after the other")? {
            page::run(&block, folder, &variables).await?;
        }
        Ok(())
    }
}

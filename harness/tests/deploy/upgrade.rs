//! `upgrade.md`, carried out: another program takes the socket over under calls, and gives it back.

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
use tokio::time::{Instant, sleep, timeout};

use super::page;
use super::setup::Parts;
use crate::common::kms::{Kms, Sealed};
use crate::common::programs;

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
    programs::copied(&parts.plugin, &newer, "0")?;
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

    let mut calls = Calls::start(first.socket().to_owned());
    calls.go_on().await?;
    let mut second = hand_over(&mut first, describe(&newer)?, &values, folder.path()).await?;
    look.after(folder.path(), &before.answer.key_id).await?;
    calls.go_on().await?;
    let kms = Kms::connect(second.socket()).await?;
    kms.opens(&before).await.context("the old one's value")?;
    let between = kms.round_trip(&[2; 32]).await?;
    ensure!(
        between.answer.key_id == before.answer.key_id,
        "another key_id after the upgrade"
    );

    let third = hand_over(
        &mut second,
        describe(&parts.plugin)?,
        &values,
        folder.path(),
    )
    .await?;
    look.after(folder.path(), &before.answer.key_id).await?;
    let kms = Kms::connect(third.socket()).await?;
    kms.opens(&between).await.context("the new one's value")?;
    calls.go_on().await
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

/// Calls without a pause, each on a connection of its own, until dropped. One that fails ends them.
struct Calls {
    made: watch::Receiver<u32>,
    task: Option<JoinHandle<Result<()>>>,
}

impl Calls {
    fn start(socket: PathBuf) -> Self {
        let (count, made) = watch::channel(0);
        let work = async move {
            let mut last: Option<Sealed> = None;
            loop {
                let kms = connected(&socket).await?;
                if let Some(sealed) = &last {
                    kms.opens(sealed).await.context("under calls")?;
                }
                last = Some(kms.encrypt(&[3; 32]).await.context("under calls")?);
                count.send_modify(|made| *made += 1);
                sleep(Duration::from_millis(10)).await;
            }
        };
        Self {
            made,
            task: Some(tokio::spawn(work)),
        }
    }

    /// Waits until some more were made, none of which failed.
    async fn go_on(&mut self) -> Result<()> {
        let wanted = *self.made.borrow() + 3;
        let enough = timeout(START, self.made.wait_for(|made| *made >= wanted));
        if let Ok(Ok(_)) = enough.await {
            return Ok(());
        }
        match self.task.take().filter(JoinHandle::is_finished) {
            Some(ended) => ended.await?,
            None => bail!("no call was answered for {} s", START.as_secs()),
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A connection, once the socket is there: API servers wait for it, too.
async fn connected(socket: &Path) -> Result<Kms> {
    let deadline = Instant::now() + CALL;
    loop {
        match Kms::connect(socket).await {
            Ok(kms) => return Ok(kms),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
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

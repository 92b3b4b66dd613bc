//! An API server that the harness started: a real kube-apiserver, or anything that takes its flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use kms_apiserver_api::{
    Answer, ApiServer, Call, ListOptions, Method, Pending, Resource, StoredValue, Target, Trouble,
    Watching,
};
use kube::Client;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::caller::Caller;
use super::etcd::Store;
use super::flags::{Access, Files, Settings};
use super::ready::{LOOK_EVERY, LOOK_LIMIT, ready};
use crate::child::{Child, Launch, describe, log_tail};

/// Limit for a server to answer HTTP: it waits for every hung plugin of its configuration first (KMS2-START-01).
const COMES_UP: Duration = Duration::from_secs(180);

/// A started API server. Dropping it kills it.
#[derive(Debug)]
pub struct Launched {
    caller: Caller,
    store: Store,
    files: Files,
    prefix: String,
    launch: Launch,
    child: Mutex<Child>,
}

/// Which program, and the words before its flags.
#[derive(Clone, Debug)]
pub struct Program {
    /// The binary.
    pub binary: PathBuf,
    /// Such as a subcommand.
    pub words: Vec<String>,
}

impl Program {
    /// A kube-apiserver.
    pub fn real(binary: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            words: Vec::new(),
        }
    }
}

impl Launched {
    /// Starts one; everything of it lies in `folder`, which must be new. Waits until it answers HTTP, ready or not.
    pub async fn start(program: &Program, settings: &Settings, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).context("make the API server's folder")?;
        let access = Access::new()?;
        let files = Files::create(folder, &access)?;
        if let Some(text) = &settings.encryption {
            std::fs::write(&files.encryption, text)
                .context("write the encryption configuration")?;
        }
        let mut args = program.words.clone();
        args.extend(files.flags(settings, &access, folder));
        let launch = Launch {
            name: "the API server".into(),
            program: program.binary.clone(),
            args,
            environment: BTreeMap::new(),
            log: folder.join("apiserver.log"),
        };
        let caller = Caller::new(access.client(&files)?).map_err(|trouble| anyhow!("{trouble}"))?;
        let server = Self {
            caller,
            store: Store::at(&settings.etcd)?,
            files,
            prefix: settings.etcd_prefix.clone(),
            child: Mutex::new(Child::spawn(&launch)?),
            launch,
        };
        server.serves().await?;
        Ok(server)
    }

    /// The `kube` client for it.
    pub fn client(&self) -> Client {
        self.caller.client()
    }

    /// Its files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Everything it printed, over all its starts.
    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    /// Waits until it is [`ready`].
    pub async fn ready(&self, within: Duration) -> Result<Duration> {
        ready(self, within).await
    }

    /// Stops it by SIGTERM, as a service manager would, and does not start it again.
    pub async fn stop(&self, within: Duration) -> Result<()> {
        let mut child = self.child.lock().await;
        child
            .stop(nix::sys::signal::Signal::SIGTERM, within)
            .await
            .map(drop)
    }

    /// Kills it as a crash would and starts it with the same flags; waits until it answers HTTP, ready or not.
    pub async fn crash_and_start(&self) -> Result<()> {
        {
            let mut child = self.child.lock().await;
            child.kill();
            *child = Child::spawn(&self.launch)?;
        }
        self.serves().await
    }

    async fn serves(&self) -> Result<()> {
        let deadline = Instant::now() + COMES_UP;
        loop {
            let look = Call::new(Method::Get, "/livez").with_timeout(LOOK_LIMIT);
            let Err(trouble) = self.caller.call(look).await else {
                return Ok(());
            };
            let ended = self.child.lock().await.exited();
            if ended.is_some() || Instant::now() >= deadline {
                let why = ended.map_or_else(
                    || format!("no answer after {} s ({trouble})", COMES_UP.as_secs()),
                    |status| format!("it ended with {}", describe(status)),
                );
                let tail = log_tail(&self.launch.log, 8);
                bail!("start the API server: {why}; its log ends:\n{tail}\n");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn key(&self, target: &Target) -> String {
        format!("{}{}", self.prefix, target.key())
    }
}

impl ApiServer for Launched {
    fn call(&self, call: Call) -> Pending<'_, Answer> {
        Box::pin(self.caller.call(call))
    }

    fn watch(&self, resource: Resource, options: ListOptions) -> Pending<'_, Watching> {
        Box::pin(async move { self.caller.watch(resource, &options).await })
    }

    fn restart(&self) -> Pending<'_, ()> {
        Box::pin(async {
            self.crash_and_start()
                .await
                .map_err(|error| Trouble::new(format!("{error:#}")))
        })
    }

    fn write_config<'a>(&'a self, text: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            // Renamed into place, as a rollout does: the server never reads half a file.
            let file = &self.files.encryption;
            let beside = file.with_extension("new");
            std::fs::write(&beside, text)
                .and_then(|()| std::fs::rename(&beside, file))
                .map_err(|error| Trouble::new(format!("write {}: {error}", file.display())))
        })
    }

    fn stored<'a>(&'a self, target: &'a Target) -> Pending<'a, Option<StoredValue>> {
        Box::pin(async move { self.store.get(&self.key(target)).await })
    }

    fn store<'a>(&'a self, target: &'a Target, value: Option<Vec<u8>>) -> Pending<'a, ()> {
        Box::pin(async move { self.store.put(&self.key(target), value.as_deref()).await })
    }
}

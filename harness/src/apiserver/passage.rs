//! What a run asks of an API server in front of its plugin: the life of a cluster's Secrets in a minute.
//!
//! It goes into the run's transcript as numbers and uses of hooks; `kms_judge::passage` says what they mean.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kms_apiserver_api::{Answer, ApiServer, ListOptions, Resource, Target, Trouble};
use kms_conformance::{Hook, Recorder};
use kms_history::{HookStep, Measure, What};
use kms_judge::passage::counts;
use kms_judge::stimuli::PASSAGE;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::choice::Choice;
use super::ready::ready;

/// Secrets that are written.
const SECRETS: usize = 20;
/// A rotation is taken up within the plugin's own look at the key, and the time that a good Status is believed (20 s,
/// KMS2-STATUS-11) or, where nobody may ask for health, the server's own look (60 s).
const TAKEN_UP: Duration = Duration::from_secs(120);
/// How often the server's health is asked meanwhile, as a kubelet does.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A plugin and what is to be put in front of it.
pub struct Passage {
    /// Which API server.
    pub choice: Choice,
    /// The plugin's socket.
    pub socket: PathBuf,
    /// A folder for the server's files; it need not be there.
    pub place: PathBuf,
    /// How to rotate the key, where that is known.
    pub rotate: Option<Arc<dyn Hook>>,
    /// How to restart the plugin, where that is known.
    pub restart: Option<Arc<dyn Hook>>,
}

impl Passage {
    /// Goes through all of it. Whatever the server or the plugin does ends up in the transcript.
    pub async fn run(&self, recorder: &Recorder) {
        if let Err(error) = self.all(recorder).await {
            let why = format!("broke-off: {error:#}");
            recorder.record(PASSAGE, 0, What::NotRun(why));
        }
    }

    async fn all(&self, recorder: &Recorder) -> Result<()> {
        std::fs::create_dir_all(&self.place).context("make the API server's folder")?;
        let started = self
            .choice
            .start(&self.encryption(), &self.place)
            .await
            .context("put an API server in front of the plugin")?;
        let walk = Walk {
            server: started.server(),
            recorder,
            ready_within: self.choice.ready_within(),
        };
        walk.write_and_read().await?;
        if walk.rotated(self.rotate.as_deref()).await? {
            walk.restarted(None).await?;
            let alike = walk.alike().await?;
            walk.count(counts::READ_UNDER_OLD_KEY, alike);
            let stale = walk.rewrite().await?;
            walk.count(counts::REWRITTEN, stale);
            let again = walk.rewrite().await?;
            walk.count(counts::REWRITTEN_AGAIN, again);
        }
        let Some(restart) = &self.restart else {
            walk.not_run("no-hook: not told how to restart the plugin");
            return Ok(());
        };
        if walk.restarted(Some(restart.as_ref())).await? {
            let alike = walk.alike().await?;
            walk.count(counts::READ_AFTER_RESTART, alike);
        }
        Ok(())
    }

    fn encryption(&self) -> String {
        // JSON is YAML
        json!({
            "kind": "EncryptionConfiguration",
            "apiVersion": "apiserver.config.k8s.io/v1",
            "resources": [{
                "resources": ["secrets"],
                "providers": [
                    {"kms": {
                        "apiVersion": "v2",
                        "name": "subject",
                        "endpoint": format!("unix://{}", self.socket.display()),
                        "timeout": "3s",
                    }},
                    {"identity": {}},
                ],
            }],
        })
        .to_string()
    }
}

struct Walk<'a> {
    server: &'a dyn ApiServer,
    recorder: &'a Recorder,
    ready_within: Duration,
}

impl Walk<'_> {
    async fn write_and_read(&self) -> Result<()> {
        self.count(counts::WANTED, SECRETS);
        let mut written = 0;
        for number in 0..SECRETS {
            let object = json!({"data": {"key": value(number)}, "type": "Opaque"});
            let made = self.server.create(&target(number), object).await;
            written += usize::from(self.went_well("create", made)?.is_some());
        }
        self.count(counts::WRITTEN, written);
        let alike = self.alike().await?;
        self.count(counts::READ, alike);
        let options = ListOptions {
            namespace: Some("default".into()),
            ..ListOptions::default()
        };
        let listed = self.server.list(Resource::Secrets, options).await;
        let listed = self.went_well("list", listed)?;
        let items = listed.as_ref().map_or(&[][..], Answer::items);
        let alike = (0..SECRETS)
            .filter(|number| {
                items.iter().any(|item| {
                    item["metadata"]["name"] == target(*number).name
                        && item["data"]["key"] == value(*number)
                })
            })
            .count();
        self.count(counts::LISTED, alike);
        Ok(())
    }

    /// How many Secrets read as they were written.
    async fn alike(&self) -> Result<usize> {
        let mut alike = 0;
        for number in 0..SECRETS {
            let read = self.server.get(&target(number)).await;
            let read = self.went_well("get", read)?;
            alike += usize::from(read.is_some_and(|read| read.field("/data/key") == value(number)));
        }
        Ok(alike)
    }

    /// Writes every Secret back as it is; how many changed in the store (KMS2-STALE-04).
    async fn rewrite(&self) -> Result<usize> {
        let mut changed = 0;
        for number in 0..SECRETS {
            changed += usize::from(self.write_back(&target(number)).await?);
        }
        Ok(changed)
    }

    async fn write_back(&self, target: &Target) -> Result<bool> {
        let read = self.server.get(target).await;
        let Some(read) = self.went_well("get", read)? else {
            return Ok(false);
        };
        let put = self.server.update(target, read.json().clone()).await;
        let put = self.went_well("update", put)?;
        Ok(put.is_some_and(|put| put.resource_version() != read.resource_version()))
    }

    /// Rotates, and waits until a Secret of before has become stale. False if there was no rotation.
    async fn rotated(&self, hook: Option<&dyn Hook>) -> Result<bool> {
        let Some(hook) = hook else {
            self.not_run("no-hook: not told how to rotate the key");
            return Ok(false);
        };
        let canary = Target::secret("default", "canary");
        let object = json!({"data": {"key": value(SECRETS)}, "type": "Opaque"});
        let made = self.server.create(&canary, object).await;
        self.went_well("create", made)?;
        let start = Instant::now();
        let mut step = HookStep {
            hook: "rotate".into(),
            error: hook.call().await.err(),
            effect_ns: None,
        };
        if let Some(error) = &step.error {
            self.not_run(&format!("hook-failed: {error}"));
            self.record(What::Hook(step));
            return Ok(false);
        }
        while step.effect_ns.is_none() && start.elapsed() < TAKEN_UP {
            // a probe is what makes the server look; who may not ask for health waits for its own look
            let _ = self.server.health("/healthz/kms-providers").await;
            if self.write_back(&canary).await? {
                step.effect_ns = Some(nanos(start));
            } else {
                sleep(PROBE_EVERY).await;
            }
        }
        let taken_up = step.effect_ns.is_some();
        self.record(What::Hook(step));
        Ok(taken_up)
    }

    /// Restarts the plugin, if told how, and the server, which then has every seed decrypted anew. False if the hook
    /// failed.
    async fn restarted(&self, plugin: Option<&dyn Hook>) -> Result<bool> {
        let start = Instant::now();
        if let Some(hook) = plugin
            && let Err(error) = hook.call().await
        {
            self.not_run(&format!("hook-failed: {error}"));
            return Ok(false);
        }
        self.server.restart().await.map_err(whole)?;
        let came_back = ready(self.server, self.ready_within).await;
        if let Err(error) = &came_back {
            self.record(What::Note(format!("{error:#}")));
        }
        if plugin.is_some() {
            self.record(What::Hook(HookStep {
                hook: "restart".into(),
                error: None,
                effect_ns: came_back.is_ok().then(|| nanos(start)),
            }));
        }
        Ok(true)
    }

    /// An answer that is good; what is not good is noted.
    fn went_well(&self, what: &str, answer: Result<Answer, Trouble>) -> Result<Option<Answer>> {
        let answer = answer.map_err(whole)?;
        if answer.ok() {
            return Ok(Some(answer));
        }
        let (code, message) = (answer.code, answer.message());
        self.record(What::Note(format!("{what}: {code} {message}")));
        Ok(None)
    }

    fn count(&self, name: &'static str, value: usize) {
        self.record(What::Measured(Measure {
            name: name.into(),
            value: value as u64,
        }));
    }

    fn not_run(&self, why: &str) {
        self.record(What::NotRun(why.to_owned()));
    }

    fn record(&self, what: What) {
        self.recorder.record(PASSAGE, 0, what);
    }
}

fn target(number: usize) -> Target {
    Target::secret("default", &format!("secret-{number}"))
}

/// A value of its own for each, as the API shows it.
fn value(number: usize) -> String {
    BASE64.encode(format!("value {number} of a Secret"))
}

fn whole(trouble: Trouble) -> anyhow::Error {
    anyhow!("{trouble}")
}

fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

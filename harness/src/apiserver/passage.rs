//! What a run asks of an API server in front of its plugin: the life of a cluster's Secrets in a minute.
//!
//! It goes into the run's transcript as numbers and uses of hooks; `kms_judge::passage` says what they mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kms_apiserver_api::{Answer, ApiServer, ListOptions, Resource, Target, Trouble};
use kms_conformance::{Hook, Recorder};
use kms_history::{HookStep, Measure, What};
use kms_judge::passage::{counts, reasons};
use kms_judge::stimuli::PASSAGE;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::choice::Choice;
#[cfg(feature = "kube")]
use super::lent::Lent;
use super::ready::ready;

/// Secrets that are written.
const SECRETS: usize = 20;
/// A rotation is taken up within the plugin's own look at the key, and the time that a good Status is believed (20 s,
/// KMS2-STATUS-11) or, where nobody may ask for health, the server's own look (60 s).
const TAKEN_UP: Duration = Duration::from_secs(120);
/// How often the server's health is asked meanwhile, as a kubelet does.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What stands in front of the plugin.
#[derive(Clone)]
pub enum Front {
    /// A server that is started for the passage.
    Own {
        /// Which one.
        choice: Choice,
        /// The plugin's socket.
        socket: PathBuf,
        /// A folder for the server's files; it need not be there.
        place: PathBuf,
    },
    /// A cluster that somebody else runs.
    #[cfg(feature = "kube")]
    Lent(Arc<Lent>),
}

/// A plugin and what is in front of it.
pub struct Passage {
    /// What is in front of it.
    pub front: Front,
    /// How to rotate the key, where that is known.
    pub rotate: Option<Arc<dyn Hook>>,
    /// How to restart the plugin, where that is known.
    pub restart: Option<Arc<dyn Hook>>,
}

impl Passage {
    /// Goes through all of it. Whatever the server or the plugin does ends up in the transcript.
    pub async fn run(&self, recorder: &Recorder) {
        if let Err(error) = self.all(recorder).await {
            let why = format!("{}: {error:#}", reasons::BROKE_OFF);
            recorder.record(PASSAGE, 0, What::NotRun(why));
        }
    }

    async fn all(&self, recorder: &Recorder) -> Result<()> {
        match &self.front {
            Front::Own {
                choice,
                socket,
                place,
            } => {
                std::fs::create_dir_all(place).context("make the API server's folder")?;
                let started = choice
                    .start(&encryption(socket), place)
                    .await
                    .context("put an API server in front of the plugin")?;
                let walk = Walk {
                    server: started.server(),
                    recorder,
                    namespace: "default",
                    ready_within: choice.ready_within(),
                    #[cfg(feature = "kube")]
                    lent: None,
                };
                self.before_an_own(&walk).await
            }
            #[cfg(feature = "kube")]
            Front::Lent(lent) => {
                let walk = Walk {
                    server: lent.server(),
                    recorder,
                    namespace: lent.namespace(),
                    ready_within: Duration::ZERO,
                    lent: Some(lent),
                };
                self.before_a_lent(&walk, lent).await
            }
        }
    }

    async fn before_an_own(&self, walk: &Walk<'_>) -> Result<()> {
        walk.write_and_read().await?;
        if walk.rotated(self.rotate.as_deref()).await? {
            walk.restarted(None).await?;
            let alike = walk.alike().await?;
            walk.count(counts::READ_UNDER_OLD_KEY, alike);
            walk.rewritten().await?;
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

    /// A cluster's server is not restarted, and one that runs reads with the seeds that it has in memory: what it reads
    /// under an old key, or after a restart of the plugin, shows nothing about the plugin.
    #[cfg(feature = "kube")]
    async fn before_a_lent(&self, walk: &Walk<'_>, lent: &Lent) -> Result<()> {
        let reason = "a kubeconfig gives no way to restart the API server, and without that it reads with the seeds that it \
                      has in memory";
        walk.not_run(&format!("{}: {reason}", reasons::BEYOND));
        if let Err(why) = lent.uses_it().await {
            crate::console::tell(&why);
            walk.not_run(&format!("{}: {why}", reasons::NOT_OURS));
        } else {
            walk.write_and_read().await?;
            if self.rotate.is_none() {
                walk.not_run(&format!(
                    "{}: not told how to rotate the key, and only Secrets that a rotation makes stale are known to be \
                     encrypted by this plugin",
                    reasons::NOT_OURS
                ));
            } else if walk.rotated(self.rotate.as_deref()).await? {
                walk.rewritten().await?;
            }
        }
        let calls = lent.calls();
        for (name, number) in [
            (counts::STATUS_CALLS, calls.status),
            (counts::ENCRYPT_CALLS, calls.encrypt),
            (counts::DECRYPT_CALLS, calls.decrypt),
        ] {
            walk.count(name, usize::try_from(number).unwrap_or(usize::MAX));
        }
        Ok(())
    }
}

/// The Secrets that a passage may have left in a namespace.
pub fn secrets(namespace: &str) -> impl Iterator<Item = Target> + use<'_> {
    let numbered = (0..SECRETS).map(|number| target(namespace, number));
    numbered.chain([canary(namespace)])
}

fn encryption(socket: &Path) -> String {
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
                    "endpoint": format!("unix://{}", socket.display()),
                    "timeout": "3s",
                }},
                {"identity": {}},
            ],
        }],
    })
    .to_string()
}

struct Walk<'a> {
    server: &'a dyn ApiServer,
    recorder: &'a Recorder,
    namespace: &'a str,
    ready_within: Duration,
    #[cfg(feature = "kube")]
    lent: Option<&'a Lent>,
}

impl Walk<'_> {
    async fn write_and_read(&self) -> Result<()> {
        self.count(counts::WANTED, SECRETS);
        let mut written = 0;
        for number in 0..SECRETS {
            let object = json!({"data": {"key": value(number)}, "type": "Opaque"});
            let made = self.server.create(&self.target(number), object).await;
            written += usize::from(self.went_well("create", made)?.is_some());
        }
        self.count(counts::WRITTEN, written);
        let alike = self.alike().await?;
        self.count(counts::READ, alike);
        let options = ListOptions {
            namespace: Some(self.namespace.to_owned()),
            ..ListOptions::default()
        };
        let listed = self.server.list(Resource::Secrets, options).await;
        let listed = self.went_well("list", listed)?;
        let items = listed.as_ref().map_or(&[][..], Answer::items);
        let alike = (0..SECRETS)
            .filter(|number| {
                items.iter().any(|item| {
                    item["metadata"]["name"] == self.target(*number).name
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
            let read = self.server.get(&self.target(number)).await;
            let read = self.went_well("get", read)?;
            alike += usize::from(read.is_some_and(|read| read.field("/data/key") == value(number)));
        }
        Ok(alike)
    }

    /// Rewrites twice: the second time nothing may be stale.
    async fn rewritten(&self) -> Result<()> {
        let stale = self.rewrite().await?;
        self.count(counts::REWRITTEN, stale);
        let again = self.rewrite().await?;
        self.count(counts::REWRITTEN_AGAIN, again);
        Ok(())
    }

    /// Writes every Secret back as it is; how many changed in the store (KMS2-STALE-04).
    async fn rewrite(&self) -> Result<usize> {
        let mut changed = 0;
        for number in 0..SECRETS {
            changed += usize::from(self.write_back(&self.target(number)).await?);
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
        let canary = canary(self.namespace);
        let object = json!({"data": {"key": value(SECRETS)}, "type": "Opaque"});
        let made = self.server.create(&canary, object).await;
        self.went_well("create", made)?;
        #[cfg(feature = "kube")]
        let encrypted = self.lent.map(|lent| lent.calls().encrypt);
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
        #[cfg(feature = "kube")]
        if let Some(lent) = self.lent
            && !taken_up
            && Some(lent.calls().encrypt) > encrypted
        {
            self.not_run(&format!(
                "{}: the API server had a new seed encrypted after the rotation, and its Secrets did not become stale: \
                 its configuration does not encrypt them by this plugin first",
                reasons::NOT_OURS
            ));
            return Ok(false);
        }
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

    fn target(&self, number: usize) -> Target {
        target(self.namespace, number)
    }

    /// An answer that is good; what is not good is noted. What the user may not do is no fault of the plugin.
    fn went_well(&self, what: &str, answer: Result<Answer, Trouble>) -> Result<Option<Answer>> {
        let answer = answer.map_err(whole)?;
        if answer.ok() {
            return Ok(Some(answer));
        }
        ensure!(![401, 403].contains(&answer.code), "{what}: {answer:?}");
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

fn target(namespace: &str, number: usize) -> Target {
    Target::secret(namespace, &format!("secret-{number}"))
}

/// The Secret whose staleness tells that a rotation was taken up.
fn canary(namespace: &str) -> Target {
    Target::secret(namespace, "canary")
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

//! One of the two: a server with its own store, and its own plugin behind a tap on its own Vault.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kms_apiserver_api::{Answer, ApiServer, ListOptions, Resource, Target};
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::launched::Launched;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::facts::{Facts, Names, Seen, hash, metrics};
use crate::stored::Stored;
use crate::story::{CONFIG_MAPS, Config, Event, Request, SECRETS};
use crate::tap::{Counts, Fault, Tap};
use crate::world::{self, Keeper, Kind, PROVIDER, Parts, READY};

/// How often health is asked while something is waited for: as a kubelet does.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A sick plugin's texts are all known when none is new for so long: fresh ones and those of the 3 s cache
/// (KMS2-HEALTH-06).
const NOTHING_NEW: Duration = Duration::from_secs(7);
/// The same where every fresh answer takes the 3 s of a call that waits for a connection.
const NOTHING_NEW_SLOW: Duration = Duration::from_secs(13);
/// So many answers without a new text, on a machine however slow.
const NOTHING_NEW_ANSWERS: u32 = 6;
/// Limit for that: with two providers that are gone each answer takes 6 s.
const LISTENS: Duration = Duration::from_secs(180);
const LISTEN_EVERY: Duration = Duration::from_millis(400);
/// A bad answer is believed for 3 s.
const BAD_NEWS_LASTS: Duration = Duration::from_millis(3200);
/// A good answer is believed for 20 s, and the call after it takes up to 3 s (KMS2-STATUS-11).
const GOOD_NEWS_LASTS: Duration = Duration::from_secs(25);
/// Limit for a change to be noticed: a good answer is believed for 20 s, and one call takes at most 3 s
/// (KMS2-STATUS-11).
const NOTICES: Duration = Duration::from_secs(90);
/// Limit for a plugin to be found well again. A dial can be 120 s away after a long outage (KMS2-CONN-10).
const RECOVERS: Duration = Duration::from_secs(300);
/// Limit for a configuration to be taken up: the file is read every minute (KMS2-RELOAD-02), and a failed reload is
/// retried later and later.
const RELOADS: Duration = Duration::from_secs(300);
/// A server that cannot be ready has settled after its start when its failing checks are the same for so long.
const SETTLED: Duration = Duration::from_secs(10);
/// Limit for that.
const SETTLES: Duration = Duration::from_secs(50);
/// Another provider's name.
const SECOND: &str = "second";
/// A local key for tests: 32 bytes of nothing.
const LOCAL: &str =
    "aescbc: {keys: [{name: local, secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}]}";

/// One side.
pub struct Side {
    pub kind: Kind,
    server: Launched,
    _etcd: Etcd,
    tap: Tap,
    keeper: Keeper,
    names: Names,
    seeds: Vec<Vec<u8>>,
    counted: Counts,
    well: bool,
    slow: bool,
    /// It started sick, and was not ready since.
    never_ready: bool,
    socket: PathBuf,
    second: bool,
    _folder: TempDir,
}

impl Side {
    /// Starts everything.
    pub async fn start(kind: Kind, parts: &Parts, seed: u64) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let place = folder.path();
        let vault = parts.vault(seed, place).await?;
        let keeper = Keeper::start(parts, vault, place).await?;
        let tap = Tap::start(&place.join("tap.sock"), keeper.plugin.socket()).await?;
        let etcd = Etcd::start(&parts.server.etcd, place).await?;
        let socket = place.join("tap.sock");
        let providers = [world::kms(PROVIDER, &socket), world::IDENTITY.to_owned()];
        let text = world::configuration("secrets", &providers);
        let mut names = Names::new(place);
        names.add(hash(text.as_bytes()), "hash of the first");
        let settings = world::settings(&etcd, Some(text));
        let program = kind.program(parts);
        let server = Launched::start(&program, &settings, &place.join("server")).await?;
        server.ready(READY).await?;
        Ok(Self {
            kind,
            server,
            _etcd: etcd,
            tap,
            keeper,
            names,
            seeds: Vec::new(),
            counted: Counts::default(),
            well: true,
            slow: false,
            never_ready: false,
            socket,
            second: false,
            _folder: folder,
        })
    }

    /// Lets an event happen and waits until its consequences have come to rest; what was seen meanwhile.
    pub async fn meet(&mut self, event: &Event) -> Result<Facts> {
        let mut facts = Facts::new();
        match event {
            Event::Nothing => {}
            Event::Fault(Fault::None) | Event::Back => {
                self.slow = false;
                self.tap.fault(Fault::None);
                self.tap.on().await?;
                self.until_well().await?;
                self.well = true;
                self.never_ready = false;
            }
            Event::Fault(fault) => {
                self.slow = matches!(fault, Fault::Slow(..));
                self.tap.fault(fault.clone());
                self.well = false;
                let (before, since) = (self.tap.counts(), Instant::now());
                // The call may be that of a provider whose configuration was replaced a moment ago: as long as health is
                // good it may also be a result of before. Of two providers one may believe it longer than the other.
                let second = self.second;
                self.until(NOTICES, "a Status call", |calls, health| {
                    let told = health.code != 200 && !second;
                    let fresh = told || since.elapsed() >= GOOD_NEWS_LASTS;
                    calls.status > before.status && fresh
                })
                .await?;
                facts.insert("health: texts".into(), self.listen().await?);
            }
            Event::Gone => {
                self.tap.off();
                if !self.well {
                    // What was wrong before is believed a little longer.
                    sleep(BAD_NEWS_LASTS).await;
                }
                self.well = false;
                let (second, since) = (self.second, Instant::now());
                self.until(NOTICES, "a failed health check", |_, health| {
                    health.code != 200 && (!second || since.elapsed() >= GOOD_NEWS_LASTS)
                })
                .await?;
                facts.insert("health: texts".into(), self.listen().await?);
            }
            Event::Silence(length) => sleep(*length).await,
            Event::Rotate => {
                let admin = self.keeper.vault.admin();
                let known = self.tap.key_ids().len();
                self.keeper.access.rotate(&admin).await?;
                self.taken_up(known).await?;
            }
            Event::Restart => {
                self.server
                    .restart()
                    .await
                    .map_err(|trouble| anyhow::anyhow!("{trouble}"))?;
                if self.well {
                    self.server.ready(READY).await?;
                } else {
                    self.never_ready = true;
                    self.settled().await?;
                    facts.insert("health: texts".into(), self.listen().await?);
                }
            }
            Event::Reload(config) => self.reload(*config).await?,
        }
        Ok(facts)
    }

    async fn reload(&mut self, config: Config) -> Result<()> {
        let text = self.configuration(config);
        self.names
            .add(hash(text.as_bytes()), &format!("hash of {config:?}"));
        let failures = self.reload_failures().await?;
        self.server
            .write_config(&text)
            .await
            .context("write the configuration")?;
        let wanted = hash(text.as_bytes());
        let start = Instant::now();
        loop {
            let done = if config == Config::Unknown {
                self.reload_failures().await? > failures
            } else {
                let metrics = self.server.metrics().await?;
                metrics.lines().any(|line| {
                    line.starts_with("apiserver_encryption_config_controller_last_config_info")
                        && line.contains(&wanted)
                })
            };
            if done {
                break;
            }
            ensure!(
                start.elapsed() < RELOADS,
                "{}: the configuration {config:?} was not taken up within {} s",
                self.kind,
                RELOADS.as_secs()
            );
            sleep(PROBE_EVERY).await;
        }
        self.until_well().await
    }

    async fn reload_failures(&self) -> Result<u64> {
        let metrics = self.server.metrics().await?;
        let line = metrics.lines().find(|line| {
            line.starts_with("apiserver_encryption_config_controller_automatic_reloads_total")
                && line.contains("status=\"failure\"")
        });
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(value.unwrap_or_default() as u64)
    }

    /// All but the first provider are there to read what was written before.
    fn configuration(&mut self, config: Config) -> String {
        let kms = world::kms(PROVIDER, &self.socket);
        let second = world::kms(SECOND, &self.socket);
        let local = LOCAL.to_owned();
        let identity = world::IDENTITY.to_owned();
        let mut providers = match config {
            Config::Plugin(_) | Config::Unknown => vec![kms, local, identity],
            Config::Identity => vec![identity, kms, local],
            Config::AesCbc => vec![local, kms, identity],
            Config::Second => vec![second.clone(), kms, local, identity],
        };
        // Once there, it stays: else what it wrote could not be read.
        self.second |= config == Config::Second;
        if self.second && config != Config::Second {
            providers.push(second);
        }
        let text = world::configuration("secrets", &providers);
        match config {
            Config::Plugin(number) => format!("# {number}\n{text}"),
            Config::Unknown => format!("colour: blue\n{text}"),
            _ => text,
        }
    }

    /// Asks health until `done`, which is told the plugin's calls from before each answer was asked for.
    async fn until(
        &self,
        limit: Duration,
        what: &str,
        done: impl Fn(Counts, &Answer) -> bool,
    ) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let calls = self.tap.counts();
            let health = self.server.health("/healthz/kms-providers").await?;
            if done(calls, &health) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > limit {
                bail!(
                    "{}: no {what} within {} s; health is {health:?}",
                    self.kind,
                    limit.as_secs()
                );
            }
            sleep(PROBE_EVERY).await;
        }
    }

    /// Waits until each provider has heard of a key_id beyond those that were known. Each looks by its own clock: that one
    /// has had a seed encrypted says nothing of the other.
    async fn taken_up(&self, known: usize) -> Result<()> {
        const HEARD: &str =
            "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds";
        let providers = [Some(PROVIDER), self.second.then_some(SECOND)];
        let start = Instant::now();
        loop {
            let health = self.server.health("/healthz/kms-providers").await?;
            let metrics = self.server.metrics().await?;
            let newest = self.tap.key_ids().into_iter().skip(known).next_back();
            let all = newest.is_some_and(|id| {
                let id = format!("key_id_hash=\"{}\"", hash(id.as_bytes()));
                providers.iter().flatten().all(|name| {
                    let name = format!("provider_name=\"{name}\"");
                    metrics.lines().any(|line| {
                        line.starts_with(HEARD) && line.contains(&id) && line.contains(&name)
                    })
                })
            });
            if all {
                // A health answer that was asked for after that has waited for what came of it: probes take turns.
                return self.until_well().await;
            }
            ensure!(
                start.elapsed() < RECOVERS,
                "{}: not every provider knows the new key within {} s; health is {health:?}",
                self.kind,
                RECOVERS.as_secs()
            );
            sleep(PROBE_EVERY).await;
        }
    }

    async fn until_well(&self) -> Result<()> {
        self.until(RECOVERS, "good health", |_, health| health.code == 200)
            .await?;
        self.server.ready(READY).await.map(drop)
    }

    /// Waits until the failing checks of a server that has just started stay the same.
    async fn settled(&self) -> Result<()> {
        let start = Instant::now();
        let mut last = (Instant::now(), Vec::new());
        loop {
            let answer = self.server.health("/readyz?verbose").await?;
            let failing: Vec<String> = answer
                .text()
                .lines()
                .filter(|line| line.starts_with("[-]"))
                .map(|line| line.split(' ').next().unwrap_or(line).to_owned())
                .collect();
            if failing != last.1 {
                last = (Instant::now(), failing);
            }
            if last.0.elapsed() >= SETTLED {
                return Ok(());
            }
            ensure!(
                start.elapsed() < SETTLES,
                "{}: its failing checks still change {} s after its start: {:?}",
                self.kind,
                SETTLES.as_secs(),
                last.1
            );
            sleep(PROBE_EVERY).await;
        }
    }

    /// The distinct health answers, until none is new.
    async fn listen(&mut self) -> Result<Seen> {
        self.learn();
        let start = Instant::now();
        let mut texts = BTreeSet::new();
        let by_chance = self.second || self.never_ready;
        let (mut since, mut answers) = (Instant::now(), 0);
        let quiet = if self.tap.is_on() && !self.slow {
            NOTHING_NEW
        } else {
            NOTHING_NEW_SLOW
        };
        while since.elapsed() < quiet || answers < NOTHING_NEW_ANSWERS {
            let health = self.server.health("/healthz/kms-providers").await?;
            let before = texts.len();
            texts.extend(
                each_provider(&self.names.answer(&health))
                    .into_iter()
                    .map(|text| if by_chance { shortened(&text) } else { text }),
            );
            answers += 1;
            if texts.len() > before {
                (since, answers) = (Instant::now(), 0);
            }
            ensure!(
                start.elapsed() < LISTENS,
                "{}: health says something new all the time: {texts:?}",
                self.kind
            );
            sleep(LISTEN_EVERY).await;
        }
        Ok(Seen::Text(
            texts.into_iter().collect::<Vec<_>>().join(" | "),
        ))
    }

    /// Names for the key_ids that the plugin has shown.
    fn learn(&mut self) {
        for id in self.tap.key_ids() {
            self.names.key_id(&id);
        }
    }

    /// Whether nothing is wrong with the plugin.
    pub fn is_well(&self) -> bool {
        self.well
    }

    /// One request; what came of it.
    pub async fn ask(&mut self, request: Request) -> Result<Seen> {
        self.learn();
        let server = &self.server;
        let here = ListOptions {
            namespace: Some("default".into()),
            ..ListOptions::default()
        };
        let secret = |number: usize| Target::secret("default", &format!("s{number}"));
        let config_map = |number: usize| Target::config_map("default", &format!("c{number}"));
        let text = match request {
            Request::Create(number) => {
                let object = json!({"data": {"key": "YQ=="}, "type": "Opaque"});
                self.names
                    .answer(&server.create(&secret(number), object).await?)
            }
            Request::CreateConfigMap(number) => {
                let object = json!({"data": {"key": "a"}});
                self.names
                    .answer(&server.create(&config_map(number), object).await?)
            }
            Request::Update(number, value) => {
                let object =
                    json!({"data": {"key": BASE64.encode(value.to_string())}, "type": "Opaque"});
                self.names
                    .answer(&server.update(&secret(number), object).await?)
            }
            Request::Noop(number) => self.noop(&secret(number)).await?,
            Request::NoopConfigMap(number) => self.noop(&config_map(number)).await?,
            Request::Delete(number) => self.names.answer(&server.delete(&secret(number)).await?),
            Request::Get(number) => self.names.answer(&server.get(&secret(number)).await?),
            Request::List => self.list(here).await?,
            Request::ListFromCache => {
                // A list of the newest state waits until the cache has it, where there is a cache that follows.
                self.server.list(Resource::Secrets, here.clone()).await?;
                let options = ListOptions {
                    resource_version: Some("0".into()),
                    ..here
                };
                self.list(options).await?
            }
            Request::ListPaged => {
                let options = ListOptions {
                    limit: Some(2),
                    ..here
                };
                self.list(options).await?
            }
        };
        Ok(Seen::Text(text))
    }

    async fn list(&self, options: ListOptions) -> Result<String> {
        let answer = self.server.list(Resource::Secrets, options).await?;
        let wait = if answer.retry_after.is_some() {
            ", told to wait"
        } else {
            ""
        };
        Ok(format!("{}{wait}", self.names.answer(&answer)))
    }

    async fn noop(&self, target: &Target) -> Result<String> {
        let read = self.server.get(target).await?;
        if !read.ok() {
            return Ok(format!("read {}", self.names.answer(&read)));
        }
        let put = self.server.update(target, read.json().clone()).await?;
        if !put.ok() {
            return Ok(format!("write {}", self.names.answer(&put)));
        }
        let stale = put.resource_version() != read.resource_version();
        Ok(if stale { "stale" } else { "current" }.to_owned())
    }

    /// Everything that can be seen at rest.
    ///
    /// `steady` says that the plugin was well all the time since the last look: Encrypt is then called for a reason only
    /// (KMS2-ENC-01), and not again with every probe.
    pub async fn look(&mut self, steady: bool) -> Result<Facts> {
        self.learn();
        let mut facts = Facts::new();
        for path in ["/livez?verbose", "/readyz?verbose", "/healthz?verbose"] {
            let answer = self.server.health(path).await?;
            facts.insert(format!("{path}: code"), Seen::Text(answer.code.to_string()));
            for line in answer.text().lines().filter(|line| line.starts_with('[')) {
                let (state, rest) = line.split_at(3);
                let name = rest.split(' ').next().unwrap_or(rest);
                facts.insert(format!("{path}: {name}"), Seen::Text(state.into()));
            }
        }
        let text = self.server.metrics().await?;
        facts.extend(metrics(&self.names, &text));
        let secrets = (0..SECRETS).map(|number| Target::secret("default", &format!("s{number}")));
        let maps =
            (0..CONFIG_MAPS).map(|number| Target::config_map("default", &format!("c{number}")));
        for target in secrets.chain(maps) {
            let value = self.server.stored(&target).await?;
            let seen = match value {
                None => "absent".to_owned(),
                Some(value) => self.describe(&value.bytes)?,
            };
            facts.insert(format!("stored: {target}"), Seen::Text(seen));
        }
        let now = self.tap.counts();
        let calls = now.since(self.counted);
        self.counted = now;
        // Probes fall at other moments; ten readers start with a cold cache each.
        for (method, value, slack) in [
            ("Status", calls.status, 5 + calls.status / 3),
            (
                "Encrypt",
                calls.encrypt,
                if steady { 0 } else { 5 + calls.encrypt / 2 },
            ),
            ("Decrypt", calls.decrypt, 20),
        ] {
            let when = if steady { "" } else { ", not all well" };
            facts.insert(
                format!("calls: {method}{when}"),
                Seen::Number { value, slack },
            );
        }
        Ok(facts)
    }

    fn describe(&mut self, bytes: &[u8]) -> Result<String> {
        let stored = Stored::read(bytes)?;
        if stored.key_id.is_empty() {
            return Ok(format!("{:?}", stored.prefix));
        }
        let known = self.seeds.iter().position(|seed| *seed == stored.seed);
        let seed = known.unwrap_or_else(|| {
            self.seeds.push(stored.seed.clone());
            self.seeds.len() - 1
        });
        Ok(format!(
            "{} under {}, seed {}, kind {}, annotations [{}]",
            stored.prefix,
            self.names.key_id(&stored.key_id),
            seed + 1,
            stored.kind,
            stored.annotations.join(" ")
        ))
    }
}

/// The same without what only a fresh answer says. Where two providers take 3 s each, it is chance whether one of them is
/// ever asked while its answer is cached; and until a server is ready for the first time it asks its own readyz ten times
/// a second, so it is chance who else gets the fresh one.
fn shortened(text: &str) -> String {
    const FRESH: &str = "failed to perform status section of the healthz check for KMS Provider ";
    match text.split_once(FRESH) {
        Some((before, rest)) => {
            let after = rest
                .split_once(", error: ")
                .map_or(rest, |(_, error)| error);
            format!("{before}{after}")
        }
        None => text.to_owned(),
    }
}

/// A health answer, one text for each provider: which of several is fresh and which cached is chance.
fn each_provider(answer: &str) -> Vec<String> {
    const FAILED: &str = "500 internal server error: [";
    let Some(list) = answer
        .strip_prefix(FAILED)
        .and_then(|rest| rest.strip_suffix(']'))
    else {
        return vec![answer.replace("500 internal server error: kms-", "500 kms-")];
    };
    let mut parts = list.split(", kms-provider-");
    let first = parts.next().map(|part| format!("500 {part}"));
    first
        .into_iter()
        .chain(parts.map(|part| format!("500 kms-provider-{part}")))
        .collect()
}

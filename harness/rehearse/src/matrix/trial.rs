//! One path on one cluster with its faults, judged at every step.

use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_controlplane::plane::{COMPONENTS, Plane};
use tokio::time::Instant;

use super::fault::{Fault, Kept};
use super::ledger::{Failed, Ledger};
use super::path::{NEXT_KEY, Path};
use super::phase::{Base, Phase};
use crate::fault::make::key_id;
use crate::options::Mode;
use crate::world::servers::STORAGE;
use crate::world::{Moment, Plan, World};

/// What a trial is about.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The cluster.
    pub plan: Plan,
    /// The path.
    pub path: Path,
    /// It begins with an older key, which is pruned in the end.
    pub older: bool,
    /// What goes wrong on it, and when.
    pub blows: Vec<Blow>,
    /// Time for one node of kube-apiserver to be replaced.
    pub node: Duration,
    /// Objects that the migrator rewrites in a second.
    pub rate: u64,
    /// Options of the plugins beside those of the procedure.
    pub plugin: Vec<(String, String)>,
}

/// A fault at its moment.
#[derive(Clone, Copy, Debug)]
pub struct Blow {
    /// Which.
    pub fault: Fault,
    /// When.
    pub phase: Phase,
    /// So long after that moment.
    pub after: Duration,
    /// How long it lasts; what passes by itself ends then, too.
    pub lasts: Duration,
    /// The node that it hits, if it is one node's.
    pub node: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What must never be. Empty is well.
    pub violations: Vec<String>,
    /// Reads on a ready server that failed for want of the provider while a fault kept it away.
    pub barred: Vec<String>,
    /// Objects that nobody could read any more.
    pub lost: usize,
    /// Writes that were acknowledged, and those that were refused.
    pub answered: (u64, u64),
    /// Seconds on the cluster's clock, from the edit or the first fault to the end of the path.
    pub seconds: u64,
}

/// Somebody who meddles with the cluster at every step: what a wrong controller or a wrong migrator would do.
pub type Meddler<'a> = &'a mut dyn FnMut(&mut World);

/// While a cluster is brought to where the path begins, a node is replaced in no time.
const QUICKLY: Duration = Duration::from_secs(12);
/// Clients write and read this often.
const CLIENTS: Duration = Duration::from_secs(30);
/// So many objects they read each time; all of them at each boundary.
const SAMPLE: usize = 8;
/// A plugin that was barred is let in again within this.
const GRACE: Duration = Duration::from_secs(150);
/// What is through stays so for at least so long.
const SETTLED: Duration = Duration::from_secs(60);
/// A path that is not through by then is not going to be.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);
/// What happens before the edit happens so long before it.
const EARLY: Duration = Duration::from_secs(60);
/// At most so many violations are told of one trial.
const TOLD: usize = 8;

/// Brings a cluster to where the path begins, goes it, and judges.
///
/// # Errors
/// The trial itself could not go on: a part does not start, a remedy cannot be carried out.
pub async fn play(setting: &Setting, meddler: Meddler<'_>) -> Result<Outcome, Trouble> {
    let mut world = World::start(setting.plan.clone()).await?;
    world.settings.clone_from(&setting.plugin);
    world.pace(QUICKLY);
    world.rate = 1000;
    if setting.path == Path::KmsToKms {
        world.vault.add_key(NEXT_KEY);
    }
    world.deploy()?;
    for mode in setting.path.before(setting.older) {
        world.settled_in(mode).await?;
    }
    let keys = world.keys(0);
    let newest = keys.last().and_then(|key| key.number());
    let base = Base {
        revision: world.plane.operands[0].latest,
        key: newest.unwrap_or(0),
    };
    world.pace(setting.node);
    world.rate = setting.rate;
    let began = Instant::now();
    let mut trial = Trial {
        ledger: Ledger::of(&world),
        began,
        base,
        revisions: if setting.older { 3 } else { 2 },
        world,
        meddler,
        clients: began,
        struck: Vec::new(),
        ended: Vec::new(),
        outcome: Outcome::default(),
    };
    trial.go(setting).await?;
    if !trial.has_failed() {
        trial.at_the_end(setting).await?;
    }
    let Trial {
        mut outcome,
        ledger,
        world,
        ..
    } = trial;
    for broken in &world.broken {
        outcome.violations.push(broken.text.clone());
    }
    outcome.violations.truncate(TOLD);
    outcome.lost = ledger.lost.len();
    outcome.answered = ledger.answered;
    outcome.seconds = began.elapsed().as_secs();
    Ok(outcome)
}

/// A fault that has happened.
struct Struck {
    blow: Blow,
    until: Instant,
    kept: Kept,
}

struct Trial<'a> {
    world: Box<World>,
    ledger: Ledger,
    base: Base,
    revisions: u32,
    meddler: Meddler<'a>,
    began: Instant,
    /// When clients were last active.
    clients: Instant,
    /// What lasts.
    struck: Vec<Struck>,
    /// What was remedied, and when.
    ended: Vec<(Blow, Instant)>,
    outcome: Outcome,
}

impl Trial<'_> {
    /// The path, until it is through and no fault is left.
    async fn go(&mut self, setting: &Setting) -> Result<(), Trouble> {
        let mut coming = setting.blows.clone();
        let mut due: Vec<(Blow, Instant)> = Vec::new();
        let early = |blow: &Blow| blow.phase == Phase::BeforeTheEdit;
        let wait = if coming.iter().any(early) {
            EARLY
        } else {
            Duration::ZERO
        };
        let (mut edited, mut moved) = (false, self.began);
        loop {
            if !edited && self.began.elapsed() >= wait {
                edited = true;
                self.edit(setting);
            }
            // the control plane stops at the moment, so that nothing comes between it and the fault
            let next = coming.iter().map(|blow| blow.phase).min();
            self.world.awaited = next.filter(|_| edited).map(|phase| {
                let base = self.base;
                let moment = move |plane: &Plane| phase.on_pods(plane, base);
                Box::new(moment) as Moment
            });
            let now = Instant::now();
            let come = coming.extract_if(.., |blow| self.has_come(blow.phase, edited));
            due.extend(come.map(|blow| (blow, now + blow.after)));
            let ready: Vec<(Blow, Instant)> = due.extract_if(.., |(_, at)| *at <= now).collect();
            for (blow, _) in ready {
                self.strike(blow).await?;
                moved = now;
            }
            if self.remedy().await? {
                moved = Instant::now();
            }
            let quiet = coming.is_empty() && due.is_empty() && self.struck.is_empty();
            if edited && quiet && self.through() {
                return Ok(());
            }
            if self.has_failed() {
                // the story up to here is what is played again
                return Ok(());
            }
            if moved.elapsed() > PATIENCE {
                let missed: Vec<Phase> = coming.iter().map(|blow| blow.phase).collect();
                self.violation(format!(
                    "the path is not through after three hours without a fault; moments that never came: {missed:?}; {}",
                    self.standing()
                ));
                return Ok(());
            }
            self.step().await;
        }
    }

    fn has_failed(&self) -> bool {
        !self.outcome.violations.is_empty() || !self.world.broken.is_empty()
    }

    fn has_come(&self, phase: Phase, edited: bool) -> bool {
        let on_pods = || phase.on_pods(&self.world.plane, self.base);
        phase == Phase::BeforeTheEdit
            || edited
                && phase
                    .in_migration(&self.world, self.base)
                    .unwrap_or_else(on_pods)
    }

    fn edit(&mut self, setting: &Setting) {
        if setting.path == Path::KmsToKms {
            NEXT_KEY.clone_into(&mut self.world.key);
        }
        self.world.set_type(setting.path.to());
    }

    /// Time goes on; clients write and read now and then.
    async fn step(&mut self) {
        self.world.tick().await;
        (self.meddler)(&mut self.world);
        if self.clients.elapsed() >= CLIENTS {
            self.clients = Instant::now();
            self.ledger.write(&mut self.world).await;
            self.look(Some(SAMPLE)).await;
        }
    }

    async fn strike(&mut self, blow: Blow) -> Result<(), Trouble> {
        self.look(None).await;
        let kept = blow.fault.make(&mut self.world, blow.node)?;
        let until = Instant::now() + blow.lasts;
        self.struck.push(Struck { blow, until, kept });
        Ok(())
    }

    /// Remedies what has lasted long enough; tells whether there was any.
    async fn remedy(&mut self) -> Result<bool, Trouble> {
        let others = |struck: &Struck| !struck.blow.fault.waits_for_others();
        let alone = !self.struck.iter().any(others);
        let over = |struck: &mut Struck| {
            struck.until <= Instant::now() && (alone || !struck.blow.fault.waits_for_others())
        };
        let over: Vec<Struck> = self.struck.extract_if(.., over).collect();
        let any = !over.is_empty();
        for Struck { blow, kept, .. } in over {
            self.ended.push((blow, Instant::now()));
            self.look(None).await;
            let Self { world, ledger, .. } = self;
            blow.fault.undo(world, blow.node, kept, ledger).await?;
            if let Some(ended) = self.ended.last_mut() {
                ended.1 = Instant::now();
            }
        }
        Ok(any)
    }

    /// Everything is under the new key, everywhere, and an older key is gone from the configuration. The condition
    /// `Encrypted` is not asked.
    fn through(&self) -> bool {
        let Self { world, base, .. } = self;
        (0..COMPONENTS.len()).all(|component| {
            let newest = world.keys(component).last().and_then(|key| key.number());
            newest == Some(base.key + 1)
                && world.plane.operands[component].latest >= base.revision + self.revisions
        }) && world.all_done()
            && world.remote_key_is_settled()
    }

    /// What must hold when all is over.
    async fn at_the_end(&mut self, setting: &Setting) -> Result<(), Trouble> {
        let end = Instant::now() + SETTLED;
        while Instant::now() < end {
            self.step().await;
        }
        // whatever was barred is let in again
        self.ended.clear();
        let refused = self.ledger.answered.1;
        for _ in 0..self.world.plan.nodes {
            self.ledger.write(&mut self.world).await;
        }
        if self.ledger.answered.1 > refused {
            self.violation("writes are refused when all is over".to_owned());
        }
        self.look(None).await;
        if !self.through() {
            self.violation(format!(
                "the path does not stay through: {}",
                self.standing()
            ));
        }
        let prefix = setting.path.prefix(self.base.key + 1);
        for (component, storage) in STORAGE.iter().enumerate() {
            let ready = self.world.ready(component);
            if ready != self.world.plan.nodes {
                let name = COMPONENTS[component].0;
                self.violation(format!("{ready} pods of {name} are ready when all is over"));
            }
            for place in 0..storage.resources.len() {
                for (found, count) in self.world.prefixes(component, place).await? {
                    if !found.starts_with(&prefix) {
                        let name = storage.resources[place].0;
                        self.violation(format!(
                            "{count} of {name} lie in etcd as {found}, not as {prefix}"
                        ));
                    }
                }
            }
        }
        self.look_at_key_ids().await?;
        for (component, kind, message) in self.world.degraded() {
            let name = COMPONENTS[component].0;
            self.violation(format!("{name} is left with {kind}: {message}"));
        }
        Ok(())
    }

    /// Where operators rewrite everything after a rotation, all of it lies under the key_id that they name.
    async fn look_at_key_ids(&mut self) -> Result<(), Trouble> {
        if self.world.plan.mode != Mode::Newest {
            return Ok(());
        }
        let wanted: Vec<Option<String>> = (0..COMPONENTS.len())
            .map(|component| self.world.remote_id(component))
            .collect();
        let mut others = 0;
        for (component, target) in self.ledger.objects() {
            let stored = self.world.stored(*component, target).await?;
            let id = stored.as_ref().and_then(key_id).unwrap_or_default();
            others += usize::from(wanted[*component].as_deref() != Some(id.as_str()));
        }
        if others > 0 {
            self.violation(format!(
                "{others} objects lie under another remote key than the operators say"
            ));
        }
        Ok(())
    }

    /// Reads, and judges what cannot be read.
    async fn look(&mut self, most: Option<usize>) {
        for failed in self.ledger.read(&self.world, most).await {
            if failed.for_want_of_the_provider() && self.barred(&failed) {
                self.outcome.barred.push(failed.text());
            } else {
                self.violation(failed.text());
            }
        }
    }

    /// A fault keeps the node's plugins from decrypting, or did until a moment ago.
    fn barred(&self, failed: &Failed) -> bool {
        let bars = |blow: &Blow| blow.fault.bars(failed.node, blow.node);
        self.struck.iter().any(|struck| bars(&struck.blow))
            || self
                .ended
                .iter()
                .any(|(blow, at)| at.elapsed() < GRACE && bars(blow))
    }

    fn violation(&mut self, text: String) {
        let told = &mut self.outcome.violations;
        if told.len() < TOLD && !told.contains(&text) {
            told.push(text);
        }
    }

    /// Where the components stand, for whoever wonders why nothing moves.
    fn standing(&self) -> String {
        let world = &self.world;
        let all = (0..COMPONENTS.len()).map(|component| {
            let nodes = world.plane.operands[component].nodes.iter();
            let nodes: Vec<String> = nodes
                .map(|node| format!("{}/{}", node.current, node.target))
                .collect();
            let target = crate::world::state::providers(world.target(component).as_ref());
            let ready = world.ready(component);
            format!(
                "{} runs {} of {target}, {ready} ready",
                COMPONENTS[component].0,
                nodes.join(" ")
            )
        });
        let trouble = world.work.trouble.as_deref().unwrap_or("none");
        format!(
            "{}; trouble of the migrator: {trouble}",
            all.collect::<Vec<_>>().join("; ")
        )
    }
}

//! Form to [`Scenario`]: ids, bounds, combinations. All problems at once.

use std::collections::BTreeSet;
use std::time::Duration;

use kms_judge::invariant::{Expectation, Mode};

use super::file::{NodeChoice, ScenarioFile};
use super::head::{Head, kebab};
use super::problem::{Path, Problem, Source};
use super::time::{Time, TimeRange};
use super::{expects, faults, ids};
use crate::fault::Fault;

/// Versions of kube-apiserver that can be simulated with KMS v2.
const SERVERS: std::ops::RangeInclusive<u32> = 27..=37;
/// The largest Secret is 1 MiB with its metadata.
const LARGEST: u32 = 900 * 1024;
const MOST_NODES: u32 = 7;

/// A scenario that is right in itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The form that it was read from.
    pub form: ScenarioFile,
    /// `[[fault]]`, in the file's order.
    pub faults: Vec<TimedFault>,
    /// `[[expect]]`, in the file's order, but for those of `upstream`.
    pub expectations: Vec<Expectation>,
    /// `[[expect]]` with `upstream`: what a known fault of a server looks like.
    pub upstream: Vec<Expectation>,
}

/// A fault with place and time, as the scenario has it.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedFault {
    /// Unique in the scenario.
    pub id: String,
    /// What.
    pub fault: Fault,
    /// When, after the fault phase begins.
    pub at: TimeRange,
    /// How long; until heal if nothing, and for what happens once.
    pub length: Option<TimeRange>,
    /// Where.
    pub node: NodeChoice,
    /// What it must touch at least.
    pub hits: u64,
}

pub(super) fn check(
    form: ScenarioFile,
    source: &Source<'_>,
    stem: Option<&str>,
) -> Result<Scenario, Vec<Problem>> {
    let mut problems = Vec::new();
    head(&form, source, stem, &mut problems);
    world(&form, source, &mut problems);
    load_and_phases(&form, source, &mut problems);
    unique(&form, source, &mut problems);
    expects::waives(&form, source, &mut problems);
    let faults = (0..form.fault.len())
        .filter_map(|index| faults::typed(&form, index, source, &mut problems))
        .collect();
    let (mut expectations, mut upstream) = (Vec::new(), Vec::new());
    for index in 0..form.expect.len() {
        let Some(expectation) = expects::typed(&form, index, source, &mut problems) else {
            continue;
        };
        if form.expect[index].upstream {
            upstream.push(expectation);
        } else {
            expectations.push(expectation);
        }
    }
    if form.expect.is_empty() {
        let fix = "add [[expect]] with always, eventually or sometimes";
        problems.push(source.problem(&Path::of(&["expect"]), "nothing is expected", fix));
    }
    let liveness = expectations
        .iter()
        .chain(&upstream)
        .any(|expectation| matches!(expectation.mode, Mode::Eventually { .. }));
    if liveness && form.phases.liveness.0.is_zero() {
        let path = Path::of(&["phases", "liveness"]);
        problems.push(source.problem(
            &path,
            "`eventually` has no time to come true",
            "write liveness = \"3m\"",
        ));
    }
    if problems.is_empty() {
        Ok(Scenario {
            form,
            faults,
            expectations,
            upstream,
        })
    } else {
        Err(problems)
    }
}

fn head(form: &ScenarioFile, source: &Source<'_>, stem: Option<&str>, problems: &mut Vec<Problem>) {
    let head = Head {
        id: &form.id,
        title: &form.title,
        proves: &form.proves,
        arms: &form.arms,
    };
    head.check(source, stem, problems);
    let factors = form.scale.into_iter().flat_map(|scale| {
        let cluster = scale.cluster.map(|factor| ("cluster", factor));
        [("process", scale.process)].into_iter().chain(cluster)
    });
    for (arm, factor) in factors {
        if !(factor > 0.0 && factor <= 1.0) {
            problems.push(source.problem(
                &Path::of(&["scale", arm]),
                format!("{factor} is no factor"),
                "write more than 0 and at most 1",
            ));
        }
    }
}

fn world(form: &ScenarioFile, source: &Source<'_>, problems: &mut Vec<Problem>) {
    let world = &form.world;
    let path = Path::of(&["world"]);
    if !(1..=MOST_NODES).contains(&world.nodes) {
        problems.push(source.problem(
            &path.key("nodes"),
            format!("{} nodes cannot be run", world.nodes),
            format!("write 1 to {MOST_NODES}"),
        ));
    }
    let minor = world
        .server_version
        .strip_prefix("1.")
        .and_then(|minor| minor.parse::<u32>().ok());
    if !minor.is_some_and(|minor| SERVERS.contains(&minor)) {
        problems.push(source.problem(
            &path.key("server-version"),
            format!("{:?} is no version with KMS v2", world.server_version),
            format!("write 1.{} to 1.{}", SERVERS.start(), SERVERS.end()),
        ));
    }
    if world.providers.is_empty() {
        problems.push(source.problem(
            &path.key("providers"),
            "there is no provider",
            "write providers = [\"kms\", \"identity\"]",
        ));
    }
    for (index, provider) in world.providers.iter().enumerate() {
        if world.providers[..index].contains(provider) {
            problems.push(source.problem(
                &path.key("providers").index(index),
                "it stands there twice",
                "name each provider once",
            ));
        }
    }
    for flag in world.plugin.keys() {
        if !kebab(flag) {
            problems.push(source.problem(
                &path.key("plugin").key(flag),
                format!("{flag:?} is no flag's name"),
                "write it without leading dashes, such as vault-timeout",
            ));
        }
    }
    let vault = &world.vault;
    let path = path.key("vault");
    if !matches!(vault.nodes, 1 | 3 | 5) {
        problems.push(source.problem(
            &path.key("nodes"),
            format!("{} nodes make no cluster", vault.nodes),
            "write 1, 3 or 5",
        ));
    }
    if vault.token_ttl.0 < Duration::from_secs(1) {
        problems.push(source.problem(
            &path.key("token-ttl"),
            "Vault counts in seconds",
            "write at least 1s",
        ));
    }
    if vault.token_max_ttl < vault.token_ttl {
        problems.push(source.problem(
            &path.key("token-max-ttl"),
            format!("it is shorter than token-ttl, {}", vault.token_ttl),
            format!("write at least {}", vault.token_ttl),
        ));
    }
    let whole = |time: &Time| time.0.subsec_nanos() == 0;
    for (key, time) in [
        ("token-ttl", Some(vault.token_ttl)),
        ("token-max-ttl", Some(vault.token_max_ttl)),
        ("secret-id-ttl", vault.secret_id_ttl),
    ] {
        if time.is_some_and(|time| !whole(&time)) {
            problems.push(source.problem(
                &path.key(key),
                "Vault counts in seconds",
                "write whole seconds",
            ));
        }
    }
    let keys = [
        "aes128-gcm96",
        "aes256-gcm96",
        "chacha20-poly1305",
        "rsa-2048",
        "rsa-3072",
        "rsa-4096",
    ];
    if !keys.contains(&vault.key_type.as_str()) {
        let fix = ids::nearest_of(&vault.key_type, keys.map(str::to_owned))
            .map_or(format!("write one of {}", keys.join(", ")), |near| {
                format!("did you mean {near:?}?")
            });
        problems.push(source.problem(
            &path.key("key-type"),
            format!("{:?} cannot encrypt", vault.key_type),
            fix,
        ));
    }
    if vault.auth != crate::world::Auth::Approle {
        let mut only = |key: &str, there: bool| {
            if there {
                problems.push(source.problem(
                    &path.key(key),
                    "only AppRole has secret-ids",
                    "remove it, or set auth = \"approle\"",
                ));
            }
        };
        only("secret-id-uses", vault.secret_id_uses != 0);
        only("secret-id-ttl", vault.secret_id_ttl.is_some());
    }
    let latency = Path::of(&["world", "latency"]);
    for (key, range) in [
        ("vault", world.latency.vault),
        ("socket", world.latency.socket),
    ] {
        if range.max > Duration::from_secs(60) {
            problems.push(source.problem(
                &latency.key(key),
                "that is more than a minute",
                "write a shorter latency, or use a fault",
            ));
        }
    }
}

fn load_and_phases(form: &ScenarioFile, source: &Source<'_>, problems: &mut Vec<Problem>) {
    let load = Path::of(&["load"]);
    if !(1..=10_000).contains(&form.load.objects) {
        problems.push(source.problem(
            &load.key("objects"),
            format!("{} objects are not enough, or too many", form.load.objects),
            "write 1 to 10000",
        ));
    }
    if !(32..=LARGEST).contains(&form.load.size) {
        problems.push(source.problem(
            &load.key("size"),
            format!("a value of {} bytes cannot be made", form.load.size),
            format!("write 32 to {LARGEST}"),
        ));
    }
    let phases = Path::of(&["phases"]);
    let longest = Duration::from_secs(90 * 24 * 3600);
    for (key, time) in [
        ("settle", form.phases.settle),
        ("baseline", form.phases.baseline),
        ("fault", form.phases.fault),
        ("heal", form.phases.heal),
        ("liveness", form.phases.liveness),
    ] {
        if time.0 > longest {
            problems.push(source.problem(
                &phases.key(key),
                format!("{time} is too long"),
                "write at most 90d",
            ));
        }
    }
    if form.phases.settle.0 < Duration::from_secs(5) {
        problems.push(source.problem(
            &phases.key("settle"),
            "an API server needs seconds to be ready",
            "write at least 5s",
        ));
    }
}

fn unique(form: &ScenarioFile, source: &Source<'_>, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for (index, fault) in form.fault.iter().enumerate() {
        let path = Path::of(&["fault"]).index(index).key("id");
        if !kebab(&fault.id) {
            problems.push(source.problem(
                &path,
                format!("{:?} is not kebab-case", fault.id),
                "write small letters and digits with single dashes between words",
            ));
        } else if !seen.insert(fault.id.as_str()) {
            problems.push(source.problem(
                &path,
                format!("{:?} is the id of another fault", fault.id),
                "give it another id",
            ));
        }
    }
    for (index, expect) in form.expect.iter().enumerate() {
        if form.expect[..index].contains(expect) {
            let path = Path::of(&["expect"]).index(index);
            problems.push(source.problem(&path, "it stands there twice", "remove one"));
        }
    }
}

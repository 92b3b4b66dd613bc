//! The suite on one plugin of the zoo, and whether it named what is broken.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kms_conformance::{Options, Recorder, Target};
use kms_history::History;
use kms_judge::{CheckResult, CheckStatus};

use crate::bug::Bug;
use crate::command::{Program, Started};
use crate::mutant::{Arm, Mutant};
use crate::served::Served;

/// Requirements whose verdict depends on how busy this machine is: a warning counts only where it is expected.
const LATENCIES: [&str; 3] = ["KMS2-STATUS-15", "KMS2-ENC-13", "KMS2-DEC-06"];

/// How long a process may take to end and start again, on a machine that does much else.
const PROCESS_STARTS: Duration = Duration::from_secs(10);

/// What the suite said of a plugin, apart from what held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requirements that failed; of a chaos run invariants that broke.
    pub failed: BTreeSet<String>,
    /// Requirements that warned and did not fail.
    pub warned: BTreeSet<String>,
    /// Which check said so of which requirement.
    pub by: BTreeSet<(String, String)>,
    /// The same for people, one line a finding.
    pub text: String,
}

impl Seen {
    /// What the checks' results say.
    pub fn of(results: &[CheckResult]) -> Self {
        let mut seen = Self::default();
        for result in results {
            match result.status {
                CheckStatus::Fail => seen.failed.insert(result.requirement.clone()),
                CheckStatus::Warn => seen.warned.insert(result.requirement.clone()),
                _ => continue,
            };
            let by = (result.check_id.clone(), result.requirement.clone());
            seen.text
                .push_str(&format!("{} {}: {}\n", by.1, by.0, result.observed));
            seen.by.insert(by);
        }
        seen.warned = &seen.warned - &seen.failed;
        seen
    }

    /// Both, as one.
    pub fn and(mut self, other: Self) -> Self {
        self.failed.extend(other.failed);
        self.warned.extend(other.warned);
        self.warned = &self.warned - &self.failed;
        self.by.extend(other.by);
        self.text.push_str(&other.text);
        self
    }

    /// What names this plugin, without what only tells of a busy machine.
    pub fn named<'a>(&'a self, mutant: &'a Mutant) -> impl Iterator<Item = &'a str> {
        let noise = |id: &str| LATENCIES.contains(&id) && !mutant.breaks().any(|one| one == id);
        let warned = self.warned.iter().filter(move |id| !noise(id));
        self.failed.iter().chain(warned).map(String::as_str)
    }
}

/// Whether the suite named what is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is broken, and nothing was named.
    Passed,
    /// What is broken was named, and what follows, and nothing else.
    Caught,
    /// Something that is broken was not named, or only warned of where it must fail.
    Survived,
    /// Something was named that is not broken.
    WrongId,
    /// What is said to follow did not.
    NothingFollowed,
}

impl Verdict {
    /// The word in JSON; never changes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Caught => "caught",
            Self::Survived => "survived",
            Self::WrongId => "wrong-id",
            Self::NothingFollowed => "nothing-followed",
        }
    }

    /// Whether it is as it should be.
    #[must_use]
    pub fn is_right(self) -> bool {
        matches!(self, Self::Passed | Self::Caught)
    }

    /// What was seen of a mutant, beside what its row says.
    #[must_use]
    pub fn of(mutant: &Mutant, seen: &Seen) -> Self {
        let named: BTreeSet<&str> = seen.named(mutant).collect();
        let follows: BTreeSet<&str> = mutant.follows().collect();
        let expected: BTreeSet<&str> = mutant.breaks().chain(mutant.follows()).collect();
        if mutant.fails.iter().any(|id| !seen.failed.contains(*id))
            || mutant.warns.iter().any(|id| !seen.warned.contains(*id))
        {
            Self::Survived
        } else if !named.is_subset(&expected) {
            Self::WrongId
        } else if !follows.is_subset(&named) {
            Self::NothingFollowed
        } else if expected.is_empty() {
            Self::Passed
        } else {
            Self::Caught
        }
    }
}

/// As much as a bug needs to show, in a second or two.
#[must_use]
pub fn options() -> Options {
    Options {
        round_trips: 200,
        polls: 20,
        encrypts: 20,
        decrypts: 40,
        concurrent: 20,
        burst: 50,
        errors: 200,
        pings: 20,
        flips: 16,
        contact_limit: Duration::from_secs(3),
        hook_limit: Duration::from_secs(2),
        patience: Duration::from_millis(20),
        log_pause: Duration::from_millis(1),
        truth_limit: Duration::from_millis(200),
        watch: Duration::from_millis(40),
        rotations: 20,
        frozen: Duration::from_millis(20),
        ..Options::default()
    }
}

/// Sends everything to a target.
///
/// # Errors
/// The options are unusable.
pub async fn record(target: &Target, options: &Options) -> Result<History> {
    let recorder = Recorder::new(options.header());
    let history = kms_conformance::run(target, options, &recorder).await;
    history.context("run the suite")
}

/// What the suite says of a plugin of the zoo; `program` serves those that are processes.
///
/// # Errors
/// It cannot be served, or lives in the simulation, which is not linked here.
pub async fn judged(mutant: &Mutant, program: &Program) -> Result<Seen> {
    match mutant.arm {
        Arm::Honest => Ok(in_process(None)
            .await?
            .and(process(program, mutant.id, None).await?)),
        Arm::InProcess(bug) => in_process(Some(bug)).await,
        Arm::Process(bug) => process(program, mutant.id, Some(bug)).await,
        Arm::Chaos(variant) => bail!("{variant} is planted in the simulation"),
    }
}

async fn in_process(bug: Option<Bug>) -> Result<Seen> {
    let served = Served::start(bug).await.context("serve the plugin")?;
    let history = record(&served.target, &options()).await?;
    Ok(Seen::of(&kms_judge::judge(&history)))
}

async fn process(program: &Program, id: &str, bug: Option<Bug>) -> Result<Seen> {
    let started = Started::start(program, id, bug).await?;
    let options = Options {
        hook_limit: PROCESS_STARTS,
        ..options()
    };
    let history = record(&started.target, &options).await?;
    Ok(Seen::of(&kms_judge::judge(&history)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(failed: &[&str], warned: &[&str]) -> Seen {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Seen {
            failed: set(failed),
            warned: set(warned),
            ..Seen::default()
        }
    }

    #[test]
    fn a_verdict_needs_all_that_is_expected_and_nothing_else() {
        let mutant = Mutant::of(Bug::OneBadObjectMakesSick)
            .fails(&["A"])
            .warns(&["B"])
            .also(&[(&["C"], "it follows")]);
        let verdict = |failed, warned| Verdict::of(&mutant, &seen(failed, warned));
        assert_eq!(verdict(&["A", "C"], &["B"]), Verdict::Caught);
        assert_eq!(verdict(&["A"], &["B", "C"]), Verdict::Caught);
        assert_eq!(verdict(&["A"], &["B"]), Verdict::NothingFollowed);
        assert_eq!(verdict(&["A", "C", "D"], &["B"]), Verdict::WrongId);
        assert_eq!(verdict(&["A", "C"], &[]), Verdict::Survived);
        // only warned of, where it must fail
        assert_eq!(verdict(&["C"], &["A", "B"]), Verdict::Survived);
        // noise, unless somebody breaks just that
        assert_eq!(verdict(&["A", "C"], &["B", "KMS2-DEC-06"]), Verdict::Caught);
        let slow = Mutant::of(Bug::DecryptSlow).warns(&["KMS2-DEC-06"]);
        assert_eq!(Verdict::of(&slow, &seen(&[], &[])), Verdict::Survived);
        let honest = Mutant::honest();
        assert_eq!(Verdict::of(&honest, &seen(&[], &[])), Verdict::Passed);
        assert_eq!(Verdict::of(&honest, &seen(&["A"], &[])), Verdict::WrongId);
    }
}

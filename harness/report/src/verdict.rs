//! How statuses add up. Pure, total, and independent of the order of what is added up.

use kms_judge::CheckStatus;

use crate::model::{Counts, ProfileResult, Report};

/// How much a status weighs when several checks judge one requirement; the heaviest wins.
///
/// The subject's breach outweighs everything. Then comes what keeps us from a verdict, because a
/// requirement that was judged in part must not look judged. A check that does not apply says
/// nothing about its neighbours and weighs least.
pub fn weight(status: CheckStatus) -> u8 {
    match status {
        CheckStatus::NotApplicable => 0,
        CheckStatus::Pass => 1,
        CheckStatus::Warn => 2,
        CheckStatus::Skipped => 3,
        CheckStatus::NotRun => 4,
        CheckStatus::Inconclusive => 5,
        CheckStatus::Fail => 6,
    }
}

/// The heaviest status; `not_run` if there is none.
pub fn worst(statuses: impl IntoIterator<Item = CheckStatus>) -> CheckStatus {
    statuses
        .into_iter()
        .max_by_key(|&status| weight(status))
        .unwrap_or(CheckStatus::NotRun)
}

/// The verdict on a profile from the status of each of its requirements, and whether the profile
/// requires it.
pub fn roll_up(requirements: impl IntoIterator<Item = (CheckStatus, bool)>) -> ProfileResult {
    let mut counts = Counts::default();
    let mut n_required_missing = 0;
    for (status, required) in requirements {
        counts.add(status);
        if required && is_missing(status) {
            n_required_missing += 1;
        }
    }
    if counts.fail > 0 {
        ProfileResult::Failure
    } else if counts.inconclusive > 0 {
        ProfileResult::Inconclusive
    } else if n_required_missing > 0 {
        ProfileResult::Partial
    } else if counts.pass == 0 {
        ProfileResult::Inconclusive
    } else {
        ProfileResult::Success
    }
}

/// Whether nobody looked.
pub fn is_missing(status: CheckStatus) -> bool {
    matches!(status, CheckStatus::Skipped | CheckStatus::NotRun)
}

impl Counts {
    /// Counts one more of this status.
    pub fn add(&mut self, status: CheckStatus) {
        let count = match status {
            CheckStatus::Pass => &mut self.pass,
            CheckStatus::Fail => &mut self.fail,
            CheckStatus::Warn => &mut self.warn,
            CheckStatus::Inconclusive => &mut self.inconclusive,
            CheckStatus::NotApplicable => &mut self.not_applicable,
            CheckStatus::Skipped => &mut self.skipped,
            CheckStatus::NotRun => &mut self.not_run,
        };
        *count += 1;
    }
}

/// Exit code for a report: 1 if the subject failed a profile or a scenario, 3 if one of them is inconclusive or
/// nothing ran, else 0.
///
/// A partial verdict is 0: all that ran held, and the operator chose what did not. A breach
/// outside of the profiles asked for changes nothing. Where scenarios alone ran, a swarm's, they alone decide.
pub fn exit_code(report: &Report) -> u8 {
    let any = |result| {
        report
            .profiles
            .iter()
            .any(|profile| profile.result == result)
    };
    let ran = |verdict| report.scenarios.iter().any(|run| run.verdict == verdict);
    let judged = report.profiles.iter().any(|profile| {
        let untouched = Counts {
            not_run: profile.counts.not_run,
            ..Counts::default()
        };
        profile.counts != untouched
    });
    let undecided = if judged {
        let passes = report.profiles.iter().map(|profile| profile.counts.pass);
        any(ProfileResult::Inconclusive) || passes.sum::<u64>() == 0
    } else {
        !ran(CheckStatus::Pass)
    };
    if any(ProfileResult::Failure) || ran(CheckStatus::Fail) {
        1
    } else if undecided || ran(CheckStatus::Inconclusive) {
        3
    } else {
        0
    }
}

/// What an exit code of ours says, as the end of a sentence.
pub fn exit_meaning(code: u8) -> &'static str {
    match code {
        0 => "all that ran held",
        1 => "the subject failed",
        2 => "wrong usage or configuration",
        3 => "the harness could not tell, or nothing ran",
        130 => "interrupted",
        _ => "unknown",
    }
}

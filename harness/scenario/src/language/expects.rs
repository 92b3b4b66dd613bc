//! `[[expect]]`: words to [`Expectation`]s.

use std::time::Duration;

use kms_history::chaos::Phase;
use kms_judge::invariant::{Claim, Expectation, Mode};

use super::file::{ExpectTable, PhaseName, ScenarioFile};
use super::ids::nearest_of;
use super::problem::{Path, Problem, Source};

/// How long Status and Encrypt may name different keys: one poll of the API server.
const AGREE_WITHIN: Duration = Duration::from_secs(60);

/// The API server's default timeout of a KMS call, which no RPC may outlast.
const RPC_LIMIT: Duration = Duration::from_secs(3);

/// Judged in every scenario, unless waived.
pub const DEFAULT_SAFETY: [Claim; 9] = [
    Claim::NoAcknowledgedWriteLost,
    Claim::NoWrongBytes,
    Claim::ReadableByFreshApiserver,
    Claim::NoPlaintextAnywhere,
    Claim::KeyIdNeverFlaps,
    Claim::KeyIdNeverReturns,
    Claim::KeyIdAgrees {
        within: AGREE_WITHIN,
    },
    Claim::DeadlinesKept { limit: RPC_LIMIT },
    Claim::NoSecondOwner,
];

/// What may be said with a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Over the whole run or its end: `always` only.
    Safety,
    /// The same, with `within`.
    Bounded,
    /// The same, with `limit` and `per`.
    Counted,
    /// Seen at the end: `sometimes` only.
    Seen,
    /// A state that comes and goes: all three.
    State,
    /// A state of liveness: `eventually` only.
    Liveness,
    /// Something that happens: `sometimes`, or `eventually`.
    Happening,
}

const WORDS: [(&str, Sort); 22] = [
    ("no-acknowledged-write-lost", Sort::Safety),
    ("no-wrong-bytes", Sort::Safety),
    ("readable-by-fresh-apiserver", Sort::Safety),
    ("no-plaintext-anywhere", Sort::Safety),
    ("key-id-never-flaps", Sort::Safety),
    ("key-id-never-returns", Sort::Safety),
    ("no-second-owner", Sort::Safety),
    ("stored-under-current-key", Sort::Safety),
    ("key-id-agrees", Sort::Bounded),
    ("deadlines-kept", Sort::Bounded),
    ("status-truthful", Sort::Bounded),
    ("vault-logins-at-most", Sort::Counted),
    ("vault-requests-at-most", Sort::Counted),
    ("objects-unreadable", Sort::Seen),
    ("recovers", Sort::Liveness),
    ("status-ok", Sort::State),
    ("status-bad", Sort::State),
    ("writes-ok", Sort::State),
    ("reads-ok", Sort::State),
    ("writes-fail", Sort::State),
    ("reads-fail", Sort::State),
    ("key-id-changes", Sort::Happening),
];

/// All names that `always`, `eventually` and `sometimes` know.
pub fn names() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(name, _)| *name)
}

/// Checks `waives`.
pub(super) fn waives(form: &ScenarioFile, source: &Source<'_>, problems: &mut Vec<Problem>) {
    for (index, name) in form.waives.iter().enumerate() {
        if !DEFAULT_SAFETY.iter().any(|claim| claim.name() == name) {
            let names = DEFAULT_SAFETY.map(|claim| claim.name().to_owned());
            let path = Path::of(&["waives"]).index(index);
            let fix = nearest_of(name, names.clone())
                .map_or(format!("write one of {}", names.join(", ")), |near| {
                    format!("did you mean {near:?}?")
                });
            problems.push(source.problem(&path, format!("{name:?} is not judged by default"), fix));
        }
    }
}

/// One table to its expectation, or to problems.
pub(super) fn typed(
    form: &ScenarioFile,
    index: usize,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Expectation> {
    let table = form.expect.get(index)?;
    let path = Path::of(&["expect"]).index(index);
    let before = problems.len();
    let said: Vec<_> = [
        ("always", &table.always),
        ("eventually", &table.eventually),
        ("sometimes", &table.sometimes),
    ]
    .into_iter()
    .filter_map(|(word, name)| name.as_ref().map(|name| (word, name.as_str())))
    .collect();
    let [(word, name)] = said[..] else {
        let message = if said.is_empty() {
            "nothing is expected"
        } else {
            "more than one thing is expected"
        };
        let fix =
            "write one of always, eventually, sometimes; another expectation is another [[expect]]";
        problems.push(source.problem(&path, message, fix));
        return None;
    };
    let Some((_, sort)) = WORDS.iter().find(|(known, _)| *known == name) else {
        let fix = nearest_of(name, names().map(str::to_owned)).map_or_else(
            || format!("write one of {}", names().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean {near:?}?"),
        );
        problems.push(source.problem(
            &path.key(word),
            format!("there is no invariant {name:?}"),
            fix,
        ));
        return None;
    };
    let fits = match sort {
        Sort::Safety | Sort::Bounded | Sort::Counted => word == "always",
        Sort::Seen => word == "sometimes",
        Sort::State => true,
        Sort::Liveness => word == "eventually",
        Sort::Happening => word != "always",
    };
    if !fits {
        let right = match sort {
            Sort::Safety | Sort::Bounded | Sort::Counted => "always",
            Sort::Seen => "sometimes",
            Sort::Liveness => "eventually",
            Sort::State | Sort::Happening => "eventually or sometimes",
        };
        problems.push(source.problem(
            &path.key(word),
            format!("{name:?} cannot be meant with `{word}`"),
            format!("write {right} = {name:?}"),
        ));
        return None;
    }
    parameters(form, table, word, *sort, &path, source, problems);
    if problems.len() > before {
        return None;
    }
    Some(Expectation {
        mode: mode(table, word),
        claim: claim(table, name)?,
        node: table.node,
    })
}

fn parameters(
    form: &ScenarioFile,
    table: &ExpectTable,
    word: &str,
    sort: Sort,
    path: &Path,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) {
    let eventually = word == "eventually";
    let mut superfluous = |key: &str, there: bool, why: &str| {
        if there {
            problems.push(source.problem(
                &path.key(key),
                format!("`{key}` means nothing here: {why}"),
                "remove it",
            ));
        }
    };
    superfluous(
        "within",
        table.within.is_some() && !eventually && sort != Sort::Bounded,
        "nothing is waited for",
    );
    superfluous(
        "after",
        table.after.is_some() && !eventually,
        "only `eventually` is counted from something",
    );
    superfluous(
        "during",
        table.during.is_some() && (sort != Sort::State && sort != Sort::Happening || eventually),
        "it is judged over the whole run",
    );
    superfluous(
        "limit",
        table.limit.is_some() && sort != Sort::Counted,
        "nothing is counted",
    );
    superfluous(
        "per",
        table.per.is_some() && sort != Sort::Counted,
        "nothing is counted",
    );
    if eventually {
        match table.within {
            None => problems.push(source.problem(
                &path.key("within"),
                "`eventually` has no bound",
                "add within = \"60s\", counted from the beginning of heal",
            )),
            Some(within) => {
                let end = form.phases.heal.0 + form.phases.liveness.0;
                if within.0 >= end {
                    problems.push(source.problem(
                        &path.key("within"),
                        format!(
                            "it is counted from the beginning of heal, and the run ends {} later",
                            super::time::Time(end)
                        ),
                        "shorten it, or lengthen phases.liveness",
                    ));
                }
            }
        }
    }
    if sort == Sort::Counted {
        if table.limit.is_none() {
            problems.push(source.problem(
                &path.key("limit"),
                "`limit` is missing",
                "add limit = 20",
            ));
        }
        if table.per.is_none() {
            problems.push(source.problem(
                &path.key("per"),
                "`per` is missing",
                "add per = \"10m\"",
            ));
        }
        if table.per.is_some_and(|per| per.0.is_zero()) {
            problems.push(source.problem(
                &path.key("per"),
                "the window is empty",
                "write per = \"10m\"",
            ));
        }
    }
    if sort == Sort::Bounded && table.within.is_none() {
        problems.push(source.problem(
            &path.key("within"),
            "`within` is missing",
            "add within = \"30s\"",
        ));
    }
    if let Some(node) = table.node
        && node >= form.world.nodes
    {
        problems.push(source.problem(
            &path.key("node"),
            format!("there is no node {node}"),
            format!("write 0 to {}", form.world.nodes.saturating_sub(1)),
        ));
    }
}

fn mode(table: &ExpectTable, word: &str) -> Mode {
    let during = table.during.map(|phase| match phase {
        PhaseName::Baseline => Phase::Baseline,
        PhaseName::Fault => Phase::Fault,
        PhaseName::Liveness => Phase::Liveness,
    });
    match word {
        "eventually" => Mode::Eventually {
            within: table.within.map_or(Duration::ZERO, |within| within.0),
        },
        "sometimes" => Mode::Sometimes { during },
        _ => Mode::Always { during },
    }
}

fn claim(table: &ExpectTable, name: &str) -> Option<Claim> {
    let within = table.within.map_or(Duration::ZERO, |within| within.0);
    let limit = table.limit.unwrap_or_default();
    let per = table.per.map_or(Duration::ZERO, |per| per.0);
    Some(match name {
        "no-acknowledged-write-lost" => Claim::NoAcknowledgedWriteLost,
        "no-wrong-bytes" => Claim::NoWrongBytes,
        "readable-by-fresh-apiserver" => Claim::ReadableByFreshApiserver,
        "no-plaintext-anywhere" => Claim::NoPlaintextAnywhere,
        "key-id-never-flaps" => Claim::KeyIdNeverFlaps,
        "key-id-never-returns" => Claim::KeyIdNeverReturns,
        "no-second-owner" => Claim::NoSecondOwner,
        "stored-under-current-key" => Claim::StoredUnderCurrentKey,
        "key-id-agrees" => Claim::KeyIdAgrees { within },
        "deadlines-kept" => Claim::DeadlinesKept { limit: within },
        "status-truthful" => Claim::StatusTruthful { within },
        "vault-logins-at-most" => Claim::VaultLoginsAtMost { limit, per },
        "vault-requests-at-most" => Claim::VaultRequestsAtMost { limit, per },
        "objects-unreadable" => Claim::ObjectsUnreadable,
        "recovers" => Claim::Recovers,
        "status-ok" => Claim::StatusOk,
        "status-bad" => Claim::StatusBad,
        "writes-ok" => Claim::WritesOk,
        "reads-ok" => Claim::ReadsOk,
        "writes-fail" => Claim::WritesFail,
        "reads-fail" => Claim::ReadsFail,
        "key-id-changes" => Claim::KeyIdChanges,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_claim() {
        for name in names() {
            let claim = claim(&ExpectTable::default(), name).expect(name);
            assert_eq!(claim.name(), name);
        }
    }
}

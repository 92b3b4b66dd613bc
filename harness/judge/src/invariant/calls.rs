//! How much plugins ask of Vault.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_history::chaos::VaultPath;

use super::Result;
use super::view::View;

/// Logins.
pub(super) fn logins(view: &View<'_>, limit: u64, per: Duration) -> Result {
    most(view, limit, per, "logins", |calls| {
        calls.get(&VaultPath::Login).copied().unwrap_or(0)
    })
}

/// All requests.
pub(super) fn requests(view: &View<'_>, limit: u64, per: Duration) -> Result {
    most(view, limit, per, "requests", |calls| calls.values().sum())
}

/// Counts come by windows; only those that lie wholly in a window of length `per` are added, so nothing is counted that
/// was not in it.
fn most(
    view: &View<'_>,
    limit: u64,
    per: Duration,
    what: &str,
    count: impl Fn(&BTreeMap<VaultPath, u64>) -> u64,
) -> Result {
    let calls = view.vault_calls();
    if calls.is_empty() {
        return Result::Nothing("calls to Vault were not counted".to_owned());
    }
    let mut starts = vec![Duration::ZERO];
    starts.extend(calls.iter().map(|(end, _)| *end));
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for (index, (end, window)) in calls.iter().enumerate() {
        sum += count(window);
        while first <= index && *end - starts[first] > per {
            sum -= count(calls[first].1);
            first += 1;
        }
        if sum > limit {
            return Result::Broken {
                at: *end,
                text: format!("{sum} {what} in {per:?}, {limit} allowed"),
            };
        }
        most = most.max(sum);
    }
    Result::Held(format!("at most {most} {what} in {per:?}"))
}

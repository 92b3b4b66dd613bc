//! What Status and Encrypt of one node tell of the same thing, and how long one of them stays behind the other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::view::{Sample, View};

/// One of the two that still told the old when the other had told the new for too long.
pub(super) struct Behind<'a, T> {
    /// The call that told the old.
    pub sample: Sample<'a>,
    /// What Status tells.
    pub status: T,
    /// What Encrypt tells.
    pub encrypt: T,
    /// Since when the other tells the new.
    pub since: Duration,
}

/// What one of the two told last, and since when in a row.
type Told<T> = Option<(T, Duration)>;

/// The first that stayed behind for longer than `within`, and how many pairs there were. Only a call shows that it is
/// behind: what nobody asked in the meantime may have changed with the other.
pub(super) fn behind<'a, T: Copy + PartialEq>(
    view: &View<'a>,
    within: Duration,
    tells: impl Fn(&Sample<'a>) -> Option<T>,
) -> (u64, Option<Behind<'a, T>>) {
    let of = |encrypt| move |sample| (encrypt, sample);
    let mut samples: Vec<_> = view.statuses().into_iter().map(of(false)).collect();
    samples.extend(view.encrypts().into_iter().map(of(true)));
    samples.sort_by_key(|(_, sample)| sample.at);
    let mut nodes: BTreeMap<u32, [Told<T>; 2]> = BTreeMap::new();
    let mut compared = 0;
    for (encrypt, sample) in samples {
        let Some(told) = tells(&sample) else { continue };
        let pair = nodes.entry(sample.node).or_default();
        let own = &mut pair[usize::from(encrypt)];
        let from = match own {
            Some((before, from)) if *before == told => *from,
            _ => sample.at,
        };
        *own = Some((told, from));
        let Some((other, since)) = pair[usize::from(!encrypt)] else {
            continue;
        };
        compared += 1;
        if told != other && since > from && sample.at - since > within {
            let (status, encrypt) = if encrypt {
                (other, told)
            } else {
                (told, other)
            };
            let behind = Behind {
                sample,
                status,
                encrypt,
                since,
            };
            return (compared, Some(behind));
        }
    }
    (compared, None)
}

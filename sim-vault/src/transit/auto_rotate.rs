//! Rotation by itself: keys with `auto_rotate_period` get a version when the latest one is that old. The servers look once an
//! hour (their sources; one minute after the start for the first time), so a rotation can be an hour late.

use std::{collections::BTreeMap, time::Duration};

use super::{Key, Transit};
use crate::{
    Core,
    mounts::{Backend, MountId},
};

const FIRST: u64 = 60;
const EVERY: u64 = 3600;
/// How often it is looked whether an hour has passed.
const TICK: u64 = 60;
/// Most looks that are made up for at once: half a year of them, when the clock is moved by centuries.
const MOST: usize = 4096;

/// Makes the rotations that fell due since the last call, each at the time it was due. A sealed server makes none, and does not
/// make up for them.
pub(crate) fn rotate_due(core: &mut Core) {
    let (before, now) = (core.rotations_checked, core.now.as_secs());
    if now / TICK == before / TICK {
        return;
    }
    core.rotations_checked = now;
    if core.sealed() {
        return;
    }
    let mounts: Vec<MountId> = core
        .mounts
        .iter()
        .filter(|(_, m)| matches!(&m.backend, Backend::Transit(t) if t.keys.values().any(rotates)))
        .map(|(id, _)| *id)
        .collect();
    for id in mounts {
        let mut after = before;
        for _ in 0..MOST {
            let Some((at, due)) = next(core, id, after).filter(|(at, _)| *at <= now) else {
                break;
            };
            rotate(core, id, at, &due);
            after = at;
        }
    }
}

fn rotates(key: &Key) -> bool {
    !key.auto_rotate.is_zero() && !key.soft_deleted && (!key.imported || key.import_rotation)
}

/// The next look after a time that finds something to do, in seconds since the server's birth, and the keys.
fn next(core: &Core, mount: MountId, after: u64) -> Option<(u64, Vec<String>)> {
    let keys = &transit(core, mount)?.keys;
    let due: Vec<(u64, &String)> = keys
        .iter()
        .filter(|(_, key)| rotates(key))
        .filter_map(|(name, key)| {
            let made = key.versions.get(&key.latest)?.created_unix;
            let made = made.saturating_sub(core.start_unix());
            Some((look(made + key.auto_rotate.as_secs(), after), name))
        })
        .collect();
    let at = due.iter().map(|(at, _)| *at).min()?;
    let names = due.iter().filter(|(t, _)| *t == at);
    Some((at, names.map(|(_, name)| (*name).clone()).collect()))
}

/// The first look at which the time has passed, later than another.
fn look(due: u64, after: u64) -> u64 {
    let least = (due + 1).max(after + 1);
    FIRST + least.saturating_sub(FIRST).div_ceil(EVERY) * EVERY
}

fn rotate(core: &mut Core, mount: MountId, at: u64, names: &[String]) {
    let now = std::mem::replace(&mut core.now, Duration::from_secs(at));
    for name in names {
        // out and in again: a key that has rotated often is large
        let Some(mut key) = keys(core, mount).and_then(|keys| keys.remove(name)) else {
            continue;
        };
        key.rotate(core);
        core.wrote();
        if let Some(keys) = keys(core, mount) {
            keys.insert(name.clone(), key);
        }
    }
    core.now = now;
}

fn keys(core: &mut Core, mount: MountId) -> Option<&mut BTreeMap<String, Key>> {
    match core.mounts.get_mut(&mount).map(|m| &mut m.backend) {
        Some(Backend::Transit(transit)) => Some(&mut transit.keys),
        _ => None,
    }
}

fn transit(core: &Core, mount: MountId) -> Option<&Transit> {
    match core.mount(mount).map(|m| &m.backend) {
        Some(Backend::Transit(transit)) => Some(transit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_look_once_an_hour_from_one_minute_on() {
        assert_eq!(look(0, 0), 60);
        assert_eq!(look(3600, 0), 3660);
        assert_eq!(look(3660, 0), 7260);
        assert_eq!(look(10, 3660), 7260);
    }
}

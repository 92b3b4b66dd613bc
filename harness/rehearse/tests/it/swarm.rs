//! Some seeds of the swarm, and that a seed can fail.

use std::collections::BTreeSet;

use kms_rehearse::many;
use kms_rehearse::matrix::path::Path;
use kms_rehearse::options::Mode;
use kms_rehearse::swarm::{Swarm, draw, fly, fly_with, spoken};
use kms_rehearse::world::World;

use crate::share::share;

#[test]
fn no_seed_breaks_anything() {
    let seeds = share(1..=24, 6);
    let swarm = Swarm::of(many::play(&seeds, 2, |seed| fly(*seed), |_| ()));
    assert!(swarm.held, "{}", swarm.text());
}

/// A key fault that ends, or begins, while another has sealed Vault; a token that is revoked before its first use.
#[test]
fn seeds_that_failed_once_hold() {
    for seed in share([655, 690, 1875, 1896], 2) {
        let swarm = Swarm::of(vec![fly(seed)]);
        assert!(swarm.held, "{}", swarm.text());
    }
}

#[test]
fn a_migrator_that_writes_nothing_fails_the_seed_and_tells_how_to_play_it_again() {
    let mut lazy = |world: &mut World| world.plane.migrator.finish();
    let swarm = Swarm::of(vec![fly_with(1, &mut lazy)]);
    let text = swarm.text();
    assert!(!swarm.held, "{text}");
    assert!(text.contains("lie in etcd as"), "{text}");
    assert!(text.contains("rehearse swarm --seeds 1 --seed 1"), "{text}");
}

#[test]
fn everything_that_can_be_drawn_is_drawn() {
    let all: Vec<_> = (1..=400).map(draw).collect();
    let paths: BTreeSet<Path> = all.iter().map(|it| it.path).collect();
    let faults: BTreeSet<_> = all
        .iter()
        .flat_map(|it| it.blows.iter().map(|blow| blow.fault))
        .collect();
    let nodes: BTreeSet<usize> = all.iter().map(|it| it.plan.nodes).collect();
    assert_eq!((paths.len(), faults.len()), (4, 13));
    assert_eq!(nodes, BTreeSet::from([1, 2, 3, 4, 5]));
    for mode in [Mode::Seed, Mode::V2, Mode::Newest] {
        assert!(all.iter().any(|it| it.plan.mode == mode));
    }
    assert!(all.iter().any(|it| it.blows.len() == 3));
    assert!(all.iter().any(|it| it.older));
    for name in ["max-in-flight", "key-id-epoch", "revoke-on-exit"] {
        let given = |it: &kms_rehearse::matrix::trial::Setting| spoken(it).contains(name);
        assert!(all.iter().any(given), "{name}");
    }
}

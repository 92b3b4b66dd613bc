//! The fault matrix: all of it, and that a cell of it can fail.

use std::collections::BTreeSet;

use kms_controlplane::cluster::target_config_name;
use kms_controlplane::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use kms_controlplane::object::MANAGED_NAMESPACE;
use kms_controlplane::plane::COMPONENTS;
use kms_rehearse::many;
use kms_rehearse::matrix::explained::{EXPLAINED, unshown};
use kms_rehearse::matrix::fault::Fault;
use kms_rehearse::matrix::ledger::Ledger;
use kms_rehearse::matrix::phase::Phase;
use kms_rehearse::matrix::report::{Sweep, Verdict};
use kms_rehearse::matrix::{Cell, Wish, all, cells};
use kms_rehearse::options::Words as _;
use kms_rehearse::world::World;
use kms_rehearse::world::servers::everything;

use crate::share::share;

fn wished(path: Option<&str>, fault: Option<&str>, phase: Option<&str>) -> Vec<Cell> {
    let wish = Wish {
        path,
        fault,
        phase,
        seed: 1,
    };
    cells(&wish).unwrap()
}

/// Every other cell, as the fields of a chessboard: each fault at every other phase, each phase with every other fault.
/// The share is of these. The command plays all.
fn every_other(path: &str) {
    let all = wished(Some(path), None, None);
    let phases = Phase::ALL.len();
    let fields = all.into_iter().enumerate();
    let fields = fields.filter(|(place, _)| (place / phases + place % phases).is_multiple_of(2));
    let chosen: Vec<Cell> = fields.map(|(_, cell)| cell).collect();
    assert_eq!(chosen.len(), Fault::ALL.len() * phases / 2);
    // next to each other in the table lie the phases of one fault: each 25th is another fault, and another phase
    let chosen = share(chosen, 25);
    let sweep = Sweep::of(many::play(&chosen, 2, Cell::play, |_| ()));
    assert!(sweep.held, "{}", sweep.text());
}

#[test]
fn every_fault_meets_every_path_from_identity_to_kms() {
    every_other("identity-to-kms");
}

#[test]
fn every_fault_meets_every_path_from_aescbc_to_kms() {
    every_other("aescbc-to-kms");
}

#[test]
fn every_fault_meets_every_path_from_kms_to_kms() {
    every_other("kms-to-kms");
}

#[test]
fn every_fault_meets_every_path_from_kms_to_identity() {
    every_other("kms-to-identity");
}

#[test]
fn the_matrix_has_its_size_and_every_explanation_its_cells() {
    let all = all(1);
    assert!(all.len() >= 300, "{} cells", all.len());
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    for entry in EXPLAINED {
        assert!(
            all.iter().any(|cell| entry.covers(cell)),
            "{} explains no cell",
            entry.why
        );
    }
}

fn one(path: &str, fault: &str, phase: &str) -> Cell {
    wished(Some(path), Some(fault), Some(phase))[0]
}

/// The cell fails, says so in these words, and tells how it is played again.
#[track_caller]
fn fails(cell: Cell, meddler: &mut dyn FnMut(&mut World), text: &str) {
    let played = cell.play_with(meddler);
    assert_eq!(played.verdict, Verdict::Failed, "{played:?}");
    let sweep = Sweep::of(vec![played]).text();
    assert!(sweep.contains(text), "{sweep}");
    assert!(sweep.contains(&cell.replay()), "{sweep}");
}

#[test]
fn a_migrator_that_says_it_is_through_and_has_written_nothing_fails_the_cell() {
    let mut lazy = |world: &mut World| world.plane.migrator.finish();
    fails(
        one("identity-to-kms", "key-rotated", "before-the-edit"),
        &mut lazy,
        "lie in etcd as plain, not as k8s:enc:kms:v2:1_",
    );
}

/// A controller that does not wait: it lets the new key write as soon as the first node can read it.
fn hasty(world: &mut World) {
    let (component, ..) = COMPONENTS[0];
    let operand = &world.plane.operands[0];
    let out = operand
        .nodes
        .iter()
        .filter(|it| it.current == operand.latest);
    if !(1..world.plan.nodes).contains(&out.count()) {
        return;
    }
    let names = [
        (MANAGED_NAMESPACE, target_config_name(component)),
        (component, CONFIG_KEY.to_owned()),
    ];
    for (namespace, name) in names {
        let api = &mut world.plane.cluster.api;
        let mut secret = api.secret(namespace, &name).unwrap();
        let config = EncryptionConfiguration::from_secret(&secret).unwrap();
        let mut config = config.unwrap();
        for entry in &mut config.resources {
            let kms = |provider: &Provider| matches!(provider, Provider::Kms(_));
            let place = entry.providers.iter().position(kms).unwrap();
            let kms = entry.providers.remove(place);
            entry.providers.insert(0, kms);
        }
        secret.data.insert(CONFIG_KEY.to_owned(), config.to_text());
        api.update_secret(secret).unwrap();
    }
}

#[test]
fn a_controller_that_does_not_wait_for_the_read_stage_fails_the_cell() {
    fails(
        one("aescbc-to-kms", "apiserver-restarted", "migration-ended"),
        &mut hasty,
        "ReadBeforeWrite",
    );
}

#[test]
fn a_write_that_is_undone_behind_the_api_is_a_read_that_fails() {
    let plan = one("identity-to-kms", "vault-sealed", "before-the-edit")
        .setting()
        .plan;
    kms_sim::run::virtual_time(1, async move {
        let mut world = World::start(plan).await.unwrap();
        let mut ledger = Ledger::of(&world);
        let before = everything(&world.ground.stores[1]).await.unwrap();
        for _ in 0..4 {
            ledger.write(&mut world).await;
        }
        assert_eq!(ledger.answered, (24, 0));
        let failed = ledger.read(&world, None).await;
        assert!(failed.is_empty(), "{failed:?}");
        for (component, target) in &world.acknowledged {
            let old = before.iter().find(|(key, _)| key.ends_with(&target.key()));
            if let (1, Some((_, old))) = (component, old) {
                let api = world.servers[world.place(1, 0)].api();
                api.store(target, Some(old.clone())).await.unwrap();
            }
        }
        let failed = ledger.read(&world, None).await;
        assert!(!failed.is_empty());
        for failed in failed {
            assert!(failed.why.contains("was acknowledged"), "{failed:?}");
            assert!(!failed.for_want_of_the_provider(), "{failed:?}");
        }
    });
}

#[test]
fn a_loss_that_nothing_explains_and_an_explanation_that_does_not_occur_fail() {
    use kms_rehearse::matrix::explained::judge;
    use kms_rehearse::matrix::trial::Outcome;
    let lossy = Outcome {
        lost: 1,
        ..Outcome::default()
    };
    let (wrong, _) = judge(
        &one("identity-to-kms", "vault-sealed", "write-between"),
        &lossy,
    );
    assert!(wrong[0].contains("nothing explains it"), "{wrong:?}");
    let cell = one("identity-to-kms", "key-deleted-restarted", "write-between");
    let (wrong, why) = judge(&cell, &lossy);
    assert!(wrong.is_empty() && why.len() == 1, "{wrong:?}");
    let (wrong, _) = judge(&cell, &Outcome::default());
    assert!(wrong[0].contains("did not happen"), "{wrong:?}");
}

#[test]
fn a_seed_that_others_have_not_met_is_closed_to_them_while_the_fault_lasts() {
    let played = one("identity-to-kms", "min-version-raised", "migration-middle").play();
    assert_eq!(played.verdict, Verdict::Explained, "{played:?}");
    assert!(played.barred > 0 && played.lost == 0, "{played:?}");
}

#[test]
fn an_explanation_that_no_cell_shows_fails_the_sweep() {
    let nothing: Vec<(Cell, Vec<&str>)> = all(1).into_iter().map(|cell| (cell, vec![])).collect();
    assert_eq!(unshown(&nothing).len(), EXPLAINED.len());
    let shown: Vec<(Cell, Vec<&str>)> = all(1)
        .into_iter()
        .map(|cell| {
            let mine = EXPLAINED.iter().filter(|entry| entry.covers(&cell));
            (cell, mine.map(|entry| entry.why).collect())
        })
        .collect();
    assert!(unshown(&shown).is_empty());
    // what was not played says nothing
    assert!(unshown(&nothing[..10]).is_empty());
}

#[test]
fn the_same_seed_plays_the_same_cell() {
    let cell = one("aescbc-to-kms", "node-partitioned", "write-between");
    let text = |cell: Cell| serde_json::to_string(&cell.play()).unwrap();
    assert_eq!(text(cell), text(cell));
}

#[test]
fn a_word_that_there_is_not_names_those_that_there_are() {
    let wish = Wish {
        fault: Some("key-lost"),
        ..Wish::default()
    };
    let text = cells(&wish).unwrap_err().0;
    assert!(
        text.contains("\"key-lost\"") && text.contains("key-deleted-restored"),
        "{text}"
    );
    assert!(kms_rehearse::matrix::phase::Phase::read("before-the-edit").is_ok());
}

//! Each row of the fault table and each trap is made on a simulated cluster, and exactly it is found.

use std::collections::BTreeSet;
use std::time::Duration;

use kms_doctor::Diagnosis;
use kms_doctor::rows::{INVISIBLE, ROWS};
use kms_rehearse::fault;
use kms_rehearse::options::{Mode, Procedure};
use kms_rehearse::scenario::{self, Row};
use kms_rehearse::world::{Plan, World};

use crate::gather;
use crate::share::share;

/// A cluster as the row's procedure finds it, up to the step before which the fault happens.
async fn stage(row: &Row) -> Box<World> {
    let plan = Plan {
        mode: row.mode(),
        nodes: row.nodes().unwrap_or(3),
        // a slow migration must be a long one
        objects: if row.id() == "OCP-FAULT-23" { 4000 } else { 60 },
        seed: 1,
        flavour: row.flavour(),
    };
    let mut world = World::start(plan).await.unwrap();
    match row.procedure() {
        Procedure::Enable => {
            world.deploy().unwrap();
            world.pass(Duration::from_secs(120)).await;
        }
        Procedure::MigrateFromLocal => {
            world.settled_in("aescbc").await.unwrap();
            world.deploy().unwrap();
            world.pass(Duration::from_secs(30)).await;
        }
        _ => world.settled_in("KMS").await.unwrap(),
    }
    match row.procedure() {
        Procedure::Rotate => {
            let path = "transit/keys/kms-key/rotate";
            world.vault.admin("POST", path, &serde_json::Value::Null);
            if row.at != "settle" {
                world.pass(Duration::from_secs(300)).await;
            }
        }
        Procedure::Disable => {
            world.set_type("identity");
            let left = world
                .until(Duration::from_secs(4 * 3600), World::all_done)
                .await;
            assert!(left, "KMS is not left");
        }
        _ => {}
    }
    assert_eq!(
        gather::ids(&world).await,
        Vec::<String>::new(),
        "{}: before",
        row.id()
    );
    world
}

/// The change that the procedure makes at that step.
fn go_on(world: &mut World, row: &Row) {
    match (row.procedure(), row.id()) {
        // the API refuses it
        (_, "OCP-FAULT-01") => {}
        (Procedure::Enable | Procedure::MigrateFromLocal, _) => world.set_type("KMS"),
        (Procedure::BackToLocal, _) => world.set_type("aescbc"),
        _ => {}
    }
}

/// How long it takes to show, and whether it is looked for on the way, because it passes by.
fn patience(id: &str) -> (u64, bool) {
    match id {
        "OCP-FAULT-27" | "OCP-TRAP-03" | "OCP-TRAP-08" | "OCP-TRAP-09" | "OCP-TRAP-10"
        | "OCP-TRAP-11" => (5, false),
        "OCP-FAULT-14" => (120, false),
        "OCP-FAULT-20" => (120, false),
        "OCP-FAULT-22" | "OCP-FAULT-24" => (3 * 3600, true),
        "OCP-FAULT-23" => (4 * 3600, true),
        // it goes back after 13 minutes, and tries again ten minutes later
        "OCP-FAULT-29" => (17 * 60, false),
        "OCP-TRAP-01" | "OCP-TRAP-02" | "OCP-TRAP-07" | "OCP-TRAP-12" => (3600, true),
        _ => (300, false),
    }
}

async fn found(id: &str) -> Vec<String> {
    let row = scenario::find(id).unwrap();
    let mut world = stage(&row).await;
    fault::inject(&mut world, row.clone(), row.at)
        .await
        .unwrap();
    go_on(&mut world, &row);
    let (seconds, on_the_way) = patience(id);
    if !on_the_way {
        world.pass(Duration::from_secs(seconds)).await;
        return gather::ids(&world).await;
    }
    // what is slow is not looked at each minute
    let pause = if id == "OCP-FAULT-23" { 600 } else { 60 };
    for _ in 0..seconds.div_ceil(pause) {
        world.pass(Duration::from_secs(pause)).await;
        let ids = gather::ids(&world).await;
        if !ids.is_empty() {
            return ids;
        }
    }
    Vec::new()
}

/// Rows whose place in the table leaves this rest, so that they share threads.
fn every(rest: usize) {
    let mut wrong = String::new();
    let rows = ROWS.iter().skip(rest).step_by(4);
    for row in share(rows.filter(|row| !row.needs.is_empty()), 4) {
        let ids = kms_sim::run::virtual_time(1, Box::pin(found(row.id)));
        if ids != [row.id] {
            wrong.push_str(&format!("{}: {ids:?}\n", row.id));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_row_is_found_and_nothing_else_1() {
    every(0);
}

#[test]
fn each_row_is_found_and_nothing_else_2() {
    every(1);
}

#[test]
fn each_row_is_found_and_nothing_else_3() {
    every(2);
}

#[test]
fn each_row_is_found_and_nothing_else_4() {
    every(3);
}

#[test]
fn a_row_that_nothing_shows_says_so() {
    let blind: Vec<&str> = ROWS
        .iter()
        .filter(|row| row.needs.is_empty())
        .map(|row| row.id)
        .collect();
    assert_eq!(blind, ["OCP-FAULT-01"]);
    kms_sim::run::virtual_time(
        1,
        Box::pin(async {
            let row = scenario::find("OCP-FAULT-01").unwrap();
            let mut world = stage(&row).await;
            fault::inject(&mut world, row.clone(), row.at)
                .await
                .unwrap();
            world.pass(Duration::from_secs(300)).await;
            let diagnosis = Diagnosis::of(&gather::evidence(&world).await);
            assert_eq!(diagnosis.findings, []);
            let blind: Vec<(&str, &str)> = diagnosis
                .not_looked_for
                .iter()
                .map(|it| (it.what.as_str(), it.because.as_str()))
                .filter(|(what, _)| *what == "OCP-FAULT-01")
                .collect();
            assert_eq!(blind, [("OCP-FAULT-01", INVISIBLE)]);
        }),
    );
}

#[test]
fn the_table_has_the_rehearsal_s_rows() {
    let here: BTreeSet<&str> = ROWS.iter().map(|row| row.id).collect();
    // public bugs of operators have rows of the fault table, or none
    let there = scenario::ROWS.iter().map(|row| row.id());
    let there: BTreeSet<&str> = there.filter(|id| id.starts_with("OCP-")).collect();
    assert_eq!(here, there);
    assert!(
        ROWS.iter()
            .all(|row| !row.means.is_empty() && !row.remedy.is_empty())
    );
    assert_eq!(Mode::Seed, scenario::find("OCP-FAULT-13").unwrap().mode());
}

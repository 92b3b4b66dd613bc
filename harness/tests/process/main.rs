//! The process arm: every fault it can make is made on a real plugin process, is felt, counts its hits, and is over
//! when it is undone. On the simulated Vault, and on real ones where they are found.

mod every_fault;
mod library;
#[path = "../common/tier.rs"]
mod tier;

use std::sync::Arc;

use kms_harness::arm::process::unable;
use kms_harness::arm::process::vault::Make;
use kms_harness::subject::own;
use kms_harness::vault::family::Family;
use kms_scenario::world::Flavour;

fn main() {
    let plugin = Arc::new(plugin());
    let mut trials = Vec::new();
    for (name, flavour, make) in makes() {
        for case in every_fault::cases() {
            let kind = case.fault.kind();
            // What an arm cannot do it says, and no test pretends.
            if make
                .as_ref()
                .is_ok_and(|make| unable(&case.fault, make).is_some())
            {
                continue;
            }
            let plugin = Arc::clone(&plugin);
            trials.push(tier::test(
                &format!("{name}::{kind}{}", case.suffix),
                make.clone(),
                move |make| async move {
                    every_fault::felt_and_undone(&make, flavour, &plugin, case).await
                },
            ));
        }
    }
    let family = Family::OpenBao;
    let openbao = family.part().find();
    let openbao = openbao.map(|binary| Make::Real(family, binary));
    let entries = library::entries().expect("the library is read");
    // Fewer would say that the arms do not agree.
    assert!(
        entries.len() >= 15,
        "only {} scenarios run in real time",
        entries.len()
    );
    for entry in entries {
        let plugin = Arc::clone(&plugin);
        let make = openbao.as_ref().map_err(|error| format!("{error:#}"));
        trials.push(tier::test(
            &format!("{family}::scenario::{}", entry.id),
            make.cloned(),
            move |make| library::passes(entry, library::parts(make, &plugin)),
        ));
    }
    tier::run(trials, 24)
}

type Found = Result<Make, String>;

fn makes() -> Vec<(String, Flavour, Found)> {
    let mut makes = vec![
        ("sim".to_owned(), Flavour::Openbao, Ok(Make::Simulated)),
        (
            "sim_hashicorp".to_owned(),
            Flavour::Vault,
            Ok(Make::Simulated),
        ),
    ];
    for (family, flavour) in [
        (Family::OpenBao, Flavour::Openbao),
        (Family::Vault, Flavour::Vault),
    ] {
        let found = family.part().find();
        let make = found.map(|binary| Make::Real(family, binary));
        let make = make.map_err(|error| format!("{error:#}"));
        makes.push((family.to_string(), flavour, make));
    }
    makes
}

/// The plugin, built alone. One that does not build is a failure of all tests.
fn plugin() -> std::path::PathBuf {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let workspace = own::workspace().expect("the checkout with the plugin is there");
    match runtime.block_on(own::build(&workspace)) {
        Ok(plugin) => plugin,
        Err(error) => panic!("{error:#}"),
    }
}

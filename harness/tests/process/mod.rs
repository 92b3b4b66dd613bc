//! The process arm: every fault it can make is made on a real plugin process, is felt, counts its hits, and is over
//! when it is undone. On the simulated Vault, and on real ones where they are found.

mod every_fault;
mod foreign;
mod kills;
mod library;
mod old_clients;
mod planted;
mod subjects;

use std::cmp::Reverse;
use std::path::Path;

use kms_harness::apiserver::choice::Choice;
use kms_harness::arm::process::Parts;
use kms_harness::arm::process::able::unable;
use kms_harness::arm::process::subject::Subject;
use kms_harness::arm::process::vault::make::Make;
use kms_harness::vault::family::Family;
use kms_planted::Variant;
use kms_scenario::world::Flavour;

use crate::common::share::share;
use crate::common::tier::{self, Tier};

/// Scenarios of the library that run in real time. Fewer would say that the arms do not agree.
const IN_REAL_TIME: usize = 35;

/// What `KMS_KILLS` asks for, if it does: nothing else is done then.
pub fn many_kills(plugin: &Path) -> bool {
    let wanted = kills::wanted();
    if let Some(times) = wanted {
        kills::long(openbao(&Subject::Own(plugin.to_owned())), times);
    }
    wanted.is_some()
}

/// All of them.
pub fn tier(plugin: &Path) -> Tier {
    let subject = Subject::Own(plugin.to_owned());
    // The longest first, so that none of them runs alone at the end.
    let mut trials = Vec::new();
    trials.push(tier::test(
        "process::planted::without_a_bug_everything_holds",
        openbao(&subject),
        planted::without_a_bug_everything_holds,
    ));
    for bug in Variant::ALL {
        trials.push(tier::test(
            &format!("process::planted::{bug}"),
            openbao(&subject),
            |parts| planted::breaks_the_same(*bug, parts),
        ));
    }
    trials.push(tier::test(
        "process::kills::each_time_it_serves_again",
        openbao(&subject),
        kills::each_time_it_serves_again,
    ));
    let mut entries = library::entries().expect("the library is read");
    entries.sort_by_key(|entry| Reverse(entry.lasts()));
    assert!(
        entries.len() >= IN_REAL_TIME,
        "only {} scenarios run in real time",
        entries.len()
    );
    #[cfg(feature = "kube")]
    for entry in entries.iter().filter(|it| it.shows_an_apiserver()) {
        let entry = entry.clone();
        trials.push(tier::test(
            &format!("process::kube_apiserver::scenario::{}", entry.id),
            kube_apiserver(&subject),
            move |parts| library::same_verdict(entry, parts),
        ));
    }
    for entry in entries {
        let parts = real(&subject, entry.family());
        trials.push(tier::test(
            &format!("process::{}::scenario::{}", entry.family(), entry.id),
            parts,
            move |parts| library::same_verdict(entry, parts),
        ));
    }
    trials.extend(foreign::trials(&subject));
    trials.extend(subjects::trials(&subject));
    trials.extend(old_clients::trials(&subject));
    for (name, flavour, parts) in makes(&subject) {
        let mut cases = every_fault::cases();
        if name.starts_with("sim") {
            // of each of the two another half
            cases.rotate_left(usize::from(flavour == Flavour::Vault));
            cases = share(cases, 2);
        }
        for case in cases {
            let kind = case.fault.kind();
            // What an arm cannot do it says, and no test pretends.
            if parts
                .as_ref()
                .is_ok_and(|parts| unable(&case.fault, parts).is_some())
            {
                continue;
            }
            trials.push(tier::test(
                &format!("process::{name}::{kind}{}", case.suffix),
                parts.clone(),
                move |parts| async move { every_fault::felt_and_undone(&parts, flavour, case).await },
            ));
        }
    }
    (trials, 32)
}

type Found = Result<Parts, String>;

fn openbao(subject: &Subject) -> Found {
    real(subject, Family::OpenBao)
}

/// A real server, and the simulated API servers.
fn real(subject: &Subject, family: Family) -> Found {
    let found = family.part().find();
    let found = found.map(|binary| parts(subject, Make::Real(family, binary)));
    found.map_err(|error| format!("{error:#}"))
}

/// OpenBao, and real API servers.
#[cfg(feature = "kube")]
fn kube_apiserver(subject: &Subject) -> Found {
    let found = kms_harness::apiserver::parts::Parts::find();
    let server = found.map_err(|error| format!("{error:#}"))?;
    Ok(Parts {
        apiserver: Choice::Real(server),
        ..openbao(subject)?
    })
}

fn parts(subject: &Subject, vault: Make) -> Parts {
    Parts {
        vault,
        subject: subject.clone(),
        apiserver: Choice::Simulated,
    }
}

fn makes(subject: &Subject) -> Vec<(String, Flavour, Found)> {
    let simulated = || Ok(parts(subject, Make::Simulated));
    let mut makes = vec![
        ("sim".to_owned(), Flavour::Openbao, simulated()),
        ("sim_hashicorp".to_owned(), Flavour::Vault, simulated()),
    ];
    for (family, flavour) in [
        (Family::OpenBao, Flavour::Openbao),
        (Family::Vault, Flavour::Vault),
    ] {
        makes.push((family.to_string(), flavour, real(subject, family)));
    }
    makes
}

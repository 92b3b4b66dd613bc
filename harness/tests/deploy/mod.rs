//! What is shipped around the binary: its container image, and what `plugin/deploy` says about running it.
//!
//! Each page is carried out on the real parts that it is about. Where a part is absent its tests show as ignored.

#[cfg(feature = "container")]
mod image;
mod page;
mod product;
mod setup;
mod unit;
mod upgrade;

use std::path::PathBuf;
use std::sync::Arc;

use kms_harness::vault::family::Family;
#[cfg(feature = "container")]
use libtest_mimic::Arguments;
use libtest_mimic::Trial;

use crate::common::tier::{self, Tier};

/// All of them.
pub fn tier(plugin: &Arc<PathBuf>) -> Tier {
    let mut trials = Vec::new();
    image_tests(&mut trials);
    trials.push(tier::test(
        "deploy::product::it_has_no_test_utility_in_it",
        product::wanted(),
        product::it_has_no_test_utility_in_it,
    ));
    trials.push(tier::test(
        "deploy::product::it_has_tokios_real_clock",
        Ok::<_, &str>(()),
        product::it_has_tokios_real_clock,
    ));
    trials.push(tier::test(
        "deploy::product::it_has_the_same_flags",
        product::wanted(),
        product::it_has_the_same_flags,
    ));
    for family in [Family::OpenBao, Family::Vault] {
        let found = family.part().find();
        let parts = found
            .map(|server| setup::Parts {
                family,
                server,
                plugin: Arc::clone(plugin),
            })
            .map_err(|error| format!("{error:#}"));
        let name = |test: &str| format!("deploy::{family}::{test}");
        trials.push(tier::test(
            &name("every_login_of_the_page_serves"),
            parts.clone(),
            setup::every_login_of_the_page_serves,
        ));
        trials.push(tier::test(
            &name("each_policy_allows_what_it_must_and_no_more"),
            parts.clone(),
            setup::each_policy_allows_what_it_must_and_no_more,
        ));
        trials.push(tier::test(
            &name("the_least_policy_serves_through_an_operators_rotation"),
            parts.clone(),
            setup::the_least_policy_serves_through_an_operators_rotation,
        ));
        trials.push(tier::test(
            &name("another_program_takes_over_and_gives_back"),
            parts,
            upgrade::another_program_takes_over_and_gives_back,
        ));
    }
    let bao = Family::OpenBao.part().find();
    let parts = bao
        .map(|server| setup::Parts {
            family: Family::OpenBao,
            server,
            plugin: Arc::clone(plugin),
        })
        .map_err(|error| format!("{error:#}"));
    trials.push(tier::test(
        "deploy::unit::a_manager_carries_it_out",
        parts,
        unit::a_manager_carries_it_out,
    ));
    trials.push(tier::test(
        "deploy::unit::it_is_well_formed_and_tight",
        unit::find(),
        unit::it_is_well_formed_and_tight,
    ));
    (trials, 6)
}

/// How the names of its tests begin.
#[cfg(feature = "container")]
const IMAGE: &str = "deploy::image";

/// Building takes minutes, longer than a test may: it comes first, if an image is wanted at all.
#[cfg(feature = "container")]
fn image_tests(trials: &mut Vec<Trial>) {
    let filter = Arguments::from_args().filter;
    let wanted =
        filter.is_none_or(|filter| IMAGE.starts_with(&filter) || filter.starts_with(IMAGE));
    if !wanted {
        return;
    }
    let parts = image::Parts::find();
    trials.push(tier::test(
        "deploy::image::two_builds_give_equal_bytes",
        parts.clone(),
        |parts| async move { image::two_builds_give_equal_bytes(&parts) },
    ));
    trials.push(tier::test(
        "deploy::image::its_bill_has_what_is_in_it",
        parts.clone(),
        |parts| async move { image::its_bill_has_what_is_in_it(&parts) },
    ));
    trials.push(tier::test(
        "deploy::image::it_serves_without_rights_and_is_what_the_report_names",
        parts.clone(),
        image::it_serves_without_rights_and_is_what_the_report_names,
    ));
    trials.push(tier::test(
        "deploy::image::another_program_is_not_reported_as_it",
        parts,
        image::another_program_is_not_reported_as_it,
    ));
}

#[cfg(not(feature = "container"))]
fn image_tests(trials: &mut Vec<Trial>) {
    let absent: Result<(), _> =
        Err("containers cannot be run: build the tests with `--features kms-harness/container`");
    trials.push(tier::test("deploy::image", absent, |()| async { Ok(()) }));
}

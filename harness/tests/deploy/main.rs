//! What is shipped around the binary: its container image, and what `plugin/deploy` says about running it.
//!
//! Each page is carried out on the real parts that it is about. Where a part is absent its tests show as ignored.

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "container")]
mod image;
mod page;
#[path = "../common/plugin.rs"]
mod plugin;
mod product;
mod setup;
mod unit;
mod upgrade;

use std::sync::Arc;

use common::tier;
use kms_harness::vault::family::Family;
#[cfg(feature = "container")]
use libtest_mimic::Arguments;
use libtest_mimic::Trial;

fn main() {
    let mut trials = Vec::new();
    image_tests(&mut trials);
    trials.push(tier::test(
        "product::it_has_no_test_utility_in_it",
        product::wanted(),
        product::it_has_no_test_utility_in_it,
    ));
    trials.push(tier::test(
        "product::it_has_tokios_real_clock",
        Ok::<_, &str>(()),
        product::it_has_tokios_real_clock,
    ));
    trials.push(tier::test(
        "product::it_has_the_same_flags",
        product::wanted(),
        product::it_has_the_same_flags,
    ));
    let plugin = Arc::new(plugin::built_first());
    for family in [Family::OpenBao, Family::Vault] {
        let found = family.part().find();
        let parts = found
            .map(|server| setup::Parts {
                family,
                server,
                plugin: Arc::clone(&plugin),
            })
            .map_err(|error| format!("{error:#}"));
        let name = |test: &str| format!("{family}::{test}");
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
            plugin,
        })
        .map_err(|error| format!("{error:#}"));
    trials.push(tier::test(
        "unit::a_manager_carries_it_out",
        parts,
        unit::a_manager_carries_it_out,
    ));
    trials.push(tier::test(
        "unit::it_is_well_formed_and_tight",
        unit::find(),
        unit::it_is_well_formed_and_tight,
    ));
    tier::run(trials, 6)
}

/// Building takes minutes, longer than a test may: it comes first, if an image is wanted at all.
#[cfg(feature = "container")]
fn image_tests(trials: &mut Vec<Trial>) {
    let filter = Arguments::from_args().filter;
    let wanted =
        filter.is_none_or(|filter| "image::".starts_with(&filter) || filter.starts_with("image"));
    if !wanted {
        return;
    }
    let parts = image::Parts::find();
    trials.push(tier::test(
        "image::two_builds_give_equal_bytes",
        parts.clone(),
        |parts| async move { image::two_builds_give_equal_bytes(&parts) },
    ));
    trials.push(tier::test(
        "image::its_bill_has_what_is_in_it",
        parts.clone(),
        |parts| async move { image::its_bill_has_what_is_in_it(&parts) },
    ));
    trials.push(tier::test(
        "image::it_serves_without_rights_and_is_what_the_report_names",
        parts.clone(),
        image::it_serves_without_rights_and_is_what_the_report_names,
    ));
    trials.push(tier::test(
        "image::another_program_is_not_reported_as_it",
        parts,
        image::another_program_is_not_reported_as_it,
    ));
}

#[cfg(not(feature = "container"))]
fn image_tests(trials: &mut Vec<Trial>) {
    let absent: Result<(), _> =
        Err("containers cannot be run: build the tests with `--features kms-harness/container`");
    trials.push(tier::test("image", absent, |()| async { Ok(()) }));
}

//! The suite is worth what it catches: the whole zoo, judged as `kms-harness calibrate` judges it.
//!
//! One calibration for all tests here; it takes about a minute, most of it waiting.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod calibration;
mod commands;
mod registry;

use crate::common::tier::{self, Tier};

/// All of them. They need no part.
pub fn tier() -> Tier {
    let mut all = plain!("zoo":
        calibration::the_honest_plugin_passes,
        calibration::no_mutant_survives,
        calibration::nothing_is_named_that_is_not_broken,
        calibration::what_is_said_to_follow_does_follow,
        calibration::every_check_has_been_seen_failing,
        calibration::the_calibration_that_reports_tell_is_this_one,
        calibration::a_survivor_and_a_wrong_id_fail,
        commands::calibrate_prints_one_document,
        commands::wrong_usage_is_told,
        registry::every_requirement_on_a_plugin_has_a_check_and_a_mutant_or_a_reason,
        registry::a_reason_stands_only_where_there_is_something_to_explain,
    );
    all.push(tier::test(
        "zoo::commands::a_second_plugin_does_not_take_the_socket",
        Ok::<_, &str>(()),
        |()| async {
            commands::a_second_plugin_does_not_take_the_socket().await;
            Ok(())
        },
    ));
    (all, 16)
}

//! The command line as people run it, on real processes: a toy plugin, our own, and what is left
//! of both afterwards.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cli;
mod front;
mod processes;
mod reports;
pub mod support;
mod toy;
mod trials;

use crate::common::tier::Tier;

/// All of them. They need no part.
pub fn tier() -> Tier {
    // two wait for a minute, until an API server takes caches for ready that cannot be filled
    let mut all = plain!("commands":
        trials::a_scenario_that_does_not_hold_is_a_test_that_fails,
        front::a_plugin_that_loses_seeds_loses_the_secrets,
        trials::each_requirement_is_a_test_that_can_be_listed_and_filtered,
        trials::the_broken_requirement_is_the_test_that_fails,
        trials::each_scenario_is_a_test,
        trials::a_scenario_that_cannot_be_read_is_a_test_that_fails,
        trials::it_links_nothing_of_the_arms,
        front::secrets_come_back_through_the_simulated_server,
        front::a_run_that_was_not_asked_has_no_row_of_it,
        toy::a_good_plugin_holds_and_its_bundle_can_be_judged_again,
        toy::a_broken_plugin_is_exit_1_and_the_requirement_is_named,
        toy::a_credential_in_the_plugins_log_is_a_finding_and_is_taken_out,
        toy::check_restarts_by_the_command_it_was_given,
        toy::check_looks_at_metrics_and_at_another_node_when_told_where,
        toy::run_starts_a_second_node_and_reads_metrics_when_told_that_it_may,
        toy::a_plugin_that_dies_is_never_a_pass,
        toy::a_plugin_that_dies_late_is_never_a_pass,
        cli::list_prints_rows_of_the_promised_form,
        cli::list_names_every_check,
        cli::explain_takes_ids_as_people_type_them,
        cli::wrong_usage,
        cli::a_real_server_that_is_not_there,
        cli::a_docker_daemon_that_is_not_there,
        cli::what_cannot_be_reached_is_inconclusive,
        cli::unwritable_folder_is_exit_3,
        cli::a_plugin_that_does_not_start_is_exit_3,
        reports::the_public_reports_are_of_today,
        reports::rendering_again_gives_the_files_of_the_bundle,
        reports::what_is_no_report_is_refused_with_its_name,
        reports::digests_tell_what_says_the_same,
        reports::a_worse_plugin_is_told_and_parts_of_other_plugins_are_refused,
        reports::a_badge_is_earned_or_refused_with_the_reason,
        processes::interrupted_runs_leave_a_report_and_no_process,
        processes::a_killed_harness_leaves_no_claim,
    );
    #[cfg(not(feature = "kube"))]
    all.extend(plain!("commands": front::a_real_server_needs_a_build_that_has_its_client));
    #[cfg(feature = "kube")]
    all.extend(plain!("commands": front::a_cluster_needs_the_socket_that_it_calls));
    (all, 8)
}

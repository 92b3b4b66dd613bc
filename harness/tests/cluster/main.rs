//! The cluster arm on a real kube-apiserver with its etcd, the plugin, and an OpenBao of its own. A kubelet and controllers
//! are not there: what needs them is looked at in the API.

mod faults;
mod five;
mod library;
mod node;
mod others;
#[path = "../deploy/page.rs"]
mod page;
mod pods;
#[path = "../common/programs.rs"]
mod programs;
mod rights;
mod safety;
mod swarm;
#[path = "../common/tier.rs"]
mod tier;
mod world;

use world::Parts;

fn main() {
    let parts = Parts::find();
    let mut trials = Vec::new();
    macro_rules! trial {
        ($($place:ident :: $name:ident),* $(,)?) => {$(
            trials.push(tier::test(
                concat!(stringify!($place), "::", stringify!($name)),
                parts.clone(),
                $place::$name,
            ));
        )*};
    }
    // those that take longest first
    for (name, ids) in library::GROUPS {
        trials.push(tier::test(
            &format!("library::{name}"),
            parts.clone(),
            move |parts| library::pass(parts, ids),
        ));
    }
    let with_kubectl = parts.clone().and_then(|parts| match parts.server.kubectl {
        Some(_) => Ok(parts),
        None => Err("no kubectl found: set $KUBECTL, or put it beside kube-apiserver".to_owned()),
    });
    trials.push(tier::test(
        "five::commands_of_readme_are_carried_out",
        with_kubectl,
        five::commands_of_readme_are_carried_out,
    ));
    trial!(
        faults::each_in_vault_is_made_and_undone,
        node::its_process_is_broken_where_both_sides_allow_it,
        others::what_others_say_is_kept_and_what_etcd_holds_is_judged,
        others::etcd_asks_who_looks,
        safety::nothing_starts_where_it_should_not,
        safety::a_second_run_and_a_killed_one,
        safety::a_lost_connection_heals_and_is_told,
        safety::the_guard_and_a_signal_stop_and_heal,
        rights::what_rbac_prints_is_enough_and_all_of_it_is_asked_for,
        pods::ordinary_pods_are_evicted_ended_and_cut_off,
        swarm::the_job_is_taken_by_a_real_server,
    );
    trials.push(tier::test(
        "swarm::workers_say_together_what_one_says",
        Ok::<_, String>(()),
        swarm::workers_say_together_what_one_says,
    ));
    trials.push(tier::test(
        "relay::a_fault_ends_without_its_harness",
        Ok::<_, String>(()),
        swarm::a_fault_ends_without_its_harness,
    ));
    tier::run(vec![(trials, 18)])
}

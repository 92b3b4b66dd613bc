//! The simulated kube-apiserver beside the real one, and both with the plugin on a real Vault.
//!
//! `KMS_STORIES=N` plays the random stories 1 to N instead, `KMS_STORIES=A-B` those from A to B.

#![expect(clippy::print_stdout, reason = "a story of minutes tells where it is")]

mod again;
mod allowed;
mod choice;
mod cluster;
mod differential;
mod facts;
mod kubectl;
mod life;
mod openshift;
mod selftest;
mod shipped;
mod side;
mod stored;
mod story;
mod takeover;
mod tap;
#[path = "../common/tier.rs"]
mod tier;
mod times;
mod world;

use story::Story;
use world::{Kind, Parts, World};

fn main() {
    let parts = Parts::find();
    if let Some(seeds) = stories() {
        let parts = parts.unwrap_or_else(|why| panic!("{why}"));
        match differential::long(parts, seeds) {
            Ok(()) => return,
            Err(error) => {
                println!("{error:#}");
                std::process::exit(1);
            }
        }
    }
    let mut trials = Vec::new();
    for kind in [Kind::Real, Kind::Simulated] {
        trials.push(tier::test(
            &format!("kubectl::{kind}::what_operators_type"),
            parts.clone().and_then(Parts::with_kubectl),
            move |parts: Parts| kubectl::what_operators_type(kind, parts),
        ));
        trials.push(tier::test(
            &format!("life::{kind}::rotate_rewrite_restart"),
            parts.clone().and_then(Parts::with_bao),
            move |parts: Parts| async move {
                life::rotate_rewrite_restart(World::on_bao(kind, &parts).await?).await
            },
        ));
    }
    for kind in [Kind::Real, Kind::Simulated] {
        trials.push(tier::test(
            &format!("takeover::{kind}::from_the_community_plugin_and_back_and_over"),
            parts.clone().and_then(Parts::with_bao_if_required),
            move |parts: Parts| async move {
                takeover::from_the_community_plugin_and_back_and_over(kind, parts).await
            },
        ));
        trials.push(tier::test(
            &format!("shipped::{kind}::each_encryption_step_is_carried_out"),
            parts.clone(),
            move |parts: Parts| async move {
                shipped::each_encryption_step_is_carried_out(kind, parts).await
            },
        ));
    }
    trials.push(tier::test(
        "shipped::the_server_takes_each_pod",
        parts.clone().and_then(Parts::with_kubectl),
        shipped::the_server_takes_each_pod,
    ));
    trials.push(tier::test(
        "shipped::each_encryption_configuration_is_one",
        Ok::<_, String>(()),
        |()| async { shipped::each_encryption_configuration_is_one() },
    ));
    trials.push(tier::test(
        "choice::a_kubeconfig_reaches_a_cluster",
        parts.clone(),
        choice::a_kubeconfig_reaches_a_cluster,
    ));
    trials.push(tier::test(
        "choice::each_choice_serves",
        parts.clone(),
        choice::each_choice_serves,
    ));
    trials.push(tier::test(
        "choice::a_run_puts_a_real_one_in_front",
        parts.clone(),
        choice::a_run_puts_a_real_one_in_front,
    ));
    trials.push(tier::test(
        "cluster::a_running_cluster_uses_the_plugin",
        parts.clone(),
        cluster::a_running_cluster_uses_the_plugin,
    ));
    trials.push(tier::test(
        "cluster::an_interrupted_run_leaves_nothing_in_it",
        parts.clone(),
        cluster::an_interrupted_run_leaves_nothing_in_it,
    ));
    trials.push(tier::test(
        "cluster::one_that_calls_nobody_shows_nothing",
        parts.clone(),
        cluster::one_that_calls_nobody_shows_nothing,
    ));
    trials.push(tier::test(
        "cluster::one_that_keeps_secrets_in_clear_shows_nothing",
        parts.clone(),
        cluster::one_that_keeps_secrets_in_clear_shows_nothing,
    ));
    trials.push(tier::test(
        "cluster::what_a_user_may_not_do_is_said",
        parts.clone(),
        cluster::what_a_user_may_not_do_is_said,
    ));
    for chain in openshift::CHAINS {
        trials.push(tier::test(
            &format!("openshift::{}", chain.name),
            parts.clone(),
            move |parts: Parts| openshift::accepted_and_readable(chain, parts),
        ));
    }
    let parts = parts.and_then(Parts::with_bao_if_required);
    trials.push(tier::test(
        "differential::the_real_one_agrees_with_itself",
        parts.clone(),
        |parts| differential::the_real_one_with_itself(parts, Story::short()),
    ));
    trials.push(tier::test(
        "differential::short_story_and_sick_plugins",
        parts,
        differential::known,
    ));
    trials.push(tier::test(
        "comparison::differences_are_found_or_explained",
        Ok::<_, String>(()),
        selftest::differences_are_found_or_explained,
    ));
    trials.push(tier::test(
        "comparison::what_lasts_fails_and_what_was_chance_is_told",
        Ok::<_, String>(()),
        selftest::what_lasts_fails_and_what_was_chance_is_told,
    ));
    trials.push(tier::test(
        "comparison::only_random_words_are_replaced",
        Ok::<_, String>(()),
        selftest::only_random_words_are_replaced,
    ));
    tier::run(vec![(trials, 12)])
}

/// Which random stories are wanted, if any.
fn stories() -> Option<std::ops::RangeInclusive<u64>> {
    let text = std::env::var("KMS_STORIES").ok()?;
    let number = |text: &str| text.parse().expect("KMS_STORIES is N or A-B");
    Some(match text.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => 1..=number(&text),
    })
}

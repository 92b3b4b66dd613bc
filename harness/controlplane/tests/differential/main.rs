//! The model beside OpenShift's own controllers: random stories on both, and every line of what came of them alike.
//!
//! The real ones are a program that `ci/openshift-controllers/install` finds or builds (see [`real`]). Before it judges,
//! it is judged: all recorded stories must come out of it again, with and without its KMS mode (see [`recorded`]). A
//! difference is played again before it counts, and shrinks to the shortest story that shows it (see [`search`]); what it
//! taught stays as a story in `found/`, which the model must tell on every machine.
//!
//! Without the program its tests show as ignored; with `KMS_REQUIRE=all` they fail. `OPENSHIFT_STORIES` sets how many
//! random stories each generation gets, `OPENSHIFT_SEED` the seed, `OPENSHIFT_SHOW` after how many differences the search
//! ends. `OPENSHIFT_STORY=FILE` plays one story, in the form in which a difference is printed, and keeps its recordings.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(
    clippy::print_stdout,
    reason = "a test prints how many stories are alike"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use kms_controlplane::generation::Generation;
use kms_process::parts::OPENSHIFT_CONTROLLERS;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod compare;
mod found;
mod plan;
#[expect(dead_code, reason = "it has more than these tests need")]
#[path = "../it/player/mod.rs"]
mod player;
mod real;
mod recorded;
#[path = "../it/recordings.rs"]
mod recordings;
mod search;
mod selftest;
mod steps;
mod story;
#[path = "../it/view.rs"]
mod view;

/// Random stories of each generation, unless `OPENSHIFT_STORIES` says otherwise.
const STORIES: u32 = 150;

/// Which controllers are compared, and what is done to the model before it plays: nothing, but in the self-test.
#[derive(Clone, Copy)]
pub struct Side {
    /// Whose controllers.
    pub generation: Generation,
    /// What is done to the model's cluster before the story.
    pub plant: fn(&mut kms_controlplane::cluster::Cluster),
}

/// The controllers as their module has them.
pub const PLAIN: Side = Side {
    generation: Generation::Generic,
    plant: |_| {},
};

/// The controllers with our KMS mode, which is that of the procedure's generation.
pub const KMS: Side = Side {
    generation: Generation::V1,
    plant: |_| {},
};

/// The program of a generation: the one with the KMS mode lies beside the other.
pub fn program(generation: Generation, plain: &Path) -> PathBuf {
    let mut name = plain.as_os_str().to_owned();
    if generation.has_kms() {
        name.push("-kms");
    }
    name.into()
}

fn main() -> ExitCode {
    let part = OPENSHIFT_CONTROLLERS
        .find()
        .map_err(|why| format!("{why:#}"));
    if let Some(file) = std::env::var_os("OPENSHIFT_STORY") {
        let told = part
            .map_err(anyhow::Error::msg)
            .and_then(|part| story::tell_file(Path::new(&file), &part));
        return match told {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                println!("{why:#}");
                ExitCode::FAILURE
            }
        };
    }
    // A model that dies is a difference, and is shown as one.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments = Arguments::from_args();
    let real = |name: &str, body: fn(&Path) -> Result<()>| needs(name, part.clone(), body);
    let always = |name: &str, body: fn(&Path) -> Result<()>| needs(name, Ok(PathBuf::new()), body);
    let trials = vec![
        always("real::is_looked_for_where_the_script_puts_it", |_| {
            real::is_looked_for_where_the_script_puts_it()
        }),
        real(
            "real::was_made_of_the_sources_here",
            real::was_made_of_the_sources_here,
        ),
        real(
            "recorded::plain_controllers_tell_the_generic_stories",
            |part| recorded::family(part, PLAIN.generation, "generic"),
        ),
        real(
            "recorded::controllers_with_our_kms_mode_tell_the_v1_stories",
            |part| recorded::family(part, KMS.generation, "v1"),
        ),
        always("found::the_model_tells_them", |_| found::on_the_model()),
        real("found::the_real_ones_tell_them", found::on_the_real_ones),
        real("random::plain", |part| {
            search::none_differs(part, PLAIN, STORIES)
        }),
        real("random::kms", |part| {
            search::none_differs(part, KMS, STORIES)
        }),
        real(
            "selftest::a_planted_difference_is_found_and_short",
            selftest::planted,
        ),
        real("selftest::a_planted_death_is_found", selftest::death),
        always("selftest::lines_that_differ", |_| {
            selftest::lines_that_differ()
        }),
        always("selftest::every_step_can_be_played", |_| {
            selftest::every_step_can_be_played()
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that needs the program. Absent, it is ignored with the reason, or fails where everything is required.
fn needs(name: &str, part: Result<PathBuf, String>, body: fn(&Path) -> Result<()>) -> Trial {
    let required = std::env::var_os("KMS_REQUIRE").is_some_and(|value| value == "all");
    Trial::ignorable_test(name, move || match part {
        Ok(part) => match body(&part) {
            Ok(()) => Ok(Completion::Completed),
            Err(why) => Err(Failed::from(format!("{why:#}"))),
        },
        Err(why) if required => Err(Failed::from(format!("KMS_REQUIRE=all, and {why}"))),
        Err(why) => Ok(Completion::ignored_with(why)),
    })
}

/// A number from the environment.
pub fn number(variable: &str, default: u32) -> Result<u32> {
    use anyhow::Context as _;
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{variable} is {text:?}, which is no number")),
        Err(_) => Ok(default),
    }
}

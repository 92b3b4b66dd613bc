//! `run --apiserver`: what is put in front of the plugin.

use std::path::{Path, PathBuf};

use anyhow::Result;
use kms_conformance::Target;
use kms_report::redact;

use super::session::Last;
use crate::apiserver::choice::Choice;
use crate::apiserver::passage::Passage;
use crate::plan::Planned;

/// What the option means, if it is there.
pub fn choose(word: Option<&str>, plan: &mut Planned) -> Result<Option<Choice>> {
    let Some(word) = word else { return Ok(None) };
    let choice = Choice::read(word)?;
    #[cfg(feature = "kube")]
    anyhow::ensure!(
        !matches!(choice, Choice::Cluster(_)),
        "--apiserver {word}: the API server of a running cluster has a plugin of its own and cannot be put in front of the \
         one that `run` starts; it is sim, real, or the path of a kube-apiserver"
    );
    plan.option("apiserver", redact::path(word));
    Ok(Some(choice))
}

/// Everything that is asked of it, after all else. Its files lie in `place`.
pub fn passage(choice: Choice, target: &Target, socket: &Path, place: PathBuf) -> Last {
    let passage = Passage {
        choice,
        socket: socket.to_owned(),
        place,
        rotate: target.rotate.clone(),
        restart: target.restart.clone(),
    };
    Box::new(move |recorder| {
        Box::pin(async move {
            crate::console::tell("through an API server");
            passage.run(&recorder).await;
        })
    })
}

//! `run --apiserver`: what is put in front of the plugin.

use std::path::Path;
#[cfg(feature = "kube")]
use std::sync::Arc;

use anyhow::{Result, ensure};
use kms_conformance::Target;
use kms_report::model::Kubernetes;
use kms_report::redact;

use super::session::Last;
use crate::apiserver::choice::Choice;
#[cfg(feature = "kube")]
use crate::apiserver::lent::{Lent, Place};
use crate::apiserver::passage::{Front, Passage};
use crate::cli::RunArgs;
use crate::console;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::plan::Planned;
#[cfg(feature = "kube")]
use crate::socket;

/// What the options mean.
pub enum Wanted {
    /// A server that the harness starts.
    Own(Choice),
    /// A cluster that calls the plugin at a place of its own.
    #[cfg(feature = "kube")]
    Lent(Place),
}

/// What `--apiserver` and `--socket` mean, if they are there.
pub fn choose(args: &RunArgs, plan: &mut Planned) -> Result<Option<Wanted>> {
    let Some(word) = args.apiserver.as_deref() else {
        return Ok(None);
    };
    let wanted = match (Choice::read(word)?, &args.socket) {
        #[cfg(feature = "kube")]
        (Choice::Cluster(kubeconfig), Some(url)) => {
            let place = Place {
                name: word.to_owned(),
                kubeconfig,
                socket: socket::parse(url)?,
            };
            place.is_free()?;
            plan.option("socket", redact::endpoint(url));
            Wanted::Lent(place)
        }
        #[cfg(feature = "kube")]
        (Choice::Cluster(_), None) => anyhow::bail!(
            "--apiserver {word} is a cluster, whose API server calls the socket that its own EncryptionConfiguration names: \
             say which one by --socket unix:///PATH, and the run serves its plugin there"
        ),
        (choice, given) => {
            ensure!(
                given.is_none(),
                "--socket belongs to --apiserver KUBECONFIG: in front of {word} the run has a socket of its own"
            );
            Wanted::Own(choice)
        }
    };
    plan.option("apiserver", redact::path(word));
    Ok(Some(wanted))
}

/// What stands in front of the plugin during a run.
pub struct Standing(Front);

impl Wanted {
    /// Puts it in front of the plugin at `plugin`. A server of the harness's own is started later, its files in `place`;
    /// a cluster is reached now, and its API server may call from now on.
    ///
    /// # Errors
    /// The cluster cannot be used, or a signal came; nothing is left in it then.
    pub async fn stand(
        self,
        plugin: &Path,
        place: &Path,
        interrupt: &Interrupt,
    ) -> Result<Standing, Failure> {
        let standing = interrupt.or(self.reach(plugin, place)).await??;
        if let Err(error) = standing.settle().await {
            standing.clear().await?;
            return Err(error.into());
        }
        Ok(standing)
    }

    async fn reach(self, plugin: &Path, place: &Path) -> Result<Standing> {
        match self {
            Self::Own(choice) => Ok(Standing(Front::Own {
                choice,
                socket: plugin.to_owned(),
                place: place.to_owned(),
            })),
            #[cfg(feature = "kube")]
            Self::Lent(place) => {
                let shown = redact::endpoint(&format!("unix://{}", place.socket.display()));
                let lent = Lent::reach(place, plugin).await?;
                console::tell(&format!(
                    "the API server of the cluster ({}) may call {shown} from now on; what it encrypts by this plugin cannot be \
                     read after the run",
                    lent.version()
                ));
                Ok(Standing(Front::Lent(Arc::new(lent))))
            }
        }
    }
}

impl Standing {
    /// Everything that is asked of it, after all else.
    pub fn passage(&self, target: &Target) -> Last {
        let passage = Passage {
            front: self.0.clone(),
            rotate: target.rotate.clone(),
            restart: target.restart.clone(),
        };
        Box::new(move |recorder| {
            Box::pin(async move {
                console::tell("through an API server");
                passage.run(&recorder).await;
            })
        })
    }

    /// What a report says about a server that somebody else runs.
    pub fn kubernetes(&self) -> Option<Kubernetes> {
        match &self.0 {
            Front::Own { .. } => None,
            #[cfg(feature = "kube")]
            Front::Lent(lent) => Some(Kubernetes {
                version: lent.version().to_owned(),
                distribution: "a cluster by kubeconfig".to_owned(),
            }),
        }
    }

    /// Makes what the run needs in a cluster.
    async fn settle(&self) -> Result<()> {
        match &self.0 {
            Front::Own { .. } => Ok(()),
            #[cfg(feature = "kube")]
            Front::Lent(lent) => lent.settle().await,
        }
    }

    /// Takes away what the run made in a cluster, also after a signal.
    ///
    /// # Errors
    /// Something is left there; the text says what.
    pub async fn clear(&self) -> Result<()> {
        match &self.0 {
            Front::Own { .. } => Ok(()),
            #[cfg(feature = "kube")]
            Front::Lent(lent) => {
                let secrets = crate::apiserver::passage::secrets(lent.namespace());
                lent.give_back(secrets).await
            }
        }
    }
}

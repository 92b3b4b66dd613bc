//! The plugin of a run: ours, any other that a file describes, or one that runs already.

use std::path::PathBuf;

use anyhow::Result;
use kms_process::child::Launch;
use kms_scenario::world::{Auth, WorldSpec};

use crate::subject::file::{Stop, SubjectFile, Values};
use crate::subject::own::{self, Vocabulary};
use crate::subject::running;

/// Which plugin.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Ours: its binary.
    Own(PathBuf),
    /// Any other, as its file says.
    Described(Box<SubjectFile>),
    /// One that runs already and listens here. Its process and its Vault are somebody else's.
    Socket(PathBuf),
}

/// The file that holds what the plugins log in with, by its name in a subject's file.
pub fn credential(auth: Auth) -> &'static str {
    match auth {
        Auth::Approle => "secret_id_file",
        Auth::Userpass => "password_file",
        Auth::Token => "token_file",
    }
}

impl Subject {
    /// How it is started with these values; nothing for one that runs already. `sni` is the name that Vault's certificate
    /// is for, where the address is another.
    pub fn launch(
        &self,
        spec: &WorldSpec,
        values: &Values,
        sni: Option<&str>,
        log: PathBuf,
    ) -> Result<Option<(Launch, Stop)>> {
        let binary = match self {
            Self::Socket(_) => return Ok(None),
            Self::Described(subject) => {
                let launch = running::launch(subject, values, log)?;
                return Ok(Some((launch, subject.stop.clone())));
            }
            Self::Own(binary) => binary,
        };
        let auth = spec.vault.auth;
        let vocabulary = match auth {
            Auth::Approle => Vocabulary::Sidecar,
            Auth::Userpass => Vocabulary::StaticPod,
            Auth::Token => Vocabulary::StaticToken,
        };
        let subject = own::describe(binary, vocabulary, values);
        let mut launch = running::launch(&subject, values, log)?;
        if let (Auth::Userpass, Some(password)) = (auth, values.get(credential(auth))) {
            // A file can be changed; an argument cannot.
            launch
                .args
                .retain(|word| !word.starts_with("-userpass-password="));
            launch
                .args
                .push(format!("-userpass-password-path={password}"));
        }
        // Plugins side by side must not meet at a port.
        launch
            .args
            .extend(["-health-port=0", "-metrics-port=0"].map(str::to_owned));
        if let Some(name) = sni {
            launch.args.push(format!("-tls-sni={name}"));
        }
        let more = spec.plugin.iter();
        launch
            .args
            .extend(more.map(|(name, value)| format!("-{name}={value}")));
        Ok(Some((launch, subject.stop)))
    }
}

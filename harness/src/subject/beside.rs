//! More processes of the plugin that is judged: a second node, and spares that are started for one
//! question each, with a Vault that comes late, with a false one, or with a key of their own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use http::{Method, Uri};
use kms_conformance::process::Peer;
use kms_conformance::{
    Act, Backend, BoxFuture, Connect, Falsehood, Process, Seen, Spare, Spares, UnixSocket,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::file::{SubjectFile, Values};
use super::gateway::Gateway;
use super::impostor::Impostor;
use super::running::Running;
use super::{credentials, place};
use crate::vault::VaultBackend;
use crate::vault::admin::Admin;
use crate::vault::provision::{Access, Wanted};

/// How long a plugin may take to listen when its Vault is not the right one.
const LISTENS: Duration = Duration::from_secs(5);

/// How a plugin is described in a run with these values.
pub type Describe = dyn Fn(&Values) -> Result<SubjectFile> + Send + Sync;

/// Starts more of the plugin.
pub struct Beside {
    describe: Box<Describe>,
    values: Values,
    vault: Admin,
    address: String,
    folder: PathBuf,
    log: PathBuf,
    started: AtomicU32,
    own: StdMutex<Vec<Own>>,
}

/// A key and credentials that were made for one spare.
struct Own {
    wanted: Wanted,
    /// Absent while it is being made.
    access: Option<Arc<Access>>,
}

/// What stands behind one of them.
enum Behind {
    Late(Gateway),
    Own(Admin, Arc<Access>),
    False(Impostor),
}

impl Beside {
    /// More of the plugin that `describe` describes, on this Vault; `values` are those of the first.
    pub fn new(
        describe: Box<Describe>,
        values: &Values,
        vault: &dyn VaultBackend,
        folder: &Path,
        log: PathBuf,
    ) -> Self {
        Self {
            describe,
            values: values.clone(),
            vault: vault.admin(),
            address: vault.addresses().swap_remove(0),
            folder: folder.to_owned(),
            log,
            started: AtomicU32::new(0),
            own: StdMutex::default(),
        }
    }

    /// Starts the same plugin on the same key, as on another node, when it may run more than once.
    pub async fn other_node(&self, log: PathBuf) -> Result<Option<Running>> {
        let mut values = self.values.clone();
        place(&mut values, &self.folder.join("other-node"))?;
        let subject = (self.describe)(&values)?;
        if !subject.several {
            return Ok(None);
        }
        let running = Running::start(subject, values, log).await;
        running.context("start a second one beside it").map(Some)
    }

    /// The credentials that were made so far.
    pub fn secrets(&self) -> Vec<String> {
        let own = self.own.lock().expect("no code panics with it");
        let all = own.iter().filter_map(|own| own.access.as_ref());
        all.flat_map(|access| access.secrets().map(str::to_owned))
            .collect()
    }

    /// Takes away everything that was made in a Vault of somebody else.
    pub async fn clean_up(&self) -> Result<()> {
        let own = std::mem::take(&mut *self.own.lock().expect("no code panics with it"));
        let mut done = Ok(());
        for Own { wanted, access } in own {
            let removed = wanted.remove(&self.vault).await;
            // Of one that was broken off in the making not everything is there.
            if access.is_some() {
                done = done.and(removed);
            }
        }
        done
    }

    async fn start(&self, backend: Backend) -> Result<Result<Box<dyn Spare>, String>> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(format!("spare-{number}"));
        let mut values = self.values.clone();
        place(&mut values, &folder)?;
        // A CA may be told only where there is one.
        let told = match backend {
            Backend::False(_) => Values::from([("ca", "some".to_owned())]),
            _ => Values::new(),
        };
        let subject = (self.describe)(&values.clone().into_iter().chain(told).collect())?;
        if let Err(reason) = fit(&subject, backend) {
            return Ok(Err(reason));
        }
        let behind = match backend {
            Backend::Late => match self.gateway()? {
                Ok(gateway) => {
                    values.insert("vault", self.through(&gateway)?);
                    Behind::Late(gateway)
                }
                Err(reason) => return Ok(Err(reason)),
            },
            Backend::OwnKey => {
                let access = self.own_key(&folder).await?;
                values.extend(credentials(&access));
                Behind::Own(self.vault.clone(), access)
            }
            Backend::False(falsehood) => {
                let impostor = self.impostor(falsehood, &folder).await?;
                values.insert("vault", impostor.address().to_owned());
                values.insert("ca", impostor.ca().display().to_string());
                Behind::False(impostor)
            }
        };
        // The words may differ with the values: a CA, an auth mount of another name.
        let subject = (self.describe)(&values)?;
        let socket = PathBuf::from(&values["socket"]);
        let running = match behind {
            Behind::Own(..) => Running::start(subject, values, self.log.clone()).await?,
            Behind::Late(_) | Behind::False(_) => {
                let mut running = Running::spawn(subject, values, self.log.clone())?;
                running.wait_listening(LISTENS).await;
                running
            }
        };
        Ok(Ok(Box::new(One {
            running: Mutex::new(running),
            socket,
            behind,
        })))
    }

    fn gateway(&self) -> Result<Result<Gateway, String>> {
        let address: Uri = self.address.parse().context("read the Vault address")?;
        let host = address.host().context("the Vault address has no host")?;
        let https = address.scheme_str() == Some("https");
        if https && host != "127.0.0.1" {
            return Ok(Err(
                "no-way-in: this Vault's certificate does not name an address of ours in front of it"
                    .to_owned(),
            ));
        }
        let port = address.port_u16().unwrap_or(if https { 443 } else { 80 });
        Gateway::closed(format!("{host}:{port}")).map(Ok)
    }

    fn through(&self, gateway: &Gateway) -> Result<String> {
        let (scheme, _) = self
            .address
            .split_once("://")
            .context("the Vault address has no scheme")?;
        Ok(format!("{scheme}://{}", gateway.address()))
    }

    async fn own_key(&self, folder: &Path) -> Result<Arc<Access>> {
        let wanted = Wanted::aside();
        let at = {
            let mut own = self.own.lock().expect("no code panics with it");
            own.push(Own {
                wanted: wanted.clone(),
                access: None,
            });
            own.len() - 1
        };
        let access = Arc::new(wanted.create(&self.vault, folder).await?);
        self.own.lock().expect("no code panics with it")[at].access = Some(Arc::clone(&access));
        Ok(access)
    }

    async fn impostor(&self, falsehood: Falsehood, folder: &Path) -> Result<Impostor> {
        let secrets = ["token", "secret_id", "password"];
        let secrets = secrets.map(|name| Zeroizing::new(self.values[name].clone()));
        Impostor::start(falsehood, folder, secrets.into()).await
    }
}

/// Whether a plugin that is described like that can be asked.
fn fit(subject: &SubjectFile, backend: Backend) -> Result<(), String> {
    let lacks = |placeholder| !subject.mentions(placeholder);
    if !subject.several {
        return Err(
            "not-told: the subject file does not say `several = true`, so it is started once"
                .to_owned(),
        );
    }
    if lacks("vault") {
        return Err(
            "not-told: the subject file has no {vault}, so it is not on this Vault".to_owned(),
        );
    }
    match backend {
        Backend::OwnKey if lacks("key") && lacks("mount") => Err(
            "not-told: the subject file has neither {key} nor {mount}, so it cannot have another key"
                .to_owned(),
        ),
        Backend::False(_) if lacks("ca") => Err(
            "not-told: the subject file has no {ca}, so it cannot tell a false Vault".to_owned(),
        ),
        _ => Ok(()),
    }
}

impl Spares for Beside {
    fn start(&self, backend: Backend) -> BoxFuture<'_, Result<Box<dyn Spare>, String>> {
        Box::pin(async move {
            match self.start(backend).await {
                Ok(started) => started,
                Err(error) => Err(format!("no-spare: {error:#}")),
            }
        })
    }
}

/// One of them.
struct One {
    running: Mutex<Running>,
    socket: PathBuf,
    behind: Behind,
}

impl One {
    async fn do_it(&self, act: Act) -> Result<()> {
        match (&self.behind, act) {
            (_, Act::Restart) => self.running.lock().await.restart().await,
            (Behind::Late(gateway), Act::Hold) => gateway.hold(),
            (Behind::Late(gateway), Act::Come) => gateway.open(),
            (Behind::Own(admin, access), act) => {
                let key = format!("{}/keys/{}", access.mount, access.key);
                let rotate = format!("{key}/rotate");
                match act {
                    Act::Rotate => admin.write(&rotate, Value::Null).await.map(drop),
                    Act::RotateInVain => {
                        let plugin = admin.clone().with_token(access.token.clone());
                        let answer = plugin.call(Method::POST, &rotate, Value::Null).await?;
                        ensure!(
                            answer.status == 403,
                            "the backend answered {} to somebody without the right to rotate",
                            answer.status
                        );
                        Ok(())
                    }
                    Act::DeleteKey => {
                        let allowed = json!({"deletion_allowed": true});
                        admin.write(&format!("{key}/config"), allowed).await?;
                        admin.delete(&key).await.map(drop)
                    }
                    Act::MakeKey => {
                        let kind = json!({"type": "aes256-gcm96"});
                        admin.write(&key, kind).await.map(drop)
                    }
                    Act::Hold | Act::Come | Act::Restart => {
                        Err(anyhow!("{} is for other spares", act.as_str()))
                    }
                }
            }
            _ => Err(anyhow!("{} is for other spares", act.as_str())),
        }
    }
}

impl Spare for One {
    fn connect(&self) -> Arc<dyn Connect> {
        Arc::new(UnixSocket(self.socket.clone()))
    }

    fn process(&self) -> Arc<dyn Process> {
        Arc::new(Peer::new(self.socket.clone()))
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { self.do_it(act).await.map_err(|error| format!("{error:#}")) })
    }

    fn seen(&self) -> Seen {
        match &self.behind {
            Behind::False(impostor) => impostor.seen(),
            Behind::Late(_) | Behind::Own(..) => Seen::default(),
        }
    }
}

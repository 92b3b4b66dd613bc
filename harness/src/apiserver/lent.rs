//! A cluster that is lent to a run: its API server calls the socket that its own configuration names, and there the run
//! serves its plugin.
//!
//! What the harness asks of the cluster lies in a namespace of its own and goes again with [`Lent::give_back`]. Whether
//! the cluster uses the plugin is never believed: the calls on the socket say it. Not for: servers that the harness starts.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kms_apiserver_api::{Answer, ApiServer, Call, Method, Resource, Target};
use kms_proxy::SocketProxy;
use kube::config::Kubeconfig;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;

/// Limit for the cluster to answer at all.
const ANSWERS: Duration = Duration::from_secs(20);
/// Limit of one look whether it answers.
const LOOK: Duration = Duration::from_secs(5);
/// How often something is looked at while it is waited for. A health probe makes a server ask Status at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From the socket's opening on. A server that has looked for the socket in vain dials again after up to 144 s
/// (KMS2-OUT-03), and asks Status each 60 s where nobody asks for its health (KMS2-STATUS-09).
const CALLED_WITHIN: Duration = Duration::from_secs(220);
/// Limit for its health to be good after it has called.
const WELL_WITHIN: Duration = Duration::from_secs(60);
/// Limit for taking everything away again.
const CLEARED_WITHIN: Duration = Duration::from_secs(60);
/// What is done with Secrets, and with namespaces.
const RIGHTS: [(&str, &[&str]); 2] = [
    ("namespaces", &["create", "delete"]),
    ("secrets", &["create", "get", "list", "update", "delete"]),
];

/// Where the user says that a cluster calls its plugin.
#[derive(Clone, Debug)]
pub struct Place {
    /// The kubeconfig's path, as it was given.
    pub name: String,
    /// What it says.
    pub kubeconfig: Box<Kubeconfig>,
    /// The socket that the cluster's encryption configuration names.
    pub socket: PathBuf,
}

impl Place {
    /// Looks whether a plugin can be served there: the folder exists, and nobody serves at the path already.
    ///
    /// # Errors
    /// It cannot; the text names the option and the fix.
    pub fn is_free(&self) -> Result<()> {
        let shown = self.socket.display();
        let folder = self.socket.parent().unwrap_or(Path::new("/"));
        ensure!(
            folder.is_dir(),
            "--socket unix://{shown}: there is no folder {}; make it, or name the path of the cluster's configuration",
            folder.display()
        );
        match UnixStream::connect(&self.socket) {
            Ok(_) => bail!(
                "--socket unix://{shown}: a plugin serves there already; stop it first, the run serves its own in that place"
            ),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(())
            }
            Err(error) => bail!("--socket unix://{shown}: {error}"),
        }
    }
}

/// Calls that came on the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Status.
    pub status: u64,
    /// Encrypt.
    pub encrypt: u64,
    /// Decrypt.
    pub decrypt: u64,
}

/// The cluster, and what is between it and the plugin. Dropped, the socket goes; [`Lent::give_back`] takes the rest away.
pub struct Lent {
    place: Place,
    cluster: Cluster,
    proxy: SocketProxy,
    opened: Instant,
    calls: Mutex<Calls>,
    version: String,
    namespace: String,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent")
            .field("kubeconfig", &self.place.name)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Lent {
    /// Serves the plugin at the place, and looks whether the cluster answers and lets this user do what is needed.
    /// Nothing is made in it yet.
    ///
    /// # Errors
    /// The socket cannot be opened, the cluster does not answer within 20 s, or rights are missing; the text says what
    /// to do.
    pub async fn reach(place: Place, plugin: &Path) -> Result<Self> {
        let shown = place.socket.display();
        if place.socket.exists() {
            // Nobody listens at it, or `is_free` would have said so.
            std::fs::remove_file(&place.socket)
                .with_context(|| format!("take the dead socket {shown} away"))?;
        }
        let proxy = SocketProxy::start(&place.socket, plugin)
            .with_context(|| format!("serve the plugin at {shown}"))?;
        let opened = Instant::now();
        let cluster = Cluster::connect((*place.kubeconfig).clone())
            .await
            .with_context(|| format!("--apiserver {}", place.name))?;
        let version = version(&cluster)
            .await
            .with_context(|| format!("reach the cluster of --apiserver {}", place.name))?;
        let lent = Self {
            cluster,
            proxy,
            opened,
            calls: Mutex::default(),
            version,
            namespace: format!(
                "kms-harness-{}",
                &uuid::Uuid::new_v4().simple().to_string()[..12]
            ),
            place,
        };
        let missing = lent.missing_rights().await?;
        ensure!(
            missing.is_empty(),
            "the user of --apiserver {} may not {}: the run makes a namespace, writes, reads, lists, rewrites and deletes \
             Secrets in it, and deletes it; use a kubeconfig that may",
            lent.place.name,
            missing.join(", ")
        );
        Ok(lent)
    }

    /// Makes the namespace. It is not to be dropped half-way: whoever called it calls [`Self::give_back`].
    ///
    /// # Errors
    /// The cluster refused.
    pub async fn settle(&self) -> Result<()> {
        let object = json!({
            "metadata": {"labels": {"app.kubernetes.io/managed-by": "kms-harness"}},
        });
        let made = self.cluster.create(&self.home(), object).await;
        let made = made.map_err(|trouble| anyhow!("{trouble}"))?;
        ensure!(made.ok(), "make the namespace {}: {made:?}", self.namespace);
        Ok(())
    }

    /// The cluster.
    pub fn server(&self) -> &dyn ApiServer {
        &self.cluster
    }

    /// Its version, such as `v1.37.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where the run's Secrets lie.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// All calls that came on the socket so far.
    pub fn calls(&self) -> Calls {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        for seen in self.proxy.take_seen() {
            match seen.method.as_str() {
                "Status" => calls.status += 1,
                "Encrypt" => calls.encrypt += 1,
                "Decrypt" => calls.decrypt += 1,
                _ => {}
            }
        }
        *calls
    }

    /// Waits until the cluster's API server has asked Status and had a seed encrypted by this plugin, and says that it
    /// is well.
    ///
    /// # Errors
    /// It did not; the text names the socket, the kubeconfig and the fix.
    pub async fn uses_it(&self) -> Result<(), String> {
        let Place { name, socket, .. } = &self.place;
        let socket = socket.display();
        let fix = format!(
            "let the EncryptionConfiguration of that API server name unix://{socket} as the endpoint of a kms provider \
             (apiVersion v2), first for secrets, let the server see that path, on this machine, and start it again"
        );
        loop {
            // one request a second at most: nothing but the calls on the socket is believed
            let health = self.server().health("/healthz/kms-providers").await;
            let Calls {
                status, encrypt, ..
            } = self.calls();
            if status > 0 && encrypt > 0 {
                break;
            }
            if self.opened.elapsed() >= CALLED_WITHIN {
                let seconds = CALLED_WITHIN.as_secs();
                return Err(if status == 0 {
                    format!(
                        "no API server called the socket unix://{socket} within {seconds} s, so the cluster of {name} \
                         does not use this plugin: {fix}"
                    )
                } else {
                    format!(
                        "the API server of {name} asked Status {status} times on unix://{socket} within {seconds} s, and \
                         never had a seed encrypted{}: {fix}",
                        health.map_or_else(
                            |trouble| format!(" ({trouble})"),
                            |answer| format!(" (its health: {answer:?})")
                        )
                    )
                });
            }
            sleep(LOOK_EVERY).await;
        }
        let called = Instant::now();
        loop {
            match self.server().health("/healthz/kms-providers").await {
                // Whoever may not ask has the calls alone.
                Ok(answer) if answer.ok() || [401, 403].contains(&answer.code) => return Ok(()),
                other if called.elapsed() >= WELL_WITHIN => {
                    return Err(format!(
                        "the API server of {name} called unix://{socket} and is not well after {} s: {other:?}",
                        WELL_WITHIN.as_secs()
                    ));
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Deletes everything that the run made in the cluster: the Secrets by name, then the namespace.
    ///
    /// # Errors
    /// Something is left; the text says what, and how to take it away.
    pub async fn give_back(&self, secrets: impl IntoIterator<Item = Target>) -> Result<()> {
        let all = async {
            for secret in secrets {
                self.gone(&secret).await?;
            }
            self.gone(&self.home()).await
        };
        let done = tokio::time::timeout(CLEARED_WITHIN, all).await;
        let done = done.map_err(|_| anyhow!("not done after {} s", CLEARED_WITHIN.as_secs()));
        done.flatten().with_context(|| {
            format!(
                "the namespace {0} is left in the cluster of {1}: kubectl delete namespace {0}",
                self.namespace, self.place.name
            )
        })
    }

    async fn gone(&self, target: &Target) -> Result<()> {
        let deleted = self.cluster.delete(target).await;
        let deleted = deleted.map_err(|trouble| anyhow!("{trouble}"))?;
        // 409: the namespace goes already.
        ensure!(
            deleted.ok() || [404, 409].contains(&deleted.code),
            "delete {target}: {deleted:?}"
        );
        Ok(())
    }

    fn home(&self) -> Target {
        Target {
            resource: Resource::Namespaces,
            namespace: String::new(),
            name: self.namespace.clone(),
        }
    }

    /// What the server says that this user may not do. A server that does not say is asked by doing.
    async fn missing_rights(&self) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for (resource, verbs) in RIGHTS {
            for verb in verbs {
                let review = json!({
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectAccessReview",
                    "spec": {"resourceAttributes": {
                        "verb": verb,
                        "resource": resource,
                        "namespace": if resource == "secrets" { self.namespace.as_str() } else { "" },
                    }},
                });
                let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
                let call = Call::new(Method::Post, path).with_body(review);
                let answer = self.cluster.call(call).await;
                let answer = answer.map_err(|trouble| anyhow!("{trouble}"))?;
                ensure!(
                    answer.code != 401,
                    "the cluster of --apiserver {} does not know this user ({answer:?}): use a kubeconfig with valid credentials",
                    self.place.name
                );
                if answer.ok() && answer.json()["status"]["allowed"] == false {
                    missing.push(format!("{verb} {resource}"));
                }
            }
        }
        Ok(missing)
    }
}

/// The version of a server that answers within the limit.
async fn version(cluster: &Cluster) -> Result<String> {
    let start = Instant::now();
    loop {
        let look = Call::new(Method::Get, "/version").with_timeout(LOOK);
        let said = cluster.call(look).await;
        match said {
            Ok(answer) if answer.ok() => return Ok(git_version(&answer)),
            Ok(answer) if [401, 403].contains(&answer.code) => {
                bail!("it refuses this user ({answer:?}): use a kubeconfig with valid credentials")
            }
            other if start.elapsed() >= ANSWERS => {
                let why = match other {
                    Ok(answer) => format!("{answer:?}"),
                    Err(trouble) => trouble.to_string(),
                };
                bail!(
                    "no good answer within {} s ({why}): start its API server, or use a kubeconfig whose current context \
                     names one that runs",
                    ANSWERS.as_secs()
                );
            }
            _ => sleep(LOOK_EVERY).await,
        }
    }
}

fn git_version(answer: &Answer) -> String {
    let said = answer.field("/gitVersion");
    if said.is_empty() { "unknown" } else { said }.to_owned()
}

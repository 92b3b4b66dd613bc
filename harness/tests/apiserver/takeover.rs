//! A cluster whose data the community plugin wrote goes over to ours on the same socket, back, and over for good.
//!
//! The server is restarted after each change: only then does it ask the plugin for what is stored, instead of its cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::launched::Launched;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use kms_harness::vault::Breakable;
use kms_harness::vault::admin::Admin;
use kms_harness::vault::provision::{Access, Wanted};
use kms_v2_api::server::{KeyManagementService, KeyManagementServiceServer};
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

use crate::life::{same, secret, stored};
use crate::shipped::write_anew;
use crate::tap::accept;
use crate::world::{self, Kind, Parts, READY};

/// Secrets that the other plugin writes.
const SECRETS: usize = 5;

/// The whole way: README of `plugin/deploy`, "Taking over from the community plugin".
pub async fn from_the_community_plugin_and_back_and_over(kind: Kind, parts: Parts) -> Result<()> {
    let mut way = Way::start(kind, &parts).await?;
    for number in 0..SECRETS {
        way.write(&format!("theirs-{number}")).await?;
    }
    ensure!(way.key_ids().await? == ["1"], "not as the other one writes");

    // Phase A. Everything is readable, what is new is ours, and the server knows no other writer.
    way.serve(Serving::Ours("-adopt=community")).await?;
    way.write("ours").await?;
    let written = stored(&way.server, "ours").await?;
    ensure!(written.key_id.starts_with("v1."), "{written:?}");
    ensure!(
        written.annotations == ["format.vault-kubernetes-kms"],
        "{written:?}"
    );
    let phase_a = written.key_id;
    write_anew(&way.server).await?;
    ensure!(
        way.key_ids().await? == [&*phase_a],
        "not all is written anew"
    );

    // Back: the other plugin reads what we wrote, and writes.
    way.serve(Serving::Theirs).await?;
    way.write("theirs-again").await?;
    let written = stored(&way.server, "theirs-again").await?;
    ensure!(written.key_id == "1", "{written:?}");

    // And over for good: the last phase still reads both others, and ends the way back.
    way.serve(Serving::Ours("-adopt=community,final")).await?;
    way.write("bound").await?;
    write_anew(&way.server).await?;
    let written = stored(&way.server, "bound").await?;
    ensure!(
        written.key_id != phase_a,
        "each phase has a key_id of its own"
    );
    ensure!(
        way.key_ids().await? == [&*written.key_id],
        "not all is written anew"
    );
    let refused = way.community().open(&written.seed).await;
    ensure!(refused.is_err(), "the other plugin reads a bound value");

    // Nothing of the others is stored: -adopt goes, and nothing changes.
    way.serve(Serving::Plain).await?;
    way.write("after").await?;
    let after = stored(&way.server, "after").await?;
    ensure!(after.key_id == written.key_id, "{after:?}");
    Ok(())
}

/// Who serves the socket.
enum Serving {
    Theirs,
    Ours(&'static str),
    Plain,
}

enum Plugin {
    Theirs(JoinHandle<()>),
    Ours(Box<Running>),
}

/// Fields are dropped in this order: first the server, then what it leans on.
struct Way {
    server: Launched,
    _etcd: Etcd,
    plugin: Option<Plugin>,
    written: BTreeMap<String, Secret>,
    binary: PathBuf,
    access: Access,
    vault: Box<dyn Breakable>,
    folder: TempDir,
}

impl Way {
    /// A cluster with the community plugin.
    async fn start(kind: Kind, parts: &Parts) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let place = folder.path();
        let vault = parts.vault(1, place).await?;
        let access = Wanted::default().create(&vault.admin(), place).await?;
        let etcd = Etcd::start(&parts.server.etcd, place).await?;
        let socket = place.join("kms.sock");
        let theirs = Community::new(vault.admin()).serve(&socket)?;
        let settings = world::settings(&etcd, Some(world::encryption(&socket)));
        let server =
            Launched::start(&kind.program(parts), &settings, &place.join("server")).await?;
        server.ready(READY).await?;
        Ok(Self {
            server,
            _etcd: etcd,
            plugin: Some(Plugin::Theirs(theirs)),
            written: BTreeMap::new(),
            binary: parts.plugin.to_path_buf(),
            access,
            vault,
            folder,
        })
    }

    fn community(&self) -> Community {
        Community::new(self.vault.admin())
    }

    fn api(&self) -> Api<Secret> {
        Api::namespaced(self.server.client(), "default")
    }

    async fn write(&mut self, name: &str) -> Result<()> {
        let secret = secret(name, &format!("value of {name}"));
        let made = self.api().create(&PostParams::default(), &secret).await;
        let made = made.with_context(|| format!("write {name}"))?;
        self.written.insert(name.to_owned(), made);
        Ok(())
    }

    /// Who wrote what is stored: each key_id once.
    async fn key_ids(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for name in self.written.keys() {
            ids.push(stored(&self.server, name).await?.key_id);
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Another plugin on the same socket; a server with an empty cache reads everything through it.
    async fn serve(&mut self, next: Serving) -> Result<()> {
        let socket = self.folder.path().join("kms.sock");
        match self.plugin.take() {
            // As the community plugin ends: its socket stays where it was.
            Some(Plugin::Theirs(task)) => {
                task.abort();
                let _ = task.await;
            }
            Some(Plugin::Ours(mut plugin)) => drop(plugin.stop().await?),
            None => bail!("no plugin serves"),
        }
        self.plugin = Some(match next {
            Serving::Theirs => Plugin::Theirs(self.community().serve(&socket)?),
            Serving::Ours(word) => Plugin::Ours(Box::new(self.ours(Some(word)).await?)),
            Serving::Plain => Plugin::Ours(Box::new(self.ours(None).await?)),
        });
        self.server.crash_and_start().await?;
        self.server.ready(READY).await?;
        same(&self.api(), &self.written).await.map(drop)
    }

    async fn ours(&self, word: Option<&str>) -> Result<Running> {
        let place = self.folder.path();
        let values = values(self.vault.as_ref(), &self.access, place);
        let mut subject = own::describe(&self.binary, Vocabulary::StaticPod, &values);
        for word in word
            .into_iter()
            .chain(["-health-address=off", "-metrics-address=off"])
        {
            subject.command.push(word.parse()?);
        }
        Running::start(subject, values, place.join("plugin.log")).await
    }
}

/// What the community plugin does, and what it leaves out: key_id is the version's number, there are no annotations, and
/// Decrypt looks at the ciphertext alone.
#[derive(Clone)]
struct Community {
    vault: Admin,
}

impl Community {
    fn new(vault: Admin) -> Self {
        Self { vault }
    }

    fn serve(self, socket: &Path) -> Result<JoinHandle<()>> {
        if socket.exists() {
            std::fs::remove_file(socket)?;
        }
        let listener = UnixListener::bind(socket)?;
        let service = KeyManagementServiceServer::new(self);
        Ok(tokio::spawn(accept(listener, service)))
    }

    async fn open(&self, ciphertext: &[u8]) -> Result<Vec<u8>> {
        let ciphertext = std::str::from_utf8(ciphertext)?;
        let answer = self
            .vault
            .write("transit/decrypt/kms-key", json!({"ciphertext": ciphertext}))
            .await?;
        let text = answer["data"]["plaintext"]
            .as_str()
            .context("no plaintext")?;
        Ok(STANDARD.decode(text)?)
    }

    async fn latest(&self) -> Result<String> {
        let document = self.vault.read("transit/keys/kms-key").await?.ok()?;
        Ok(document["data"]["latest_version"].to_string())
    }

    async fn seal(&self, plaintext: &[u8]) -> Result<Value> {
        let body = json!({"plaintext": STANDARD.encode(plaintext)});
        self.vault.write("transit/encrypt/kms-key", body).await
    }
}

fn failed(error: anyhow::Error) -> Status {
    Status::internal(format!("{error:#}"))
}

#[tonic::async_trait]
impl KeyManagementService for Community {
    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(StatusResponse {
            version: "v2".into(),
            healthz: "ok".into(),
            key_id: self.latest().await.map_err(failed)?,
        }))
    }

    async fn encrypt(
        &self,
        request: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        let plaintext = request.into_inner().plaintext;
        let answer = self.seal(&plaintext).await.map_err(failed)?;
        let ciphertext = answer["data"]["ciphertext"].as_str().unwrap_or_default();
        Ok(Response::new(EncryptResponse {
            ciphertext: ciphertext.to_owned().into(),
            key_id: self.latest().await.map_err(failed)?,
            annotations: [].into(),
        }))
    }

    async fn decrypt(
        &self,
        request: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        let ciphertext = request.into_inner().ciphertext;
        let plaintext = self.open(&ciphertext).await.map_err(failed)?;
        Ok(Response::new(DecryptResponse {
            plaintext: plaintext.into(),
        }))
    }
}

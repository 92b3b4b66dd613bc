//! A control plane: etcd, kube-apiserver, the plugin on a token from a file, and Vault.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use kms_apiserver_api::{Answer, ApiServer, Call, Method};
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::flags::Settings;
use kms_harness::apiserver::launched::{Launched, Program};
use kms_harness::subject::file::Values;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::{place, values};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Parts;
use crate::doctor::said::{Said, say};
use crate::doctor::vault::Scene;

/// Limit for a server to be ready, and for all to notice a change, on a machine that does much else.
pub const LIMIT: Duration = Duration::from_secs(180);
/// How often the doctor is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// Fields are dropped in this order.
pub struct World {
    pub server: Launched,
    pub plugin: Option<Running>,
    _etcd: Etcd,
    pub scene: Scene,
    parts: Parts,
}

impl World {
    pub async fn start(parts: &Parts) -> Result<Self> {
        let scene = Scene::new(&parts.vault).await?;
        let folder = scene.folder.path();
        let mut world_values = values(scene.vault.as_ref(), &scene.access, folder);
        place(&mut world_values, &folder.join("plugin"))?;
        let subject = own::describe(&parts.vault.plugin, Vocabulary::StaticToken, &world_values);
        let plugin = Running::start(subject, world_values, folder.join("plugin.log")).await?;
        let etcd = Etcd::start(&parts.server.etcd, folder).await?;
        let settings = Settings {
            etcd: etcd.address().to_owned(),
            etcd_prefix: "/registry".into(),
            encryption: Some(encryption(plugin.socket())),
            reload: false,
            more: vec!["--allow-privileged=true".into()],
        };
        let program = Program::real(&parts.server.kube_apiserver);
        let server = Launched::start(&program, &settings, &folder.join("server")).await?;
        server.ready(LIMIT).await?;
        Ok(Self {
            server,
            plugin: Some(plugin),
            _etcd: etcd,
            scene,
            parts: parts.clone(),
        })
    }

    /// Another plugin of this Vault, with other values in its flags; it serves nobody but the doctor.
    pub async fn started_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut Values),
    ) -> Result<Running> {
        let folder = self.scene.folder.path();
        let mut given = values(self.scene.vault.as_ref(), &self.scene.access, folder);
        place(&mut given, &folder.join(name))?;
        change(&mut given);
        let subject = own::describe(&self.parts.vault.plugin, Vocabulary::StaticToken, &given);
        let log = folder.join(format!("{name}.log"));
        let mut plugin = Running::spawn(subject, given, log)?;
        plugin.wait_listening(LIMIT).await;
        Ok(plugin)
    }

    /// The plugin looks at its credentials and at Vault now, not with its next probe.
    pub fn look_again(&mut self) -> Result<()> {
        match &mut self.plugin {
            Some(plugin) => plugin.child().signal(Signal::SIGHUP),
            None => Ok(()),
        }
    }

    /// `doctor` by the kubeconfig alone.
    pub fn doctor(&self) -> Vec<String> {
        let kubeconfig = self.server.files().kubeconfig.display().to_string();
        vec!["doctor".into(), "--kubeconfig".into(), kubeconfig]
    }

    /// The same with a plugin's socket.
    pub fn with_socket(&self, socket: &Path) -> Vec<String> {
        let mut args = self.doctor();
        args.extend(["--socket".into(), format!("unix://{}", socket.display())]);
        args
    }

    /// Everything that can be looked at.
    pub fn with_everything(&self, socket: &Path) -> Vec<String> {
        let mut args = self.with_socket(socket);
        args.extend(self.scene.look());
        args
    }

    /// An object is made, or changed by a merge patch.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> Result<Answer> {
        let mut call = Call::new(method, path).with_body(body);
        if method == Method::Patch {
            call.content_type = Some("application/merge-patch+json");
        }
        let answer = self.server.call(call).await?;
        ensure!(answer.ok(), "{} {path}: {answer:?}", method.as_str());
        Ok(answer)
    }

    /// An object is deleted at once.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let path = format!("{path}?gracePeriodSeconds=0");
        let answer = self.server.call(Call::new(Method::Delete, &path)).await?;
        ensure!(answer.ok(), "{path}: {answer:?}");
        Ok(())
    }
}

/// Asks until exactly these rows are found.
pub async fn shows(args: &[String], ids: &[&str]) -> Result<Said> {
    let start = Instant::now();
    loop {
        let said = say(args).await?;
        if said.ids() == ids && said.found(ids).is_ok() {
            return Ok(said);
        }
        if start.elapsed() >= LIMIT {
            said.found(ids)?;
        }
        sleep(ASK_EVERY).await;
    }
}

fn encryption(socket: &Path) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, configmaps]
  providers:
  - kms: {{apiVersion: v2, name: 1_secrets, endpoint: \"unix://{}\", timeout: 3s}}
  - identity: {{}}
",
        socket.display()
    )
}

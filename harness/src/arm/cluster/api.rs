//! Requests to the cluster by path. A refusal that nobody expected is an error in words.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use kms_apiserver_api::{Answer, ApiServer, Call, Method};
use kube::config::Kubeconfig;
use serde_json::Value;

use crate::apiserver::cluster::Cluster;

/// Limit of one request, in which a hung plugin may hold an API server for 3 s or more.
const LIMIT: Duration = Duration::from_secs(15);

/// The cluster's API.
#[derive(Clone, Debug)]
pub struct Api(Arc<Cluster>);

impl Api {
    /// Reaches the kubeconfig's current context. No request is made.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub async fn connect(kubeconfig: &Kubeconfig) -> Result<Self> {
        let cluster = Cluster::connect(kubeconfig.clone()).await?;
        Ok(Self(Arc::new(cluster)))
    }

    /// The same behind the trait.
    pub fn server(&self) -> Arc<dyn ApiServer> {
        Arc::clone(&self.0) as Arc<dyn ApiServer>
    }

    /// One request, whatever the answer.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let mut call = Call::new(method, path).with_timeout(LIMIT);
        if let Some(body) = body {
            call = call.with_body(body);
        }
        let answer = self.0.call(call).await;
        answer.map_err(|trouble| anyhow!("{trouble}"))
    }

    /// `GET`, and only a 2xx is good.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        let answer = self.call(Method::Get, path, None).await?;
        ensure!(answer.ok(), "GET {path}: {answer:?}");
        Ok(answer)
    }

    /// `POST`, and only a 2xx is good.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn create(&self, path: &str, body: Value) -> Result<Answer> {
        let answer = self.call(Method::Post, path, Some(body)).await?;
        ensure!(answer.ok(), "POST {path}: {answer:?}");
        Ok(answer)
    }

    /// `DELETE`; what is gone already is fine.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let answer = self.call(Method::Delete, path, None).await?;
        ensure!(
            answer.ok() || answer.code == 404,
            "DELETE {path}: {answer:?}"
        );
        Ok(())
    }

    /// What names this cluster, whatever its address: the uid of `kube-system`.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn identity(&self) -> Result<String> {
        let path = "/api/v1/namespaces/kube-system";
        let namespace = self.get(path).await.context("who this cluster is")?;
        let uid = namespace.field("/metadata/uid");
        ensure!(!uid.is_empty(), "{path} has no uid");
        Ok(uid.to_owned())
    }
}

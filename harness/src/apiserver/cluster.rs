//! A cluster that somebody else runs, by kubeconfig. What needs the machine below it is refused.

use anyhow::{Context, Result, anyhow};
use kms_apiserver_api::{
    Answer, ApiServer, Call, ListOptions, Pending, Resource, StoredValue, Target, Trouble, Watching,
};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::caller::Caller;

/// One cluster's API.
#[derive(Debug)]
pub struct Cluster(Caller);

impl Cluster {
    /// Reaches the kubeconfig's current context.
    pub async fn connect(kubeconfig: Kubeconfig) -> Result<Self> {
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .context("read the kubeconfig")?;
        Caller::new(config)
            .map(Self)
            .map_err(|trouble| anyhow!("{trouble}"))
    }
}

/// What a kubeconfig gives no access to.
fn beyond<T>(what: &str) -> Pending<'static, T> {
    let text = format!("a kubeconfig gives no way to {what}");
    Box::pin(async move { Err(Trouble::new(text)) })
}

impl ApiServer for Cluster {
    fn call(&self, call: Call) -> Pending<'_, Answer> {
        Box::pin(self.0.call(call))
    }

    fn watch(&self, resource: Resource, options: ListOptions) -> Pending<'_, Watching> {
        Box::pin(async move { self.0.watch(resource, &options).await })
    }

    fn restart(&self) -> Pending<'_, ()> {
        beyond("restart the server")
    }

    fn write_config<'a>(&'a self, _text: &'a str) -> Pending<'a, ()> {
        beyond("write the encryption configuration")
    }

    fn stored<'a>(&'a self, _target: &'a Target) -> Pending<'a, Option<StoredValue>> {
        beyond("read the store past the server")
    }

    fn store<'a>(&'a self, _target: &'a Target, _value: Option<Vec<u8>>) -> Pending<'a, ()> {
        beyond("write the store past the server")
    }
}

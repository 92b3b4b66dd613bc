//! The other end: a harness that tells a relay what shall go wrong.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use kms_apiserver_api::{Call, Method};
use kube::Config;
use kube::config::AuthInfo;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Ordered, State};
use crate::apiserver::caller::Caller;

/// Limit of one order.
const LIMIT: Duration = Duration::from_secs(5);

/// One relay.
#[derive(Clone)]
pub struct Relay {
    /// Its control address, `http://HOST:PORT`.
    pub control: String,
    /// File with its token.
    pub token_file: PathBuf,
    token: Zeroizing<String>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Relay").field(&self.control).finish()
    }
}

impl Relay {
    /// The relay at this address; no request is made.
    ///
    /// # Errors
    /// The token cannot be read.
    pub fn reach(control: &str, token: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(token)
            .with_context(|| format!("read the relay's token {}", token.display()))?;
        let text = Zeroizing::new(text);
        ensure!(
            control.starts_with("http://"),
            "--relay {control}: it is http://127.0.0.1:PORT, the --control address of `kms-harness relay`"
        );
        Ok(Self {
            control: control.to_owned(),
            token_file: token.to_owned(),
            token: Zeroizing::new(text.trim().to_owned()),
        })
    }

    /// What it has seen.
    ///
    /// # Errors
    /// No answer.
    pub async fn state(&self) -> Result<State> {
        self.ask(Method::Get, "/v1/state", None).await
    }

    /// Has something go wrong there under this name.
    ///
    /// # Errors
    /// No answer, or the relay cannot do that.
    pub async fn make(&self, id: &str, order: &Ordered) -> Result<State> {
        let body = serde_json::to_value(order).context("an order as JSON")?;
        self.ask(Method::Put, &format!("/v1/faults/{id}"), Some(body))
            .await
    }

    /// Ends all of it.
    ///
    /// # Errors
    /// No answer.
    pub async fn clear(&self) -> Result<()> {
        self.ask(Method::Delete, "/v1/faults", None).await.map(drop)
    }

    /// Ends one fault; one that has ended already is fine.
    ///
    /// # Errors
    /// No answer.
    pub async fn end(&self, id: &str) -> Result<()> {
        self.ask(Method::Delete, &format!("/v1/faults/{id}"), None)
            .await
            .map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<State> {
        let about = || format!("the relay at {}", self.control);
        let mut config = Config::new(self.control.parse().with_context(about)?);
        config.auth_info = AuthInfo {
            token: Some(self.token.to_string().into()),
            ..AuthInfo::default()
        };
        let caller = Caller::new(config).map_err(|trouble| anyhow!("{trouble}"))?;
        let mut call = Call::new(method, path).with_timeout(LIMIT);
        if let Some(body) = body {
            call = call.with_body(body);
        }
        let answer = caller.call(call).await;
        let answer = answer
            .map_err(|trouble| anyhow!("{trouble}"))
            .with_context(about)?;
        ensure!(
            answer.ok(),
            "{} says {}: {}",
            about(),
            answer.code,
            answer.json().as_str().unwrap_or_default()
        );
        serde_json::from_value(answer.json().clone()).with_context(about)
    }
}

//! A real OpenBao in dev mode on loopback, with a Transit key and the identities the measurements use.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use kms_process::child::Child;
use kms_process::{dev, parts};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::direct::{Direct, Endpoint, trust};

/// Policy of every identity: what a plugin needs, and no `default` policy beside it.
const POLICY: &str = r#"
path "transit/encrypt/kms-key" { capabilities = ["update"] }
path "transit/decrypt/kms-key" { capabilities = ["update"] }
path "transit/keys/kms-key" { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
"#;
/// The rule that [`Identity::Renewing`] has besides.
const RENEW: &str = r#"path "auth/token/renew-self" { capabilities = ["update"] }"#;

/// The administrator of a server that lives for minutes on loopback.
const ROOT: &str = "root";

/// Prometheus counters, so that logins can be counted where they happen.
const CONFIG: &str =
    "telemetry {\n  prometheus_retention_time = \"24h\"\n  disable_hostname = true\n}\n";

const START: Duration = Duration::from_secs(20);

/// Which policy a login gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// May renew its token.
    Renewing,
    /// May not, as with the policy that operators' procedures print.
    Fixed,
}

impl Identity {
    fn policy(self) -> &'static str {
        match self {
            Self::Renewing => "kms",
            Self::Fixed => "kms-fixed",
        }
    }
}

/// A running server. Killed on drop.
pub struct Server {
    /// The process.
    pub process: Child,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Its CA file, with TLS.
    pub ca: Option<PathBuf>,
    /// A client with every right.
    pub root: Direct,
    /// Scratch folder of this server and of what is started beside it; removed on drop.
    pub dir: TempDir,
}

impl Server {
    /// Starts one with the key `kms-key` (aes256-gcm96) and the policies.
    pub async fn start(bao: &Path, tls: bool) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("kms-bench-").tempdir()?;
        let [port] = kms_process::ports::free_ports()?;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = dir.path().join("server.hcl");
        std::fs::write(&config, CONFIG)?;
        let mut launch = dev::launch(
            parts::OPENBAO,
            bao,
            dir.path(),
            &at.to_string(),
            (dev::OPENBAO_ROOT_TOKEN, ROOT),
        );
        launch.args.push(format!("-config={}", config.display()));
        if tls {
            launch.args.push("-dev-tls".to_owned());
            launch
                .args
                .push(format!("-dev-tls-cert-dir={}", dir.path().display()));
        }
        let mut process = Child::spawn(&launch)?;
        let ca = tls.then(|| dir.path().join("vault-ca.pem"));
        let until = Instant::now() + START;
        let root = loop {
            process.must_run()?;
            match answers(at, ca.as_deref()).await {
                Ok(root) => break root,
                Err(error) if Instant::now() > until => {
                    return Err(error.context(format!(
                        "OpenBao did not serve within {START:?}:\n{}",
                        process.last_words()
                    )));
                }
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        let endpoint = Endpoint {
            at,
            tls: ca.as_deref().map(trust).transpose()?,
        };
        let server = Self {
            process,
            endpoint,
            ca,
            root,
            dir,
        };
        server.prepare().await.context("preparing OpenBao")?;
        Ok(server)
    }

    async fn prepare(&self) -> Result<()> {
        self.post("sys/mounts/transit", json!({"type": "transit"}))
            .await?;
        self.post("transit/keys/kms-key", json!({"type": "aes256-gcm96"}))
            .await?;
        let renewing = format!("{POLICY}{RENEW}\n");
        for (identity, rules) in [
            (Identity::Renewing, renewing.as_str()),
            (Identity::Fixed, POLICY),
        ] {
            self.post(
                &format!("sys/policies/acl/{}", identity.policy()),
                json!({"policy": rules}),
            )
            .await?;
        }
        self.post("sys/auth/approle", json!({"type": "approle"}))
            .await?;
        self.post("sys/auth/userpass", json!({"type": "userpass"}))
            .await?;
        Ok(())
    }

    /// `http(s)://127.0.0.1:PORT`
    pub fn address(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.endpoint.at)
    }

    /// A write as administrator.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.root.admin(Method::POST, path, &body).await
    }

    /// An orphan token with the policy and without `default`, good for a day.
    pub async fn token(&self) -> Result<String> {
        let body = json!({"policies": [Identity::Renewing.policy()], "no_default_policy": true, "ttl": "24h"});
        let answer = self.post("auth/token/create-orphan", body).await?;
        Ok(answer["auth"]["client_token"]
            .as_str()
            .context("no client_token")?
            .to_owned())
    }

    /// An AppRole of this name: role id and secret id. `ttl` and `max_ttl` in seconds.
    pub async fn approle(
        &self,
        name: &str,
        identity: Identity,
        ttl: u64,
        max_ttl: u64,
    ) -> Result<(String, String)> {
        let role = format!("auth/approle/role/{name}");
        let body = json!({
            "token_policies": [identity.policy()], "token_no_default_policy": true,
            "token_ttl": ttl, "token_max_ttl": max_ttl,
        });
        self.post(&role, body).await?;
        let id = self
            .root
            .admin(Method::GET, &format!("{role}/role-id"), &Value::Null)
            .await?;
        let secret = self.post(&format!("{role}/secret-id"), json!({})).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        text(&id["data"]["role_id"])
            .zip(text(&secret["data"]["secret_id"]))
            .context("no role_id or secret_id")
    }

    /// A user of the userpass method with an hour's tokens.
    pub async fn user(&self, name: &str, password: &str) -> Result<()> {
        let body = json!({
            "password": password, "token_policies": [Identity::Renewing.policy()],
            "token_no_default_policy": true, "token_ttl": 3600,
        });
        self.post(&format!("auth/userpass/users/{name}"), body)
            .await
            .map(drop)
    }

    /// Makes a new version of the key and returns its number.
    pub async fn rotate(&self) -> Result<u64> {
        let document = self
            .post("transit/keys/kms-key/rotate", Value::Null)
            .await?;
        document["data"]["latest_version"]
            .as_u64()
            .context("no latest_version in the answer to rotate")
    }

    /// Tokens that AppRole logins have been given since the start, by the server's own count.
    pub async fn logins(&self) -> Result<u64> {
        let uri = "/v1/sys/metrics?format=prometheus".parse()?;
        let (status, text) = self
            .root
            .send(Method::GET, uri, bytes::Bytes::new())
            .await?;
        anyhow::ensure!(status.is_success(), "sys/metrics: {status}");
        count_logins(std::str::from_utf8(&text)?)
    }
}

/// Sum of `vault_token_creation` over the lines of the approle method. No line is no login.
fn count_logins(metrics: &str) -> Result<u64> {
    let lines = metrics.lines().filter(|line| {
        line.starts_with("vault_token_creation{") && line.contains("auth_method=\"approle\"")
    });
    lines
        .map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<f64>()? as u64))
        .sum()
}

/// A client with root's token once the server says that it is active.
async fn answers(at: SocketAddr, ca: Option<&Path>) -> Result<Direct> {
    let endpoint = Endpoint {
        at,
        tls: ca.map(trust).transpose()?,
    };
    let root = Direct::new(endpoint, ROOT)?;
    timeout(
        Duration::from_secs(2),
        root.admin(Method::GET, "sys/health", &Value::Null),
    )
    .await??;
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_approle_logins_are_counted() {
        let metrics = concat!(
            "# TYPE vault_token_creation counter\n",
            "vault_token_creation{auth_method=\"approle\",creation_ttl=\"1m\",namespace=\"root\"} 3\n",
            "vault_token_creation{auth_method=\"approle\",creation_ttl=\"1h\",namespace=\"root\"} 4\n",
            "vault_token_creation{auth_method=\"token\",creation_ttl=\"1m\",namespace=\"root\"} 50\n",
            "vault_token_creation_sum 9\n",
        );
        assert_eq!(count_logins(metrics).unwrap(), 7);
        assert_eq!(count_logins("").unwrap(), 0);
        assert!(count_logins("vault_token_creation{auth_method=\"approle\"} many\n").is_err());
    }
}

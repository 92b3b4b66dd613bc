//! The states of a node, through its own API: initialised, sealed, unsealed, active.
//!
//! Every backend of ours is brought up and waited for by these, so that they all mean the same.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::admin::Admin;

/// Limit for a node to answer, and for a cluster to have a leader.
pub const COMES_UP: Duration = Duration::from_secs(30);
/// How often a state is looked at while it is waited for.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// It answers, whatever its state.
pub const ANSWERS: &[u16] = &[200, 429, 472, 473, 474, 501, 503];
/// It is unsealed: active, or a standby.
pub const UNSEALED: &[u16] = &[200, 429, 473];
/// It leads.
pub const ACTIVE: &[u16] = &[200];
/// It is sealed.
pub const SEALED: &[u16] = &[503];

/// What initialising a server gave.
pub struct Keys {
    /// The root token.
    pub root_token: Zeroizing<String>,
    /// The only unseal key.
    pub unseal_key: Zeroizing<String>,
}

/// Status of `sys/health`; `None` when there is no answer.
pub async fn health(admin: &Admin) -> Option<u16> {
    Some(admin.read("sys/health").await.ok()?.status)
}

/// Waits until `sys/health` has one of the statuses.
pub async fn wait_health(admin: &Admin, wanted: &[u16]) -> Result<u16> {
    let deadline = Instant::now() + COMES_UP;
    let mut seen = None;
    while Instant::now() < deadline {
        seen = health(admin).await;
        if let Some(status) = seen.filter(|status| wanted.contains(status)) {
            return Ok(status);
        }
        sleep(LOOK_EVERY).await;
    }
    bail!(
        "it is not in state {wanted:?} after {} s, but {seen:?}",
        COMES_UP.as_secs()
    )
}

/// Active, and the token store answers: right after unsealing it does not yet.
pub async fn wait_active(admin: &Admin) -> Result<()> {
    wait_health(admin, ACTIVE).await?;
    let deadline = Instant::now() + COMES_UP;
    while admin.read("auth/token/lookup-self").await?.status != 200 {
        ensure!(
            Instant::now() < deadline,
            "the root token is not accepted after {} s",
            COMES_UP.as_secs()
        );
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Number of the node that leads, among those that run.
pub async fn leader(nodes: &[(usize, Admin)]) -> Result<usize> {
    let deadline = Instant::now() + COMES_UP;
    loop {
        for (number, admin) in nodes {
            if health(admin).await == Some(200) {
                return Ok(*number);
            }
        }
        ensure!(
            Instant::now() < deadline,
            "there has been no leader for {} s",
            COMES_UP.as_secs()
        );
        sleep(LOOK_EVERY).await;
    }
}

/// Initialises a server with one unseal key.
pub async fn init(admin: &Admin) -> Result<Keys> {
    let shares = json!({"secret_shares": 1, "secret_threshold": 1});
    let answer = admin.write("sys/init", shares).await?;
    let secret = |pointer| {
        let value = answer.pointer(pointer).and_then(Value::as_str);
        value
            .map(|text| Zeroizing::new(text.to_owned()))
            .context("init gave no keys")
    };
    Ok(Keys {
        unseal_key: secret("/keys/0")?,
        root_token: secret("/root_token")?,
    })
}

/// Seals a node.
pub async fn seal(admin: &Admin) -> Result<()> {
    admin
        .call(Method::PUT, "sys/seal", Value::Null)
        .await?
        .ok()?;
    wait_health(admin, SEALED).await.map(drop)
}

/// Has the node that leads give up.
pub async fn step_down(admin: &Admin) -> Result<()> {
    let asked = admin.call(Method::PUT, "sys/step-down", Value::Null);
    asked.await?.ok().map(drop)
}

/// Unseals a node that has one unseal key.
pub async fn unseal(admin: &Admin, key: &str) -> Result<()> {
    // A node that has just been told whom to join refuses until it has the leader's answer.
    let deadline = Instant::now() + COMES_UP;
    loop {
        let answer = admin
            .call(Method::PUT, "sys/unseal", json!({"key": key}))
            .await?;
        match answer.ok() {
            Ok(body) if body["sealed"] == json!(false) => return Ok(()),
            // A joining follower says `sealed` here and unseals when the leader has accepted it.
            Ok(_) => return wait_health(admin, UNSEALED).await.map(drop),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// The unseal key that a dev server prints, soon after it has begun to serve. `read` gives what it
/// has printed so far.
pub(super) async fn printed_unseal_key<R>(mut read: impl FnMut() -> R) -> Result<Zeroizing<String>>
where
    R: Future<Output = Result<Vec<u8>>>,
{
    let deadline = Instant::now() + COMES_UP;
    loop {
        let log = Zeroizing::new(read().await?);
        let log = Zeroizing::new(String::from_utf8_lossy(&log).into_owned());
        let key = log
            .lines()
            .find_map(|line| line.trim().strip_prefix("Unseal Key: "));
        if let Some(key) = key {
            return Ok(Zeroizing::new(key.trim().to_owned()));
        }
        ensure!(
            Instant::now() < deadline,
            "the server has printed no unseal key after {} s",
            COMES_UP.as_secs()
        );
        sleep(LOOK_EVERY).await;
    }
}

//! The Lease that keeps two runs apart, wherever they were started.
//!
//! A run that ended without giving it back may have left a fault behind, so an old lease is not simply taken: whoever
//! wants it is told to clean up first.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use jiff::Timestamp;
use kms_apiserver_api::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::NAMESPACE;
use super::api::Api;

/// How long a lease holds after its last renewal.
const HOLDS: Duration = Duration::from_secs(40);
/// Between two renewals.
const RENEWED: Duration = Duration::from_secs(5);

fn collection() -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases")
}

fn path() -> String {
    format!("{}/kms-harness", collection())
}

fn now() -> String {
    Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        .to_string()
}

fn lease(holder: &str, version: Option<&str>) -> Value {
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "kms-harness", "namespace": NAMESPACE},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": HOLDS.as_secs(),
            "renewTime": now(),
        },
    });
    if let Some(version) = version {
        lease["metadata"]["resourceVersion"] = version.into();
    }
    lease
}

/// Takes it.
///
/// # Errors
/// Somebody has it, or had it and did not give it back.
pub async fn take(api: &Api, holder: &str) -> Result<()> {
    let made = api
        .call(Method::Post, &collection(), Some(lease(holder, None)))
        .await?;
    if made.ok() {
        return Ok(());
    }
    ensure!(made.code == 409, "take the lease {}: {made:?}", path());
    let there = api.get(&path()).await?;
    let other = there.field("/spec/holderIdentity");
    if held(there.json()) {
        bail!("another run works on this cluster: {other}; wait until it has ended");
    }
    bail!(
        "the run {other} ended without cleaning up; run `kms-harness chaos --arm cluster … --cleanup` where it ran, \
         or anywhere if its undo files are lost"
    );
}

/// Whether its holder renewed it a moment ago.
fn held(lease: &Value) -> bool {
    let renewed = lease["spec"]["renewTime"].as_str();
    let renewed = renewed.and_then(|text| text.parse::<Timestamp>().ok());
    let seconds = lease["spec"]["leaseDurationSeconds"].as_i64();
    renewed.is_some_and(|at| {
        let age = Timestamp::now().duration_since(at).as_secs();
        age < seconds.unwrap_or_default()
    })
}

/// Whether a run holds it now; its name.
///
/// # Errors
/// No answer.
pub async fn holder(api: &Api) -> Result<Option<String>> {
    let there = api.call(Method::Get, &path(), None).await?;
    if there.code == 404 {
        return Ok(None);
    }
    ensure!(there.ok(), "read the lease {}: {there:?}", path());
    let name = there.field("/spec/holderIdentity").to_owned();
    Ok(held(there.json()).then_some(name))
}

/// Gives it back, if this holder has it or nobody renews it any more.
///
/// # Errors
/// No answer, or a run holds it.
pub async fn release(api: &Api, holder: &str) -> Result<()> {
    let there = api.call(Method::Get, &path(), None).await?;
    if there.code == 404 {
        return Ok(());
    }
    ensure!(there.ok(), "read the lease {}: {there:?}", path());
    let other = there.field("/spec/holderIdentity");
    ensure!(
        other == holder || !held(there.json()),
        "the lease is held by {other}, which runs now"
    );
    api.delete(&path()).await
}

/// Renews it until that is not possible; says why.
pub async fn keep(api: &Api, holder: &str) -> String {
    let mut renewed = Instant::now();
    loop {
        sleep(RENEWED).await;
        match renew(api, holder).await {
            Ok(Some(other)) => return format!("the lease was taken by {other}"),
            Ok(None) => renewed = Instant::now(),
            Err(error) if renewed.elapsed() >= HOLDS / 2 => {
                return format!("the lease could not be renewed: {error:#}");
            }
            Err(_) => {}
        }
    }
}

/// The name of somebody else who has it.
async fn renew(api: &Api, holder: &str) -> Result<Option<String>> {
    let there = api.get(&path()).await?;
    let other = there.field("/spec/holderIdentity");
    if other != holder {
        return Ok(Some(other.to_owned()));
    }
    let own = lease(holder, Some(there.resource_version()));
    let answer = api.call(Method::Put, &path(), Some(own)).await?;
    ensure!(answer.ok(), "renew the lease: {answer:?}");
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lease of a run that was killed is not held for ever, and a fresh one is.
    #[test]
    fn an_old_lease_is_not_held() {
        let mut one = lease("a", None);
        assert!(held(&one));
        one["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z".into();
        assert!(!held(&one));
        one["spec"]["renewTime"] = "nonsense".into();
        assert!(!held(&one));
    }
}

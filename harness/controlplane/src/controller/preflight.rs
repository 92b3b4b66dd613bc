//! Preflight controller (v2): has a pod try the KMS configuration that the key controller wants a key for.

use std::time::Duration;

use super::key::PREFLIGHT_RETRY;
use super::{Run, Stop};
use crate::cluster::PreflightResult;
use crate::key::older_than;
use crate::object::{Condition, PodPhase, Status};
use crate::preflight::{CONTAINER, PreflightPod};

/// A pod that has not reported by then is stuck.
pub(super) const STARTUP: Duration = Duration::from_secs(180);

/// What one look at the pod comes to.
enum Step {
    /// Nothing to do, or done.
    Idle,
    /// Going on, in words.
    Running(String),
    /// A verdict about the configuration or the pod; `retry` if it may still get better.
    Verdict {
        reason: String,
        text: String,
        retry: bool,
    },
    /// A failed call.
    Failed { text: String, retry: bool },
}

pub(super) fn run(run: &mut Run<'_>) -> Result<(), Stop> {
    let step = if run.ready()? { look(run) } else { Step::Idle };
    let (degraded, progressing, retry, result) = match step {
        Step::Idle => (Condition::no(), Condition::no(), false, Ok(())),
        Step::Running(text) => (
            Condition::no(),
            Condition::new(Status::True, "RunningPreflightCheck", text),
            true,
            Ok(()),
        ),
        Step::Verdict {
            reason,
            text,
            retry,
        } => (
            Condition::new(Status::True, &reason, text.clone()),
            Condition::no(),
            retry,
            Err(Stop::Error(text)),
        ),
        Step::Failed { text, retry } => (
            Condition::error(text.as_str()),
            Condition::no(),
            retry,
            Err(Stop::Error(text)),
        ),
    };
    if retry {
        run.requeue = Some(PREFLIGHT_RETRY);
    }
    run.set_condition("EncryptionKMSPreflightControllerDegraded", degraded);
    run.set_condition("EncryptionKMSPreflightControllerProgressing", progressing);
    result
}

fn look(run: &mut Run<'_>) -> Step {
    let hash = match wanted_hash(run) {
        Ok(Some(hash)) => hash,
        Ok(None) => {
            run.operator.deployer.clean_up();
            return Step::Idle;
        }
        Err(text) => return Step::Failed { text, retry: false },
    };
    let known = run
        .operator
        .preflight
        .result
        .as_ref()
        .filter(|result| result.hash == hash)
        .cloned();
    if known.as_ref().is_some_and(|result| result.succeeded) {
        run.operator.deployer.clean_up();
        return Step::Idle;
    }
    let failed = |why: &str| Step::Verdict {
        reason: "PreflightCheckFailed".to_owned(),
        text: format!("preflight check failed for hash {hash}: {why}"),
        retry: false,
    };
    let crashed_stays = run.cluster.quirks.crashed_preflight_stays;
    let stale_crash =
        |pod: &PreflightPod| !crashed_stays && pod.phase == PodPhase::Failed && pod.hash != hash;
    if run.operator.deployer.pod.as_ref().is_some_and(stale_crash) {
        run.operator.deployer.clean_up();
        return Step::Running("Cleaning up preflight pod with stale configuration".to_owned());
    }
    let Some(pod) = run.operator.deployer.pod.clone() else {
        if known.is_some() {
            return failed("pod was removed but failure is recorded in status");
        }
        return match run.operator.deployer.deploy(&hash, run.now) {
            Ok(()) => Step::Running(format!("Deploying preflight pod for hash {hash}")),
            Err(text) => Step::Failed { text, retry: true },
        };
    };
    if pod.phase == PodPhase::Failed {
        let (reason, detail) = match &pod.exited {
            Some((code, reason)) => (
                reason.clone(),
                format!("at least one container {CONTAINER} exited with {code} ({reason})"),
            ),
            None => ("Unknown".to_owned(), "unknown".to_owned()),
        };
        let text = format!("preflight pod failed for hash {hash}: {detail}");
        return Step::Verdict {
            reason,
            text,
            retry: false,
        };
    }
    let Some(reported) = &pod.reported_hash else {
        return waiting(run, &pod, &hash, "config hash");
    };
    if *reported != hash {
        run.operator.deployer.clean_up();
        return Step::Running("Cleaning up preflight pod with stale configuration".to_owned());
    }
    let Some(result) = &pod.result else {
        return waiting(run, &pod, &hash, "result");
    };
    if known.is_none() {
        run.operator.preflight.result = Some(PreflightResult {
            succeeded: result.is_ok(),
            hash: hash.clone(),
            remote_key_id: pod.remote_key_id.clone().unwrap_or_default(),
        });
    }
    match result {
        Ok(()) => {
            run.operator.deployer.clean_up();
            Step::Idle
        }
        Err(why) => failed(why),
    }
}

/// The pod has not reported `what` yet.
fn waiting(run: &Run<'_>, pod: &PreflightPod, hash: &str, what: &str) -> Step {
    if pod.phase == PodPhase::Succeeded {
        return Step::Verdict {
            reason: "PodCompletedWithoutResult".to_owned(),
            text: format!("preflight pod completed without reporting result for hash {hash}"),
            retry: false,
        };
    }
    if older_than(pod.started, STARTUP, run.now) {
        let (reason, detail) = match &pod.waiting {
            Some(reason) => (
                reason.clone(),
                format!("at least one container {CONTAINER} is waiting: {reason}"),
            ),
            None => (
                "Unknown".to_owned(),
                format!("pod is in {:?} phase", pod.phase),
            ),
        };
        let text = format!("preflight pod has not reported {what} after 3m0s: {detail}");
        return Step::Verdict {
            reason,
            text,
            retry: true,
        };
    }
    Step::Running(format!(
        "Waiting for preflight pod to report {what} for {hash}"
    ))
}

/// Hash of the configuration that must be checked; nothing while none is wanted, or the spec has changed since.
fn wanted_hash(run: &Run<'_>) -> Result<Option<String>, String> {
    let wanted = &run.operator.preflight.observed_hash;
    if run.cluster.spec.mode != "KMS" || wanted.is_empty() {
        return Ok(None);
    }
    let plugin = run.cluster.spec.kms.clone().unwrap_or_default();
    plugin
        .check_kind()
        .map_err(|e| format!("failed to create KMS provider config: {e}"))?;
    let references = plugin
        .references(&run.cluster.api)
        .map_err(|e| format!("failed to compute KMS config hash: {e}"))?;
    Ok((plugin.hash(&references) == *wanted).then(|| wanted.clone()))
}

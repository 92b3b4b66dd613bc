//! The preflight pod (v2) and who deploys it. What the pod finds out is played from outside.

use jiff::Timestamp;

use crate::object::PodPhase;

/// Deploys the preflight pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployer {
    /// There is a real pod. Without it a check succeeds as soon as it is deployed, as the operators first had it.
    pub real: bool,
    /// The pod, if there is one.
    pub pod: Option<PreflightPod>,
    /// The text with which deploying fails.
    pub fails: Option<String>,
}

/// The pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightPod {
    /// Hash that it was deployed for.
    pub hash: String,
    /// Phase.
    pub phase: PodPhase,
    /// When the kubelet took it on.
    pub started: Timestamp,
    /// Condition KMSPreflightConfigHash: the hash that it works on.
    pub reported_hash: Option<String>,
    /// Condition KMSPreflightRemoteKeyID.
    pub remote_key_id: Option<String>,
    /// Condition KMSPreflightResult: passed, or why not.
    pub result: Option<Result<(), String>>,
    /// Why its main container waits.
    pub waiting: Option<String>,
    /// Exit code and reason of its main container.
    pub exited: Option<(i32, String)>,
}

/// Name of the pod's main container.
pub const CONTAINER: &str = "kms-preflight";

impl PreflightPod {
    /// A pod that has just been created.
    pub fn new(hash: &str, now: Timestamp) -> Self {
        Self {
            hash: hash.to_owned(),
            phase: PodPhase::Pending,
            started: now,
            reported_hash: None,
            remote_key_id: None,
            result: None,
            waiting: None,
            exited: None,
        }
    }
}

impl Deployer {
    /// Creates the pod.
    pub(crate) fn deploy(&mut self, hash: &str, now: Timestamp) -> Result<(), String> {
        if let Some(text) = &self.fails {
            return Err(text.clone());
        }
        let mut pod = PreflightPod::new(hash, now);
        if !self.real {
            pod.phase = PodPhase::Running;
            pod.reported_hash = Some(hash.to_owned());
            pod.remote_key_id = Some("always-succeed".to_owned());
            pod.result = Some(Ok(()));
        }
        self.pod = Some(pod);
        Ok(())
    }

    /// Takes the pod away.
    pub(crate) fn clean_up(&mut self) {
        self.pod = None;
    }
}

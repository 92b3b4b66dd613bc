//! Faults that wait for a moment of the rollout or of the migration.

use kms_apiserver_api::Resource;
use kms_controlplane::cluster::target_config_name;
use kms_controlplane::object::{MANAGED_NAMESPACE, PodPhase};
use kms_controlplane::plane::COMPONENTS;

use super::World;

/// Something that happens as soon as its moment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A Secret's value is damaged when the first migration begins.
    Damage,
    /// The plugin of a node is killed when the first node writes with the new key.
    KillWriter(usize),
    /// The target configuration is lost when the first node is out.
    LoseTarget,
    /// The first preflight pods crash.
    CrashPreflight,
    /// The first preflight checks pass, and at that moment the spec becomes another one.
    PassPreflight,
    /// Every preflight check fails.
    FailPreflight,
}

impl World {
    /// Lets happen what waited for this moment.
    pub(super) async fn come_true(&mut self) {
        match self.pending {
            Some(Pending::Damage) if self.migrating(0) => {
                self.pending = None;
                self.damage().await;
            }
            Some(Pending::KillWriter(node)) if self.running(0, 0).starts_with("kms:") => {
                self.pending = None;
                self.plugins[node].kill();
            }
            Some(Pending::LoseTarget) if self.ready(0) < self.plan.nodes => {
                self.pending = None;
                let name = target_config_name(COMPONENTS[0].0);
                if self.take_secret(MANAGED_NAMESPACE, &name).is_ok() {
                    self.act();
                }
            }
            Some(Pending::CrashPreflight) => {
                for operator in &mut self.plane.cluster.components {
                    if let Some(pod) = &mut operator.deployer.pod {
                        pod.phase = PodPhase::Failed;
                        pod.exited = Some((1, "OOMKilled".to_owned()));
                        self.pending = None;
                    }
                }
                self.act();
            }
            Some(Pending::PassPreflight) => {
                for operator in &mut self.plane.cluster.components {
                    if let Some(pod) = &mut operator.deployer.pod {
                        pod.phase = PodPhase::Running;
                        pod.reported_hash = Some(pod.hash.clone());
                        pod.remote_key_id = Some("1".to_owned());
                        pod.result = Some(Ok(()));
                        self.pending = Some(Pending::FailPreflight);
                    }
                }
                if self.pending == Some(Pending::FailPreflight)
                    && let Some(kms) = &mut self.plane.cluster.spec.kms
                {
                    "transit/keys/kms-kye".clone_into(&mut kms.vault.vault_key_path);
                }
                self.act();
            }
            Some(Pending::FailPreflight) => {
                for operator in &mut self.plane.cluster.components {
                    if let Some(pod) = &mut operator.deployer.pod
                        && pod.result.is_none()
                    {
                        pod.phase = PodPhase::Running;
                        pod.reported_hash = Some(pod.hash.clone());
                        pod.result = Some(Err("encryption key not found".to_owned()));
                    }
                }
                self.act();
            }
            _ => {}
        }
    }

    /// Damages the value of the first Secret.
    async fn damage(&mut self) {
        let mut secrets = self.acknowledged.iter();
        let secret = secrets
            .find(|(component, target)| *component == 0 && target.resource == Resource::Secrets);
        let Some((_, target)) = secret.cloned() else {
            return;
        };
        let Ok(Some(value)) = self.stored(0, &target).await else {
            return;
        };
        let mut bytes = value.bytes.clone();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        let stored = self.servers[0].api().store(&target, Some(bytes)).await;
        if stored.is_ok() {
            self.damaged = Some((target, value.bytes));
        }
    }
}

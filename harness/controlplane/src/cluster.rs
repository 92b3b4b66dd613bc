//! A cluster with its operators: what the controllers act on, and the way to run one of them once.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::Api;
use crate::controller::{self, Controller, Outcome};
use crate::generation::{Generation, Quirks};
use crate::object::{COMPONENT_LABEL, Condition, MANAGED_NAMESPACE};
use crate::resource::GroupResource;
use crate::vault::PluginSpec;

/// `apiserver cluster`, `.spec.encryption`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// `.type`; empty if it is not set.
    pub mode: String,
    /// `.kms`; read by v2 only.
    pub kms: Option<PluginSpec>,
}

/// `.spec.managementState` of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Management {
    /// The operator works.
    Managed,
    /// The operator keeps its hands off.
    Unmanaged,
    /// The operand is to go.
    Removed,
    /// The operator works.
    Force,
}

/// Status of the preflight check (v2), `.status.encryptionStatus.preflight`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreflightStatus {
    /// Hash of the configuration that the key controller wants checked.
    pub observed_hash: String,
    /// What the last finished check said.
    pub result: Option<PreflightResult>,
}

/// Outcome of a finished preflight check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightResult {
    /// The plugin could encrypt and decrypt.
    pub succeeded: bool,
    /// Hash of the configuration that was checked.
    pub hash: String,
    /// The plugin's key_id.
    pub remote_key_id: String,
}

/// One operator with its operand: a component of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Target namespace, which is the component's name.
    pub name: String,
    /// Nodes that must run the operand.
    pub nodes: Vec<String>,
    /// What it encrypts, in the order of its messages.
    pub resources: Vec<GroupResource>,
    /// Its management state.
    pub management: Management,
    /// `.spec.unsupportedConfigOverrides`, a JSON text; empty if there are none.
    pub overrides: Vec<u8>,
    /// What the operator's own precondition answers.
    pub external: Result<bool, String>,
    /// `.status.conditions` by type.
    pub conditions: BTreeMap<String, Condition>,
    /// Status of the preflight check (v2).
    pub preflight: PreflightStatus,
    /// The preflight pod, and what else the deployer of it knows (v2).
    pub deployer: crate::preflight::Deployer,
    /// What the config observer last said about `--encryption-provider-config`.
    pub observed_path: Vec<String>,
}

impl Component {
    /// An operator that is managed, with no conditions yet.
    pub fn new(name: &str, resources: &[&str], nodes: &[String]) -> Self {
        Self {
            name: name.to_owned(),
            nodes: nodes.to_vec(),
            resources: resources
                .iter()
                .map(|gr| GroupResource::from(*gr))
                .collect(),
            management: Management::Managed,
            overrides: Vec::new(),
            external: Ok(true),
            conditions: BTreeMap::new(),
            preflight: PreflightStatus::default(),
            deployer: crate::preflight::Deployer::default(),
            observed_path: Vec::new(),
        }
    }

    /// The operator does its work.
    pub fn is_managed(&self) -> bool {
        matches!(self.management, Management::Managed | Management::Force)
    }
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Which controllers run in it.
    pub generation: Generation,
    /// Which of their quirks they have.
    pub quirks: Quirks,
    /// Its objects.
    pub api: Api,
    /// The spec that all operators share.
    pub spec: Spec,
    /// Its operators.
    pub components: Vec<Component>,
}

impl Cluster {
    /// A cluster without operators that serves the usual resources. Key material is drawn from `seed`.
    pub fn new(generation: Generation, seed: u64) -> Self {
        let mut api = Api::new(seed);
        for resource in [
            "secrets",
            "configmaps",
            "routes.route.openshift.io",
            "oauthaccesstokens.oauth.openshift.io",
            "oauthauthorizetokens.oauth.openshift.io",
        ] {
            api.served
                .insert(GroupResource::from(resource), "v1".to_owned());
        }
        Self {
            generation,
            quirks: Quirks::default(),
            api,
            spec: Spec::default(),
            components: Vec::new(),
        }
    }

    /// The controllers of this generation, in the order in which an operator starts them.
    pub fn controllers(&self) -> Vec<Controller> {
        Controller::ALL
            .into_iter()
            .filter(|c| *c != Controller::Preflight || self.generation == Generation::V2)
            .collect()
    }

    /// Runs one controller of one component once.
    ///
    /// # Panics
    ///
    /// If there is no component of that place.
    pub fn sync(&mut self, component: usize, which: Controller, now: Timestamp) -> Outcome {
        controller::run(self, component, which, now)
    }

    /// Encryption was asked for, or something of it is left: the precondition of all controllers.
    pub(crate) fn ever_enabled(&self, component: &Component) -> bool {
        (!self.spec.mode.is_empty() && self.spec.mode != "identity")
            || self
                .api
                .cached_secret(MANAGED_NAMESPACE, &target_config_name(&component.name))
                .is_some()
            || self
                .api
                .cached_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, &component.name)
                .next()
                .is_some()
    }
}

/// Name of a component's target config in `openshift-config-managed`.
pub fn target_config_name(component: &str) -> String {
    format!("{}-{component}", crate::encryption_config::CONFIG_KEY)
}

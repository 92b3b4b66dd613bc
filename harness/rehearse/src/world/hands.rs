//! What people do to the cluster: restarts, edits, deployments, changes of the spec.

use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_controlplane::api::ApiError;
use kms_controlplane::cluster::Spec;
use kms_controlplane::encryption_config::EncryptionConfiguration;
use kms_controlplane::object::Secret;
use kms_controlplane::plane::COMPONENTS;

use super::{World, config_of, plugin_spec_at};
use crate::options::Mode;

impl World {
    /// Restarts the API servers of a component, or of one node of it, with what they ran.
    pub fn restart(&mut self, component: usize, node: Option<usize>) {
        for server in &mut self.servers {
            if server.component != component || node.is_some_and(|node| node != server.node) {
                continue;
            }
            let (revision, config) = (server.revision.clone(), server.config.clone());
            let doors = &self.doors[server.node];
            server.replace(&self.ground, &revision, config.as_ref(), doors);
        }
    }

    /// Restarts API servers with another configuration than their operator's, as a hand edit on the node does.
    pub fn edit(
        &mut self,
        component: usize,
        node: Option<usize>,
        config: Option<&EncryptionConfiguration>,
    ) {
        for server in &mut self.servers {
            if server.component != component || node.is_some_and(|node| node != server.node) {
                continue;
            }
            let revision = server.revision.clone();
            let doors = &self.doors[server.node];
            server.replace(&self.ground, &revision, config, doors);
            self.by_hand
                .insert((component, server.node), config.cloned());
        }
    }

    /// Puts back what operators wrote where a configuration was edited by hand.
    pub fn undo_edits(&mut self) {
        for ((component, node), _) in std::mem::take(&mut self.by_hand) {
            let place = self.place(component, node);
            let revision = self.servers[place].revision.clone();
            let config = config_of(&self.plane, COMPONENTS[component].0, &revision);
            let doors = &self.doors[node];
            self.servers[place].replace(&self.ground, &revision, config.as_ref(), doors);
        }
    }

    /// Sets the encryption type, as an administrator does.
    pub fn set_type(&mut self, mode: &str) {
        let kms =
            (mode == "KMS" && self.plan.mode != Mode::Seed).then(|| plugin_spec_at(&self.key));
        self.plane.cluster.spec = Spec {
            mode: mode.to_owned(),
            kms,
        };
        self.act();
    }

    /// Takes a secret of the control plane away by force, and gives it.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn take_secret(&mut self, namespace: &str, name: &str) -> Result<Secret, Trouble> {
        let refused = |error: ApiError| Trouble::new(error.to_string());
        let api = &mut self.plane.cluster.api;
        let kept = api.secret(namespace, name).map_err(refused)?;
        let mut bare = kept.clone();
        bare.finalizers.clear();
        api.update_secret(bare).map_err(refused)?;
        // one that was marked for deletion has gone with its last finalizer
        match api.delete_secret(namespace, name) {
            Err(error) if !error.is_not_found() => Err(refused(error)),
            _ => Ok(kept),
        }
    }

    /// Puts the plugin's manifest on every node.
    ///
    /// # Errors
    /// The plugin refuses its flags.
    pub fn deploy(&mut self) -> Result<(), Trouble> {
        for node in 0..self.plan.nodes {
            self.start_plugin(node)?;
        }
        Ok(())
    }

    /// Puts the plugin's manifest on one node.
    ///
    /// # Errors
    /// The plugin refuses its flags.
    pub fn start_plugin(&mut self, node: usize) -> Result<(), Trouble> {
        let flags = self.flags(super::vault::KEY);
        let plugin = &mut self.plugins[node];
        plugin.deployed = true;
        plugin.crashes = None;
        plugin.start(&flags)
    }

    /// Encrypts everything in one way and waits until all of it is: what a rehearsal starts from.
    ///
    /// # Errors
    /// It does not get there.
    pub async fn settled_in(&mut self, mode: &str) -> Result<(), Trouble> {
        if mode == "KMS" {
            self.deploy()?;
            self.pass(Duration::from_secs(30)).await;
        }
        self.set_type(mode);
        let limit = Duration::from_secs(12 * 3600);
        if self.until(limit, Self::all_done).await {
            self.pass(Duration::from_secs(120)).await;
            return Ok(());
        }
        Err(Trouble::new(format!(
            "the cluster did not come to {mode} within twelve hours"
        )))
    }
}

//! Plugins that come with a key (v2): a key secret that names another Transit key brings plugins of its own.
//!
//! In the real cluster each API server pod has sidecars of its own; here the pods of a node share them.

use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_controlplane::operand::Timing;
use kms_controlplane::plane::COMPONENTS;
use kms_controlplane::vault::PluginSpec;

use super::plugin::{Flags, NodePlugin, plugin_host};
use super::{World, vault};

impl World {
    /// What a plugin at that Transit key is started with.
    pub fn flags(&self, key: &str) -> Flags {
        let mut flags = self.vault.flags();
        key.clone_into(&mut flags.key);
        flags.more.clone_from(&self.settings);
        flags
    }

    /// Starts the plugins of keys that have none yet, and leads their sockets there.
    pub(super) fn give_sidecars(&mut self) {
        if self.key == vault::KEY {
            return;
        }
        for component in 0..COMPONENTS.len() {
            for state in self.keys(component) {
                let Some(part) = &state.kms else { continue };
                let spec = part.plugin.as_ref().map(|text| PluginSpec::from_text(text));
                let Some(Ok(spec)) = spec else { continue };
                let path = &spec.vault.vault_key_path;
                let Some((_, key)) = path.rsplit_once('/').filter(|(_, key)| *key != vault::KEY)
                else {
                    continue;
                };
                let endpoint = part.provider.endpoint.clone();
                self.succeed(key);
                for (doors, plugin) in self.doors.iter().zip(&self.successors[key]) {
                    doors.lead(&endpoint, plugin);
                }
            }
        }
    }

    fn succeed(&mut self, key: &str) {
        if self.successors.contains_key(key) {
            return;
        }
        let flags = self.flags(key);
        let plugins = (0..self.plan.nodes).map(|node| {
            let host = format!("{}-{key}", plugin_host(node));
            let seed = self.ground.seed.label(&host);
            let mut plugin = NodePlugin::new(&self.ground.net, host, seed, self.clock);
            plugin.deployed = true;
            // flags that the first plugin took are right; one that is refused shows as a socket that is not there
            if let Err(trouble) = plugin.start(&flags) {
                plugin.log.add(&format!("{trouble}\n"));
            }
            plugin
        });
        let plugins: Vec<NodePlugin> = plugins.collect();
        self.successors.insert(key.to_owned(), plugins);
        for node in self.cut_off.clone() {
            self.partition(node, true);
        }
    }

    /// Cuts a node's plugins off from Vault, those that will come too, or lets them through again.
    pub fn partition(&mut self, node: usize, cut: bool) {
        let hosts: Vec<String> = self
            .plugins_on(node)
            .map(|plugin| plugin.host().to_owned())
            .collect();
        let net = &self.ground.net;
        for host in &hosts {
            if cut {
                net.cut(host, vault::HOST);
                net.cut(vault::HOST, host);
            } else {
                net.open(host, vault::HOST);
                net.open(vault::HOST, host);
            }
        }
        if cut {
            self.cut_off.insert(node);
        } else {
            self.cut_off.remove(&node);
        }
    }

    /// The plugins of a node: the one that was deployed there, then those of other keys.
    pub fn plugins_on(&mut self, node: usize) -> impl Iterator<Item = &mut NodePlugin> {
        let later = self.successors.values_mut();
        let later = later.filter_map(move |plugins| plugins.get_mut(node));
        self.plugins.get_mut(node).into_iter().chain(later)
    }

    /// Starts all plugins of a node that should run there; those that run are replaced.
    ///
    /// # Errors
    /// A plugin refuses its flags.
    pub fn restart_plugins(&mut self, node: usize) -> Result<(), Trouble> {
        let keys: Vec<String> = self.successors.keys().cloned().collect();
        let all = std::iter::once(vault::KEY.to_owned()).chain(keys);
        let flags: Vec<Flags> = all.map(|key| self.flags(&key)).collect();
        for (plugin, flags) in self.plugins_on(node).zip(&flags) {
            if plugin.deployed {
                plugin.crashes = None;
                plugin.start(flags)?;
            }
        }
        Ok(())
    }

    /// How long roll-outs take from now on: `node` for one node of kube-apiserver, a third of it for the others.
    pub fn pace(&mut self, node: Duration) {
        let operands = self.plane.operands.iter_mut();
        for (place, operand) in operands.enumerate() {
            let share = if place == 0 { node } else { node / 3 };
            operand.timing = Timing {
                install: share / 6,
                stop: share / 3,
                start: share / 2,
                min_ready: if place == 0 { node / 6 } else { Duration::ZERO },
                ..operand.timing
            };
        }
    }
}

//! Servers of the script: how they load a configuration, and how they end.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_apiserver::encryption::Encryption;
use kms_apiserver::options::Options;
use kms_apiserver::version::Version;

use super::super::compare::{Outcome, normal};
use super::super::rng::Scripted;
use super::super::trace::Event;
use super::words::{near, same};
use super::{CONFIG, Job, Server, World};

impl<'t> World<'t> {
    pub(super) fn load(&mut self, event: &'t Event) {
        let Some(index) = event.body["config"].as_u64() else {
            let why = "a file that cannot be read: the caller reads it";
            return self.table.note("load", Outcome::Elsewhere(why));
        };
        // A server that has lived for a while is over; those made at one time live side by side.
        let side_by_side = ["staleness-providers", "decrypt-timeouts"];
        let side_by_side = side_by_side.contains(&self.trace.scenario.as_str());
        let before = self.servers.last().map(|server| server.began);
        let lived = before.is_some_and(|began| self.now - began >= Duration::from_secs(1));
        if lived || !side_by_side {
            self.end_servers();
        }
        let version = Version::new(self.trace.minor).expect("an emulated version");
        let mut options = Options::new(version, CONFIG);
        options.server_id = "lab-apiserver".to_owned();
        options.reload = event.body["reload"] == true;
        options.verbosity = 6;
        options.seed_mode = self.seed_mode;
        if self.trace.scenario == "config-kmsv1-gate" {
            options.kms_v1 = Some(true);
        }
        let jitter = std::mem::take(&mut self.jitter);
        let rng = Scripted::new(self.servers.len() as u64 + 1, jitter);
        self.config_file = index as usize;
        let content = self.trace.configs[self.config_file].as_bytes();
        let model = Encryption::start(self.at(), options, Box::new(rng), content);
        let (model, error) = match model {
            Ok(model) => (Some(model), None),
            Err(error) => (None, Some(error)),
        };
        self.servers.push(Server {
            model,
            load: event,
            began: self.now,
            links: BTreeMap::new(),
            calls: BTreeMap::new(),
            reads: BTreeMap::new(),
            probes: BTreeMap::new(),
        });
        self.current = self.servers.len() - 1;
        if self.trace.scenario.starts_with("hammer-") {
            self.schedule(Duration::from_millis(50), Job::Hammer);
        }
        match error {
            Some(error) => self.loaded(self.current, Some(error)),
            None => self.poll(self.current),
        }
    }

    pub(super) fn loaded(&mut self, server: usize, error: Option<String>) {
        let Server {
            load, began, model, ..
        } = &self.servers[server];
        let outcome = if load.ok() != error.is_none() {
            Outcome::Different(format!(
                "{}: {}, recorded {}",
                load.body["config"],
                error.as_deref().unwrap_or("loaded"),
                load.text("error")
            ))
        } else if let Some(error) = error {
            same(
                "load",
                &normal(&error, false),
                &normal(load.text("error"), false),
            )
        } else {
            let model = model.as_ref().expect("a loaded server");
            let names = load.body["health_checks"].as_array().into_iter().flatten();
            let names: Vec<String> = names
                .filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect();
            let grace = model.close_grace().unwrap_or_default();
            let took = load.millis("took_ms").unwrap_or_default();
            let late = self.late();
            if names != model.check_names() {
                Outcome::Different(format!("checks {:?}", model.check_names()))
            } else if Some(load.text("content_hash")) != model.config_hash() {
                Outcome::Different(format!("hash {:?}", model.config_hash()))
            } else if grace.as_millis() as f64
                != load.body["close_grace_ms"].as_f64().unwrap_or(0.0)
            {
                Outcome::Different(format!("grace {grace:?}"))
            } else {
                near("load took", self.now - *began, took, late)
            }
        };
        self.table.note("load", outcome);
    }

    pub(super) fn end_servers(&mut self) {
        let now = self.at();
        for index in 0..self.servers.len() {
            self.model(index, |model| model.drain(now));
            if let Some(model) = self.servers[index].model.take() {
                self.past.push(model.metrics());
            }
        }
    }

    /// The server that a read goes to: the last one, unless the script says another.
    pub(super) fn server_of(&self, event: &Event) -> usize {
        let timeout = event.text("timeout");
        if event.body["timeout"].is_null() {
            return self.current;
        }
        let wanted = format!("timeout: {timeout}");
        let found = self.servers.iter().position(|server| {
            let config = server.load.body["config"].as_u64().unwrap_or(0) as usize;
            let text = &self.trace.configs[config];
            text.contains(&wanted) || timeout.is_empty() && !text.contains("timeout:")
        });
        found.unwrap_or(self.current)
    }
}

//! Broken worlds around an honest plugin: API servers, Vaults and supervisors that do what no plugin can.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_apiserver_api::{
    Answer, ApiServer, Call, ListOptions, Method, Pending, Resource, StoredValue, Target, Watching,
};
use kms_history::chaos::Event;
use kms_scenario::engine;
use kms_scenario::plan::Plan;
use kms_scenario::verdict::{Outcome, outcome};
use kms_scenario::world::{Order, Probe, Recorder, World};
use kms_sim::SimWorld;
use kms_sim::run::virtual_time;

/// What is wrong with a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Every third replacement of an object is acknowledged and not made.
    LosesWrites,
    /// Every third read of an object gives the bytes of another one.
    MixesValues,
    /// A write of an object as it is is not made.
    SkipsEqualWrites,
    /// No fault happens.
    Unbreakable,
    /// Where a plugin is to be restarted, another one is started beside it.
    StartsTwice,
}

/// What a plan comes to in such a world.
pub fn carry_out(plan: &Plan, model: Model) -> Outcome {
    let history = virtual_time(plan.seed, async {
        let recorder = Recorder::start();
        let inner = SimWorld::start(&plan.world, &recorder).await.unwrap();
        let servers = (0..plan.world.nodes).map(|node| {
            Arc::new(Server {
                inner: inner.apiserver(node),
                model,
                counted: Mutex::default(),
                last: Mutex::default(),
            })
        });
        let broken = Broken {
            servers: servers.collect(),
            inner,
            model,
            recorder: recorder.clone(),
        };
        let ran = engine::run(plan, Arc::new(broken), recorder.clone()).await;
        ran.unwrap();
        recorder.take()
    });
    outcome(plan, &history)
}

struct Broken {
    inner: SimWorld,
    servers: Vec<Arc<Server>>,
    model: Model,
    recorder: Recorder,
}

impl World for Broken {
    fn apiserver(&self, node: u32) -> Arc<dyn ApiServer> {
        self.servers[node as usize].clone()
    }

    fn fresh_apiserver(&self, node: u32) -> Pending<'_, Arc<dyn ApiServer>> {
        self.inner.fresh_apiserver(node)
    }

    fn endpoint(&self, node: u32) -> String {
        self.inner.endpoint(node)
    }

    fn status(&self, node: u32, limit: Duration) -> Pending<'_, Probe> {
        self.inner.status(node, limit)
    }

    fn encrypt<'a>(
        &'a self,
        node: u32,
        plaintext: &'a [u8],
        limit: Duration,
    ) -> Pending<'a, Probe> {
        self.inner.encrypt(node, plaintext, limit)
    }

    fn inject<'a>(&'a self, order: &'a Order) -> Pending<'a, ()> {
        match self.model {
            Model::Unbreakable => Box::pin(async { Ok(()) }),
            Model::StartsTwice => {
                for node in &order.nodes {
                    self.recorder.note(Some(*node), Event::PluginStarted);
                }
                Box::pin(async { Ok(()) })
            }
            _ => self.inner.inject(order),
        }
    }

    fn recover<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        self.inner.recover(id)
    }

    fn hits(&self, id: &str) -> u64 {
        self.inner.hits(id)
    }

    fn note_vault_calls(&self) {
        self.inner.note_vault_calls();
    }

    fn leaks<'a>(&'a self, needles: &'a [Vec<u8>]) -> Pending<'a, Vec<String>> {
        self.inner.leaks(needles)
    }

    fn stop(&self) -> Pending<'_, ()> {
        self.inner.stop()
    }
}

struct Server {
    inner: Arc<dyn ApiServer>,
    model: Model,
    /// Calls of the kind that goes wrong.
    counted: Mutex<u64>,
    /// What was read last, by its path.
    last: Mutex<BTreeMap<String, Answer>>,
}

impl Server {
    fn every_third(&self) -> bool {
        let mut counted = self.counted.lock().unwrap();
        *counted += 1;
        counted.is_multiple_of(3)
    }

    async fn read(&self, call: Call) -> Result<Answer, kms_apiserver_api::Trouble> {
        let path = call.path.clone();
        let answer = self.inner.call(call).await?;
        if !answer.ok() || answer.field("/kind") != "Secret" {
            return Ok(answer);
        }
        let wrong = self.model == Model::MixesValues && self.every_third();
        let mut last = self.last.lock().unwrap();
        let other = last.iter().find(|(other, _)| wrong && **other != path);
        let given = other.map_or(answer.clone(), |(_, other)| other.clone());
        last.insert(path, answer);
        Ok(given)
    }

    async fn write(&self, call: Call) -> Result<Answer, kms_apiserver_api::Trouble> {
        let now = self
            .inner
            .call(Call::new(Method::Get, call.path.clone()))
            .await?;
        let value = |body: &serde_json::Value| body.pointer("/data/value").cloned();
        let equal = call.body.as_ref().map(value) == Some(value(now.json()));
        let skipped = match self.model {
            Model::LosesWrites => now.ok() && self.every_third(),
            Model::SkipsEqualWrites => now.ok() && equal,
            _ => false,
        };
        if skipped {
            Ok(now)
        } else {
            self.inner.call(call).await
        }
    }
}

impl ApiServer for Server {
    fn call(&self, call: Call) -> Pending<'_, Answer> {
        match (self.model, call.method) {
            (Model::MixesValues, Method::Get) => Box::pin(self.read(call)),
            (Model::LosesWrites | Model::SkipsEqualWrites, Method::Put) => {
                Box::pin(self.write(call))
            }
            _ => self.inner.call(call),
        }
    }

    fn watch(&self, resource: Resource, options: ListOptions) -> Pending<'_, Watching> {
        self.inner.watch(resource, options)
    }

    fn restart(&self) -> Pending<'_, ()> {
        self.inner.restart()
    }

    fn write_config<'a>(&'a self, text: &'a str) -> Pending<'a, ()> {
        self.inner.write_config(text)
    }

    fn stored<'a>(&'a self, target: &'a Target) -> Pending<'a, Option<StoredValue>> {
        self.inner.stored(target)
    }

    fn store<'a>(&'a self, target: &'a Target, value: Option<Vec<u8>>) -> Pending<'a, ()> {
        self.inner.store(target, value)
    }
}

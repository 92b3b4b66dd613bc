//! An API server whose current encryption configuration is known, so that a fresh one can be made with the same.

use std::sync::{Arc, Mutex};

use kms_apiserver_api::{
    Answer, ApiServer, Call, ListOptions, Pending, Resource, StoredValue, Target, Trouble, Watching,
};
use kms_apiserver_node::encryption::LogSink;
use kms_apiserver_node::node::Settings;
use kms_apiserver_node::simulated::Simulated;
use kms_apiserver_node::store::memory::MemoryStore;

use crate::socket::Socket;
use crate::surroundings::{Told, lock};

/// One simulated API server.
pub struct Server {
    inner: Simulated,
    configuration: Mutex<String>,
}

impl Server {
    pub fn new(
        settings: Settings,
        configuration: &str,
        store: &MemoryStore,
        socket: Arc<Socket>,
        told: &Told,
    ) -> Self {
        let told = told.clone();
        let log: LogSink = Arc::new(move |log| told.line(format_args!("{}", log.text)));
        let store = Arc::new(store.clone());
        Self {
            inner: Simulated::new(settings, Some(configuration), true, store, socket, log),
            configuration: Mutex::new(configuration.to_owned()),
        }
    }

    pub async fn start(&self) -> Result<(), Trouble> {
        self.inner.start().await
    }

    pub fn stop(&self) {
        self.inner.stop();
    }

    /// The text of the configuration file now.
    pub fn configuration(&self) -> String {
        lock(&self.configuration).clone()
    }
}

impl ApiServer for Server {
    fn call(&self, call: Call) -> Pending<'_, Answer> {
        self.inner.call(call)
    }

    fn watch(&self, resource: Resource, options: ListOptions) -> Pending<'_, Watching> {
        self.inner.watch(resource, options)
    }

    fn restart(&self) -> Pending<'_, ()> {
        self.inner.restart()
    }

    fn write_config<'a>(&'a self, text: &'a str) -> Pending<'a, ()> {
        text.clone_into(&mut lock(&self.configuration));
        self.inner.write_config(text)
    }

    fn stored<'a>(&'a self, target: &'a Target) -> Pending<'a, Option<StoredValue>> {
        self.inner.stored(target)
    }

    fn store<'a>(&'a self, target: &'a Target, value: Option<Vec<u8>>) -> Pending<'a, ()> {
        self.inner.store(target, value)
    }
}

//! [`ApiServer`] on a simulated server in the same process.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kms_apiserver_api::{
    Answer, ApiServer, Body, Call, Events, ListOptions, Method, Pending, Resource, StoredValue,
    Target, Trouble, WatchEvent, Watching,
};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::encryption::{ConfigSource, LogSink};
use crate::node::{Configuration, Node, Settings};
use crate::registry::Keys;
use crate::rpc::Dialer;
use crate::serve::{Api, Reply, Request, WatchReply};
use crate::store::{Expect, Store};

/// A configuration file in memory. Clones share it.
#[derive(Clone, Default)]
pub struct ConfigText(Arc<Mutex<String>>);

impl ConfigText {
    /// A file with this content.
    pub fn new(text: &str) -> Self {
        ConfigText(Arc::new(Mutex::new(text.to_owned())))
    }

    /// Replaces the content.
    pub fn set(&self, text: &str) {
        let mut content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut content);
    }

    /// The content.
    #[must_use]
    pub fn text(&self) -> String {
        let content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        content.clone()
    }
}

impl ConfigSource for ConfigText {
    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.text().into_bytes())
    }
}

/// A simulated server that can be restarted.
pub struct Simulated {
    settings: Settings,
    store: Arc<dyn Store>,
    dialer: Arc<dyn Dialer>,
    log: LogSink,
    config: ConfigText,
    running: Mutex<Option<Running>>,
    starts: Mutex<u64>,
}

#[derive(Clone)]
struct Running {
    node: Arc<Mutex<Option<Node>>>,
    api: Arc<Api>,
    gone: Arc<Notify>,
}

impl Simulated {
    /// A server that is not running yet. With a configuration text, it gets an encryption configuration of that
    /// content.
    pub fn new(
        mut settings: Settings,
        config: Option<&str>,
        reload: bool,
        store: Arc<dyn Store>,
        dialer: Arc<dyn Dialer>,
        log: LogSink,
    ) -> Self {
        let text = ConfigText::new(config.unwrap_or_default());
        settings.configuration = config.map(|_| Configuration {
            source: Arc::new(text.clone()),
            path: "/etc/kubernetes/encryption.yaml".to_owned(),
            reload,
        });
        let (running, starts) = (Mutex::new(None), Mutex::new(0));
        Simulated {
            settings,
            store,
            dialer,
            log,
            config: text,
            running,
            starts,
        }
    }

    /// Another server that is not running yet: the same store and plugin, a copy of the configuration as it is now,
    /// nothing in memory, and chance of its own.
    #[must_use]
    pub fn another(&self, seed: [u8; 32]) -> Self {
        let mut settings = self.settings.clone();
        settings.seed = seed;
        let reload = settings.configuration.as_ref().map(|it| it.reload);
        let text = self.config.text();
        Simulated::new(
            settings,
            reload.map(|_| text.as_str()),
            reload.unwrap_or_default(),
            Arc::clone(&self.store),
            Arc::clone(&self.dialer),
            Arc::clone(&self.log),
        )
    }

    /// Starts it; returns when it serves.
    ///
    /// # Errors
    /// The configuration is bad.
    pub async fn start(&self) -> Result<(), Trouble> {
        let mut settings = self.settings.clone();
        {
            // each start has chance of its own
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            *starts += 1;
            for (byte, start) in settings.seed.iter_mut().zip(starts.to_le_bytes()) {
                *byte ^= start;
            }
        }
        let node = Node::start(
            &settings,
            Arc::clone(&self.store),
            Arc::clone(&self.dialer),
            Arc::clone(&self.log),
        );
        let node = node
            .await
            .map_err(|error| Trouble::new(format!("the server does not start: {error}")))?;
        let api = Arc::clone(node.api());
        let running = Running {
            node: Arc::new(Mutex::new(Some(node))),
            api,
            gone: Arc::new(Notify::new()),
        };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    /// Stops it at once, as a crash would: calls and watches that are open break.
    pub fn stop(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(running) = running {
            running
                .node
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            running.gone.notify_waiters();
        }
    }

    /// What answers requests now.
    ///
    /// # Errors
    /// It is not running.
    pub fn api(&self) -> Result<Arc<Api>, Trouble> {
        Ok(self.running()?.api)
    }

    fn running(&self) -> Result<Running, Trouble> {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        running.ok_or_else(|| Trouble::new("the server is not running: connection refused"))
    }

    fn key(&self, target: &Target) -> String {
        Keys::new(&self.settings.etcd_prefix).object(
            target.resource,
            &target.namespace,
            &target.name,
        )
    }

    async fn send(&self, call: Call) -> Result<(Running, Reply), Trouble> {
        let running = self.running()?;
        let body = call.body.as_ref().map_or_else(Vec::new, |body| {
            serde_json::to_vec(body).expect("a Value can be written")
        });
        let mut request = Request::new(call.method.as_str(), &call.path, body);
        if let Some(content_type) = call.content_type {
            content_type.clone_into(&mut request.content_type);
        } else if call.method == Method::Patch {
            "application/merge-patch+json".clone_into(&mut request.content_type);
        }
        let gone = running.gone.notified();
        // pinned where it is: it is large, and what is given away is copied
        let handled = pin!(running.api.handle(request));
        let reply = tokio::select! {
            biased;
            () = gone => Err(Trouble::new("the server went away during the call")),
            reply = timeout(call.timeout, handled) => {
                reply.map_err(|_| Trouble::new(format!("no answer within {:?}", call.timeout)))
            }
        };
        Ok((running.clone(), reply?))
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.stop();
    }
}

impl ApiServer for Simulated {
    fn call(&self, call: Call) -> Pending<'_, Answer> {
        Box::pin(async move {
            match self.send(call).await?.1 {
                Reply::Watch(_) => Err(Trouble::new("a watch is opened with watch()")),
                reply => Ok(answer(reply)),
            }
        })
    }

    fn watch(&self, resource: Resource, options: ListOptions) -> Pending<'_, Watching> {
        Box::pin(async move {
            let call = Call::new(Method::Get, options.path(resource, true));
            match self.send(call).await? {
                (running, Reply::Watch(watch)) => Ok(Watching::Open(Box::new(Open {
                    watch,
                    gone: running.gone,
                }))),
                (_, reply) => Ok(Watching::Refused(answer(reply))),
            }
        })
    }

    fn restart(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.stop();
            self.start().await
        })
    }

    fn write_config<'a>(&'a self, text: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            self.config.set(text);
            Ok(())
        })
    }

    fn stored<'a>(&'a self, target: &'a Target) -> Pending<'a, Option<StoredValue>> {
        Box::pin(async move {
            let (entry, _) = self.store.get(&self.key(target)).await.map_err(trouble)?;
            Ok(entry.map(|entry| StoredValue {
                bytes: entry.value.to_vec(),
                mod_revision: entry.mod_revision,
            }))
        })
    }

    fn store<'a>(&'a self, target: &'a Target, value: Option<Vec<u8>>) -> Pending<'a, ()> {
        Box::pin(async move {
            let key = self.key(target);
            match value {
                Some(value) => self.store.put(&key, Bytes::from(value), Expect::Any).await,
                None => self.store.delete(&key, Expect::Any).await,
            }
            .map_err(trouble)?;
            Ok(())
        })
    }
}

fn trouble(error: crate::store::StoreError) -> Trouble {
    Trouble::new(error.to_string())
}

fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Json {
            code,
            retry_after,
            body,
        } => Answer {
            code,
            retry_after,
            body: Body::Json(body),
        },
        Reply::Text { code, body } => Answer {
            code,
            retry_after: None,
            body: Body::Text(body),
        },
        Reply::Watch(_) => Answer {
            code: 200,
            retry_after: None,
            body: Body::Json(Value::Null),
        },
    }
}

struct Open {
    watch: WatchReply,
    gone: Arc<Notify>,
}

impl Events for Open {
    fn next(&mut self) -> Pending<'_, Option<WatchEvent>> {
        Box::pin(async move {
            let gone = self.gone.notified();
            let event = tokio::select! {
                biased;
                () = gone => return Err(Trouble::new("the server went away during the watch")),
                event = self.watch.next() => event,
            };
            Ok(event.map(|mut event| WatchEvent {
                kind: event["type"].as_str().unwrap_or_default().to_owned(),
                object: event["object"].take(),
            }))
        })
    }
}

//! The migrator's hands: it lists a resource page by page through the API and writes every object back as it was.

use std::collections::VecDeque;

use kms_apiserver_api::{ListOptions, Resource, Target};
use serde_json::Value;

use super::World;
use super::servers::stored_as;
use kms_controlplane::resource::GroupResource;

/// Objects in a page.
const PAGE: u32 = 500;

/// The migration at hand.
#[derive(Debug, Default)]
pub struct Work {
    resource: Option<(GroupResource, String)>,
    page: VecDeque<Value>,
    next: Option<String>,
    begun: bool,
    /// Objects written for it so far.
    pub written: u64,
    /// What the last call was refused with; it is tried again for ever.
    pub trouble: Option<String>,
}

impl World {
    /// Rewrites so many objects of the migration at hand.
    pub(super) async fn migrate(&mut self, budget: u64) {
        let Some((gr, key)) = self.plane.migrator.at_hand() else {
            self.work.resource = None;
            return;
        };
        let job = (gr.clone(), key.to_owned());
        if self.work.resource.as_ref() != Some(&job) {
            self.work = Work {
                resource: Some(job.clone()),
                ..Work::default()
            };
        }
        let component = self.component_of(&job.0);
        let Some(resource) = stored_as(component, &job.0) else {
            return;
        };
        for _ in 0..budget {
            let Some(server) = self.ready_server(component) else {
                self.work.trouble = Some("no server is ready".to_owned());
                return;
            };
            let step = self.one(server, resource).await;
            match step {
                Ok(true) => {}
                Ok(false) => {
                    self.plane.migrator.finish();
                    return;
                }
                Err(text) => {
                    self.work.trouble = Some(text);
                    return;
                }
            }
            self.work.trouble = None;
        }
    }

    /// One more object; whether there was one.
    async fn one(&mut self, server: usize, resource: Resource) -> Result<bool, String> {
        while self.work.page.is_empty() {
            if self.work.begun && self.work.next.is_none() {
                return Ok(false);
            }
            let options = ListOptions {
                limit: Some(PAGE),
                continue_token: self.work.next.clone(),
                ..ListOptions::default()
            };
            let list = self.servers[server].api().list(resource, options).await;
            let list = list.map_err(|trouble| trouble.to_string())?;
            if !list.ok() {
                return Err(format!("list: {}", list.message()));
            }
            self.work.begun = true;
            let token = list.field("/metadata/continue");
            self.work.next = (!token.is_empty()).then(|| token.to_owned());
            self.work.page = list.items().iter().cloned().collect();
        }
        let Some(object) = self.work.page.front().cloned() else {
            return Ok(false);
        };
        let text = |pointer: &str| {
            let text = object.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let target = Target {
            resource,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        };
        let put = self.servers[server].api().update(&target, object).await;
        let put = put.map_err(|trouble| trouble.to_string())?;
        match put.code {
            // it is gone, or somebody else has just written it: nothing is left to do
            200..=299 | 404 | 409 => {
                self.work.page.pop_front();
                self.work.written += 1;
                self.rewritten += 1;
                Ok(true)
            }
            _ => Err(format!("{target}: {}", put.message())),
        }
    }
}

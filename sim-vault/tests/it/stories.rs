//! The model by the stories that the live servers told: rules of single fields and their order, pinned without a server.

use std::time::Duration;

use sim_vault::{Core, Flavour, Options, Request};

use crate::{
    memory::{Filled, Memory},
    stories::{Story, all},
};

/// What went otherwise.
fn told(story: &Story, flavour: Flavour) -> Vec<String> {
    let mut core = Core::new(Options {
        flavour,
        root_token: "root".to_owned(),
        ..Options::default()
    });
    let mut memory = Memory::default();
    let mut wrong = Vec::new();
    for step in &story.steps {
        let Filled { path, token, body } = memory.fill(&step.call);
        let path = format!("/v1/{path}");
        let mut request = Request::new(&step.call.method, &path);
        if !token.is_empty() {
            request = request.token(&token);
        }
        request.headers.extend(step.call.headers.iter().cloned());
        request.body = body.unwrap_or_default().into();
        let response = core.handle(Duration::ZERO, &request);
        memory.keep(&path, &response.json());
        let checked = step.check(flavour, response.status.into(), &response.json());
        wrong.extend(checked.err().map(|e| format!("{}\n{e}", story.title)));
    }
    wrong
}

#[test]
fn the_live_servers_stories_are_told_the_same() {
    let stories = all();
    assert!(stories.len() > 10, "the files have stories");
    let told = |story| [Flavour::OpenBao, Flavour::Vault].map(|flavour| told(story, flavour));
    let wrong: Vec<String> = stories.iter().flat_map(told).flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

//! The recorded stories, and what they do not say of themselves.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Operators by name, with what they encrypt and on how many nodes.
pub type Operators = &'static [(&'static str, &'static [&'static str], usize)];

const KAS: &str = "openshift-kube-apiserver";
const OAS: &str = "openshift-apiserver";
const OAUTH: &str = "openshift-oauth-apiserver";
const TOKENS: &[&str] = &[
    "oauthaccesstokens.oauth.openshift.io",
    "oauthauthorizetokens.oauth.openshift.io",
];
const CORE: &[&str] = &["secrets", "configmaps"];

/// What most stories are about: kube-apiserver on three nodes.
pub const KAS_ONLY: Operators = &[(KAS, CORE, 3)];

/// Operators of a story: its recording does not say it.
pub fn operators(story: &str) -> Operators {
    match story.split('-').next().unwrap() {
        "18" => &[(KAS, &["secrets", "widgets.example.com"], 3)],
        "32" | "34" | "36" => &[(KAS, &["secrets"], 3)],
        "33" => &[(KAS, CORE, 3), (OAUTH, TOKENS, 3)],
        "39" => &[],
        "40" => &[(KAS, CORE, 1)],
        "41" => &[(KAS, CORE, 0)],
        "51" => &[(OAS, CORE, 2), (OAUTH, CORE, 2)],
        "k08" | "p19" => &[
            (KAS, CORE, 3),
            (OAS, &["routes.route.openshift.io"], 3),
            (OAUTH, TOKENS, 3),
        ],
        _ => KAS_ONLY,
    }
}

/// Where a family's recordings lie.
pub fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/stories")
        .join(family)
}

/// The recordings of a family, by name.
pub fn recordings(family: &str) -> Vec<(String, Vec<Value>)> {
    let mut all: Vec<(String, Vec<Value>)> = fs::read_dir(folder(family))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "jsonl"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                lines,
            )
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

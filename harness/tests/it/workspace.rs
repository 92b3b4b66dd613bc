//! Promises of the workspace's manifests.

use std::path::Path;
use std::process::Command;

use kms_harness::vault::family::Family;
use serde_json::Value;

fn metadata() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value, ours: bool) -> impl Iterator<Item = &Value> {
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(move |package| package["source"].is_null() == ours)
}

/// What the scripts install or build is what the harness looks for.
#[test]
fn cached_servers_are_those_that_the_scripts_make() {
    for family in [Family::OpenBao, Family::Vault] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(family.part().script);
        let script = std::fs::read_to_string(script).unwrap();
        let value = |name: &str| {
            let line = script
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap();
            line.split(' ').next().unwrap().to_owned()
        };
        let made = format!("{family}-{}-{}", value("version="), value("recipe="));
        assert_eq!(made, family.part().cached);
    }
}

/// A dependency that needs a newer compiler than we promise would break the promise.
#[test]
fn no_dependency_needs_a_newer_compiler() {
    let metadata = metadata();
    let minor = |version: &str| {
        version
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse::<u32>().ok())
    };
    let promised = packages(&metadata, true)
        .find_map(|package| minor(package["rust_version"].as_str()?))
        .unwrap();
    let newer: Vec<String> = packages(&metadata, false)
        .filter_map(|package| Some((package["name"].as_str()?, package["rust_version"].as_str()?)))
        .filter(|(_, needs)| minor(needs).is_some_and(|needs| needs > promised))
        .map(|(name, needs)| format!("{name} needs {needs}"))
        .collect();
    assert!(newer.is_empty(), "1.{promised} is promised: {newer:?}");
}

/// Every crate forbids unsafe code and takes lints, licence and versions from the workspace.
#[test]
fn every_crate_inherits() {
    for package in packages(&metadata(), true) {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        for line in [
            "[lints]\nworkspace = true",
            "license.workspace = true",
            "rust-version.workspace = true",
            "edition.workspace = true",
        ] {
            assert!(manifest.contains(line), "{}: no {line:?}", package["name"]);
        }
    }
}

/// Compiling a library again for tests that it does not have costs minutes, so some say that they have none. That is true.
#[test]
fn no_test_is_left_out_by_a_manifest() {
    let metadata = metadata();
    let (mut untested, mut undocumented) = (0, 0);
    for package in packages(&metadata, true) {
        for target in package["targets"].as_array().unwrap() {
            let path = Path::new(target["src_path"].as_str().unwrap());
            let library = target["kind"] == serde_json::json!(["lib"]);
            if !library {
                continue;
            }
            let mut texts = Vec::new();
            sources(path.parent().unwrap(), &mut texts);
            let lines = || {
                texts
                    .iter()
                    .flat_map(|text| text.lines().map(str::trim_start))
            };
            if target["test"] == false {
                untested += 1;
                let tests = lines().filter(|line| line.starts_with("#[") && line.contains("test]"));
                assert_eq!(tests.count(), 0, "{}: test = false", package["name"]);
            }
            if target["doctest"] == false {
                undocumented += 1;
                let fences = lines().filter(|line| line.starts_with("//") && line.contains("```"));
                // each second one ends a block; one that is no Rust says what it is
                let rust = fences.step_by(2).filter(|line| line.ends_with("```"));
                assert_eq!(rust.count(), 0, "{}: doctest = false", package["name"]);
            }
        }
    }
    assert!(untested > 0 && undocumented > 0, "no manifest says so");
}

/// A binary that lists its tests runs no other: one that is marked as a test instead would be nobody's.
#[test]
fn no_test_stands_where_tests_are_listed() {
    let mut listing = 0;
    for package in packages(&metadata(), true) {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let text: toml::Table =
            toml::from_str(&std::fs::read_to_string(manifest).unwrap()).unwrap();
        let targets = text.get("test").and_then(|it| it.as_array()).into_iter();
        for target in targets.flatten().filter(|it| it.get("harness").is_some()) {
            listing += 1;
            let name = target["name"].as_str().unwrap();
            let mut built = package["targets"].as_array().unwrap().iter();
            let built = built.find(|it| it["name"] == name && it["kind"][0] == "test");
            let root = Path::new(built.unwrap()["src_path"].as_str().unwrap());
            let folder = root.parent().unwrap();
            let mut texts = vec![std::fs::read_to_string(root).unwrap()];
            if root.ends_with("main.rs") {
                sources(folder, &mut texts);
            } else {
                let beside = std::fs::read_dir(folder).unwrap();
                let modules = beside.map(|entry| entry.unwrap().path());
                for module in modules.filter(|it| it.join("mod.rs").is_file()) {
                    sources(&module, &mut texts);
                }
            }
            let lines = texts.iter().flat_map(|text| text.lines());
            let marked = lines.map(str::trim_start).filter(|line| {
                (line.starts_with("#[test") || line.starts_with("#[tokio::test"))
                    && line.ends_with(']')
            });
            assert_eq!(marked.count(), 0, "{}", root.display());
        }
    }
    assert!(listing >= 3, "only {listing} binaries list their tests");
}

/// The text of every source file in a folder.
fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|it| it == "rs") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// What others link into their own tests brings neither the plugin nor the simulated Vault.
#[test]
fn the_walls_between_crates_stand() {
    let metadata = metadata();
    let inside = |name: &str| -> Vec<String> {
        let package = packages(&metadata, true)
            .find(|package| package["name"] == name)
            .unwrap();
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies
            .filter(|dependency| dependency["kind"].is_null() && !dependency["path"].is_null())
            .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let allowed: [(&str, &[&str]); 18] = [
        ("kms-v2-api", &[]),
        ("vault-kubernetes-kms", &["kms-authority", "kms-v2-api"]),
        ("kms-authority", &[]),
        ("sim-vault", &[]),
        ("kms-contract", &[]),
        ("kms-history", &[]),
        ("kms-judge", &["kms-contract", "kms-history"]),
        (
            "kms-conformance",
            &["kms-contract", "kms-history", "kms-judge", "kms-v2-api"],
        ),
        ("kms-report", &["kms-contract", "kms-history", "kms-judge"]),
        ("kms-apiserver", &[]),
        ("kms-apiserver-api", &[]),
        (
            "kms-apiserver-node",
            &["kms-apiserver", "kms-apiserver-api"],
        ),
        (
            "kms-scenario",
            &[
                "kms-apiserver-api",
                "kms-contract",
                "kms-history",
                "kms-judge",
            ],
        ),
        ("kms-planted", &["kms-history", "kms-v2-api"]),
        (
            "kms-zoo",
            &[
                "kms-conformance",
                "kms-history",
                "kms-judge",
                "kms-planted",
                "kms-process",
                "kms-v2-api",
            ],
        ),
        (
            "kms-doctor",
            &[
                "kms-apiserver",
                "kms-apiserver-api",
                "kms-controlplane",
                "kms-report",
            ],
        ),
        ("kms-process", &[]),
        ("kms-bench", &["kms-process", "kms-v2-api"]),
    ];
    for (name, may_import) in allowed {
        for import in inside(name) {
            assert!(
                may_import.contains(&import.as_str()),
                "{name} must not import {import}"
            );
        }
    }
}

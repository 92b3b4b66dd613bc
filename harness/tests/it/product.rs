//! The subject is the product: what the main job judges holds no test utility, and was built with
//! the same flags as this workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kms_harness::subject::own;

/// Crates whose code shows in a binary by the source paths of its panic messages, and must never
/// be in the plugin.
const FOREIGN: [&str; 6] = [
    "sim-vault/src/",
    "/proptest-",
    "/rcgen-",
    "/tempfile-",
    "/clap_builder-",
    "harness/src/",
];

#[test]
fn the_plugin_built_alone_has_no_test_utility_in_it() {
    let plugin = fs::read(built()).unwrap();
    for path in FOREIGN {
        assert!(!holds(&plugin, path), "the plugin has code of {path}");
    }
    assert!(
        holds(&plugin, "plugin/src/"),
        "this binary holds nothing of the plugin"
    );
    // The search itself works: this very test, and the harness, do have such code.
    let harness = fs::read(env!("CARGO_BIN_EXE_kms-harness")).unwrap();
    for path in [
        "sim-vault/src/",
        "/rcgen-",
        "/clap_builder-",
        "harness/src/",
    ] {
        assert!(
            holds(&harness, path),
            "the harness seems to have no code of {path}"
        );
    }
}

/// tokio's `test-util` replaces its clock. The features of the build alone are looked at; those of
/// a build with tests, which has them, show that looking works.
#[test]
fn the_plugin_built_alone_has_tokios_real_clock() {
    let tree = |kinds: &str| {
        cargo(&[
            "tree",
            "--locked",
            "-p",
            own::PACKAGE,
            "-e",
            &format!("{kinds},features"),
            "--prefix",
            "none",
        ])
    };
    let wanted = "tokio feature \"test-util\"";
    assert!(!tree("normal").contains(wanted));
    assert!(tree("normal,dev").contains(wanted));
}

/// A RUSTFLAGS in the environment would silently replace the workspace's flags in one of the builds.
#[test]
fn both_builds_have_the_same_flags() {
    let alone = cargo(&[
        "rustc",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        own::PACKAGE,
        "--lib",
        "--",
        "--print",
        "cfg",
    ]);
    let has = alone.lines().any(|line| line == "tokio_unstable");
    assert_eq!(
        (has, cfg!(tokio_unstable)),
        (true, true),
        "the plugin alone, and this workspace"
    );
}

fn built() -> PathBuf {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(own::build(&workspace())).unwrap()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn holds(binary: &[u8], text: &str) -> bool {
    binary
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

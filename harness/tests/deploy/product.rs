//! The product: what is shipped and what the main job judges is built alone, holds no test utility, and has the same flags
//! as this workspace.

use std::fs;

use anyhow::{Context, Result, ensure};
use kms_harness::subject::own;
use tokio::process::Command;

use crate::common::share::whole;

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

/// Building it takes a minute, longer than all else that is looked at here.
pub fn wanted() -> Result<(), &'static str> {
    let why = "the plugin is built alone where everything is required: KMS_REQUIRE=all";
    whole().then_some(()).ok_or(why)
}

pub async fn it_has_no_test_utility_in_it(_: ()) -> Result<()> {
    let workspace = own::workspace().context("the checkout with the plugin is gone")?;
    let plugin = fs::read(own::build(&workspace).await?)?;
    for path in FOREIGN {
        ensure!(!holds(&plugin, path), "the plugin has code of {path}");
    }
    ensure!(
        holds(&plugin, "plugin/src/"),
        "this binary holds nothing of the plugin"
    );
    // The search itself works: this very test, and the harness, do have such code.
    let harness = fs::read(env!("CARGO_BIN_EXE_kms-harness"))?;
    for path in [
        "sim-vault/src/",
        "/rcgen-",
        "/clap_builder-",
        "harness/src/",
    ] {
        ensure!(
            holds(&harness, path),
            "the harness seems to have no code of {path}"
        );
    }
    Ok(())
}

/// tokio's `test-util` replaces its clock. The features of the build alone are looked at; those of
/// a build with tests, which has them, show that looking works.
pub async fn it_has_tokios_real_clock(_: ()) -> Result<()> {
    let tree = async |kinds: &str| {
        let features = format!("{kinds},features");
        let what = ["tree", "--locked", "-p", own::PACKAGE, "--prefix", "none"];
        cargo(&[&what[..], &["-e", &features]].concat()).await
    };
    let wanted = "tokio feature \"test-util\"";
    ensure!(!tree("normal").await?.contains(wanted));
    ensure!(tree("normal,dev").await?.contains(wanted));
    Ok(())
}

/// A RUSTFLAGS in the environment would silently replace the workspace's flags in one of the builds.
pub async fn it_has_the_same_flags(_: ()) -> Result<()> {
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
    ])
    .await?;
    let has = alone.lines().any(|line| line == "tokio_unstable");
    ensure!(has, "the plugin alone is built without it");
    ensure!(cfg!(tokio_unstable), "this workspace is built without it");
    Ok(())
}

async fn cargo(args: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().await?;
    ensure!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn holds(binary: &[u8], text: &str) -> bool {
    binary
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

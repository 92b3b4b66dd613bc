//! What this harness was built from, for the report: commit, compiler, target, profile.

use std::process::Command;

fn main() {
    let commit = git(&["rev-parse", "HEAD"]);
    // Without a checkout nothing vouches for the source.
    let dirty =
        commit.is_none() || git(&["status", "--porcelain"]).is_none_or(|text| !text.is_empty());
    let rustc = std::env::var("RUSTC")
        .ok()
        .and_then(|rustc| run(&rustc, &["--version"]));
    let variable = |name| std::env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    for (name, value) in [
        (
            "KMS_SUITE_COMMIT",
            commit.unwrap_or_else(|| "unknown".to_owned()),
        ),
        ("KMS_SUITE_DIRTY", dirty.to_string()),
        (
            "KMS_SUITE_RUSTC",
            rustc.unwrap_or_else(|| "unknown".to_owned()),
        ),
        ("KMS_SUITE_TARGET", variable("TARGET")),
        ("KMS_SUITE_PROFILE", variable("PROFILE")),
    ] {
        println!("cargo::rustc-env={name}={value}");
    }
    // The index changes with each `git add` and commit, HEAD with each commit and checkout. A
    // change of a source file that was never added shows when this crate or one below it changed.
    for file in ["HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
}

/// Only looks: a `status` that refreshed the index would have this run, and the crate built, once more.
fn git(args: &[&str]) -> Option<String> {
    run("git", &[&["--no-optional-locks"], args].concat())
}

fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

//! Where real servers are found: by a variable, on PATH, or where the scripts under `ci/` put them.
//!
//! Not for: installing them; that is the scripts' work.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::child::find_program;

/// A server that a script under `ci/` finds or installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What people call it.
    pub name: &'static str,
    /// The variable that may name the binary.
    pub variable: &'static str,
    /// The binary's name on PATH.
    pub program: &'static str,
    /// The script.
    pub script: &'static str,
    /// The script's folder in the cache: version and recipe.
    pub cached: &'static str,
}

/// OpenBao.
pub const OPENBAO: Part = Part {
    name: "OpenBao",
    variable: "BAO",
    program: "bao",
    script: "ci/openbao",
    cached: "openbao-2.7.2-1",
};

/// HashiCorp Vault, community edition.
pub const VAULT: Part = Part {
    name: "HashiCorp Vault",
    variable: "VAULT",
    program: "vault",
    script: "ci/hashicorp-vault",
    cached: "vault-1.19.0-1",
};

/// kube-apiserver, with etcd and kubectl beside it.
pub const KUBE_APISERVER: Part = Part {
    name: "kube-apiserver",
    variable: "KUBE_APISERVER",
    program: "kube-apiserver",
    script: "ci/kube-apiserver/install",
    cached: "kube-apiserver-1.37.2-1",
};

/// Two KMS v2 plugins in Go that are not ours: `kmslib` on the library that most are built on, `upstream` beside it.
pub const GO_PLUGINS: Part = Part {
    name: "Go plugins",
    variable: "KMSLIB",
    program: "kmslib",
    script: "ci/go-plugins/install",
    cached: "go-plugins-0.37.2-1",
};

/// The client code of old API servers: `old-client-v0.27`, with `old-client-v0.31` beside it.
pub const OLD_CLIENTS: Part = Part {
    name: "old API servers' clients",
    variable: "OLD_CLIENT",
    program: "old-client-v0.27",
    script: "ci/old-clients/install",
    cached: "old-clients-0.27.16-0.31.14-1",
};

/// OpenShift's encryption controllers in a program that plays stories, with the one that has a KMS mode beside it.
pub const OPENSHIFT_CONTROLLERS: Part = Part {
    name: "OpenShift's encryption controllers",
    variable: "OPENSHIFT_CONTROLLERS",
    program: "openshift-controllers",
    script: "ci/openshift-controllers/install",
    cached: "openshift-controllers-20260213153706-2",
};

impl Part {
    /// Looks for the binary as the script does with `--find`: the variable, PATH, the cache.
    pub fn find(&self) -> Result<PathBuf> {
        let Self {
            name,
            variable,
            program,
            script,
            cached,
        } = self;
        if let Some(named) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
            let path = PathBuf::from(named);
            return find_program(&path).with_context(|| {
                format!(
                    "${variable} is {}, which is no executable file",
                    path.display()
                )
            });
        }
        if let Some(on_path) = find_program(Path::new(program)).filter(|file| !is_script(file)) {
            return Ok(on_path);
        }
        cache_folder()
            .map(|cache| cache.join(cached).join("bin").join(program))
            .filter(|file| file.is_file())
            .with_context(|| {
                format!("no {name} found: set ${variable}, put {program} on PATH, or run {script}")
            })
    }
}

/// Some wrapper: it needs its own HOME and PATH, and signals end it rather than the server.
fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(file)
        .and_then(|mut open| std::io::Read::read_exact(&mut open, &mut start))
        .is_ok_and(|()| &start == b"#!")
}

/// Where the scripts under `ci` keep what they install: `$KMS_CACHE`, else `kms-real-parts` in the user's cache folder.
pub fn cache_folder() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("KMS_CACHE").or_else(|| {
        let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
        Some(base.join("kms-real-parts"))
    })
}

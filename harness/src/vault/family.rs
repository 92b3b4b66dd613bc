//! The two real products, and where their server binaries are found.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Product;
use crate::child::find_program;

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// OpenBao.
    OpenBao,
    /// HashiCorp Vault, community edition.
    Vault,
}

/// The word on the command line.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenBao => "openbao",
            Self::Vault => "vault",
        })
    }
}

impl Family {
    /// The variable that may name the binary.
    pub fn variable(self) -> &'static str {
        match self {
            Self::OpenBao => "BAO",
            Self::Vault => "VAULT",
        }
    }

    /// The binary's name on PATH.
    pub fn program(self) -> &'static str {
        match self {
            Self::OpenBao => "bao",
            Self::Vault => "vault",
        }
    }

    /// The script that finds or makes the binary.
    pub fn script(self) -> &'static str {
        match self {
            Self::OpenBao => "ci/openbao",
            Self::Vault => "ci/hashicorp-vault",
        }
    }

    /// The script's folder in the cache: version and recipe.
    pub fn cached(self) -> &'static str {
        match self {
            Self::OpenBao => "openbao-2.7.2-1",
            Self::Vault => "vault-1.19.0-1",
        }
    }

    /// The variable that gives a dev server its root token. Among its arguments every user could
    /// read it.
    pub(super) fn root_token_variable(self) -> &'static str {
        match self {
            Self::OpenBao => "BAO_DEV_ROOT_TOKEN_ID",
            Self::Vault => "VAULT_DEV_ROOT_TOKEN_ID",
        }
    }

    /// Looks for the binary as the script does with `--find`: the variable, PATH, the cache.
    pub fn find(self) -> Result<PathBuf> {
        let variable = self.variable();
        if let Some(named) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
            let path = PathBuf::from(named);
            return find_program(&path).with_context(|| {
                format!(
                    "${variable} is {}, which is no executable file",
                    path.display()
                )
            });
        }
        let program = self.program();
        if let Some(on_path) = find_program(Path::new(program)).filter(|file| !is_script(file)) {
            return Ok(on_path);
        }
        cache_folder()
            .map(|cache| cache.join(self.cached()).join("bin").join(program))
            .filter(|file| file.is_file())
            .with_context(|| {
                let script = self.script();
                format!("no {self} server found: set ${variable}, put {program} on PATH, or run {script}")
            })
    }
}

/// What the binary says that it is.
pub(super) fn version(binary: &Path) -> Result<Product> {
    let output = std::process::Command::new(binary)
        .arg("version")
        .env_clear()
        .output()
        .with_context(|| format!("run {} version", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // `OpenBao v2.7.2 (hash), built …`
    let mut words = text.split_whitespace();
    let (Some(name), Some(version)) = (words.next(), words.next()) else {
        bail!("{} version says nothing", binary.display());
    };
    Ok(Product {
        name: name.to_lowercase(),
        version: version
            .trim_start_matches('v')
            .trim_end_matches(',')
            .to_owned(),
    })
}

/// What a server is, by its answer to `sys/seal-status`: the two products tell themselves apart by
/// the date that they show.
pub(super) fn product(seal_status: &Value) -> Product {
    let shows = |field| seal_status.get(field).is_some();
    let name = match (shows("commit_date"), shows("build_date")) {
        (true, false) => "openbao",
        (false, true) => "vault",
        _ => "vault or openbao",
    };
    let version = seal_status["version"].as_str().unwrap_or("unknown");
    Product {
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

/// Some wrapper: it needs its own HOME and PATH, and signals end it rather than the server.
fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(file)
        .and_then(|mut open| std::io::Read::read_exact(&mut open, &mut start))
        .is_ok_and(|()| &start == b"#!")
}

fn cache_folder() -> Option<PathBuf> {
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

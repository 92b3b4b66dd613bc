//! The two real products.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kms_process::dev;
use kms_process::parts::{self, Part};
use serde_json::Value;

use super::Product;

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
    /// The server binary, and where it is found.
    pub fn part(self) -> Part {
        match self {
            Self::OpenBao => parts::OPENBAO,
            Self::Vault => parts::VAULT,
        }
    }

    /// The variable that gives a dev server its root token.
    pub(super) fn root_token_variable(self) -> &'static str {
        match self {
            Self::OpenBao => dev::OPENBAO_ROOT_TOKEN,
            Self::Vault => dev::VAULT_ROOT_TOKEN,
        }
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
pub(crate) fn product(seal_status: &Value) -> Product {
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

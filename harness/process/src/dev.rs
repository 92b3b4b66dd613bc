//! A Vault or OpenBao in dev mode: plain HTTP unless told otherwise, storage in memory, unsealed, gone
//! with its process.
//!
//! How one is started. Who waits for it, and what is set up in it, is not known here.

use std::path::Path;

use crate::child::Launch;
use crate::parts::Part;

/// The variable that gives OpenBao's dev server its root token. Among its arguments every user could
/// read it.
pub const OPENBAO_ROOT_TOKEN: &str = "BAO_DEV_ROOT_TOKEN_ID";
/// The same of HashiCorp Vault.
pub const VAULT_ROOT_TOKEN: &str = "VAULT_DEV_ROOT_TOKEN_ID";

/// How a dev server is started that listens at `listen`, `host:port`; its log is in `folder`.
/// `root_token` is the variable's name and the token.
pub fn launch(
    part: Part,
    binary: &Path,
    folder: &Path,
    listen: &str,
    root_token: (&str, &str),
) -> Launch {
    let mut launch = Launch::new(part.program, binary, folder);
    launch.args = arguments(listen);
    let (variable, token) = root_token;
    launch
        .environment
        .insert(variable.to_owned(), token.to_owned());
    launch
}

/// The arguments of a dev server that listens there.
pub fn arguments(listen: &str) -> Vec<String> {
    vec![
        "server".into(),
        "-dev".into(),
        "-dev-no-store-token".into(),
        format!("-dev-listen-address={listen}"),
    ]
}

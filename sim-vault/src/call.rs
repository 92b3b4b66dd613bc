//! One request on its way through the model: operation, place, parameters, caller.

use std::{net::IpAddr, sync::Arc};

use serde_json::{Map, Value};

use crate::{fields::Args, message::ClientCert, mounts::MountId, token::Entry};

/// The operations that policies and engines know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Create,
    Read,
    Update,
    Patch,
    Delete,
    List,
    Scan,
    /// HEAD: no engine supports it.
    Header,
}

/// What a handler may know about a request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub op: Op,
    /// The namespace of the request: "" or `a/b/`.
    pub ns: String,
    /// Path below the namespace, e.g. `transit/encrypt/k`.
    pub full: String,
    /// The mount that answers.
    pub mount: MountId,
    /// Path of that mount below the namespace, e.g. `transit/`.
    pub mount_path: String,
    /// Path below the mount.
    pub path: String,
    /// Converted parameters, captured ones included.
    pub args: Args,
    /// Body or query as sent.
    pub raw: Map<String, Value>,
    /// The caller's token; none on login paths.
    pub token: Option<Arc<Entry>>,
    pub peer: IpAddr,
    pub cert: Option<ClientCert>,
    /// The answer is to be put aside.
    pub wraps: bool,
}

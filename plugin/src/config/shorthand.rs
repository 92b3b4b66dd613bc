//! Options that stand for others: each is rewritten to them before anything is compared, so that
//! `-health-port=8080` next to another `-health-address` counts as two names of one option.

use super::error::{Bad, quoted};
use super::options::Rewritten;
use super::values;

/// `<mount>/keys/<key>`; the mount may hold slashes, the last `/keys/` counts.
pub fn key_path(value: &str) -> Rewritten {
    let fix = "write <mount>/keys/<key>, for example transit/keys/kms-key";
    let path = value.trim_matches('/');
    let Some((mount, key)) = path.rsplit_once("/keys/") else {
        let problem = if path.starts_with("keys/") {
            "has no mount before /keys/".to_owned()
        } else {
            format!("{} has no /keys/ in it", quoted(value))
        };
        return Err(Bad::new(problem, fix));
    };
    if key.contains('/') {
        return Err(Bad::new("has a slash in the key's name", fix));
    }
    if mount == "v1" || mount.starts_with("v1/") {
        return Err(Bad::new("begins with the API's v1/", fix));
    }
    Ok(vec![
        ("transit-mount", mount.to_owned()),
        ("transit-key", key.to_owned()),
    ])
}

/// A bare port binds all IPv4 addresses, since kubelet probes come by the pod's address.
pub fn health_port(value: &str) -> Rewritten {
    Ok(vec![("health-address", bare_port("0.0.0.0", value)?)])
}

/// A bare port binds loopback: whoever scrapes from elsewhere says so with `-metrics-address`.
pub fn metrics_port(value: &str) -> Rewritten {
    Ok(vec![("metrics-address", bare_port("127.0.0.1", value)?)])
}

/// `-debug`; `-debug=false` says nothing.
pub fn debug(value: &str) -> Rewritten {
    Ok(if values::switch(value)? {
        vec![("log-level", "debug".to_owned())]
    } else {
        Vec::new()
    })
}

fn bare_port(host: &str, value: &str) -> Result<String, Bad> {
    match values::port(value)? {
        0 => Ok("off".to_owned()),
        port => Ok(format!("{host}:{port}")),
    }
}

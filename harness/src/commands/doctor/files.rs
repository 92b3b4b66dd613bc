//! Files: a bundle, raw documents under their names, or what a run has left.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kms_doctor::bundle::Files;
use kms_doctor::evidence::Why;
use kms_doctor::raw::{DOCUMENTS, Raw};

use crate::bundle::Bundle;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 256 << 20;

/// Every file of a folder, by its name in it.
pub(super) fn all(folder: &Path) -> Result<Files> {
    let mut files = BTreeMap::new();
    for name in Bundle::at(folder).files()? {
        let path = folder.join(&name);
        let size = path
            .metadata()
            .with_context(|| format!("read {}", path.display()))?
            .len();
        ensure!(
            size <= LARGEST,
            "{} is longer than {} MiB",
            path.display(),
            LARGEST >> 20
        );
        let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        files.insert(name, bytes);
    }
    Ok(files)
}

/// The documents in a folder. Of a run's folder the logs of its plugin are taken.
pub(super) fn documents(folder: &Path, now: i64) -> Result<Raw> {
    let mut raw = Raw::new(now);
    for name in Bundle::at(folder).files()? {
        let path = folder.join(&name);
        let known = if is_document(&name) {
            name
        } else if name == "plugin.log" || name.ends_with("/plugin.log") {
            let node = name.trim_end_matches("plugin.log").trim_matches('/');
            let node = if node.is_empty() { "run" } else { node };
            format!("nodes/{}/plugin.log", node.replace('/', "."))
        } else {
            continue;
        };
        let size = path
            .metadata()
            .with_context(|| format!("read {}", path.display()))?
            .len();
        if size > LARGEST {
            raw.add(known, Err(Why::TooLong));
            continue;
        }
        let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        raw.add(known, Ok(bytes));
    }
    Ok(raw)
}

/// Whether a file has the name of a document.
fn is_document(name: &str) -> bool {
    DOCUMENTS.iter().any(|(form, _)| fits(name, form))
}

/// Whether a name has this form: `NODE` and `COMPONENT` stand for what has no slash in it.
fn fits(name: &str, form: &str) -> bool {
    let (mut parts, mut forms) = (name.split('/'), form.split('/'));
    loop {
        match (parts.next(), forms.next()) {
            (None, None) => return true,
            (Some(part), Some("NODE")) if !part.is_empty() => {}
            (Some(part), Some(form)) => {
                let fixed = form.strip_prefix("COMPONENT");
                let fits = match fixed {
                    Some(end) => part
                        .strip_suffix(end)
                        .is_some_and(|it| it.starts_with("openshift-")),
                    None => part == form,
                };
                if !fits {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_documents_are_known() {
        for good in [
            "cluster/apiserver.json",
            "cluster/secrets/openshift-kube-apiserver.json",
            "nodes/a.b.c/plugin.log",
            "nodes/a/openshift-apiserver.readyz.txt",
        ] {
            assert!(is_document(good), "{good}");
        }
        for bad in [
            "apiserver.json",
            "nodes/plugin.log",
            "nodes//plugin.log",
            "cluster/pods/x.json",
        ] {
            assert!(!is_document(bad), "{bad}");
        }
    }
}

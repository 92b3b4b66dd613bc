//! key_id and what a ciphertext is bound to.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::config::Place;

/// The one annotation: names the format of everything else.
pub const FORMAT_ANNOTATION: &str = "format.vault-kubernetes-kms";
/// The format: ciphertext bound to its key_id by associated data.
pub const FORMAT: &str = "1";
/// What every key_id begins with.
pub const PREFIX: &str = "v1.";
/// Length of every key_id: the prefix and 32 bytes in base64.
pub const LENGTH: usize = PREFIX.len() + 43;

const KEY_ID_WORD: &str = "vault-kubernetes-kms key_id";
const BINDING_WORD: &str = "vault-kubernetes-kms binding";

fn feed(hash: &mut Sha256, field: &str) {
    hash.update((field.len() as u32).to_be_bytes());
    hash.update(field.as_bytes());
}

/// The key_id of one version of the key at `place`.
///
/// It depends on nothing else: not on the server's address, the node, or what was hidden by a
/// raised `min_decryption_version`. `created` is the version's creation time as the server gives it.
pub fn key_id(place: &Place, version: u64, created: &str) -> String {
    key_id_in(FORMAT, place, version, created)
}

/// The same for values of another format of ours.
pub fn key_id_in(format: &str, place: &Place, version: u64, created: &str) -> String {
    let Place {
        namespace,
        mount,
        key,
        epoch,
    } = place;
    let mut hash = Sha256::new();
    for field in [
        KEY_ID_WORD,
        format,
        namespace,
        mount,
        key,
        &version.to_string(),
        created,
        epoch,
    ] {
        feed(&mut hash, field);
    }
    let mut id = String::with_capacity(LENGTH);
    id.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(hash.finalize(), &mut id);
    id
}

/// Whether `id` has the form of a key_id of ours.
pub fn is_key_id(id: &str) -> bool {
    id.strip_prefix(PREFIX)
        .is_some_and(|hash| URL_SAFE_NO_PAD.decode(hash).is_ok_and(|h| h.len() == 32))
}

/// The associated data of a Transit call, in base64: ciphertext, key_id and annotations stand or
/// fall together (KMS2-DEC-05).
pub fn binding(key_id: &str) -> String {
    let mut data = Vec::with_capacity(12 + BINDING_WORD.len() + FORMAT.len() + key_id.len());
    for field in [BINDING_WORD, FORMAT, key_id] {
        data.extend_from_slice(&(field.len() as u32).to_be_bytes());
        data.extend_from_slice(field.as_bytes());
    }
    STANDARD.encode(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            namespace: "admin".into(),
            mount: "transit".into(),
            key: "kms-key".into(),
            epoch: String::new(),
        }
    }

    #[test]
    fn the_form_is_pinned() {
        let id = key_id(&place(), 1, "1764115200");
        assert_eq!(id.len(), LENGTH);
        assert!(id.len() <= 64 && is_key_id(&id), "{id}");
        // Pinned: a changed derivation would make every stored value stale and unreadable.
        assert_eq!(id, "v1.EePaLRHttRKScuOE6cNM8euJPL0kL_WlbPuLQXnrzHA");
    }

    #[test]
    fn every_part_counts_and_parts_do_not_run_together() {
        let base = key_id(&place(), 1, "2");
        let with = |f: fn(&mut Place)| {
            let mut p = place();
            f(&mut p);
            key_id(&p, 1, "2")
        };
        let others = [
            key_id(&place(), 2, "2"),
            key_id(&place(), 1, "3"),
            key_id(&place(), 12, ""),
            with(|p| p.namespace.clear()),
            with(|p| p.mount = "transit2".into()),
            with(|p| p.key = "kms-key2".into()),
            with(|p| p.epoch = "2".into()),
            with(|p| (p.mount, p.key) = ("transitkms".into(), "-key".into())),
        ];
        let mut all = others.to_vec();
        all.push(base);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 9);
    }

    #[test]
    fn foreign_ids_are_told_apart() {
        for id in [
            "",
            "1",
            "v1.",
            "v1.@@@",
            "v2.aaaa",
            "../../secret/data/x",
            &"v1.a".repeat(12),
        ] {
            assert!(!is_key_id(id), "{id}");
        }
    }
}

//! All plugins of the zoo: the honest one, then one file of mutants a subject.

mod availability;
mod chaos;
mod decrypt;
mod encrypt;
mod keys;
mod operation;
mod status;
mod wire;

use std::fmt::Write;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::mutant::Mutant;

/// All of them, the honest one first.
pub fn table() -> &'static [Mutant] {
    static TABLE: LazyLock<Vec<Mutant>> = LazyLock::new(|| {
        let honest = [Mutant::honest().why("What is broken around it would show here.")];
        let mutants = [
            wire::MUTANTS,
            status::MUTANTS,
            encrypt::MUTANTS,
            decrypt::MUTANTS,
            keys::MUTANTS,
            availability::MUTANTS,
            operation::MUTANTS,
            chaos::MUTANTS,
        ];
        honest.into_iter().chain(mutants.concat()).collect()
    });
    &TABLE
}

/// The one with this id.
///
/// # Errors
/// There is none; the text names those that begin alike, or all.
pub fn find(id: &str) -> Result<&'static Mutant, String> {
    table()
        .iter()
        .find(|mutant| mutant.id == id)
        .ok_or_else(|| {
            let part = id.split('-').next().unwrap_or_default();
            let ids = || table().iter().map(|mutant| mutant.id);
            let mut near: Vec<_> = ids()
                .filter(|other| !part.is_empty() && other.contains(part))
                .collect();
            if near.is_empty() {
                near.extend(ids());
            }
            format!("there is no mutant {id:?}; there are {}", near.join(", "))
        })
}

/// SHA-256 over ids and what each breaks, as `sha256:<64 hex digits>`.
pub fn digest() -> String {
    let mut hash = Sha256::new();
    for mutant in table() {
        let follows: Vec<_> = mutant.follows().collect();
        hash.update(format!(
            "{}\n{:?}\n{:?}\n{:?}\n{follows:?}\n",
            mutant.id, mutant.arm, mutant.fails, mutant.warns
        ));
    }
    let mut text = String::from("sha256:");
    for byte in hash.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The zoo's version: the crate's, and the beginning of the digest.
pub fn version() -> String {
    let digest = digest();
    let short = digest.trim_start_matches("sha256:").get(..12);
    format!(
        "{}+{}",
        env!("CARGO_PKG_VERSION"),
        short.unwrap_or_default()
    )
}

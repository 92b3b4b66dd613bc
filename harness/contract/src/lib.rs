//! The KMS v2 contract as numbered requirements.
//!
//! The registry holds the 168 entries of the written contract and the project's own areas, each
//! with its sentence, level, ground and sources. It holds facts only: no check, no I/O, no clock.
//! Judges name its ids, reports carry its digest.

mod areas;
mod digest;
mod listing;
mod requirement;
pub mod sources;

pub use areas::Area;
pub use digest::{digest_of, registry_digest};
pub use listing::{Coverage, Row, UnknownId, explain, find, rows};
pub use requirement::{BadMinor, Basis, Confidence, Level, Minor, Profile, Requirement, Who};

/// Name of the contract, for reports.
pub const CONTRACT_NAME: &str = "kms/v2";

/// Newest server version whose code the registry was read from, for reports.
pub const CONTRACT_VERSION: &str = "v1.37";

/// All areas: those of the written contract in its order, then the own ones.
pub fn areas() -> &'static [Area] {
    areas::AREAS
}

/// All requirements, by area and then by number.
pub fn all() -> impl Iterator<Item = &'static Requirement> {
    areas().iter().flat_map(|area| area.requirements)
}

/// The requirement with exactly this id.
pub fn get(id: &str) -> Option<&'static Requirement> {
    let code = id.strip_prefix("KMS2-")?.split('-').next()?;
    let area = areas().iter().find(|area| area.code == code)?;
    area.requirements
        .iter()
        .find(|requirement| requirement.id == id)
}

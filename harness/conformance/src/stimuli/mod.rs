//! The stimuli, by what they ask about.

pub(crate) mod beside;
pub(crate) mod decrypt;
pub(crate) mod encrypt;
pub(crate) mod malformed;
pub(crate) mod nodes;
pub(crate) mod operator;
pub(crate) mod process;
pub(crate) mod round_trips;
pub(crate) mod secrets;
pub(crate) mod series;
pub(crate) mod status;
pub(crate) mod tamper;
pub(crate) mod wire;

use crate::lab::Material;

/// What earlier stimuli leave for later ones.
#[derive(Default)]
pub(crate) struct Shelf {
    /// Wrapped seeds.
    pub wrapped: Vec<Material>,
    /// Seeds wrapped under a key_id that is no longer the current one.
    pub earlier: Vec<Material>,
}

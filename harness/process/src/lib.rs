//! Real processes, for the harness's process arm and for measurements: [`child`] runs them, [`parts`]
//! finds servers and [`ports`] for them, [`dev`] says how they start in dev mode, [`own`] builds the plugin.

pub mod child;
pub mod dev;
pub mod own;
pub mod parts;
pub mod ports;

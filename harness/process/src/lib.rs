//! Real processes, for the harness's process arm and for measurements: [`child`] runs them, [`own`]
//! builds the plugin.

pub mod child;
pub mod own;

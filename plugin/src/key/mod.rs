//! The Transit key: its document, its versions and their public ids.

pub mod document;
pub mod format;
pub mod hashicorp;
pub mod id;
pub mod table;

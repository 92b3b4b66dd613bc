//! The Transit key: its document, its versions and their public ids.

pub mod document;
pub mod id;
pub mod table;

//! Tests of the registry from outside.

mod contract_file;
mod listing;
mod registry;

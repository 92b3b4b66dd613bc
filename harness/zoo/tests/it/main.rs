//! The zoo's own rules.

mod table;

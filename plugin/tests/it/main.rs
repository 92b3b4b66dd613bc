//! Integration tests, one binary.

mod socket;

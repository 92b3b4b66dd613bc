//! The file format: what is written is read again; what is not known is refused with its line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod chaos;
mod round_trip;
mod strict;

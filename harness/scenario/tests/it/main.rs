//! The language and its errors, plans, and shrinking.

mod bad;
mod good;
mod upstream;

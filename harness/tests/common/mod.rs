//! What the real tiers share: how a tier with an absent part shows, and a client that only wants
//! answers.

pub mod kms;
pub mod plugin;
pub mod programs;
pub mod share;
pub mod tier;

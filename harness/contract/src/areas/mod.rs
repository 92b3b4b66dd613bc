//! The requirements themselves: one file for each subject, in reading order.
//!
//! Ids are never renumbered and never reused.

mod availability;
mod cache;
mod config;
mod connection;
mod decrypt;
mod encrypt;
mod health;
mod itest;
mod library;
mod logs;
mod metrics;
mod operation;
mod outage;
mod record;
mod reload;
mod rotation;
mod roundtrip;
mod security;
mod staleness;
mod status;
mod version;
mod wire;
mod write;

use crate::requirement::Requirement;

/// Requirements that share the middle part of their id.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Middle part of the ids, such as `ENC`.
    pub code: &'static str,
    /// Subject, without a full stop.
    pub title: &'static str,
    /// Entries by ascending number.
    pub requirements: &'static [Requirement],
}

impl Area {
    const fn new(
        code: &'static str,
        title: &'static str,
        requirements: &'static [Requirement],
    ) -> Self {
        Area {
            code,
            title,
            requirements,
        }
    }
}

/// All areas: those of the written contract in its order, then the own ones.
pub static AREAS: &[Area] = &[
    Area::new("WIRE", "Wire format of the plugin API", wire::WIRE),
    Area::new(
        "CONN",
        "Connection and transport of the API server",
        connection::CONN,
    ),
    Area::new("STATUS", "Status and its polling", status::STATUS),
    Area::new("ENC", "Encrypt", encrypt::ENC),
    Area::new("STATE", "The write state", write::STATE),
    Area::new("WRITE", "Writes", write::WRITE),
    Area::new("DEC", "Decrypt and reads", decrypt::DEC),
    Area::new(
        "STALE",
        "Staleness, which storage migration relies on",
        staleness::STALE,
    ),
    Area::new("CACHE", "Caches of the API server", cache::CACHE),
    Area::new("START", "Start of the API server", outage::START),
    Area::new("OUT", "Outages", outage::OUT),
    Area::new("HEALTH", "Health endpoints", health::HEALTH),
    Area::new("CFG", "Configuration file", config::CFG),
    Area::new("RELOAD", "Reloading the configuration", reload::RELOAD),
    Area::new("MET", "Metrics of the API server", metrics::MET),
    Area::new("LOG", "Logs, traces and audit", logs::LOG),
    Area::new(
        "SRV",
        "The Go helper library that real plugins use",
        library::SRV,
    ),
    Area::new("MOCK", "Upstream's mock plugins", library::MOCK),
    Area::new(
        "ITEST",
        "What upstream's integration test asserts",
        itest::ITEST,
    ),
    Area::new("VER", "Differences between versions", version::VER),
    Area::new("OBJ", "The stored object", record::OBJ),
    Area::new("ETCD", "The value and the key in etcd", record::ETCD),
    Area::new("CRYPTO", "Encryption of the data", record::CRYPTO),
    Area::new("RT", "Round trips", roundtrip::RT),
    Area::new("AVAIL", "Availability", availability::AVAIL),
    Area::new("ROT", "Rotation", rotation::ROT),
    Area::new("SEC", "Secrets and hostile input", security::SEC),
    Area::new("OBS", "Observability", operation::OBS),
    Area::new("PERF", "Performance", operation::PERF),
];

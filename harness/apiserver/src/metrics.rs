//! The metrics of the encryption half, under upstream's names (KMS2-MET-01 to -11), in the
//! Prometheus text format. Help texts are this project's own.

mod render;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::gotext::sha256;
use crate::grpc::{Method, Status};
use crate::version::Version;

/// Which way a value went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Read.
    FromStorage,
    /// Written.
    ToStorage,
}

impl Direction {
    fn label(self) -> &'static str {
        match self {
            Direction::FromStorage => "from_storage",
            Direction::ToStorage => "to_storage",
        }
    }
}

/// Most label sets that a metric with key_id hashes keeps (KMS2-MET-07).
pub const MOST_KEY_IDS: usize = 100;

/// All metrics of one server.
pub struct Metrics {
    version: Version,
    id_hash: String,
    kms_latency: BTreeMap<(String, &'static str, String), Histogram>,
    key_ids: Lru<(Direction, String, String), Counted>,
    status_key_ids: Lru<(String, String), f64>,
    invalid_key_ids: BTreeMap<(String, &'static str), u64>,
    cache_size: BTreeMap<String, usize>,
    operations: BTreeMap<String, Vec<Operation>>,
    durations: Vec<(Direction, String, Histogram)>,
    cache_misses: u64,
    key_generation: Histogram,
    reloads: BTreeMap<&'static str, (u64, f64)>,
    config_hash: Option<String>,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    count: u64,
    last: f64,
}

struct Operation {
    direction: Direction,
    prefix: String,
    status: String,
    count: u64,
}

impl Metrics {
    /// Metrics of a server of this version with this id; an empty id has an empty hash.
    pub(crate) fn new(version: Version, server_id: &str) -> Self {
        Metrics {
            version,
            id_hash: if server_id.is_empty() {
                String::new()
            } else {
                sha256(server_id.as_bytes())
            },
            kms_latency: BTreeMap::new(),
            key_ids: Lru::default(),
            status_key_ids: Lru::default(),
            invalid_key_ids: BTreeMap::new(),
            cache_size: BTreeMap::new(),
            operations: BTreeMap::new(),
            durations: Vec::new(),
            cache_misses: 0,
            key_generation: Histogram::new(5e-6, 14),
            reloads: BTreeMap::new(),
            config_hash: None,
        }
    }

    /// An RPC is over (KMS2-MET-01).
    pub(crate) fn rpc(
        &mut self,
        provider: &str,
        method: Method,
        status: Option<&Status>,
        took: Duration,
    ) {
        let code = status.map_or_else(|| "OK".to_owned(), |status| status.code.name());
        self.kms_latency
            .entry((code, method.path(), provider.to_owned()))
            .or_insert_with(|| Histogram::new(0.0001, 20))
            .observe(took.as_secs_f64());
    }

    /// A value was read or written with a seed of this key_id (KMS2-MET-02, KMS2-MET-03).
    pub(crate) fn key_id(
        &mut self,
        direction: Direction,
        provider: &str,
        key_id_hash: &str,
        unix: Duration,
    ) {
        let seen = self
            .key_ids
            .touch((direction, provider.to_owned(), key_id_hash.to_owned()));
        seen.count += 1;
        seen.last = unix.as_secs_f64();
    }

    /// Status answered a valid key_id (KMS2-MET-04).
    pub(crate) fn status_key_id(&mut self, provider: &str, key_id_hash: &str, unix: Duration) {
        let key = (provider.to_owned(), key_id_hash.to_owned());
        *self.status_key_ids.touch(key) = unix.as_secs_f64();
    }

    /// Status answered an invalid key_id (KMS2-MET-05).
    pub(crate) fn invalid_key_id(&mut self, provider: &str, fault: &'static str) {
        *self
            .invalid_key_ids
            .entry((provider.to_owned(), fault))
            .or_default() += 1;
    }

    /// The seed cache of a provider has this many entries after an insert (KMS2-MET-06).
    pub(crate) fn cache_size(&mut self, provider: &str, size: usize) {
        match self.cache_size.get_mut(provider) {
            Some(known) => *known = size,
            None => drop(self.cache_size.insert(provider.to_owned(), size)),
        }
    }

    /// A seed was not in the cache.
    pub(crate) fn cache_miss(&mut self) {
        self.cache_misses += 1;
    }

    /// A seed was made. The model takes no time for it.
    pub(crate) fn key_generated(&mut self) {
        self.key_generation.observe(0.0);
    }

    /// A value went through a transformer (KMS2-MET-09). `took` is the time that RPCs took: the
    /// model computes in none. `status` is `OK`, a gRPC code or `unknown-non-grpc`.
    pub(crate) fn transformation(
        &mut self,
        resource: &str,
        direction: Direction,
        prefix: &str,
        status: &str,
        took: Duration,
    ) {
        let resource = if self.version.resource_label() {
            resource
        } else {
            ""
        };
        let operations = match self.operations.get_mut(resource) {
            Some(operations) => operations,
            None => self.operations.entry(resource.to_owned()).or_default(),
        };
        let same = |operation: &&mut Operation| {
            operation.direction == direction
                && operation.prefix == prefix
                && operation.status == status
        };
        match operations.iter_mut().find(same) {
            Some(operation) => operation.count += 1,
            None => operations.push(Operation {
                direction,
                prefix: prefix.to_owned(),
                status: status.to_owned(),
                count: 1,
            }),
        }
        if status != "OK" {
            return;
        }
        let known = self
            .durations
            .iter_mut()
            .find(|(way, name, _)| *way == direction && name == prefix);
        match known {
            Some((_, _, histogram)) => histogram.observe(took.as_secs_f64()),
            None => {
                let mut histogram = Histogram::new(5e-6, 25);
                histogram.observe(took.as_secs_f64());
                self.durations
                    .push((direction, prefix.to_owned(), histogram));
            }
        }
    }

    /// A reload succeeded or failed (KMS2-MET-10).
    pub(crate) fn reload(&mut self, success: bool, unix: Duration) {
        let status = if success { "success" } else { "failure" };
        let seen = self.reloads.entry(status).or_default();
        *seen = (seen.0 + 1, unix.as_secs_f64());
    }

    /// The configuration with this hash came into force.
    pub(crate) fn config(&mut self, hash: &str) {
        self.config_hash = Some(hash.to_owned());
    }
}

/// Buckets that double, as Prometheus' exponential ones.
struct Histogram {
    bounds: Vec<f64>,
    counts: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    fn new(start: f64, buckets: u32) -> Self {
        let mut bound = start;
        let bounds: Vec<f64> = (0..buckets)
            .map(|_| {
                let this = bound;
                bound *= 2.0;
                this
            })
            .collect();
        Histogram {
            counts: vec![0; bounds.len()],
            bounds,
            count: 0,
            sum: 0.0,
        }
    }

    fn observe(&mut self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.count += 1;
        self.sum += value;
    }
}

/// Values of the label sets used last; the one unused longest goes when there are more than
/// [`MOST_KEY_IDS`].
struct Lru<K, V> {
    clock: u64,
    entries: BTreeMap<K, (u64, V)>,
}

impl<K, V> Default for Lru<K, V> {
    fn default() -> Self {
        Lru {
            clock: 0,
            entries: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, V: Default> Lru<K, V> {
    fn touch(&mut self, key: K) -> &mut V {
        self.clock += 1;
        if !self.entries.contains_key(&key) && self.entries.len() == MOST_KEY_IDS {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.entries.remove(&oldest);
            }
        }
        let entry = self.entries.entry(key).or_default();
        entry.0 = self.clock;
        &mut entry.1
    }

    fn sorted(&self) -> Vec<(&K, &V)> {
        self.entries
            .iter()
            .map(|(key, (_, value))| (key, value))
            .collect()
    }
}

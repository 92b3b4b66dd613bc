//! The metrics of the encryption half, under upstream's names (KMS2-MET-01 to -11), in the
//! Prometheus text format. Help texts are this project's own.

use std::collections::BTreeMap;
use std::fmt::Write;
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

    /// The text exposition, families and series in order of their names.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        let id = [("apiserver_id_hash", self.id_hash.as_str())];
        let id = if self.version.id_hash_label() {
            &id[..]
        } else {
            &[]
        };
        self.render_reload(&mut page, id);
        self.render_envelope(&mut page, id);
        self.render_storage(&mut page);
        page.text
    }

    fn render_reload(&self, page: &mut Page, id: &[(&str, &str)]) {
        const FAMILY: &str = "apiserver_encryption_config_controller_";
        if !self.reloads.is_empty() {
            let name = format!("{FAMILY}automatic_reload_last_timestamp_seconds");
            page.family(
                &name,
                "gauge",
                "When the configuration was last reloaded, by outcome.",
            );
            for (status, (_, last)) in &self.reloads {
                page.series(&name, &with(id, &[("status", status)]), *last);
            }
            if self.version.reload_status_label() {
                let name = format!("{FAMILY}automatic_reloads_total");
                page.family(
                    &name,
                    "counter",
                    "Reloads of the configuration, by outcome.",
                );
                for (status, (count, _)) in &self.reloads {
                    page.series(&name, &with(id, &[("status", status)]), *count as f64);
                }
            }
        }
        if self.version.reload_split_counters() {
            for (status, word) in [("failure", "failures"), ("success", "success")] {
                let Some((count, _)) = self.reloads.get(status) else {
                    continue;
                };
                let name = format!("{FAMILY}automatic_reload_{word}_total");
                page.family(
                    &name,
                    "counter",
                    "Reloads of the configuration with this outcome.",
                );
                page.series(&name, id, *count as f64);
            }
        }
        if let Some(hash) = &self.config_hash
            && self.version.config_info_metric()
        {
            let name = format!("{FAMILY}last_config_info");
            page.family(&name, "gauge", "The hash of the configuration in force.");
            page.series(&name, &with(id, &[("hash", hash)]), 1.0);
        }
    }

    fn render_envelope(&self, page: &mut Page, id: &[(&str, &str)]) {
        const FAMILY: &str = "apiserver_envelope_encryption_";
        let name = format!("{FAMILY}dek_cache_fill_percent");
        page.family(&name, "gauge", "Of KMS v1 only.");
        page.series(&name, &[], 0.0);
        if self.version.id_hash_label() && !self.cache_size.is_empty() {
            let name = format!("{FAMILY}dek_source_cache_size");
            page.family(&name, "gauge", "Seeds in the cache of a provider.");
            for (provider, size) in &self.cache_size {
                page.series(&name, &[("provider_name", provider)], *size as f64);
            }
        }
        if !self.invalid_key_ids.is_empty() {
            let name = format!("{FAMILY}invalid_key_id_from_status_total");
            page.family(&name, "counter", "Status answers with an invalid key_id.");
            for ((provider, fault), count) in &self.invalid_key_ids {
                let labels = [("error", *fault), ("provider_name", provider)];
                page.series(&name, &labels, *count as f64);
            }
        }
        let seen = self.key_ids.sorted();
        if !seen.is_empty() {
            let labels = |key: &(Direction, String, String)| {
                let (direction, provider, hash) = key.clone();
                [
                    ("key_id_hash", hash),
                    ("provider_name", provider),
                    ("transformation_type", direction.label().to_owned()),
                ]
            };
            let name = format!("{FAMILY}key_id_hash_last_timestamp_seconds");
            page.family(&name, "gauge", "When a key_id was last used.");
            for (key, counted) in &seen {
                page.series(&name, &with_owned(id, &labels(key)), counted.last);
            }
            self.render_status_key_ids(page, id, FAMILY);
            let name = format!("{FAMILY}key_id_hash_total");
            page.family(&name, "counter", "Values read or written under a key_id.");
            for (key, counted) in &seen {
                page.series(&name, &with_owned(id, &labels(key)), counted.count as f64);
            }
        } else {
            self.render_status_key_ids(page, id, FAMILY);
        }
        if !self.kms_latency.is_empty() {
            let name = format!("{FAMILY}kms_operations_latency_seconds");
            page.family(&name, "histogram", "How long RPCs took.");
            for ((code, path, provider), histogram) in &self.kms_latency {
                let labels = [
                    ("grpc_status_code", code.as_str()),
                    ("method_name", path),
                    ("provider_name", provider),
                ];
                page.histogram(&name, &labels, histogram);
            }
        }
    }

    fn render_status_key_ids(&self, page: &mut Page, id: &[(&str, &str)], family: &str) {
        let seen = self.status_key_ids.sorted();
        if seen.is_empty() {
            return;
        }
        let name = format!("{family}key_id_hash_status_last_timestamp_seconds");
        page.family(&name, "gauge", "When Status last answered a key_id.");
        for ((provider, hash), last) in seen {
            let labels = [("key_id_hash", hash.as_str()), ("provider_name", provider)];
            page.series(&name, &with(id, &labels), *last);
        }
    }

    fn render_storage(&self, page: &mut Page) {
        const FAMILY: &str = "apiserver_storage_";
        let name = format!("{FAMILY}data_key_generation_duration_seconds");
        page.family(&name, "histogram", "How long making a seed took.");
        page.histogram(&name, &[], &self.key_generation);
        let name = format!("{FAMILY}data_key_generation_failures_total");
        page.family(&name, "counter", "Seeds that could not be made.");
        page.series(&name, &[], 0.0);
        let name = format!("{FAMILY}envelope_transformation_cache_misses_total");
        page.family(&name, "counter", "Seeds that were not in the cache.");
        page.series(&name, &[], self.cache_misses as f64);
        if !self.durations.is_empty() {
            let name = format!("{FAMILY}transformation_duration_seconds");
            page.family(&name, "histogram", "How long a transformation took.");
            let mut sorted: Vec<_> = self.durations.iter().collect();
            sorted.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
            for (direction, prefix, histogram) in sorted {
                let labels = [
                    ("transformation_type", direction.label()),
                    ("transformer_prefix", prefix),
                ];
                page.histogram(&name, &labels, histogram);
            }
        }
        if !self.operations.is_empty() {
            let name = format!("{FAMILY}transformation_operations_total");
            page.family(&name, "counter", "Transformations, by outcome.");
            for (resource, operations) in &self.operations {
                let mut sorted: Vec<_> = operations.iter().collect();
                sorted.sort_by(|a, b| {
                    (&a.status, a.direction, &a.prefix).cmp(&(&b.status, b.direction, &b.prefix))
                });
                for operation in sorted {
                    let labels = [
                        ("status", operation.status.as_str()),
                        ("transformation_type", operation.direction.label()),
                        ("transformer_prefix", &operation.prefix),
                    ];
                    let resource = [("resource", resource.as_str())];
                    let first = if self.version.resource_label() {
                        &resource[..]
                    } else {
                        &[]
                    };
                    page.series(&name, &with(first, &labels), operation.count as f64);
                }
            }
        }
    }
}

fn with<'a>(first: &[(&'a str, &'a str)], rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [first, rest].concat()
}

fn with_owned<'a>(
    first: &[(&'a str, &'a str)],
    rest: &'a [(&'static str, String); 3],
) -> Vec<(&'a str, &'a str)> {
    let rest = rest.iter().map(|(name, value)| (*name, value.as_str()));
    first.iter().copied().chain(rest).collect()
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

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.text,
            "# HELP {name} [ALPHA] {help}\n# TYPE {name} {kind}"
        );
    }

    fn series(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        if !labels.is_empty() {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
                .collect();
            let _ = write!(self.text, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.text, " {}", number(value));
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            below += count;
            let bound = number(*bound);
            self.series(&bucket, &with(labels, &[("le", &bound)]), below as f64);
        }
        self.series(
            &bucket,
            &with(labels, &[("le", "+Inf")]),
            histogram.count as f64,
        );
        self.series(&format!("{name}_sum"), labels, histogram.sum);
        self.series(&format!("{name}_count"), labels, histogram.count as f64);
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// A number as Go's `%g` writes it in its shortest form: with an exponent below 1e-4 and from 1e6.
fn number(value: f64) -> String {
    let text = format!("{value:e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = power.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

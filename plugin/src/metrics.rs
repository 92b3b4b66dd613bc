//! Metrics in the OpenMetrics text format, all named `vault_kubernetes_kms_*`.
//!
//! Every label has a closed set of values, so the number of series does not depend on what callers
//! or Vault do (KMS2-OBS-02). The one exception is the key_id, of which exactly one series exists.
//! Handles are made once: a call costs an index, an addition and a bucket.
//! Not here: the listener that serves them ([`crate::http`]).

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::config::Config;
use crate::event::{Event, Method, VaultOp};
use crate::log::code_name;
use crate::seam::Observer;

/// Seconds. Status answers within the first, a healthy Vault within the next four, and the API
/// server gives up at 3 s by default.
const BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 3.0];
const METHODS: [Method; 3] = [Method::Status, Method::Encrypt, Method::Decrypt];
const N_CODES: usize = 17;
const OPERATIONS: [VaultOp; 9] = [
    VaultOp::Encrypt,
    VaultOp::Decrypt,
    VaultOp::ReadKey,
    VaultOp::Login,
    VaultOp::Renew,
    VaultOp::Lookup,
    VaultOp::Revoke,
    VaultOp::Health,
    VaultOp::Unwrap,
];
/// Classes of an HTTP status; the first is for requests that got none.
const CLASSES: [&str; 6] = ["none", "2xx", "3xx", "4xx", "429", "5xx"];
/// Remedy words (see [`Event::Call`]); the last is for words that this list does not know.
const REMEDIES: [&str; 11] = [
    "token", "policy", "key", "network", "server", "sealed", "quota", "data", "request", "none",
    "other",
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabels {
    method: &'static str,
    remedy: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VaultLabels {
    operation: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyLabel {
    key_id: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlaceLabel {
    place: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WriterLabel {
    plugin: &'static str,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// The observer that counts.
pub struct Metrics {
    registry: Registry,
    calls: [[Counter; N_CODES]; 3],
    call_durations: Durations<CallLabels>,
    ok_durations: [Histogram; 3],
    failures: [[Counter; REMEDIES.len()]; 3],
    vault_requests: [[Counter; CLASSES.len()]; OPERATIONS.len()],
    vault_durations: [Histogram; OPERATIONS.len()],
    batches: Counter,
    batched: Counter,
    coalesced: Counter,
    waiting: Gauge,
    healthy: Gauge,
    key_version: Gauge,
    key_info: Family<KeyLabel, Gauge>,
    token_expiry: Gauge,
    token_ttl: Gauge,
    logins: [Counter; 2],
    renewals: [Counter; 2],
    former_places: Family<PlaceLabel, Gauge>,
    unbound_reads: [Counter; 2],
    socket_rebinds: Counter,
    warnings: Counter,
}

impl Metrics {
    /// Metrics of a plugin with this configuration. All series but those of failed calls'
    /// durations exist from the start, so that rates see the first failure.
    pub fn new(config: &Config) -> Self {
        let mut registry = Registry::with_prefix("vault_kubernetes_kms");
        let r = &mut registry;
        // In the order of the text.
        let calls: Family<CallLabels, Counter> = add(r, "requests", "KMS calls answered");
        let call_durations: Durations<CallLabels> = add_durations(
            r,
            "request_duration_seconds",
            "Time from a whole KMS request to its answer",
        );
        let failures: Family<FailureLabels, Counter> =
            add(r, "request_failures", "Failed KMS calls by what to look at");
        let vault_requests: Family<VaultLabels, Counter> =
            add(r, "vault_requests", "Requests to Vault");
        let vault_durations: Durations<OperationLabel> = add_durations(
            r,
            "vault_request_duration_seconds",
            "Time of a request to Vault",
        );
        let batches = add(
            r,
            "vault_batches",
            "Requests to Vault that held several calls",
        );
        let batched = add(r, "vault_batched_calls", "Calls that went in such requests");
        let coalesced = add(
            r,
            "coalesced_calls",
            "Decrypts answered by an equal one in flight",
        );
        let waiting = add(r, "waiting_calls", "Calls waiting for Vault or in flight");
        r.register(
            "waiting_calls_limit",
            "Calls over this number are refused",
            constant(config.max_waiting),
        );
        let healthy = add(
            r,
            "healthy",
            "1 when Status answers ok, 0 when it answers an error",
        );
        let key_version = add(
            r,
            "key_version",
            "Version of the Transit key in use, 0 before the first",
        );
        let key_info = add(r, "key_info", "The key_id in use");
        let token_expiry = add(
            r,
            "token_expiry_timestamp_seconds",
            "When the token in use ends, 0 for never or unknown",
        );
        let token_ttl = add(
            r,
            "token_ttl_seconds",
            "Time to live that the last login or renewal gave, 0 for none",
        );
        let logins = both_results(&add(r, "logins", "Logins"));
        let renewals = both_results(&add(r, "token_renewals", "Renewals of the token"));
        let former_places = add(
            r,
            "former_place_readable",
            "1 when the key of a -decrypt-only place can be read",
        );
        r.register(
            "adopting",
            "1 while values are written that the plugin taken over from could read, 2 while such are only read",
            constant(match config.adopt {
                None => 0,
                Some(adopt) if adopt.is_final() => 2,
                Some(_) => 1,
            }),
        );
        let unbound_reads: Family<WriterLabel, Counter> = add(
            r,
            "unbound_reads",
            "Values decrypted that are not bound to their key_id, by who wrote them",
        );
        let unbound_reads = ["this", "another"]
            .map(|plugin| unbound_reads.get_or_create_owned(&WriterLabel { plugin }));
        let socket_rebinds = add(
            r,
            "socket_rebinds",
            "How often the socket had gone from its path",
        );
        let warnings = add(r, "warnings", "Warnings in the log");
        r.register(
            "tls_verification_disabled",
            "1 when Vault's certificate is not verified",
            constant(usize::from(config.vault.tls.skip_verify)),
        );
        // A gauge like key_info, not OpenMetrics' own type, which plain Prometheus text lacks.
        let build: Family<VersionLabel, Gauge> = add(r, "build_info", "The running version");
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&VersionLabel { version }).set(1);
        r.register_collector(Box::new(Process));

        Self {
            calls: METHODS.map(|method| {
                std::array::from_fn(|code| calls.get_or_create_owned(&call_labels(method, code)))
            }),
            ok_durations: METHODS
                .map(|method| call_durations.get_or_create_owned(&call_labels(method, 0))),
            call_durations,
            failures: METHODS.map(|method| {
                REMEDIES.map(|remedy| {
                    failures.get_or_create_owned(&FailureLabels {
                        method: method.as_str(),
                        remedy,
                    })
                })
            }),
            vault_requests: OPERATIONS.map(|op| {
                CLASSES.map(|status| {
                    vault_requests.get_or_create_owned(&VaultLabels {
                        operation: op.as_str(),
                        status,
                    })
                })
            }),
            vault_durations: OPERATIONS.map(|op| {
                vault_durations.get_or_create_owned(&OperationLabel {
                    operation: op.as_str(),
                })
            }),
            batches,
            batched,
            coalesced,
            waiting,
            healthy,
            key_version,
            key_info,
            token_expiry,
            token_ttl,
            logins,
            renewals,
            former_places,
            unbound_reads,
            socket_rebinds,
            warnings,
            registry,
        }
    }

    /// All metrics as text, in the content type of [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(32 * 1024);
        text::encode(&mut text, &self.registry).expect("writing to a String does not fail");
        text
    }

    fn call(&self, method: Method, code: u32, latency: Duration, remedy: &str) {
        let method_index = method as usize;
        // Codes beyond the list are UNKNOWN, the third.
        let code = usize::try_from(code)
            .ok()
            .filter(|code| *code < N_CODES)
            .unwrap_or(2);
        self.calls[method_index][code].inc();
        if code == 0 {
            self.ok_durations[method_index].observe(latency.as_secs_f64());
            return;
        }
        self.call_durations
            .get_or_create(&call_labels(method, code))
            .observe(latency.as_secs_f64());
        let remedy = REMEDIES
            .iter()
            .position(|word| *word == remedy)
            .unwrap_or(REMEDIES.len() - 1);
        self.failures[method_index][remedy].inc();
    }
}

/// The `Content-Type` of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Observer for Metrics {
    fn event(&self, event: &Event<'_>) {
        match *event {
            Event::Call {
                method,
                code,
                latency,
                remedy,
                ..
            } => self.call(method, code, latency, remedy),
            Event::VaultRequest {
                op,
                http_status,
                latency,
                items,
                ..
            } => {
                self.vault_requests[op as usize][class(http_status)].inc();
                self.vault_durations[op as usize].observe(latency.as_secs_f64());
                if items > 1 {
                    self.batches.inc();
                    self.batched.inc_by(items as u64);
                }
            }
            Event::Login { ok, ttl, .. } => {
                self.logins[usize::from(ok)].inc();
                if ok {
                    self.token_ttl.set(whole_seconds(ttl));
                }
            }
            Event::Renewal { ok, ttl, .. } => {
                self.renewals[usize::from(ok)].inc();
                if ok {
                    self.token_ttl.set(whole_seconds(ttl));
                }
            }
            Event::StatusChanged { ok, .. } => {
                self.healthy.set(i64::from(ok));
            }
            Event::KeyTaken { version, key_id } => {
                self.key_version.set(saturating(version));
                self.key_info.clear();
                self.key_info
                    .get_or_create(&KeyLabel {
                        key_id: key_id.to_owned(),
                    })
                    .set(1);
            }
            Event::FormerPlace { index, ok, .. } => {
                let place = u32::try_from(index).unwrap_or(u32::MAX);
                self.former_places
                    .get_or_create(&PlaceLabel { place })
                    .set(i64::from(ok));
            }
            Event::Coalesced => {
                self.coalesced.inc();
            }
            Event::Waiting { calls } => {
                self.waiting.set(saturating(calls as u64));
            }
            Event::TokenExpiry { unix } => {
                self.token_expiry.set(saturating(unix));
            }
            Event::UnboundRead { foreign } => {
                self.unbound_reads[usize::from(foreign)].inc();
            }
            Event::SocketRebound => {
                self.socket_rebinds.inc();
            }
            Event::Notice { warn, .. } => {
                if warn {
                    self.warnings.inc();
                }
            }
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Makes a metric and registers it under its name.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// The same for durations, all of which have the same buckets.
fn add_durations<L>(registry: &mut Registry, name: &str, help: &str) -> Durations<L>
where
    Durations<L>: Metric + Clone,
    L: Clone + std::hash::Hash + Eq,
{
    let durations: Durations<L> = Family::new_with_constructor(histogram);
    registry.register(name, help, durations.clone());
    durations
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

fn call_labels(method: Method, code: usize) -> CallLabels {
    CallLabels {
        method: method.as_str(),
        code: code_name(u32::try_from(code).unwrap_or(u32::MAX)),
    }
}

/// Failed first, so that `usize::from(ok)` is the index.
fn both_results(family: &Family<ResultLabel, Counter>) -> [Counter; 2] {
    ["failed", "ok"].map(|result| family.get_or_create_owned(&ResultLabel { result }))
}

fn class(http_status: u16) -> usize {
    match http_status {
        200..=299 => 1,
        300..=399 => 2,
        429 => 4,
        400..=499 => 3,
        500..=599 => 5,
        _ => 0,
    }
}

fn constant(value: usize) -> ConstGauge<u64> {
    ConstGauge::new(value as u64)
}

fn saturating(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn whole_seconds(ttl: Duration) -> i64 {
    saturating(ttl.as_secs())
}

/// What the process uses, read when asked for.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let open = std::fs::read_dir("/proc/self/fd")
            // One of them is the reader itself.
            .map(|entries| entries.count().saturating_sub(1) as u64);
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
            .map(|(soft, _)| soft);
        let gauges = [
            ("process_open_fds", "Open descriptors", open.ok()),
            (
                "process_max_fds",
                "Most descriptors that may be open",
                limit.ok(),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory",
                resident(),
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let gauge = ConstGauge::<u64>::new(value);
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                gauge.encode(metric)?;
            }
        }
        Ok(())
    }
}

/// The second number of `/proc/self/statm`, in pages.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    pages.checked_mul(u64::try_from(size).ok()?)
}

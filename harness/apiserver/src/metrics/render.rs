//! The metrics as text.

use std::fmt::Write;

use super::{Direction, Histogram, Metrics};

impl Metrics {
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

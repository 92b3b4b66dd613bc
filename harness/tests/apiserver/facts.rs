//! What one side showed, in a form that can be compared: names of this run replaced by what they stand for.

use std::collections::BTreeMap;
use std::path::Path;

use kms_apiserver_api::Answer;
use sha2::{Digest, Sha256};

/// What was seen under a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Must be equal.
    Text(String),
    /// May differ by `slack`.
    Number { value: u64, slack: u64 },
}

/// Labels and what was seen under them.
pub type Facts = BTreeMap<String, Seen>;

/// Replaces what is random or local by names.
#[derive(Debug, Default)]
pub struct Names {
    replaced: Vec<(String, String)>,
    key_ids: Vec<String>,
}

impl Names {
    /// For a side whose files lie in this folder.
    pub fn new(folder: &Path) -> Self {
        Self {
            replaced: vec![(folder.display().to_string(), "DIR".to_owned())],
            key_ids: Vec::new(),
        }
    }

    /// From now on `text` is shown as `name`.
    pub fn add(&mut self, text: String, name: &str) {
        if !self.replaced.iter().any(|(known, _)| *known == text) {
            self.replaced.push((text, name.to_owned()));
        }
    }

    /// The name of a key_id: `KEY-1` for the first that was seen.
    pub fn key_id(&mut self, id: &str) -> String {
        if id.is_empty() {
            return "none".to_owned();
        }
        let number = match self.key_ids.iter().position(|known| known == id) {
            Some(number) => number + 1,
            None => {
                self.key_ids.push(id.to_owned());
                let name = format!("KEY-{}", self.key_ids.len());
                self.add(hash(id.as_bytes()), &format!("hash of {name}"));
                self.add(id.to_owned(), &name);
                self.key_ids.len()
            }
        };
        format!("KEY-{number}")
    }

    /// The text with names in it. Times and UUIDs have no names of their own.
    pub fn in_text(&self, text: &str) -> String {
        let named = self
            .replaced
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        without_random(&named)
    }

    /// An answer's code, reason and message; for an object its data; for a list its names.
    pub fn answer(&self, answer: &Answer) -> String {
        let code = answer.code;
        let text = answer.text();
        if !text.is_empty() {
            return format!("{code} {}", self.in_text(text.trim_end()));
        }
        match answer.field("/kind") {
            "Status" if answer.ok() => format!("{code} Status"),
            "Status" => {
                let message = self.in_text(answer.message());
                format!("{code} {}: {message}", answer.reason())
            }
            kind if kind.ends_with("List") => {
                let mut names: Vec<String> = answer
                    .items()
                    .iter()
                    .map(|item| {
                        let field = |name: &str| item["metadata"][name].as_str().unwrap_or("-");
                        format!("{}/{}", field("namespace"), field("name"))
                    })
                    .collect();
                names.sort();
                format!("{code} {kind} [{}]", names.join(" "))
            }
            kind => format!("{code} {kind} {}", answer.json()["data"]),
        }
    }
}

/// `sha256:` and hex digits, as servers show what they do not show.
pub fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// RFC 3339 times become `TIME`, UUIDs `UUID`.
fn without_random(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-:.+".contains(c)))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        out.push_str(if is_time(word) {
            "TIME"
        } else if is_uuid(word) {
            "UUID"
        } else {
            word
        });
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':'
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The lines of a metrics text that speak of encryption: series and value. Sums, buckets and times say nothing about
/// agreement, only that they are there.
pub fn metrics(names: &Names, text: &str) -> Facts {
    const FAMILIES: [&str; 4] = [
        "apiserver_envelope_encryption_",
        "apiserver_encryption_config_controller_",
        "apiserver_storage_transformation_",
        "apiserver_storage_data_key_generation_",
    ];
    let mut facts = Facts::new();
    for line in text.lines() {
        if line.starts_with('#') || !FAMILIES.iter().any(|family| line.starts_with(family)) {
            continue;
        }
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = series.split('{').next().unwrap_or(series);
        if name.ends_with("_bucket") || name.ends_with("_sum") || cancelled_read(series) {
            continue;
        }
        let label = format!("metrics: {}", without_server(&names.in_text(series)));
        let seen = match value.parse::<f64>() {
            Ok(_) if name.ends_with("_timestamp_seconds") => Seen::Text("there".into()),
            // Whole numbers of calls, far below 2^53.
            Ok(number) if number >= 0.0 => Seen::Number {
                value: number as u64,
                slack: slack(name, number as u64),
            },
            _ => Seen::Text(value.to_owned()),
        };
        facts.insert(label, seen);
    }
    facts
}

/// While a cache cannot be filled, the real server's decoders race: one that fails cancels the others, and whether one of
/// them was still on its way is chance. Nobody else cancels a read in these stories.
fn cancelled_read(series: &str) -> bool {
    series.contains("\"Canceled\"")
        && (series.contains("from_storage") || series.contains("/Decrypt\""))
}

/// How far two servers may be apart that did the same: probes fall at other moments, caches are read at others.
fn slack(name: &str, value: u64) -> u64 {
    match name {
        "apiserver_envelope_encryption_kms_operations_latency_seconds_count" => 4 + value / 3,
        "apiserver_envelope_encryption_dek_source_cache_size"
        | "apiserver_encryption_config_controller_last_config_info" => 0,
        _ => 6 + value / 4,
    }
}

/// The server's own id is random.
fn without_server(series: &str) -> String {
    const LABEL: &str = "apiserver_id_hash=\"";
    let Some(at) = series.find(LABEL) else {
        return series.to_owned();
    };
    let start = at + LABEL.len();
    let end = series[start..]
        .find('"')
        .map_or(series.len(), |end| start + end);
    format!("{}ID{}", &series[..start], &series[end..])
}

//! Volatile values of an answer replaced by the placeholders that the recordings use.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use regex::Regex;
use serde_json::{Map, Value};

use super::Vars;

macro_rules! patterns {
    ($($name:ident = $text:literal;)*) => {
        $(static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a constant pattern"));)*
    };
}

patterns! {
    UUID = r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b";
    TIME = r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)";
    CIPHERTEXT = r"vault:v(\d+):[A-Za-z0-9+/=]{8,}";
    SERVICE = r"\b(hvs|s)\.[A-Za-z0-9_-]{24,}(\.[A-Za-z0-9]{6})?";
    BATCH = r"\b(hvb|b)\.[A-Za-z0-9_-]{24,}(\.[A-Za-z0-9]{6})?";
    PEM = r"-----BEGIN [A-Z ]+-----[\s\S]*?-----END [A-Z ]+-----\n?";
    JWT = r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}";
    ACCESSOR = r"\b(auth_)?(userpass|approle|token|cert|jwt|kubernetes|transit|kv|cubbyhole|identity|system|ns_cubbyhole|ns_identity|ns_system|ns_token)_[0-9a-f]{8}\b";
    COLONS = r"\b([0-9a-f]{2}:){7,}[0-9a-f]{2}\b";
    ADDRESS = r"127\.0\.0\.1:\d{4,5}";
    NEARLY = r#"\\"(\d+)h59m5\ds\\"|"(\d+)h59m5\ds""#;
    NAMESPACED = r"^[0-9a-f-]{36}\.[A-Za-z0-9]{6}$";
    NAMESPACE_ID = r"^[A-Za-z0-9]{6}$";
    SHARE = r"^[0-9a-f]{64,66}$";
}

fn whole(pattern: &Regex, text: &str) -> bool {
    pattern
        .find(text)
        .is_some_and(|m| m.start() == 0 && m.end() == text.len())
}

/// Replaces values; knows the variables so far and the request's path.
pub struct Norm<'a> {
    vars: &'a Vars,
    path: &'a str,
    /// `lease_duration` depends on the clock in this answer.
    approximate_lease: bool,
}

impl<'a> Norm<'a> {
    pub fn new(vars: &'a Vars, path: &'a str, approximate_lease: bool) -> Self {
        Self {
            vars,
            path,
            approximate_lease,
        }
    }

    pub fn text(&self, v: &str, key: &str, pointer: &str) -> String {
        let known = || self.vars.iter().filter(|(_, value)| value.len() >= 4);
        if let Some((name, _)) = known().find(|(_, value)| value == v) {
            return format!("<var:{name}>");
        }
        let uuid_key = matches!(
            key,
            "request_id"
                | "cluster_id"
                | "entity_id"
                | "uuid"
                | "secret_id"
                | "role_id"
                | "secret_id_accessor"
        );
        if uuid_key && whole(&UUID, v) {
            return "<uuid>".to_owned();
        }
        if matches!(
            key,
            "accessor" | "wrapped_accessor" | "client_token_accessor"
        ) && !v.is_empty()
        {
            return "<accessor>".to_owned();
        }
        if key == "cluster_name" && v.starts_with("vault-cluster-") {
            return "<cluster-name>".to_owned();
        }
        if whole(&CIPHERTEXT, v) {
            return CIPHERTEXT.replace(v, "<ciphertext:v$1>").into_owned();
        }
        for (pattern, name) in [
            (&SERVICE, "<token:service>"),
            (&BATCH, "<token:batch>"),
            (&TIME, "<rfc3339>"),
        ] {
            if whole(pattern, v) {
                return name.to_owned();
            }
        }
        let mut v = v.to_owned();
        let mut long: Vec<_> = known().filter(|(_, value)| value.len() >= 16).collect();
        long.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        for (name, value) in long {
            if v.contains(value.as_str()) {
                v = v.replace(value.as_str(), &format!("<var:{name}>"));
            }
        }
        let datakey = key == "plaintext" && self.path.contains("/datakey/plaintext");
        if matches!(key, "backup" | "random_bytes" | "keys_base64") || datakey {
            return "<b64>".to_owned();
        }
        if self.path.contains("/export/") && pointer.starts_with("/data/keys/") {
            return if v.starts_with("-----") {
                "<pem>"
            } else {
                "<b64>"
            }
            .to_owned();
        }
        if key == "public_key"
            && !v.starts_with("-----")
            && STANDARD.decode(&v).is_ok()
            && !v.is_empty()
        {
            return "<b64>".to_owned();
        }
        if key == "unlock_key" {
            return "<unlock-key>".to_owned();
        }
        if key == "keys" && SHARE.is_match(&v) {
            return "<hex>".to_owned();
        }
        if NAMESPACED.is_match(&v) {
            return "<uuid>.<nsid>".to_owned();
        }
        if key == "id" && NAMESPACE_ID.is_match(&v) {
            return "<nsid>".to_owned();
        }
        if key == "serial_number" && !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()) {
            return "<serial>".to_owned();
        }
        let v = JWT.replace_all(&v, "<jwt>");
        let v = ACCESSOR.replace_all(&v, "<mount-accessor:$1$2>");
        let v = COLONS.replace_all(&v, "<hex-colon>");
        let v = PEM.replace_all(&v, "<pem>");
        let v = UUID.replace_all(&v, "<uuid>");
        let v = TIME.replace_all(&v, "<rfc3339>");
        let v = CIPHERTEXT.replace_all(&v, "<ciphertext:v$1>");
        let v = SERVICE.replace_all(&v, "<token:service>");
        let v = BATCH.replace_all(&v, "<token:batch>");
        let v = ADDRESS.replace_all(&v, "127.0.0.1:<port>");
        // durations that lost a second since the whole hour
        let v = NEARLY.replace_all(&v, |c: &regex::Captures<'_>| {
            let hours = c
                .get(1)
                .or(c.get(2))
                .and_then(|m| m.as_str().parse::<u64>().ok())
                .unwrap_or_default();
            format!("\"{}h\"", hours + 1)
        });
        let length = v.chars().count();
        if length > 600 {
            let head: String = v.chars().take(120).collect();
            return format!("{head}<...{} chars...>", length - 120);
        }
        v.into_owned()
    }

    pub fn walk(&self, v: &Value, key: &str, pointer: &str) -> Value {
        match v {
            Value::Object(map) => {
                let mut out = Map::new();
                for (k, x) in map {
                    let name = if k.chars().count() > 16 {
                        self.text(k, "", pointer)
                    } else {
                        k.clone()
                    };
                    let below = format!("{pointer}/{}", k.replace('~', "~0").replace('/', "~1"));
                    out.insert(name, self.walk(x, k, &below));
                }
                Value::Object(out)
            }
            Value::Array(items) => {
                let shown = if items.len() > 60 { 3 } else { items.len() };
                let mut out: Vec<Value> = items
                    .iter()
                    .take(shown)
                    .enumerate()
                    .map(|(i, x)| self.walk(x, key, &format!("{pointer}/{i}")))
                    .collect();
                if shown < items.len() {
                    out.push(format!("<...{} more items...>", items.len() - shown).into());
                }
                Value::Array(out)
            }
            Value::Number(n) => self.number(n, key),
            Value::String(s) => self.text(s, key, pointer).into(),
            other => other.clone(),
        }
    }

    fn number(&self, n: &serde_json::Number, key: &str) -> Value {
        if key == "last_request_forwarding_heartbeat_ms" {
            return "<n>".into();
        }
        let Some(v) = n.as_i64() else {
            return Value::Number(n.clone());
        };
        if v > 1_500_000_000 && v < 3_000_000_000 {
            return "<unix>".into();
        }
        let approximate = key == "ttl" || key == "lease_duration" && self.approximate_lease;
        if approximate && v != 0 {
            let tidy = (v..v + 5).find(|c| v >= 60 && c % 10 == 0).unwrap_or(v);
            return format!("<approx:{tidy}>").into();
        }
        v.into()
    }

    /// Header names as they came; values that depend on clock or chance replaced.
    pub fn headers(&self, headers: &[(String, String)]) -> Value {
        let mut out = Map::new();
        for (name, value) in headers {
            let value = match name.to_lowercase().as_str() {
                "date" => "<http-date>".to_owned(),
                "x-vault-index" => "<index>".to_owned(),
                "content-length" => if value == "0" { "0" } else { "<n>" }.to_owned(),
                "x-ratelimit-reset" | "retry-after" | "x-ratelimit-remaining" => "<n>".to_owned(),
                _ => self.text(value, "", &format!("header:{name}")),
            };
            match out.get_mut(name) {
                None => {
                    out.insert(name.clone(), value.into());
                }
                Some(Value::Array(list)) => list.push(value.into()),
                Some(first) => *first = Value::Array(vec![first.clone(), value.into()]),
            }
        }
        Value::Object(out)
    }
}

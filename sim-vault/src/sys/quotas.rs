//! Rate limits: counted per client address, before authentication and before the body is read.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde_json::{Value, json};

use crate::{
    Core, Request,
    call::Call,
    fields::{self, Kind},
    reply::{Outcome, Refused, Reply, done, ok},
};

/// Paths that no quota limits until somebody writes the configuration.
const EXEMPT: [&str; 7] = [
    "sys/generate-recovery-token/attempt",
    "sys/generate-recovery-token/update",
    "sys/generate-root/attempt",
    "sys/generate-root/update",
    "sys/health",
    "sys/seal-status",
    "sys/unseal",
];

/// All quotas and their settings.
#[derive(Clone)]
pub(crate) struct Quotas {
    limits: BTreeMap<String, Limit>,
    headers: bool,
    pub audit: bool,
    exempt: Vec<String>,
    /// Vault's second list is null until somebody writes the configuration.
    written: bool,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            limits: BTreeMap::new(),
            headers: false,
            audit: false,
            exempt: EXEMPT.iter().map(|p| (*p).to_owned()).collect(),
            written: false,
        }
    }
}

#[derive(Clone)]
struct Limit {
    path: String,
    rate: f64,
    interval: Duration,
    block: Duration,
    role: String,
    inheritable: bool,
    clients: BTreeMap<IpAddr, Bucket>,
}

/// What one client has left. All of it comes back at once.
#[derive(Clone)]
struct Bucket {
    left: u64,
    refill: Duration,
    blocked: Option<Duration>,
}

/// What a quota says to a request.
pub(crate) struct Checked {
    pub headers: Vec<(String, String)>,
    pub refused: bool,
}

impl Limit {
    /// A fraction of one counts as one.
    fn size(&self) -> u64 {
        // whole and positive by the check at creation
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, far below 2^53"
        )]
        let whole = self.rate.ceil() as u64;
        whole.max(1)
    }

    fn take(&mut self, peer: IpAddr, now: Duration) -> (bool, u64, Duration, bool) {
        let (size, interval, block) = (self.size(), self.interval, self.block);
        let bucket = self.clients.entry(peer).or_insert(Bucket {
            left: size,
            refill: now + interval,
            blocked: None,
        });
        if let Some(until) = bucket.blocked {
            if now < until {
                return (true, 0, until - now, true);
            }
            bucket.blocked = None;
            bucket.left = size;
            bucket.refill = now + interval;
        }
        if now >= bucket.refill {
            bucket.left = size;
            bucket.refill = now + interval;
        }
        let reset = bucket.refill.saturating_sub(now);
        if bucket.left > 0 {
            bucket.left -= 1;
            return (false, bucket.left, reset, false);
        }
        if !block.is_zero() {
            bucket.blocked = Some(now + block);
            return (true, 0, block, false);
        }
        (true, 0, reset, false)
    }
}

impl Core {
    /// Spends one request of the quota that is closest to the path; `None` if none applies.
    pub(crate) fn check_quota(
        &mut self,
        request: &Request,
        ns: &str,
        path: &str,
    ) -> Option<Checked> {
        if self.quotas.limits.is_empty() || self.quotas.exempt.iter().any(|p| p == path) {
            return None;
        }
        let full = format!("{ns}{path}");
        let (now, with_headers) = (self.now, self.quotas.headers);
        let best = self
            .quotas
            .limits
            .values_mut()
            .filter(|l| {
                l.path.is_empty()
                    || full == l.path
                    || l.path.ends_with('/') && full.starts_with(&l.path)
            })
            .max_by_key(|l| l.path.len())?;
        let (refused, left, reset, blocked) = best.take(request.peer, now);
        let mut headers = Vec::new();
        if with_headers {
            let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
            if refused {
                add("Retry-After", reset.as_secs().to_string());
            }
            if !blocked {
                add("X-Ratelimit-Limit", best.size().to_string());
                add("X-Ratelimit-Remaining", left.to_string());
                add("X-Ratelimit-Reset", reset.as_secs().to_string());
            }
        }
        Some(Checked { headers, refused })
    }
}

pub(super) fn read_config(core: &mut Core, _call: &Call) -> Outcome {
    let mut data = json!({
        "enable_rate_limit_audit_logging": core.quotas.audit,
        "enable_rate_limit_response_headers": core.quotas.headers,
        "rate_limit_exempt_paths": core.quotas.exempt,
    });
    if core.flavour.is_vault() {
        data["absolute_rate_limit_exempt_paths"] = if core.quotas.written {
            json!([])
        } else {
            Value::Null
        };
    }
    ok(data)
}

/// A list of exempt paths that is not named is emptied, not kept: that is what both servers do.
pub(super) fn write_config(core: &mut Core, call: &Call) -> Outcome {
    core.quotas.headers = call.args.flag("enable_rate_limit_response_headers");
    core.quotas.audit = call.args.flag("enable_rate_limit_audit_logging");
    core.quotas.exempt = call.args.texts("rate_limit_exempt_paths");
    core.quotas.written = true;
    done()
}

pub(super) fn write(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let rate = match args.get("rate") {
        Some(Value::Number(n)) => n.as_f64().unwrap_or_default(),
        Some(Value::String(s)) => s.parse().unwrap_or_default(),
        _ => 0.0,
    };
    if rate <= 0.0 || !rate.is_finite() || rate > 1e12 {
        return Err(Refused::bad("'rate' is invalid"));
    }
    let path = args.text("path");
    if !path.is_empty() && core.route(&call.ns, path).is_none() {
        return Err(Refused::bad(format!("invalid mount path {path:?}")));
    }
    let seconds = |name: &str| match call.raw.get(name) {
        None => Ok(Duration::ZERO),
        Some(value) => match fields::convert(Kind::Seconds, value) {
            Ok(v) => Ok(Duration::from_secs(v.as_u64().unwrap_or_default())),
            Err(text) => Err(Refused::bad(text)),
        },
    };
    let interval = match seconds("interval")? {
        d if d.is_zero() => Duration::from_secs(1),
        d => d,
    };
    let limit = Limit {
        path: if path.is_empty() {
            String::new()
        } else {
            format!("{}{path}", call.ns)
        },
        rate,
        interval,
        block: seconds("block_interval")?,
        role: args.text("role").to_owned(),
        inheritable: args.flag("inheritable"),
        clients: BTreeMap::new(),
    };
    let twin = core.quotas.limits.iter().find(|(name, l)| {
        *name != args.text("name") && l.path == limit.path && l.role == limit.role
    });
    if let Some((name, _)) = twin {
        return Err(Refused::bad(format!(
            "quota rule with similar properties exists under the name {name:?}"
        )));
    }
    core.quotas
        .limits
        .insert(args.text("name").to_owned(), limit);
    done()
}

pub(super) fn list(core: &mut Core, _call: &Call) -> Outcome {
    Reply::keys(core.quotas.limits.keys().cloned().collect())
}

pub(super) fn read(core: &mut Core, call: &Call) -> Outcome {
    let name = call.args.text("name");
    let Some(limit) = core.quotas.limits.get(name) else {
        return Err(Refused::nothing());
    };
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole")]
    let rate = if limit.rate.fract() == 0.0 {
        json!(limit.rate as i64)
    } else {
        json!(limit.rate)
    };
    ok(json!({
        "block_interval": limit.block.as_secs(),
        "inheritable": limit.inheritable,
        "interval": limit.interval.as_secs(),
        "name": name,
        "path": limit.path,
        "rate": rate,
        "role": limit.role,
        "type": "rate-limit",
    }))
}

pub(super) fn delete(core: &mut Core, call: &Call) -> Outcome {
    core.quotas.limits.remove(call.args.text("name"));
    done()
}

/// Counting leases is for Vault's paying customers; OpenBao does not know the path.
pub(super) fn leases(core: &mut Core, _call: &Call) -> Outcome {
    Err(super::enterprise_only(core))
}

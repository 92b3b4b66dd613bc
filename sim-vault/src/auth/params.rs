//! The parameters that users and roles of all methods share: read, checked and shown alike.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::effective_policies;
use crate::{
    Core,
    fields::{Args, Field, Kind},
    flavour::Flavour,
    reply::Refused,
    token::Entry,
    ttl::Limits,
};

/// The `token_*` parameters that every user and role has.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenParams {
    pub policies: Vec<String>,
    pub ttl: Duration,
    pub max_ttl: Duration,
    pub explicit_max_ttl: Duration,
    pub period: Duration,
    pub num_uses: i64,
    pub bound_cidrs: Vec<String>,
    pub no_default_policy: bool,
    pub strictly_bind_ip: bool,
    pub token_type: String,
    /// Parameters that were set by their old names, under which reading shows them as well.
    pub by_old_name: BTreeSet<&'static str>,
}

/// A method's parameters by their old names, each with the new one, which wins.
pub(crate) type OldNames = &'static [(&'static str, &'static str)];

/// The methods check the shared parameters with one code in several versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// No `default-*` types.
    Strict,
    /// approle: takes them for what they mean, and warns.
    Loose,
}

/// Their names and types, to be put into the endpoints' lists.
pub(crate) const TOKEN_FIELDS: [Field; 10] = [
    ("token_policies", Kind::Texts),
    ("token_ttl", Kind::Seconds),
    ("token_max_ttl", Kind::Seconds),
    ("token_explicit_max_ttl", Kind::Seconds),
    ("token_period", Kind::Seconds),
    ("token_num_uses", Kind::Int),
    ("token_bound_cidrs", Kind::Texts),
    ("token_no_default_policy", Kind::Bool),
    ("token_strictly_bind_ip", Kind::Bool),
    ("token_type", Kind::Text),
];

impl TokenParams {
    /// Takes over what the request names and leaves the rest, in the real servers' order: an earlier fault hides a later one.
    pub(crate) fn update(&mut self, args: &Args, old: OldNames) -> Result<(), Refused> {
        self.update_as(args, old, Manner::Strict)
    }

    /// The same in the manner of one method or another.
    pub(crate) fn update_as(
        &mut self,
        args: &Args,
        old: OldNames,
        manner: Manner,
    ) -> Result<(), Refused> {
        let text = |fault: &str| Err(Refused::bad(fault));
        let bound = args.opt_texts("token_bound_cidrs");
        if let Some(b) = args.opt_bool("token_strictly_bind_ip") {
            self.strictly_bind_ip = b;
        }
        let conflict =
            self.strictly_bind_ip && !bound.as_ref().unwrap_or(&self.bound_cidrs).is_empty();
        if let Some(cidrs) = bound {
            self.bound_cidrs = addresses(cidrs)?;
        }
        let set = |to: &mut Duration, name: &str| {
            if let Some(d) = args.opt_seconds(name) {
                *to = d;
            }
        };
        set(&mut self.explicit_max_ttl, "token_explicit_max_ttl");
        set(&mut self.max_ttl, "token_max_ttl");
        set(&mut self.period, "token_period");
        if let Some(b) = args.opt_bool("token_no_default_policy") {
            self.no_default_policy = b;
        }
        if let Some(policies) = args.opt_texts("token_policies") {
            self.policies = policies;
        }
        if let Some(kind) = args.opt_text("token_type") {
            let known = match kind {
                "" | "default" | "service" | "batch" => true,
                "default-service" | "default-batch" => manner == Manner::Loose,
                _ => false,
            };
            if !known {
                return Err(Refused::bad(format!("invalid 'token_type' value {kind:?}")));
            }
            kind.clone_into(&mut self.token_type);
        }
        set(&mut self.ttl, "token_ttl");
        self.update_uses(args)?;
        if conflict {
            return text(
                "'token_strictly_bind_ip' conflicts with 'token_bound_cidrs'; set only one",
            );
        }
        if matches!(self.token_type.as_str(), "batch" | "default-batch") {
            if !self.period.is_zero() {
                return text(
                    "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens",
                );
            }
            if self.num_uses != 0 {
                return text(
                    "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count",
                );
            }
        }
        if !self.ttl.is_zero() && !self.max_ttl.is_zero() && self.ttl > self.max_ttl {
            return text("'token_ttl' cannot be greater than 'token_max_ttl'");
        }
        self.update_old(args, old)
    }

    fn update_uses(&mut self, args: &Args) -> Result<(), Refused> {
        if let Some(n) = args.opt_int("token_num_uses") {
            self.num_uses = n;
        }
        if self.num_uses < 0 {
            return Err(Refused::bad("'token_num_uses' cannot be negative"));
        }
        Ok(())
    }

    /// The parameters' old names, where the new ones are not used.
    pub(crate) fn update_old(&mut self, args: &Args, old: OldNames) -> Result<(), Refused> {
        for &(name, new) in old {
            if !args.has(name) {
                if args.has(new) {
                    self.by_old_name.remove(name);
                }
                continue;
            }
            self.by_old_name.insert(name);
            if args.has(new) {
                continue;
            }
            match new {
                "token_policies" => self.policies = effective_policies(&args.texts(name), true),
                "token_bound_cidrs" => self.bound_cidrs = addresses(args.texts(name))?,
                "token_ttl" => self.ttl = args.seconds(name),
                "token_max_ttl" => self.max_ttl = args.seconds(name),
                "token_period" => self.period = args.seconds(name),
                "token_num_uses" => self.num_uses = args.int(name),
                _ => {}
            }
        }
        Ok(())
    }

    /// What reading shows under an old name; nothing if it is empty or zero.
    fn by_old_name(&self, name: &str) -> Option<Value> {
        let list = |l: &Vec<String>| (!l.is_empty()).then(|| json!(l));
        let seconds = |d: Duration| (!d.is_zero()).then(|| d.as_secs().into());
        match name {
            "policies" => list(&self.policies),
            "bound_cidrs" => list(&self.bound_cidrs),
            "ttl" => seconds(self.ttl),
            "max_ttl" => seconds(self.max_ttl),
            "period" => seconds(self.period),
            _ => (self.num_uses > 0).then(|| self.num_uses.into()),
        }
    }

    /// As a user or role shows them.
    pub(crate) fn describe(&self, core: &Core) -> serde_json::Map<String, Value> {
        let kind = if self.token_type.is_empty() {
            "default"
        } else {
            &self.token_type
        };
        let mut out = crate::reply::object(json!({
            "token_bound_cidrs": self.bound_cidrs,
            "token_explicit_max_ttl": self.explicit_max_ttl.as_secs(),
            "token_max_ttl": self.max_ttl.as_secs(),
            "token_no_default_policy": self.no_default_policy,
            "token_num_uses": self.num_uses,
            "token_period": self.period.as_secs(),
            "token_policies": self.policies,
            "token_ttl": self.ttl.as_secs(),
            "token_type": kind,
        }));
        if core.flavour.is_openbao() {
            out.insert(
                "token_strictly_bind_ip".to_owned(),
                self.strictly_bind_ip.into(),
            );
        }
        for name in &self.by_old_name {
            if let Some(value) = self.by_old_name(name) {
                out.insert((*name).to_owned(), value);
            }
        }
        out
    }

    /// Whether a token's policies are still those of its user: `default` does not count, and OpenBao takes another case for
    /// another policy.
    pub(crate) fn still_grants(&self, flavour: Flavour, entry: &Entry) -> Result<(), Refused> {
        let own = |names: &[String]| -> BTreeSet<String> {
            let lower = |name: &String| {
                if flavour.is_vault() {
                    name.to_lowercase()
                } else {
                    name.clone()
                }
            };
            names.iter().map(lower).filter(|n| n != "default").collect()
        };
        if own(&self.policies) == own(&entry.policies) {
            return Ok(());
        }
        Err(Refused::internal(
            "failed to renew entry: policies have changed, not renewing",
        ))
    }

    pub(super) fn limits(
        &self,
        increment: Duration,
        default_ttl: Duration,
        mount_max: Duration,
    ) -> Limits {
        Limits {
            increment,
            role_ttl: self.ttl,
            role_max: self.max_ttl,
            period: self.period,
            explicit_max: self.explicit_max_ttl,
            default_ttl,
            mount_max,
        }
    }
}

/// Networks and addresses; a single address shows without its length.
pub(crate) fn addresses(texts: Vec<String>) -> Result<Vec<String>, Refused> {
    texts.into_iter().map(address).collect()
}

fn address(text: String) -> Result<String, Refused> {
    let fault = || {
        Refused::bad(format!(
            "error parsing address {text:?}: Unable to convert {text:?} to an IPv4 or IPv6 address, or a UNIX Socket"
        ))
    };
    let (base, bits) = match text.split_once('/') {
        Some((base, bits)) => (base, Some(bits)),
        None => (text.as_str(), None),
    };
    let base: std::net::IpAddr = base.parse().map_err(|_| fault())?;
    let width = if base.is_ipv4() { 32u8 } else { 128 };
    match bits {
        None => Ok(base.to_string()),
        Some(bits) => {
            let bits = bits.parse::<u8>().ok().filter(|b| *b <= width);
            match bits.ok_or_else(fault)? {
                bits if bits == width => Ok(base.to_string()),
                bits => Ok(format!("{base}/{bits}")),
            }
        }
    }
}

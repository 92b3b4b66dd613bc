//! Auth methods: what they check differs, the token they issue does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    Core,
    call::Call,
    fields::{Args, Field, Kind},
    flavour::Flavour,
    pipeline::auth_block,
    reply::{Outcome, Refused, Reply},
    token::{Entry, TokenKind},
    ttl::{self, Limits},
};

pub(crate) mod approle;
pub(crate) mod cert;
pub(crate) mod jwt;
pub(crate) mod kubernetes;
pub(crate) mod roles;
pub(crate) mod token;
pub(crate) mod userpass;

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
}

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
    /// `old` pairs a parameter's old name with its new one, which wins.
    pub(crate) fn update(&mut self, args: &Args, old: &[(&str, &str)]) -> Result<(), Refused> {
        self.update_as(args, old, Manner::Strict)
    }

    /// The same in the manner of one method or another.
    pub(crate) fn update_as(
        &mut self,
        args: &Args,
        old: &[(&str, &str)],
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
    pub(crate) fn update_old(&mut self, args: &Args, old: &[(&str, &str)]) -> Result<(), Refused> {
        for (name, new) in old.iter().filter(|(n, new)| args.has(n) && !args.has(new)) {
            match *new {
                "token_policies" => self.policies = args.texts(name),
                "token_bound_cidrs" => self.bound_cidrs = addresses(args.texts(name))?,
                "token_ttl" => self.ttl = args.seconds(name),
                "token_max_ttl" => self.max_ttl = args.seconds(name),
                "token_period" => self.period = args.seconds(name),
                _ => {}
            }
        }
        Ok(())
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

    fn limits(&self, increment: Duration, default_ttl: Duration, mount_max: Duration) -> Limits {
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

/// Too many logins have failed.
pub(crate) fn locked() -> Refused {
    Refused::Login(403, "permission denied".to_owned())
}

/// Who has just proven to be who.
pub(crate) struct Login<'a> {
    pub params: &'a TokenParams,
    pub alias: &'a str,
    /// User or role within the mount: renewal looks it up again.
    pub owner: &'a str,
    pub display_name: &'a str,
    pub metadata: BTreeMap<String, String>,
}

/// The policies a token gets: sorted, each once, with `default` unless it was refused.
pub(crate) fn effective_policies(policies: &[String], no_default: bool) -> Vec<String> {
    let mut out: Vec<String> = policies
        .iter()
        .map(|p| p.trim().to_lowercase())
        .filter(|p| !p.is_empty())
        .collect();
    if !no_default && !out.iter().any(|p| p == "root" || p == "default") {
        out.push("default".to_owned());
    }
    if out.iter().any(|p| p == "root") {
        // nothing else counts beside it
        return vec!["root".to_owned()];
    }
    out.sort();
    out.dedup();
    out
}

impl Core {
    /// A new service token's text, with the namespace's id at the end outside the root namespace.
    pub(crate) fn service_token(&mut self, ns: &str) -> String {
        let (prefix, length) = self.flavour.service_token();
        let text = format!("{prefix}{}", self.base62(length));
        match self.namespace(ns).filter(|n| !n.path.is_empty()) {
            Some(space) => format!("{text}.{}", space.id),
            None => text,
        }
    }

    pub(crate) fn batch_token(&mut self, ns: &str) -> String {
        let (prefix, length) = self.flavour.batch_token();
        let text = format!("{prefix}{}", self.base62(length));
        match self.namespace(ns).filter(|n| !n.path.is_empty()) {
            Some(space) => format!("{text}.{}", space.id),
            None => text,
        }
    }

    /// Issues the token of a successful login.
    pub(crate) fn issue(&mut self, call: &Call, login: Login<'_>) -> Outcome {
        let Some(mount) = self.mount(call.mount) else {
            return Err(Refused::denied());
        };
        let (accessor, default_ttl, max_ttl) = (
            mount.accessor.clone(),
            mount.default_lease(),
            mount.max_lease(),
        );
        let entity_id = self.entity_of(&call.ns, &accessor, login.alias);
        if self.identity.is_invalid(&entity_id) {
            return Err(locked());
        }
        let params = login.params;
        let policies = effective_policies(&params.policies, params.no_default_policy);
        if policies.iter().any(|p| p == "root") {
            let text = "auth methods cannot create root tokens".to_owned();
            return Err(Refused::Login(400, text));
        }
        let batch = params.token_type == "batch";
        let limits = params.limits(Duration::ZERO, default_ttl, max_ttl);
        let (granted, warnings) =
            ttl::grant(&limits, self.now, self.now).map_err(Refused::internal)?;
        let id = if batch {
            self.batch_token(&call.ns)
        } else {
            self.service_token(&call.ns)
        };
        let token_accessor = if batch {
            String::new()
        } else {
            self.base62(24)
        };
        let prefix = call.ns.replace('/', "-");
        let mount_name = call
            .mount_path
            .trim_start_matches("auth/")
            .trim_end_matches('/');
        let family = if prefix.is_empty() {
            mount_name.to_owned()
        } else {
            format!("{prefix}auth-{mount_name}")
        };
        let display_name = if login.display_name.is_empty() {
            family
        } else {
            format!("{family}-{}", login.display_name)
        };
        let entry = Entry {
            ns: call.ns.clone(),
            policies,
            meta: Some(login.metadata),
            display_name,
            path: call.full.clone(),
            owner: login.owner.to_owned(),
            creation_ttl: granted,
            explicit_max_ttl: params.explicit_max_ttl,
            period: params.period,
            num_uses: params.num_uses,
            renewable: !batch,
            kind: if batch {
                TokenKind::Batch
            } else {
                TokenKind::Service
            },
            orphan: true,
            entity_id,
            bound_cidrs: params.bound_cidrs.clone(),
            expires: Some(self.now + granted),
            ..Entry::new(id, token_accessor, call.mount, self.now)
        };
        let auth = auth_block(&entry, granted);
        self.tokens.insert(entry);
        Ok(Some(Reply {
            auth: Some(auth),
            warnings,
            ..Reply::default()
        }))
    }
}

//! Auth methods: what they check differs, the token they issue does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    Core,
    call::Call,
    pipeline::auth_block,
    reply::{Outcome, Refused, Reply},
    token::{Entry, TokenKind},
    ttl,
};

pub(crate) mod approle;
pub(crate) mod cert;
pub(crate) mod jwt;
pub(crate) mod kubernetes;
mod params;
pub(crate) mod roles;
pub(crate) mod token;
pub(crate) mod userpass;

pub(crate) use params::{Manner, OldNames, TOKEN_FIELDS, TokenParams, addresses};

/// Random characters of a root token, in either server.
const ROOT_TOKEN: usize = 24;

/// A login that the core ends.
fn locked() -> Refused {
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
    /// The alias keeps the metadata as well as the token, and has limits for it.
    pub alias_keeps: bool,
}

/// Names as the servers keep lists of them: in lower case, sorted, each once.
pub(crate) fn tidied(names: &[String]) -> Vec<String> {
    let lower = names.iter().map(|n| n.trim().to_lowercase());
    let tidied: BTreeSet<String> = lower.filter(|n| !n.is_empty()).collect();
    tidied.into_iter().collect()
}

/// The policies a token gets: sorted, each once, with `default` unless it was refused.
pub(crate) fn effective_policies(policies: &[String], no_default: bool) -> Vec<String> {
    let mut out = tidied(policies);
    if out.iter().any(|p| p == "root") {
        // nothing else counts beside it
        return vec!["root".to_owned()];
    }
    if !no_default && !out.iter().any(|p| p == "default") {
        out.push("default".to_owned());
        out.sort();
    }
    out
}

impl Core {
    /// Whether too many logins of this alias have failed; asked before anything else about a login.
    pub(crate) fn check_lock(&self, call: &Call, alias: &str) -> Result<(), Refused> {
        let (accessor, lockout) = self.lockout_of(call);
        if self.lockouts.is_locked(&accessor, alias, lockout, self.now) {
            return Err(locked());
        }
        Ok(())
    }

    /// A new service token's text, with the namespace's id at the end outside the root namespace. A root token's is short.
    pub(crate) fn service_token(&mut self, ns: &str, root: bool) -> String {
        let (prefix, length) = self.flavour.service_token();
        let length = if root { ROOT_TOKEN } else { length };
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
        let kept = login.alias_keeps.then_some(&login.metadata);
        let entity_id = self.entity_of(&call.ns, &accessor, login.alias, kept)?;
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
            self.service_token(&call.ns, false)
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
        // failures count until a login gives a token; a lock that another spelling went around stays
        let (_, lockout) = self.lockout_of(call);
        let locked = (self.lockouts).is_locked(&accessor, login.alias, lockout, self.now);
        if !locked {
            self.lockouts.clear(&accessor, login.alias);
        }
        Ok(Some(Reply {
            auth: Some(auth),
            warnings,
            ..Reply::default()
        }))
    }
}

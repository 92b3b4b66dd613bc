//! From an HTTP request to an HTTP answer: the order of checks.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use crate::{
    Core, Request, Response,
    acl::Asked,
    call::Op,
    mounts::{Backend, MountId},
    node::{Answered, Unwrapped},
    reply::{Outcome, Refused, Reply},
    sys,
    token::{Entry, TokenKind},
    transit,
};

mod front;
mod render;
mod run;
mod url;

pub(crate) use render::auth_block;
use run::wrap_ttl;
pub(crate) use url::Target;

impl Core {
    /// Answers one request. `now` counts from the server's birth and never goes back: an earlier value counts as the latest one.
    pub fn handle(&mut self, now: Duration, request: &Request) -> Response {
        self.now = self.now.max(now);
        self.tokens.expire(self.now);
        transit::rotate_due(self);
        let mut limits = Vec::new();
        let mut response = self.dispatch(request, &mut limits);
        if response.status != 0 {
            response.headers.extend(limits);
        }
        if request.method == "CONNECT" && self.flavour.is_openbao() {
            response
                .headers
                .push(("Connection".to_owned(), "close".to_owned()));
        }
        if let Some(ns) = request.get("X-Vault-Namespace").filter(|ns| !ns.is_empty())
            && response.status != 0
        {
            response
                .headers
                .push(("X-Vault-Namespace".to_owned(), ns.to_owned()));
        }
        response
    }

    fn dispatch(&mut self, request: &Request, limits: &mut Vec<(String, String)>) -> Response {
        let target = match Target::parse(&request.path) {
            Ok(target) => target,
            Err(response) => return self.redirected(response),
        };
        if target.path.chars().any(char::is_control) {
            return self.refuse(Refused::Bodiless(400));
        }
        let page = matches!(request.method.as_str(), "GET" | "HEAD");
        let cleaned = target.clean.as_ref().map(|to| url::redirect(to, page));
        let Some(path) = target.path.strip_prefix("/v1/") else {
            return match cleaned {
                Some(response) => self.redirected(response),
                None => self.outside(request, &target),
            };
        };
        if request.body.len() > self.options.max_request_size {
            let mut response = self.too_large();
            response
                .headers
                .push(("Connection".to_owned(), "close".to_owned()));
            return response;
        }
        let (ns, inner) = self.resolve_namespace(&self.header_namespace(request), path);
        let inner = inner.to_owned();
        if let Some(checked) = self.check_quota(request, &ns, &inner) {
            *limits = checked.headers;
            if checked.refused {
                let slash = match self.lists(request, &target) {
                    Err(unclear) => return self.refuse(unclear),
                    Ok(true) if !path.ends_with('/') => "/",
                    Ok(_) => "",
                };
                let shown = format!("{path}{slash}");
                let text = format!("request path {shown:?}: rate limit quota exceeded");
                let mut response = self.refuse(Refused::Plain(429, text));
                // to log it the servers read it, and complain of what they cannot read behind their first answer
                if self.quotas.audit
                    && request.method != "OPTIONS"
                    && let Err(fault) = self.read_request(request, &target)
                {
                    let second = self.refuse(fault).body;
                    response.body = [response.body, second].concat().into();
                }
                return response;
            }
        }
        if let Some(response) = cleaned {
            return self.redirected(response);
        }
        if let Some(response) = self.front(request, path, &target) {
            return response;
        }
        let mut done = self.logical(request, path, &target);
        if let Ok(Some(reply)) = &mut done.outcome {
            // a prefix hides from the HTTP layer that this is a system path
            reply.top_level &= path.starts_with("sys/");
        }
        self.render(done)
    }

    /// Everything that goes through the request core.
    fn logical(&mut self, request: &Request, path: &str, target: &Target) -> Done {
        if self.flavour.is_openbao() && path.split('/').any(|s| s == "..") {
            return Done::plain(Refused::bad("relative paths not supported"));
        }
        let vault = self.flavour.is_vault();
        if let (true, Err(refused)) = (vault, self.check_consistency(request)) {
            return Done::plain(refused);
        }
        let early = vault || !self.seal.initialised || self.node.uninitialised;
        if early && self.sealed() {
            return Done::plain(sealed());
        }
        let (op, raw) = match self.read_request(request, target) {
            Ok(read) => read,
            Err(refused) => return Done::plain(refused),
        };
        // OpenBao reads the body first
        if let (false, Err(refused)) = (vault, self.check_consistency(request)) {
            return Done::plain(refused);
        }
        if self.sealed() {
            return Done::plain(sealed());
        }
        if let Err(refused) = self.check_headers(request) {
            return Done::plain(refused);
        }
        let (ns, path) = match self.place(request, path) {
            Ok(place) => place,
            Err(refused) => return Done::plain(refused),
        };
        if path.ends_with('/') && matches!(op, Op::Update | Op::Create | Op::Patch) {
            return Done::plain(Refused::bad("cannot write to a path ending in '/'"));
        }
        let path = if matches!(op, Op::List | Op::Scan) && !path.ends_with('/') {
            format!("{path}/")
        } else {
            path
        };
        // the name of a mount alone is the mount itself
        let bare = !path.ends_with('/') && self.mount_at(&ns, &path).is_some();
        let path = if bare { format!("{path}/") } else { path };
        let place = Place { ns, path };
        match self.elsewhere(request, op, &place) {
            Some(Answered::Refused(refused)) => return Done::plain(refused),
            Some(Answered::Redirect(to)) => return Done::plain(Refused::Redirect(to)),
            None => {}
        }
        let unwrapped = self.unwrapped_here(request, op, &place);
        let Place { ns, path } = place;
        if self.audit_broken {
            // the use is counted before the audit device is asked
            if let Ok(Some(token)) = self.caller(request) {
                self.spend_use(token);
            }
            return Done::plain(Refused::Plain(500, "internal error".to_owned()));
        }
        if let Err(refused) = self.check_wrapping_token(request, &path, &raw) {
            return Done::plain(refused);
        }
        let login = self
            .route(&ns, &path)
            .is_some_and(|m| m.backend.is_login(below(&m.path, &path)));
        let done = if login {
            self.log_in(request, op, ns, path, raw)
        } else {
            self.with_token(request, op, ns, path, raw)
        };
        match unwrapped {
            Some(Unwrapped::Answer(refused))
                if done.wrap.is_some() && matches!(done.outcome, Ok(Some(_))) =>
            {
                Done::plain(refused)
            }
            Some(Unwrapped::Request(refused)) if done.wrap.is_some() => Done::plain(refused),
            _ => done,
        }
    }

    /// Headers that say how current an answer must be, and who is to give it.
    fn check_consistency(&self, request: &Request) -> Result<(), Refused> {
        let inconsistent = request.get("X-Vault-Inconsistent").unwrap_or_default();
        if self.flavour.is_vault() {
            let disabled = if request.get("X-Vault-Forward").is_some() {
                "X-Vault-Forward"
            } else if inconsistent == "forward-active-node" {
                "X-Vault-Inconsistent=forward-active-node"
            } else {
                return Ok(());
            };
            let text = format!("forwarding via header {disabled} disabled in configuration");
            return Err(Refused::bad(text));
        }
        let index = request.get("X-Vault-Index");
        if index.is_some_and(|text| Self::index_value(text).is_none()) {
            return Err(Refused::bad("failed to decode \"X-Vault-Index\""));
        }
        if !matches!(inconsistent, "" | "fail" | "forward-active-node") {
            return Err(Refused::bad(
                "unknown value for \"X-Vault-Inconsistent\" header",
            ));
        }
        Ok(())
    }

    /// Headers that are read before the request itself.
    fn check_headers(&self, request: &Request) -> Result<(), Refused> {
        if let Some(text) = request.get("X-Vault-Wrap-TTL").filter(|t| !t.is_empty()) {
            let fault = match crate::duration::parse(text) {
                Some(Ok(_)) => None,
                Some(Err(_)) => Some("requested wrap ttl cannot be negative".to_owned()),
                None => Some(crate::duration::fault(text)),
            };
            if let Some(fault) = fault {
                return Err(Refused::bad(format!(
                    "error parsing X-Vault-Wrap-TTL header: {fault}"
                )));
            }
        }
        Ok(())
    }

    /// A request on a path that needs no token.
    fn log_in(
        &mut self,
        request: &Request,
        op: Op,
        ns: String,
        path: String,
        raw: Map<String, Value>,
    ) -> Done {
        // whose entity is gone or disabled is refused even what needs no token
        let carried = self.tokens.get(token_text(request));
        if carried.is_some_and(|t| self.identity.is_invalid(&t.entity_id))
            && path != "sys/wrapping/lookup"
        {
            return Done::plain(Refused::denied());
        }
        let caller = self.caller(request);
        if let (Err(refused), true) = (&caller, path.starts_with("sys/internal/ui/")) {
            return Done::plain(refused.clone());
        }
        let token = caller.ok().flatten();
        let mount = self.route(&ns, &path);
        let system = mount.is_some_and(|m| matches!(m.backend, Backend::System));
        // Vault then looks into the token for the user whose failures to forget, and finds none
        let panics = self.flavour.is_vault()
            && token.as_ref().is_some_and(|t| t.kind == TokenKind::Batch)
            && mount.is_some_and(|m| m.backend.locks_users() && !m.lockout.disabled);
        let unnamed = self.flavour.is_vault()
            && mount.is_some_and(|m| {
                let inner = below(&m.path, &path);
                matches!(m.backend, Backend::Userpass(_))
                    && !m.lockout.disabled
                    && self.find(m.backend.table(), inner).is_none()
            });
        if unnamed {
            // who is to be counted is asked before anything else
            let text = "failed to determine alias name from login request".to_owned();
            return Done::plain(Refused::Plain(500, text));
        }
        let token = if system { token } else { None };
        let full = path.clone();
        let (outcome, mount) = self.run(request, op, ns, path, raw, token);
        let outcome = outcome.map_err(|refused| match refused {
            Refused::Login(..) => refused,
            _ if panics => Refused::Panic,
            Refused::Wrapped(status, text)
                if !system || self.flavour.is_vault() || status == 405 =>
            {
                Refused::Plain(status, text)
            }
            other => other,
        });
        Done {
            outcome,
            mount,
            open: true,
            wrap: self.wanted_wrap(request, &full, ""),
        }
    }

    fn with_token(
        &mut self,
        request: &Request,
        op: Op,
        ns: String,
        path: String,
        raw: Map<String, Value>,
    ) -> Done {
        let token = match self.caller(request) {
            Ok(Some(token)) => token,
            Ok(None) => return Done::plain(Refused::denied()),
            Err(refused) => return Done::plain(refused),
        };
        let (mut ns, mut path) = (ns, path);
        if path.ends_with("-self") && path.starts_with("auth/token/") && token.ns != ns {
            // `-self` endpoints follow the token, wherever the request points
            ns.clone_from(&token.ns);
            path = path
                .rsplit_once("auth/token/")
                .map_or(path.clone(), |(_, tail)| format!("auth/token/{tail}"));
        }
        let mut op = op;
        let mut verdict = Ok(());
        if matches!(op, Op::Update | Op::Create) {
            match self.exists(request, op, &ns, &path, &raw, &token) {
                Ok(Some(false)) => op = Op::Create,
                Ok(_) => {}
                Err(refused) => verdict = Err(refused),
            }
        }
        if op == Op::Read && raw.contains_key("help") {
            // any living token may ask for help
            return self.help(&ns, &path);
        }
        // A mount that was named without its slash is checked by that name.
        let asked = request.path.split('?').next().unwrap_or_default();
        let plain = matches!(op, Op::Read | Op::Delete | Op::Header);
        let named = match path.strip_suffix('/') {
            Some(bare) if plain && !asked.ends_with('/') => bare,
            _ => &path,
        };
        let asked = Asked {
            op,
            path: named,
            raw: &raw,
            wrap: wrap_ttl(request),
            sudo: false,
        };
        if verdict.is_ok() && !self.may(&token, &ns, asked) {
            verdict = Err(Refused::Wrapped(403, "permission denied".to_owned()));
        }
        let token = self.spend_use(token);
        let mut wrap = None;
        let (outcome, mount) = match verdict {
            Err(refused) => (Err(refused), None),
            Ok(()) if self.route(&ns, &path).is_none() => {
                let text = format!("no handler for route {path:?}. route entry not found.");
                (Err(Refused::Plain(404, text)), None)
            }
            Ok(()) => {
                wrap = self.wanted_wrap(request, &path, &token.display_name);
                self.run(request, op, ns, path, raw, Some(Arc::clone(&token)))
            }
        };
        if token.num_uses < 0 {
            self.tokens.revoke(&token.id, true);
        }
        Done {
            outcome,
            mount,
            open: false,
            wrap,
        }
    }

    /// The namespace that the header names, whether there is one of that name or not.
    fn header_namespace(&self, request: &Request) -> String {
        match request
            .get("X-Vault-Namespace")
            .unwrap_or_default()
            .trim_matches('/')
        {
            name if name.is_empty() || name == "root" || !self.has_namespaces() => String::new(),
            name => format!("{name}/"),
        }
    }

    fn help(&self, ns: &str, path: &str) -> Done {
        let document = self
            .route(ns, path)
            .and_then(|m| sys::help::document(self, &m.kind, below(&m.path, path)));
        match document {
            Some(raw) => Done {
                outcome: Ok(Some(Reply {
                    raw: Some(raw),
                    ..Reply::default()
                })),
                mount: None,
                open: false,
                wrap: None,
            },
            None => Done::plain(Refused::unsupported_path()),
        }
    }

    /// Namespace and path below it.
    fn place(&self, request: &Request, path: &str) -> Result<(String, String), Refused> {
        if !self.has_namespaces() {
            return Ok((String::new(), path.to_owned()));
        }
        let base = self.header_namespace(request);
        if !self.namespaces.contains_key(&base) {
            return Err(Refused::Plain(404, "namespace not found".to_owned()));
        }
        let (ns, rest) = self.resolve_namespace(&base, path);
        if let Some(locked) = self
            .locked_by(&ns)
            .filter(|_| !rest.starts_with("sys/namespaces/api-lock/unlock"))
        {
            return Err(Refused::Plain(
                503,
                format!(
                    "API access to this namespace has been locked by an administrator - {locked:?} must be unlocked to gain access."
                ),
            ));
        }
        Ok((ns, rest.to_owned()))
    }

    /// Whether the caller's token is good but for its entity, which is disabled.
    pub(crate) fn is_of_disabled_entity(&self, request: &Request) -> bool {
        let token = self.tokens.get(token_text(request));
        let entity = token.and_then(|t| self.identity.entities.get(&t.entity_id));
        entity.is_some_and(|entity| entity.disabled)
    }

    /// The caller's token; `Ok(None)` if the request carries none.
    pub(crate) fn caller(&self, request: &Request) -> Result<Option<Arc<Entry>>, Refused> {
        let text = token_text(request);
        if text.is_empty() {
            return Ok(None);
        }
        let dead = || Refused::Plain(403, self.flavour.dead_token().to_owned());
        let Some(entry) = self.tokens.get(text) else {
            let suffix = text.splitn(3, '.').nth(2);
            if self.flavour.is_vault() && text.starts_with("hvs.") && suffix.is_some() {
                let text = "error performing token check: failed to look up namespace from the token: no namespace";
                return Err(Refused::Plain(500, text.to_owned()));
            }
            return Err(dead());
        };
        if entry.num_uses < 0 {
            return Err(dead());
        }
        if !within(request.peer, &entry.bound_cidrs) || self.identity.is_invalid(&entry.entity_id) {
            return Err(Refused::denied());
        }
        Ok(Some(Arc::clone(entry)))
    }

    fn spend_use(&mut self, token: Arc<Entry>) -> Arc<Entry> {
        if token.num_uses == 0 {
            return token;
        }
        self.tokens.update(&token.id, |e| {
            e.num_uses = if e.num_uses <= 1 { -1 } else { e.num_uses - 1 }
        });
        self.tokens.get(&token.id).map_or(token, Arc::clone)
    }

    /// Whether the token may do that on a path of a namespace, at or below its own. Its policies speak of paths relative to that.
    fn may(&self, token: &Entry, ns: &str, asked: Asked<'_>) -> bool {
        let Some(inner) = ns.strip_prefix(token.ns.as_str()) else {
            return false;
        };
        let sudo = sys::sudo::is_needed(self.flavour, asked.path);
        let path = format!("{inner}{}", asked.path);
        let asked = Asked {
            path: &path,
            sudo,
            ..asked
        };
        self.allowed(token, asked)
    }
}

/// The token that a request carries; empty without.
fn token_text(request: &Request) -> &str {
    let bearer = || request.get("Authorization")?.strip_prefix("Bearer ");
    let token = request.get("X-Vault-Token").or_else(bearer);
    token.unwrap_or_default().trim()
}

/// Where a request goes: a namespace and the path below it.
pub(crate) struct Place {
    pub ns: String,
    pub path: String,
}

/// How the client wants its answer put aside.
pub(crate) struct Wrap {
    pub ttl: Duration,
    /// The token comes inside a JWT.
    pub jwt: bool,
    /// The path of the request.
    pub path: String,
    /// The caller's name; empty where a login has yet to make one.
    pub by: String,
}

/// The outcome of a request and what its rendering depends on.
pub(crate) struct Done {
    pub outcome: Outcome,
    pub mount: Option<MountId>,
    /// The path needs no token.
    pub open: bool,
    pub wrap: Option<Wrap>,
}

impl Done {
    pub(crate) fn plain(refused: Refused) -> Self {
        Self {
            outcome: Err(refused),
            mount: None,
            open: false,
            wrap: None,
        }
    }
}

pub(crate) fn sealed() -> Refused {
    Refused::Plain(503, "Vault is sealed".to_owned())
}

/// The part of a path below a mount.
pub(crate) fn below<'p>(mount: &str, path: &'p str) -> &'p str {
    path.get(mount.len()..).unwrap_or_default()
}

/// Whether an address is inside one of the blocks; no blocks means no restriction.
pub(crate) fn within(peer: IpAddr, blocks: &[String]) -> bool {
    blocks.is_empty()
        || blocks
            .iter()
            .any(|block| in_block(peer, block).unwrap_or(false))
}

fn in_block(peer: IpAddr, block: &str) -> Option<bool> {
    let (base, bits) = block.split_once('/').unwrap_or((block, ""));
    let base: IpAddr = base.parse().ok()?;
    let (peer, base, width) = match (peer, base) {
        (IpAddr::V4(p), IpAddr::V4(b)) => (u128::from(u32::from(p)), u128::from(u32::from(b)), 32),
        (IpAddr::V6(p), IpAddr::V6(b)) => (u128::from(p), u128::from(b), 128),
        _ => return Some(false),
    };
    let bits: u32 = if bits.is_empty() {
        width
    } else {
        bits.parse().ok()?
    };
    let shift = width.checked_sub(bits)?;
    Some(shift >= 128 || peer >> shift == base >> shift)
}

//! From an HTTP request to an HTTP answer: the order of checks, and how answers and refusals are dressed.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Core, Request, Response, Storage,
    call::{Call, Op},
    fields::{self, Args},
    gobase64, json,
    mounts::{Backend, MountId},
    node::Answered,
    reply::{AuthBlock, Outcome, Refused, Reply},
    route, sys,
    token::{Entry, TokenKind},
};

mod front;
mod url;

pub(crate) use url::Target;

impl Core {
    /// Answers one request. `now` counts from the server's birth and never goes back: an earlier value counts as the latest one.
    pub fn handle(&mut self, now: Duration, request: &Request) -> Response {
        self.now = self.now.max(now);
        self.tokens.expire(self.now);
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
        let Some(path) = target.path.strip_prefix("/v1/") else {
            return self.outside(request, &target);
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
                let text = format!("request path {path:?}: rate limit quota exceeded");
                return self.refuse(Refused::Plain(429, text));
            }
        }
        if let Some(response) = self.front(request, path, &target) {
            return response;
        }
        let outcome = self.logical(request, path, &target);
        self.render(outcome)
    }

    /// Everything that goes through the request core.
    fn logical(&mut self, request: &Request, path: &str, target: &Target) -> Done {
        if path.split('/').any(|s| s == "..") {
            return Done::plain(self.relative_path());
        }
        if path.chars().any(|c| c.is_control()) {
            return Done::plain(Refused::Bodiless(400));
        }
        let early = self.flavour.is_vault() || !self.seal.initialised || self.node.uninitialised;
        if early && self.sealed() {
            return Done::plain(sealed());
        }
        let (op, raw) = match self.read_request(request, target) {
            Ok(read) => read,
            Err(refused) => return Done::plain(refused),
        };
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
        let place = Place { ns, path };
        match self.elsewhere(request, op, &place) {
            Some(Answered::Refused(refused)) => return Done::plain(refused),
            Some(Answered::Redirect(to)) => return Done::plain(Refused::Redirect(to)),
            None => {}
        }
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
        let login = self.route(&ns, &path).is_some_and(|m| {
            m.backend.is_login(below(&m.path, &path)) && !matches!(op, Op::List | Op::Scan)
        });
        if login {
            self.log_in(request, op, ns, path, raw)
        } else {
            self.with_token(request, op, ns, path, raw)
        }
    }

    /// Headers that are read before the request itself.
    fn check_headers(&self, request: &Request) -> Result<(), Refused> {
        if let Some(text) = request.get("X-Vault-Wrap-TTL").filter(|t| !t.is_empty()) {
            let fault = match crate::duration::parse(text) {
                Some(Ok(_)) => None,
                Some(Err(_)) => Some("requested wrap ttl cannot be negative".to_owned()),
                None => Some(format!("time: invalid duration {text:?}")),
            };
            if let Some(fault) = fault {
                return Err(Refused::bad(format!(
                    "error parsing X-Vault-Wrap-TTL header: {fault}"
                )));
            }
        }
        if self.flavour.is_vault()
            && request.get("X-Vault-Inconsistent") == Some("forward-active-node")
        {
            return Err(Refused::bad(
                "forwarding via header X-Vault-Inconsistent=forward-active-node disabled in configuration",
            ));
        }
        let index = request
            .get("X-Vault-Index")
            .filter(|_| self.flavour.is_openbao());

        match index {
            Some(text) if Self::index_value(text).is_none() => {
                Err(Refused::bad("failed to decode \"X-Vault-Index\""))
            }
            _ => Ok(()),
        }
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
        let token = self.caller(request).ok().flatten();
        let system = self
            .route(&ns, &path)
            .is_some_and(|m| matches!(m.backend, Backend::System));
        let token = if system { token } else { None };
        let full = path.clone();
        let (outcome, mount) = self.run(request, op, ns, path, raw, token);
        let outcome = outcome.map_err(|refused| match refused {
            Refused::Wrapped(status, text) if !system => Refused::Plain(status, text),
            other => other,
        });
        Done {
            outcome,
            mount,
            open: true,
            wrap: self.wanted_wrap(request, &full),
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
        if path.ends_with("-self") && token.ns != ns {
            // `-self` endpoints follow the token, wherever the request points
            ns.clone_from(&token.ns);
            path = path
                .rsplit_once("auth/token/")
                .map_or(path.clone(), |(_, tail)| format!("auth/token/{tail}"));
        }
        let mut op = op;
        let mut verdict = Ok(());
        if matches!(op, Op::Update | Op::Create) {
            match self.exists(request, op, &ns, &path, &raw) {
                Ok(Some(false)) => op = Op::Create,
                Ok(_) => {}
                Err(refused) => verdict = Err(refused),
            }
        }
        if op == Op::Read && raw.contains_key("help") {
            // any living token may ask for help
            return self.help(&ns, &path);
        }
        if verdict.is_ok() && !self.may(&token, op, &ns, &path, &raw) {
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
                wrap = self.wanted_wrap(request, &path);
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
            name if name.is_empty() || name == "root" || !self.flavour.namespaces() => {
                String::new()
            }
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
        if !self.flavour.namespaces() {
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

    /// The caller's token; `Ok(None)` if the request carries none.
    fn caller(&self, request: &Request) -> Result<Option<Arc<Entry>>, Refused> {
        let text = match request.get("X-Vault-Token") {
            Some(token) => token,
            None => request
                .get("Authorization")
                .and_then(|v| v.strip_prefix("Bearer "))
                .unwrap_or_default(),
        };
        let text = text.trim();
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
        if !within(request.peer, &entry.bound_cidrs) || self.identity.is_disabled(&entry.entity_id)
        {
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

    /// Policies of the token's namespace speak of paths relative to it.
    fn may(&self, token: &Entry, op: Op, ns: &str, path: &str, raw: &Map<String, Value>) -> bool {
        let Some(inner) = ns.strip_prefix(token.ns.as_str()) else {
            return false;
        };
        let relative = if inner.is_empty() {
            path.to_owned()
        } else {
            format!("{inner}{path}")
        };
        let listed = if matches!(op, Op::List | Op::Scan) {
            relative.clone()
        } else {
            relative
        };
        self.allowed(token, op, &listed, raw)
            && (!crate::sys::needs_sudo(path, op) || self.has_sudo(token, &listed))
    }

    /// `None`: the endpoint has no existence check.
    fn exists(
        &mut self,
        request: &Request,
        op: Op,
        ns: &str,
        path: &str,
        raw: &Map<String, Value>,
    ) -> Result<Option<bool>, Refused> {
        let Some(mount) = self.route(ns, path) else {
            return Ok(None);
        };
        let (table, inner) = (mount.backend.table(), below(&mount.path, path));
        let Some((endpoint, captured)) = self.find(table, inner) else {
            return Ok(None);
        };
        let Some(check) = endpoint.exists else {
            return Ok(None);
        };
        let place = (mount.id, mount.path.clone(), inner.to_owned());
        let args = self
            .convert(endpoint.fields, raw, captured)
            .map_err(Refused::bad)?;
        let call = new_call(
            request,
            op,
            ns.to_owned(),
            path.to_owned(),
            place,
            args,
            raw.clone(),
            None,
        );
        check(self, &call).map(Some)
    }

    fn convert(
        &self,
        specs: &[fields::Field],
        raw: &Map<String, Value>,
        captured: Map<String, Value>,
    ) -> Result<Args, String> {
        let mut args = Map::new();
        for (name, kind) in specs {
            if let Some(value) = raw.get(*name) {
                match fields::convert(*kind, value) {
                    Ok(converted) => args.insert((*name).to_owned(), converted),
                    Err(text) => {
                        return Err(fields::conversion_error(self.flavour, name, value, &text));
                    }
                };
            }
        }
        args.extend(captured);
        Ok(Args(args))
    }

    /// Routes to an endpoint and carries it out.
    fn run(
        &mut self,
        request: &Request,
        op: Op,
        ns: String,
        path: String,
        raw: Map<String, Value>,
        token: Option<Arc<Entry>>,
    ) -> (Outcome, Option<MountId>) {
        let Some(mount) = self.route(&ns, &path) else {
            return (Err(Refused::denied()), None);
        };
        let id = mount.id;
        let (table, inner) = (mount.backend.table(), below(&mount.path, &path).to_owned());
        let place = (id, mount.path.clone(), inner.clone());
        let Some((endpoint, captured)) = self.find(table, &inner) else {
            return (Err(Refused::unsupported_path()), Some(id));
        };
        let Some(handler) = endpoint.handler(op) else {
            let listing = matches!(op, Op::List | Op::Scan);
            let refused = if listing {
                Refused::unsupported_path()
            } else {
                Refused::unsupported_operation()
            };
            return (Err(refused), Some(id));
        };
        let writes = matches!(op, Op::Create | Op::Update | Op::Patch);
        let names = |wanted: &dyn Fn(&str) -> bool| {
            raw.keys()
                .map(String::as_str)
                .filter(|k| wanted(k))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let openbao = self.flavour.is_openbao();
        // `nonce` is Vault's alone, paging OpenBao's
        let foreign = |k: &str| {
            if openbao {
                k == "nonce"
            } else {
                k == "after" || k == "limit"
            }
        };
        let known = |k: &str| endpoint.fields.iter().any(|(n, _)| *n == k) && !foreign(k);
        let ignored = names(&|k| !known(k) && !captured.contains_key(k));
        let replaced = names(&|k| captured.contains_key(k));
        let open = endpoint.fields.iter().any(|(n, _)| *n == "*");
        let args = match self.convert(endpoint.fields, &raw, captured) {
            Ok(args) => args,
            Err(text) => {
                let login = token.is_none();
                if login && self.flavour.is_vault() && path.contains("/login/") {
                    // the handler that asks for the user's name takes the password for a string and panics
                    return (Err(Refused::Panic), Some(id));
                }
                let status = if login { 500 } else { 400 };
                return (
                    Err(Refused::Plain(
                        status,
                        format!("Field validation failed: {text}"),
                    )),
                    Some(id),
                );
            }
        };
        let call = new_call(request, op, ns, path, place, args, raw, token);
        if op != Op::Read && op != Op::List {
            self.wrote();
        }
        let mut outcome = handler(self, &call);
        if (writes || op == Op::List)
            && !open
            && let Ok(Some(reply)) = &mut outcome
        {
            if !ignored.is_empty() {
                reply.warnings.push(format!(
                    "Endpoint ignored these unrecognized parameters: [{ignored}]"
                ));
            }
            if !replaced.is_empty() {
                reply.warnings.push(format!(
                        "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [{replaced}]"
                    ));
            }
        }
        (outcome, Some(id))
    }

    fn find<'t>(
        &self,
        table: &'t [route::Endpoint],
        path: &str,
    ) -> Option<(&'t route::Endpoint, Map<String, Value>)> {
        let found = route::find(table, path)?;
        (self.flavour.is_openbao() || !found.0.pattern.contains("soft-delete")).then_some(found)
    }

    pub(crate) fn sealed(&self) -> bool {
        self.seal.sealed || !self.seal.initialised || self.node.sealed || self.node.uninitialised
    }

    fn relative_path(&self) -> Refused {
        if self.flavour.is_openbao() {
            Refused::bad("relative paths not supported")
        } else {
            Refused::Wrapped(403, "permission denied".to_owned())
        }
    }

    fn wanted_wrap(&self, request: &Request, path: &str) -> Option<Wrap> {
        let ttl = request
            .get("X-Vault-Wrap-TTL")
            .and_then(crate::duration::parse)?
            .ok()
            .filter(|d| !d.is_zero())?;
        let jwt = request.get("X-Vault-Wrap-Format") == Some("jwt");
        Some(Wrap {
            ttl,
            jwt,
            path: path.to_owned(),
        })
    }

    /// Dresses an outcome as HTTP.
    pub(crate) fn render(&mut self, done: Done) -> Response {
        let mount_type = done
            .mount
            .and_then(|id| self.mount(id))
            .map(|m| match &m.backend {
                Backend::Kv2(_) => "kv".to_owned(),
                _ => m.kind.clone(),
            });
        let reply = match done.outcome {
            Err(refused) => return self.refuse(refused),
            Ok(reply) => match (done.wrap, reply) {
                (Some(wrap), Some(reply)) => {
                    let kind = if done.open {
                        String::new()
                    } else {
                        mount_type.clone().unwrap_or_default()
                    };
                    Some(self.wrap(&reply, &wrap, kind))
                }
                (_, reply) => reply,
            },
        };
        let Some(reply) = reply else {
            return self.finish(204, Bytes::new(), true);
        };
        let status = reply.status.unwrap_or(200);
        let body = match &reply.raw {
            Some(raw) => raw.to_string(),
            None => {
                let blank = done.open || reply.no_mount_type || reply.wrap_info.is_some();
                let kind = if blank {
                    String::new()
                } else {
                    mount_type.unwrap_or_default()
                };
                self.envelope(&reply, self.flavour.is_vault().then_some(kind))
            }
        };
        let mut body = json::escape_html(&body);
        // batches that did not go well come without the line feed
        if !reply.no_mount_type {
            body.push('\n');
        }
        self.finish(status, Bytes::from(body), true)
    }

    pub(crate) fn envelope(&mut self, reply: &Reply, mount_type: Option<String>) -> String {
        let request_id = if reply.wrap_info.is_some() {
            String::new()
        } else {
            self.uuid()
        };
        let body = Envelope {
            request_id: &request_id,
            lease_id: "",
            renewable: false,
            lease_duration: 0,
            data: reply.data.as_ref(),
            wrap_info: reply.wrap_info.as_ref(),
            warnings: (!reply.warnings.is_empty()).then_some(&reply.warnings),
            auth: reply.auth.as_ref().map(AuthJson::from),
            mount_type,
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        match (&reply.data, reply.top_level) {
            (Some(data), true) => {
                let mut top = data.clone();
                top.extend(crate::reply::object(
                    serde_json::from_str(&text).unwrap_or_default(),
                ));
                Value::Object(top).to_string()
            }
            _ => text,
        }
    }

    pub(crate) fn refuse(&self, refused: Refused) -> Response {
        let (status, errors) = match refused {
            Refused::Plain(status, text) => (status, vec![text]),
            Refused::Wrapped(status, text) => {
                (status, vec![format!("1 error occurred:\n\t* {text}\n\n")])
            }
            Refused::Empty(status) => (status, Vec::new()),
            Refused::Bodiless(status) => {
                return Response {
                    status,
                    headers: Vec::new(),
                    body: Bytes::new(),
                };
            }
            Refused::Panic => return Response::closed(),
            Refused::Redirect(to) => return self.redirected(url::redirect(&to, false)),
        };
        let text = json::escape_html(&serde_json::json!({ "errors": errors }).to_string());
        self.finish(status, Bytes::from(text + "\n"), true)
    }

    /// The headers that every answer of the API has.
    pub(crate) fn finish(&self, status: u16, body: Bytes, typed: bool) -> Response {
        let mut headers = vec![("Cache-Control".to_owned(), "no-store".to_owned())];
        if typed {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        headers.push((
            "Strict-Transport-Security".to_owned(),
            "max-age=31536000; includeSubDomains".to_owned(),
        ));
        if self.options.storage == Storage::Raft
            && self.flavour.is_openbao()
            && (200..300).contains(&status)
        {
            headers.push(("X-Vault-Index".to_owned(), self.index_header()));
        }
        Response {
            status,
            headers,
            body,
        }
    }

    fn index_header(&self) -> String {
        let text =
            serde_json::json!({ "cluster": self.cluster_id, "value": self.index.to_string() });
        gobase64::encode(text.to_string().as_bytes())
    }

    /// Redirects carry the headers of all answers, but a content type only with a page.
    fn redirected(&self, mut response: Response) -> Response {
        if response.status == 307 {
            response
                .headers
                .insert(0, ("Cache-Control".to_owned(), "no-store".to_owned()));
            response.headers.push((
                "Strict-Transport-Security".to_owned(),
                "max-age=31536000; includeSubDomains".to_owned(),
            ));
        }
        response
    }

    /// A body that ended too early.
    pub(crate) fn unreadable_body(&self, text: &str) -> Response {
        if self.flavour.is_vault() {
            return self.refuse(Refused::Plain(400, "error reading data".to_owned()));
        }
        let mut response = self.refuse(Refused::Plain(500, text.to_owned()));
        response.headers.retain(|(name, _)| name == "Content-Type");
        response
    }

    /// The number in an `X-Vault-Index`.
    pub(crate) fn index_value(text: &str) -> Option<u64> {
        let bytes = gobase64::decode(text).ok()?;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        value.get("value")?.as_str()?.parse().ok()
    }

    fn too_large(&self) -> Response {
        let text = if self.flavour.is_openbao() {
            "http: request body too large"
        } else {
            "error parsing JSON"
        };
        let mut response = self.refuse(Refused::Plain(413, text.to_owned()));
        if self.flavour.is_openbao() {
            response.headers.retain(|(name, _)| name == "Content-Type");
        }
        response
    }
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

#[expect(
    clippy::too_many_arguments,
    reason = "the one place where a call is put together"
)]
fn new_call(
    request: &Request,
    op: Op,
    ns: String,
    full: String,
    (mount, mount_path, path): (MountId, String, String),
    args: Args,
    raw: Map<String, Value>,
    token: Option<Arc<Entry>>,
) -> Call {
    Call {
        op,
        ns,
        full,
        mount,
        mount_path,
        path,
        args,
        raw,
        token,
        peer: request.peer,
        cert: request.client_cert.clone(),
    }
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

#[derive(Serialize)]
struct Envelope<'a> {
    request_id: &'a str,
    lease_id: &'a str,
    renewable: bool,
    lease_duration: u64,
    data: Option<&'a Map<String, Value>>,
    wrap_info: Option<&'a Map<String, Value>>,
    warnings: Option<&'a Vec<String>>,
    auth: Option<AuthJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_type: Option<String>,
}

#[derive(Serialize)]
struct AuthJson<'a> {
    client_token: &'a str,
    accessor: &'a str,
    policies: &'a [String],
    token_policies: &'a [String],
    metadata: Option<&'a std::collections::BTreeMap<String, String>>,
    lease_duration: u64,
    renewable: bool,
    entity_id: &'a str,
    token_type: &'a str,
    orphan: bool,
    mfa_requirement: Option<()>,
    num_uses: i64,
}

impl<'a> From<&'a AuthBlock> for AuthJson<'a> {
    fn from(auth: &'a AuthBlock) -> Self {
        Self {
            client_token: &auth.client_token,
            accessor: &auth.accessor,
            policies: &auth.policies,
            token_policies: &auth.policies,
            metadata: auth.metadata.as_ref(),
            lease_duration: auth.lease_duration,
            renewable: auth.renewable,
            entity_id: &auth.entity_id,
            token_type: auth.token_type,
            orphan: auth.orphan,
            mfa_requirement: None,
            num_uses: auth.num_uses,
        }
    }
}

/// The block for a token as it stands.
pub(crate) fn auth_block(entry: &Entry, ttl: Duration) -> AuthBlock {
    AuthBlock {
        client_token: entry.id.clone(),
        accessor: entry.accessor.clone(),
        policies: entry.policies.clone(),
        metadata: entry.meta.clone(),
        lease_duration: ttl.as_secs(),
        renewable: entry.renewable && entry.kind == TokenKind::Service,
        entity_id: entry.entity_id.clone(),
        token_type: entry.type_name(),
        orphan: entry.orphan,
        num_uses: entry.initial_uses.max(entry.num_uses),
    }
}

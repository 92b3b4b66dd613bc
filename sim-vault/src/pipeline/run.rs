//! From a path to the endpoint that answers it: existence checks, parameters, operations, warnings.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{Wrap, below};
use crate::{
    Core, Request,
    call::{Call, Op},
    fields::{self, Args},
    mounts::MountId,
    reply::{Outcome, Refused, ok},
    route,
    token::Entry,
};

impl Core {
    /// `None`: the endpoint has no existence check.
    pub(super) fn exists(
        &mut self,
        request: &Request,
        op: Op,
        ns: &str,
        path: &str,
        raw: &Map<String, Value>,
        token: &Arc<Entry>,
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
            .convert(endpoint.fields, raw, captured, inner)
            .map_err(Refused::bad)?;
        let call = new_call(
            request,
            op,
            ns.to_owned(),
            path.to_owned(),
            place,
            args,
            raw.clone(),
            Some(Arc::clone(token)),
        );
        check(self, &call).map(Some)
    }

    /// Parameters that only the other server has: `nonce` is Vault's, paging and versions of metadata are OpenBao's.
    fn is_foreign(&self, name: &str, inner: &str) -> bool {
        if self.flavour.is_openbao() {
            return name == "nonce";
        }
        matches!(
            name,
            "after" | "limit" | "metadata_cas" | "metadata_cas_required"
        ) || name == "associated_data" && inner.starts_with("datakey/")
    }

    /// The parameters that an endpoint below its mount knows.
    pub(super) fn convert(
        &self,
        specs: &[fields::Field],
        raw: &Map<String, Value>,
        captured: Map<String, Value>,
        inner: &str,
    ) -> Result<Args, String> {
        let mut args = Map::new();
        for (name, kind) in specs {
            if let Some(value) = raw.get(*name).filter(|_| !self.is_foreign(name, inner)) {
                if value.is_null() && matches!(kind, fields::Kind::Seconds | fields::Kind::Leeway) {
                    // as if it were absent, which no other type takes it for
                    continue;
                }
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
    pub(super) fn run(
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
            // few patterns take the slash that a LIST brings
            let unknown = op == Op::List && !endpoint.pattern.ends_with(":any}");
            let refused = if unknown {
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
        let foreign = |k: &str| self.is_foreign(k, &inner);
        let known = |k: &str| endpoint.fields.iter().any(|(n, _)| *n == k) && !foreign(k);
        // where anything may be written, Vault takes anything for reading, too
        let open =
            endpoint.fields.iter().any(|(n, _)| *n == "*") && (writes || self.flavour.is_vault());
        let ignored = names(&|k| !open && !known(k) && !captured.contains_key(k));
        let replaced = names(&|k| captured.contains_key(k));
        let args = match self.convert(endpoint.fields, &raw, captured, &inner) {
            Ok(args) => args,
            Err(text) => {
                let login = token.is_none();
                let counted = self.mount(id).is_some_and(|m| !m.lockout.disabled);
                if login && counted && self.flavour.is_vault() && path.contains("/login/") {
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
        let remarks = !ignored.is_empty() || !replaced.is_empty();
        if op == Op::List
            && remarks
            && matches!(&outcome, Err(fault) if *fault == Refused::nothing())
        {
            // an empty list with a warning is an answer
            outcome = ok(Value::Object(Map::new()));
        }
        if (writes || matches!(op, Op::List | Op::Read))
            && let Ok(Some(reply)) = &mut outcome
            && !reply.finished
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

    pub(super) fn find<'t>(
        &self,
        table: &'t [route::Endpoint],
        path: &str,
    ) -> Option<(&'t route::Endpoint, Map<String, Value>)> {
        let found = route::find(table, path)?;
        let pattern = found.0.pattern;
        let foreign = if self.flavour.is_openbao() {
            matches!(
                pattern.split('/').next(),
                Some("revoke-prefix" | "revoke-force")
            )
        } else {
            pattern.contains("soft-delete")
        };
        (!foreign).then_some(found)
    }

    pub(crate) fn sealed(&self) -> bool {
        self.seal.sealed || !self.seal.initialised || self.node.sealed || self.node.uninitialised
    }

    pub(super) fn wanted_wrap(&self, request: &Request, path: &str, by: &str) -> Option<Wrap> {
        let ttl = wrap_ttl(request).filter(|d| !d.is_zero())?;
        let jwt = request.get("X-Vault-Wrap-Format") == Some("jwt");
        Some(Wrap {
            ttl,
            jwt,
            path: path.to_owned(),
            by: by.to_owned(),
        })
    }
}

/// For how long the answer is to be put aside; zero is given, yet not at all.
pub(super) fn wrap_ttl(request: &Request) -> Option<Duration> {
    let text = request.get("X-Vault-Wrap-TTL")?;
    crate::duration::parse(text)?.ok()
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
        wraps: wrap_ttl(request).is_some_and(|d| !d.is_zero()),
    }
}

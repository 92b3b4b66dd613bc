//! What the HTTP layer answers itself: methods and bodies it cannot use, paths outside the API, and the endpoints
//! that work on a sealed server (health, seal status, init, unseal, seal, leader).

use serde_json::{Map, Value};

use super::{Target, sealed, url};
use crate::{
    Core, Request, Response, Storage,
    acl::Asked,
    call::Op,
    json,
    node::Answered,
    reply::Refused,
    sys::{self},
};

impl Core {
    pub(super) fn outside(&mut self, request: &Request, target: &Target) -> Response {
        let page = matches!(request.method.as_str(), "GET" | "HEAD");
        match target.path.as_str() {
            "/" => self.redirected(url::redirect("/ui/", page)),
            "/ui/" => self.ui_page(),
            "/v1" if self.flavour.is_vault() => self.redirected(url::redirect("/v1/", page)),
            path if self.flavour.is_vault() && !path.starts_with("/.well-known/") => {
                self.redirected(url::redirect("/ui/", page))
            }
            _ => {
                let mut response = self.refuse(Refused::nothing());
                if request.method == "CONNECT" && self.flavour.is_openbao() {
                    response
                        .headers
                        .push(("Connection".to_owned(), "close".to_owned()));
                }
                response
            }
        }
    }

    /// What a GET asks for: `list=true` and OpenBao's `scan=true` make it another operation.
    fn read_op(&self, target: &Target) -> Result<Op, Refused> {
        let set = |name: &str| match target.get(name) {
            Some("true" | "1" | "t" | "T" | "True" | "TRUE") => Some(true),
            None | Some("" | "false" | "0" | "f" | "F" | "False" | "FALSE") => Some(false),
            Some(_) => None,
        };
        match set("list") {
            None => Err(Refused::Empty(400)),
            Some(true) => Ok(Op::List),
            Some(false) if set("scan") == Some(true) && self.flavour.is_openbao() => Ok(Op::Scan),
            Some(false) => Ok(Op::Read),
        }
    }

    /// Whether the request is a listing of any kind, whose path gets a slash at its end.
    pub(super) fn lists(&self, request: &Request, target: &Target) -> Result<bool, Refused> {
        Ok(match request.method.as_str() {
            "GET" => matches!(self.read_op(target)?, Op::List | Op::Scan),
            "LIST" => true,
            "SCAN" => self.flavour.is_openbao(),
            _ => false,
        })
    }

    /// Operation and parameters of a request.
    pub(super) fn read_request(
        &self,
        request: &Request,
        target: &Target,
    ) -> Result<(Op, Map<String, Value>), Refused> {
        let query = || -> Map<String, Value> {
            target
                .query
                .iter()
                .filter(|(n, _)| n != "list" && n != "scan")
                .map(|(n, v)| (n.clone(), v.as_str().into()))
                .collect()
        };
        // only GET takes `list` for an order
        let all = || -> Map<String, Value> {
            let pairs = target.query.iter();
            pairs.map(|(n, v)| (n.clone(), v.as_str().into())).collect()
        };
        Ok(match request.method.as_str() {
            "GET" => (self.read_op(target)?, query()),
            "HEAD" => (Op::Header, query()),
            "DELETE" => (Op::Delete, query()),
            "LIST" => (Op::List, all()),
            "SCAN" if self.flavour.is_openbao() => (Op::Scan, query()),
            "POST" | "PUT" => (Op::Update, self.read_body(request)?),
            "PATCH" => {
                let kind = request.get("Content-Type").unwrap_or_default();
                if kind.is_empty() {
                    return Err(Refused::bad("mime: no media type"));
                }
                let sound = kind
                    .split(';')
                    .skip(1)
                    .all(|p| p.trim().is_empty() || p.contains('='));
                if !sound {
                    return Err(Refused::bad("mime: invalid media parameter"));
                }
                if !kind.starts_with("application/merge-patch+json") {
                    let text = format!(
                        "PATCH requires Content-Type of application/merge-patch+json, provided {kind}"
                    );
                    return Err(Refused::Plain(415, text));
                }
                (Op::Patch, self.read_body(request)?)
            }
            "OPTIONS" if self.flavour.is_openbao() => {
                return Err(Refused::bad(
                    "cannot handle internal-only request operation",
                ));
            }
            "OPTIONS" => (Op::Header, query()),
            _ => return Err(Refused::Empty(405)),
        })
    }

    fn read_body(&self, request: &Request) -> Result<Map<String, Value>, Refused> {
        let kind = request.get("Content-Type").unwrap_or_default();
        let first = request.body.iter().find(|b| !b.is_ascii_whitespace());
        if kind.starts_with("application/x-www-form-urlencoded")
            && first.is_some_and(|b| *b != b'{')
        {
            let text = String::from_utf8_lossy(&request.body);
            if url::decode(&text, true).is_none() {
                return Err(Refused::bad("error parsing form data"));
            }
            return Ok(url::pairs(&text)
                .into_iter()
                .map(|(n, v)| (n, v.into()))
                .collect());
        }
        json::decode(&request.body, &self.options).map_err(Refused::bad)
    }

    /// Endpoints before the request core; `None` if it is none of them.
    pub(super) fn front(
        &mut self,
        request: &Request,
        path: &str,
        target: &Target,
    ) -> Option<Response> {
        let name = path.strip_prefix("sys/");
        if let Some(name) = name {
            let restricted = matches!(
                name,
                "health" | "init" | "unseal" | "seal" | "step-down" | "leader"
            );
            if restricted && self.flavour.is_openbao() && has_namespace(request) {
                return Some(self.refuse(Refused::bad("operation unavailable in namespaces")));
            }
            match name {
                "health" => return Some(sys::health::answer(self, request, target)),
                "seal-status" => return Some(sys::health::seal_status(self, request)),
                "leader" => return Some(sys::health::leader(self, request)),
                "init" => return Some(sys::seal::init(self, request)),
                "unseal" => return Some(sys::seal::unseal(self, request)),
                "seal" | "step-down" => return Some(self.seal_request(request, name)),
                _ => {}
            }
        }
        if !self.sealed() && self.has_namespaces() {
            let (ns, rest) = self.resolve_namespace("", path);
            if !ns.is_empty() && rest == "sys/health" {
                return Some(
                    self.refuse(Refused::bad("operation only available in root namespace")),
                );
            }
        }
        let page = matches!(request.method.as_str(), "GET" | "HEAD");
        (path == "sys").then(|| self.redirected(url::redirect("/v1/sys/", page)))
    }

    fn seal_request(&mut self, request: &Request, target: &str) -> Response {
        if !matches!(request.method.as_str(), "PUT" | "POST") {
            return self.refuse(Refused::Empty(405));
        }
        let done = |core: &Self| core.finish(204, bytes::Bytes::new(), true);
        if self.sealed() {
            return match target {
                "seal" => done(self),
                _ => self.refuse(sealed()),
            };
        }
        if target == "step-down" {
            match self.forwarded(request) {
                Some(Answered::Refused(refused)) => return self.refuse(refused),
                Some(Answered::Redirect(to)) => return self.refuse(Refused::Redirect(to)),
                // whoever cannot lead has nothing to give up, whoever asks
                None if self.options.storage == Storage::Inmem => return done(self),
                None => {}
            }
        } else if self.node.standby && (self.flavour.is_vault() || self.node.forwards_all) {
            let text = "vault cannot seal when in standby mode; please restart instead";
            return self.refuse(Refused::Plain(500, text.to_owned()));
        }
        let asked = Asked {
            op: Op::Update,
            path: &format!("sys/{target}"),
            raw: &Map::new(),
            wrap: None,
            sudo: true,
        };
        let verdict = match self.caller(request) {
            Err(refused) => Err(refused),
            Ok(None) => Err(Refused::denied()),
            Ok(Some(token)) if !self.may(&token, "", asked) => {
                Err(Refused::Wrapped(403, "permission denied".to_owned()))
            }
            Ok(Some(_)) => Ok(()),
        };
        match verdict {
            Err(refused) => self.refuse(refused),
            Ok(()) => {
                if target == "seal" && (self.node.standby || self.members.len() > 1) {
                    self.node.sealed = true;
                    self.node.standby = true;
                } else if target == "seal" {
                    self.restart(true);
                }
                done(self)
            }
        }
    }
}

fn has_namespace(request: &Request) -> bool {
    let name = request
        .get("X-Vault-Namespace")
        .unwrap_or_default()
        .trim_matches('/');
    !name.is_empty() && name != "root"
}

/// Where a browser lands. The pages of the real servers are not simulated: only their heads, sizes and headers are.
const UI_OPENBAO: (&str, usize) = (
    "<!DOCTYPE html>\n<!--\n Copyright (c) HashiCorp, Inc.\n SPDX-License-Identifier: MPL-2.0\n-->\n\n<html lang=\"en\">\n  <head>\n   ",
    1_081_845,
);
const UI_VAULT: (&str, usize) = (
    "\n\t<!DOCTYPE html>\n\t<html>\n\t<style>\n\tbody {\n\tcolor: #1F2124;\n\tfont-family: system-ui, -apple-system, BlinkMacSystemFont, ",
    1_453,
);

impl Core {
    fn ui_page(&self) -> Response {
        let (head, size) = if self.flavour.is_openbao() {
            UI_OPENBAO
        } else {
            UI_VAULT
        };
        let body = format!("{head}{}", " ".repeat(size.saturating_sub(head.len())));
        let csp = "default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; style-src 'unsafe-inline' 'self'; form-action  'none'; frame-ancestors 'none'; font-src 'self'";
        let mut headers = vec![
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", csp),
            ("Content-Type", "text/html; charset=utf-8"),
            ("Service-Worker-Allowed", "/"),
            (
                "Strict-Transport-Security",
                "max-age=31536000; includeSubDomains",
            ),
            ("X-Content-Type-Options", "nosniff"),
        ];
        if self.flavour.is_openbao() {
            headers.extend([("Accept-Ranges", "bytes"), ("Vary", "Accept-Encoding")]);
        }
        let headers = headers
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        Response {
            status: 200,
            headers,
            body: bytes::Bytes::from(body),
        }
    }
}

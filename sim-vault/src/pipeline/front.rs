//! What the HTTP layer answers itself: methods and bodies it cannot use, paths outside the API, and the endpoints
//! that work on a sealed server (health, seal status, init, unseal, seal, leader).

use serde_json::{Map, Value};

use super::{Target, url};
use crate::{
    Core, Request, Response,
    call::Op,
    json,
    reply::Refused,
    sys::{self},
};

impl Core {
    pub(super) fn outside(&mut self, request: &Request, target: &Target) -> Response {
        let page = matches!(request.method.as_str(), "GET" | "HEAD");
        match target.path.as_str() {
            "/" => url::redirect("/ui/", page),
            "/v1" if self.flavour.is_vault() => url::redirect("/v1/", page),
            _ if self.flavour.is_vault() => url::redirect("/ui/", page),
            _ => self.refuse(Refused::nothing()),
        }
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
        let set =
            |name: &str| matches!(target.get(name), Some("true" | "1" | "t" | "True" | "TRUE"));
        Ok(match request.method.as_str() {
            "GET" if set("list") => (Op::List, query()),
            "GET" if set("scan") && self.flavour.is_openbao() => (Op::Scan, query()),
            "GET" => (Op::Read, query()),
            "HEAD" => (Op::Header, query()),
            "DELETE" => (Op::Delete, query()),
            "LIST" => (Op::List, query()),
            "SCAN" if self.flavour.is_openbao() => (Op::Scan, query()),
            "POST" | "PUT" => (Op::Update, self.read_body(request)?),
            "PATCH" => {
                let kind = request.get("Content-Type").unwrap_or_default();
                if kind.is_empty() {
                    return Err(Refused::bad("mime: no media type"));
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
            "OPTIONS" => return Err(Refused::denied()),
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
            return Ok(url::pairs(&text)
                .into_iter()
                .map(|(n, v)| (n, v.into()))
                .collect());
        }
        json::decode(&request.body, self.flavour).map_err(Refused::bad)
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
                "seal" => return Some(self.seal_request(request)),
                _ => {}
            }
        }
        if !self.sealed() && self.flavour.namespaces() {
            let (ns, rest) = self.resolve_namespace("", path);
            if !ns.is_empty() && rest == "sys/health" {
                return Some(
                    self.refuse(Refused::bad("operation only available in root namespace")),
                );
            }
        }
        (path == "sys").then(|| {
            url::redirect(
                "/v1/sys/",
                matches!(request.method.as_str(), "GET" | "HEAD"),
            )
        })
    }

    fn seal_request(&mut self, request: &Request) -> Response {
        if !matches!(request.method.as_str(), "PUT" | "POST") {
            return self.refuse(Refused::Empty(405));
        }
        if self.sealed() {
            return self.finish(204, bytes::Bytes::new(), true);
        }
        let verdict = match self.caller(request) {
            Err(refused) => Err(refused),
            Ok(None) => Err(Refused::denied()),
            Ok(Some(token)) if !self.may(&token, Op::Update, "", "sys/seal", &Map::new()) => {
                Err(Refused::Wrapped(403, "permission denied".to_owned()))
            }
            Ok(Some(_)) => Ok(()),
        };
        match verdict {
            Err(refused) => self.refuse(refused),
            Ok(()) => {
                self.seal.sealed = true;
                self.finish(204, bytes::Bytes::new(), true)
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

//! How answers and refusals are dressed as HTTP.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Done, url};
use crate::{
    Core, Response, Storage, gobase64, json,
    mounts::Backend,
    reply::{AuthBlock, Refused, Reply},
    token::{Entry, TokenKind},
};

impl Core {
    /// Dresses an outcome as HTTP. What a mount answers says how current it is, whatever its status; help and refusals do not.
    pub(crate) fn render(&mut self, done: Done) -> Response {
        let dated = done.mount.is_some() && done.outcome.is_ok();
        let mut response = self.dress(done);
        if dated
            && self.options.storage == Storage::Raft
            // DOCS-ONLY for Enterprise
            && (self.flavour.is_openbao() || self.is_enterprise())
        {
            let index = ("X-Vault-Index".to_owned(), self.index_header());
            response.headers.push(index);
        }
        response
    }

    fn dress(&mut self, done: Done) -> Response {
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
        if matches!(status, 202 | 404) && reply.data.is_none() && !reply.finished {
            return self.finish(status, Bytes::new(), true);
        }
        let body = match &reply.raw {
            Some(raw) => raw.to_string(),
            None => {
                let blank = done.open || reply.finished || reply.wrap_info.is_some();
                let kind = if blank {
                    String::new()
                } else {
                    mount_type.unwrap_or_default()
                };
                self.envelope(&reply, self.flavour.is_vault().then_some(kind))
            }
        };
        let mut body = json::escape_html(body);
        if !reply.finished && !reply.no_line_end {
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
            lease_duration: reply.lease,
            data: reply.data.as_ref(),
            wrap_info: reply.wrap_info.as_ref(),
            warnings: (!reply.warnings.is_empty()).then_some(&reply.warnings),
            auth: reply.auth.as_ref().map(AuthJson::new),
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
            Refused::Plain(status, text) | Refused::Login(status, text) => (status, vec![text]),
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
            // a standby that forwarded the request makes a success of nothing
            Refused::Panic if self.node.standby => {
                return self.finish(200, Bytes::new(), false);
            }
            Refused::Panic => return Response::closed(),
            Refused::Redirect(to) => return self.redirected(url::redirect(&to, false)),
        };
        let text = json::escape_html(serde_json::json!({ "errors": errors }).to_string());
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
        Response {
            status,
            headers,
            body,
        }
    }

    pub(super) fn index_header(&self) -> String {
        let text =
            serde_json::json!({ "cluster": self.cluster_id, "value": self.index.to_string() });
        gobase64::encode(text.to_string().as_bytes())
    }

    /// Redirects carry the headers of all answers, but a content type only with a page.
    pub(super) fn redirected(&self, mut response: Response) -> Response {
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

    /// Cluster and number in an `X-Vault-Index`.
    pub(crate) fn index_value(text: &str) -> Option<(String, u64)> {
        let bytes = gobase64::decode(text).ok()?;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        let cluster = value["cluster"].as_str().unwrap_or_default().to_owned();
        Some((cluster, value.get("value")?.as_str()?.parse().ok()?))
    }

    pub(super) fn too_large(&self) -> Response {
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

#[derive(Serialize)]
struct Envelope<'a> {
    request_id: &'a str,
    lease_id: &'a str,
    renewable: bool,
    lease_duration: i64,
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
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
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

impl<'a> AuthJson<'a> {
    fn new(auth: &'a AuthBlock) -> Self {
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
        // before the token is kept it has no initial uses yet
        num_uses: if entry.initial_uses == 0 {
            entry.num_uses
        } else {
            entry.initial_uses
        },
    }
}

//! The control port: faults and manipulations as a small JSON API on a loopback address of its own.
//!
//! | request | body | does |
//! | --- | --- | --- |
//! | `POST /faults` | `{"path", "method", "skip", "count", "action"}` | installs a fault: `{"id"}` |
//! | `GET /faults/ID` | | `{"hits"}` |
//! | `DELETE /faults/ID`, `DELETE /faults` | | removes one or all |
//! | `POST /freeze`, `/freeze-existing`, `/thaw`, `/seal`, `/unseal`, `/step-down`, `/lead` | | what the library does under these names |
//! | `POST /advance` | `{"seconds"}` | moves the server's clock |
//! | `POST /rotate`, `/delete-key` | `{"mount", "key"}` | |
//! | `POST /versions` | `{"mount", "key", "min_decryption_version", "min_encryption_version"}` | lowers or raises what a key's versions may be used for |
//! | `POST /revoke` | `{"token"}` or `{"mount"}` | revokes one token or all of an auth mount: `{"revoked"}` |
//! | `POST /expire` | `{"token"}` | lets a token run out now |
//! | `POST /close-idle-after` | `{"seconds"}` | limit on idle connections; null for none |
//! | `POST /admin` | `{"method", "path", "namespace", "body"}` | a request with the root token: `{"status", "body"}` |
//! | `GET /log`, `DELETE /log` | | the request log |
//!
//! Actions: `{"status": 503, "body": "", "headers": [["Retry-After", "7"]]}`, `{"delay_ms": 100}`, `"hold"`, `"hold_after"`,
//! `"close_before"`, `"close_after"`, `"reset"`, `{"cut_body": 10}`, `{"garbage": "<html>"}`, `{"raw": "SSH-2.0"}`,
//! `"wrong_content_length"`, `{"redirect": "https://other"}`. What a fault does is told at [`super::Action`].
//!
//! A mistake is answered with 400 (404 for what there is not) and `{"error"}`, which names the field, and changes nothing.

use std::{convert::Infallible, io};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use super::{FaultId, SimVault, serve::BoxFuture};
use body::{
    AdminBody, FaultBody, IdleBody, KeyBody, RevokeBody, SecondsBody, TokenBody, VersionsBody,
};

mod body;

/// What is wrong with a request to the control port.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No such path or method.
    #[error("no such operation: {0} {1}")]
    Unknown(String, String),
    /// The body is no JSON, or a field is missing, unknown or of another type.
    #[error("body: {0}")]
    Body(#[from] serde_json::Error),
    /// A field's value is of no use.
    #[error("{field}: {problem}")]
    Field {
        /// As it is called in the body.
        field: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// What is named does not exist.
    #[error("no {0}")]
    Missing(String),
    /// An id that is no number.
    #[error("fault id: {0:?} is not a number")]
    Id(String),
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ControlError> {
    Ok(serde_json::from_slice(body)?)
}

impl SimVault {
    /// Carries out one request of the control API.
    pub fn control(&self, method: &str, path: &str, body: &[u8]) -> Result<Value, ControlError> {
        let id = |text: &str| {
            text.parse()
                .map(FaultId)
                .map_err(|_| ControlError::Id(text.to_owned()))
        };
        Ok(match (method, path) {
            ("POST", "/faults") => {
                let body: FaultBody = read(body)?;
                json!({ "id": self.fault(body.fault()?).0 })
            }
            ("GET", path) if path.starts_with("/faults/") => {
                json!({ "hits": self.hits(id(path.trim_start_matches("/faults/"))?) })
            }
            ("DELETE", "/faults") => {
                self.clear_faults();
                json!({})
            }
            ("DELETE", path) if path.starts_with("/faults/") => {
                self.clear(id(path.trim_start_matches("/faults/"))?);
                json!({})
            }
            ("POST", "/freeze") => self.did(Self::freeze),
            ("POST", "/freeze-existing") => self.did(Self::freeze_existing),
            ("POST", "/thaw") => self.did(Self::thaw),
            ("POST", "/seal") => self.did(Self::seal),
            ("POST", "/unseal") => self.did(Self::unseal),
            ("POST", "/step-down") => self.did(Self::step_down),
            ("POST", "/lead") => self.did(Self::lead),
            ("POST", "/advance") => {
                let body: SecondsBody = read(body)?;
                self.advance(body.duration()?);
                json!({})
            }
            ("POST", "/close-idle-after") => {
                let body: IdleBody = read(body)?;
                self.close_idle_after(body.limit()?);
                json!({})
            }
            ("POST", "/rotate") => {
                let body: KeyBody = read(body)?;
                let version = self.rotate(&body.mount, &body.key);
                json!({ "latest_version": version.ok_or_else(|| body.missing())? })
            }
            ("POST", "/delete-key") => {
                let body: KeyBody = read(body)?;
                if !self.delete_key(&body.mount, &body.key) {
                    return Err(body.missing());
                }
                json!({ "deleted": true })
            }
            ("POST", "/versions") => {
                let body: VersionsBody = read(body)?;
                let path = format!("{}/keys/{}/config", body.mount, body.key);
                let (status, answer) = self.admin("POST", &path, &body.config()?);
                if status >= 300 {
                    let problem = answer["errors"][0].as_str().unwrap_or("refused").to_owned();
                    return Err(ControlError::Field {
                        field: "min_decryption_version or min_encryption_version",
                        problem,
                    });
                }
                json!({})
            }
            ("POST", "/revoke") => {
                let body: RevokeBody = read(body)?;
                body.check()?;
                let one = body.token.map_or(0, |t| usize::from(self.revoke_token(&t)));
                json!({ "revoked": one + body.mount.map_or(0, |m| self.revoke_all_tokens_of(&m)) })
            }
            ("POST", "/expire") => {
                let body: TokenBody = read(body)?;
                if !self.expire_token(&body.token) {
                    return Err(ControlError::Missing("such token".to_owned()));
                }
                json!({})
            }
            ("POST", "/admin") => {
                let body: AdminBody = read(body)?;
                let (status, answer) =
                    self.admin_in(&body.namespace, &body.method, &body.path, &body.body);
                json!({ "status": status, "body": answer })
            }
            ("GET", "/log") => {
                let rows = self.log().into_iter().map(|l| {
                    json!({
                        "at_ms": u64::try_from(l.at.as_millis()).unwrap_or(u64::MAX),
                        "method": l.method,
                        "path": l.path,
                        "status": l.status,
                        "namespace": l.namespace,
                        "authenticated": l.authenticated,
                        "items": l.items,
                        "connection": l.connection,
                    })
                });
                Value::Array(rows.collect())
            }
            ("DELETE", "/log") => self.did(Self::clear_log),
            _ => return Err(ControlError::Unknown(method.to_owned(), path.to_owned())),
        })
    }

    fn did(&self, work: impl FnOnce(&Self)) -> Value {
        work(self);
        json!({})
    }

    /// Serves the control API until the future is dropped.
    pub fn listen_control(&self, listener: TcpListener) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.accept_control(listener))
    }

    async fn accept_control(&self, listener: TcpListener) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    let vault = self.clone();
                    tasks.spawn(async move {
                        let service = service_fn(move |request| {
                            let vault = vault.clone();
                            async move { vault.control_exchange(request).await }
                        });
                        // how the client ends a connection is its business
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    async fn control_exchange(
        &self,
        request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(|b| b.to_bytes())
            .unwrap_or_default();
        let (status, answer) = match self.control(head.method.as_str(), head.uri.path(), &body) {
            Ok(answer) => (200, answer),
            Err(e @ (ControlError::Unknown(..) | ControlError::Missing(_))) => {
                (404, json!({ "error": e.to_string() }))
            }
            Err(e) => (400, json!({ "error": e.to_string() })),
        };
        let mut response = hyper::Response::new(Full::new(Bytes::from(answer.to_string() + "\n")));
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        response.headers_mut().insert(
            "content-type",
            hyper::header::HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }
}
